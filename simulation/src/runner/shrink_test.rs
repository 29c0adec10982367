use super::*;

fn needs(needed: &[usize]) -> impl Fn(&[Vec<usize>]) -> Vec<bool> {
    let needed = needed.to_vec();
    move |lists| lists.iter().map(|list| needed.iter().all(|n| list.contains(n))).collect()
}

fn all() -> Vec<usize> {
    (0..40).collect()
}

#[test]
fn what_is_needed_is_left_whatever_it_is() {
    for needed in [vec![], vec![0], vec![39], vec![3, 17], vec![5, 6, 7, 30, 39], all()] {
        for at_a_time in [1, 2, 16] {
            let shrunk = shrink(&all(), Vec::new(), at_a_time, 10_000, needs(&needed));
            assert_eq!(shrunk.kept, needed);
            assert!(shrunk.is_minimal);
        }
    }
}

#[test]
fn few_needed_faults_need_few_trials() {
    for needed in [vec![12], vec![3, 17]] {
        let shrunk = shrink(&all(), Vec::new(), 1, 60, needs(&needed));
        assert_eq!((shrunk.kept, shrunk.is_minimal), (needed, true));
    }
}

#[test]
fn a_good_guess_saves_trials() {
    let guesses = vec![Vec::new(), vec![3]];
    let shrunk = shrink(&all(), guesses, 1, 60, needs(&[3]));
    // The two guesses; that none fails is known already.
    assert_eq!(shrunk, Shrunk { kept: vec![3], trials: 2, is_minimal: true });
    let shrunk = shrink(&all(), vec![Vec::new()], 4, 60, needs(&[]));
    assert_eq!(shrunk, Shrunk { kept: Vec::new(), trials: 1, is_minimal: true });
}

#[test]
fn there_are_no_more_trials_than_allowed_and_what_is_left_still_fails() {
    for budget in 0..30 {
        let mut asked = 0;
        let fails = |lists: &[Vec<usize>]| {
            assert!(lists.len() <= 4, "{} at a time", lists.len());
            asked += lists.len();
            needs(&[2, 21, 38])(lists)
        };
        let shrunk = shrink(&all(), vec![Vec::new()], 4, budget, fails);
        assert!(asked <= budget, "{asked} trials of {budget}");
        assert_eq!(asked, shrunk.trials);
        assert!(!shrunk.is_minimal);
        assert!([2, 21, 38].iter().all(|needed| shrunk.kept.contains(needed)));
    }
}

#[test]
fn no_single_one_that_is_left_can_be_left_out() {
    // Any two that are next to each other.
    let fails = |lists: &[Vec<usize>]| -> Vec<bool> {
        let pair = |list: &Vec<usize>| list.windows(2).any(|two| two[0] + 1 == two[1]);
        lists.iter().map(pair).collect()
    };
    let shrunk = shrink(&all(), Vec::new(), 3, 1_000, fails);
    assert_eq!(shrunk.kept.len(), 2);
    assert!(shrunk.is_minimal);
}
