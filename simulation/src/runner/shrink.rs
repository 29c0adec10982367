//! Which faults are needed for a failure: the others are left out, as long as it still fails.
//!
//! This is delta debugging (Zeller, Hildebrandt: Simplifying and Isolating Failure-Inducing Input,
//! 2002), with several trials at a time.

use std::collections::BTreeSet;

/// What is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shrunk {
    /// The faults that are needed, by number.
    pub kept: Vec<usize>,
    /// How many trials that took.
    pub trials: usize,
    /// No single one of them can be left out. Otherwise there were no more trials to make.
    pub is_minimal: bool,
}

/// Finds a short list of faults that still fails.
///
/// `guesses` are tried first. `fails` is given at most `at_a_time` lists, and says of each whether
/// it fails as the whole does; it is asked for at most `budget` lists in total.
pub fn shrink(
    all: &[usize],
    guesses: Vec<Vec<usize>>,
    at_a_time: usize,
    budget: usize,
    fails: impl FnMut(&[Vec<usize>]) -> Vec<bool>,
) -> Shrunk {
    let mut trials = Trials { known: BTreeSet::new(), made: 0, at_a_time, budget, fails };
    let mut kept = all.to_vec();
    let guesses = guesses.into_iter().filter(|guess| guess.len() < all.len()).collect();
    if let Found::Fails(shorter) = trials.first_failing(guesses) {
        kept = shorter;
    }
    let mut parts = 2;
    let is_minimal = loop {
        if kept.is_empty() {
            break true;
        }
        parts = parts.min(kept.len());
        match trials.first_failing(without_each_part(&kept, parts)) {
            Found::Fails(shorter) => {
                kept = shorter;
                parts = (parts - 1).max(2);
            }
            Found::NoneFails if parts == kept.len() => break true,
            Found::NoneFails => parts *= 2,
            Found::NoMoreTrials => break false,
        }
    };
    Shrunk { kept, trials: trials.made, is_minimal }
}

/// The list without its first part, without its second part, and so on.
fn without_each_part(list: &[usize], parts: usize) -> Vec<Vec<usize>> {
    let bound = |part: usize| part * list.len() / parts;
    let rest = |part: usize| [&list[..bound(part)], &list[bound(part + 1)..]].concat();
    // Later faults are needed less often than earlier ones.
    (0..parts).rev().map(rest).collect()
}

enum Found {
    Fails(Vec<usize>),
    NoneFails,
    NoMoreTrials,
}

struct Trials<F> {
    /// Lists that don't fail.
    known: BTreeSet<Vec<usize>>,
    made: usize,
    at_a_time: usize,
    budget: usize,
    fails: F,
}

impl<F: FnMut(&[Vec<usize>]) -> Vec<bool>> Trials<F> {
    fn first_failing(&mut self, mut lists: Vec<Vec<usize>>) -> Found {
        lists.retain(|list| !self.known.contains(list));
        for group in lists.chunks(self.at_a_time.max(1)) {
            let group = &group[..group.len().min(self.budget - self.made)];
            if group.is_empty() {
                return Found::NoMoreTrials;
            }
            self.made += group.len();
            let answers = (self.fails)(group);
            assert_eq!(answers.len(), group.len(), "each list has its answer");
            if let Some(place) = answers.iter().position(|fails| *fails) {
                return Found::Fails(group[place].clone());
            }
            self.known.extend(group.iter().cloned());
        }
        Found::NoneFails
    }
}

#[cfg(test)]
#[path = "shrink_test.rs"]
mod tests;
