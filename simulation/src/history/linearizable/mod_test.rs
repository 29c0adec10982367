//! Histories of registers and logs, good and bad.

use super::log::{Log, LogOp};
use super::register::{Register, RegisterOp::Read, RegisterOp::Write};
use super::{Entry, Stuck, Verdict, check};

const LIMIT: usize = 100_000;

fn entry<O>(invoked: u64, returned: impl Into<Option<u64>>, op: O) -> Entry<O> {
    Entry { op, invoked, returned: returned.into() }
}

#[test]
fn what_overlaps_has_either_order() {
    let history = [
        entry(0, 10, Write(1)),
        entry(1, 9, Write(2)),
        entry(11, 12, Read(1)),
        entry(11, 13, Read(1)),
    ];
    assert_eq!(check(&Register(0), &history, LIMIT), Verdict::Linearizable);
}

#[test]
fn a_stale_read_is_found_with_what_there_was() {
    let history = [entry(0, 1, Write(1)), entry(2, 3, Write(2)), entry(4, 5, Read(1))];
    let stuck = Stuck { state: 2, next: vec![2] };
    assert_eq!(check(&Register(0), &history, LIMIT), Verdict::Broken(stuck));
}

#[test]
fn reads_go_back_in_no_order() {
    let history = [entry(0, 10, Write(1)), entry(1, 2, Read(1)), entry(3, 4, Read(0))];
    assert!(matches!(check(&Register(0), &history, LIMIT), Verdict::Broken(_)));
}

#[test]
fn within_a_millisecond_there_is_no_order() {
    let history = [entry(0, 4, Write(1)), entry(4, 5, Read(0))];
    assert_eq!(check(&Register(0), &history, LIMIT), Verdict::Linearizable);
}

#[test]
fn what_is_unknown_happens_late_or_never_and_once() {
    let unknown = || entry(0, None, Write(7));
    let never = [unknown(), entry(1, 2, Read(0)), entry(3, 4, Read(0))];
    assert_eq!(check(&Register(0), &never, LIMIT), Verdict::Linearizable);
    let late = [unknown(), entry(1, 2, Read(0)), entry(3, 4, Read(7))];
    assert_eq!(check(&Register(0), &late, LIMIT), Verdict::Linearizable);
    let mut twice = late.to_vec();
    twice.extend([entry(5, 6, Write(1)), entry(7, 8, Read(1)), entry(9, 10, Read(7))]);
    assert!(matches!(check(&Register(0), &twice, LIMIT), Verdict::Broken(_)));
    let before = [entry(1, 2, Read(7)), entry(3, None, Write(7))];
    assert!(matches!(check(&Register(0), &before, LIMIT), Verdict::Broken(_)));
}

#[test]
fn offsets_say_in_which_order_a_log_was_written() {
    let append = |offset: u64| LogOp::Append { offset: Some(offset) };
    let lost = LogOp::Append { offset: None };
    let good = [entry(0, 9, append(1)), entry(0, 9, append(0)), entry(10, 11, LogOp::Latest(2))];
    assert_eq!(check(&Log, &good, LIMIT), Verdict::Linearizable);
    let gap = [entry(0, 1, append(0)), entry(2, 3, append(2)), entry(4, 5, LogOp::Latest(3))];
    assert!(matches!(check(&Log, &gap, LIMIT), Verdict::Broken(_)));
    let mut filled = gap.to_vec();
    filled.insert(0, entry(0, None, lost));
    assert_eq!(check(&Log, &filled, LIMIT), Verdict::Linearizable);
}

#[test]
fn the_end_of_a_log_is_not_read_behind_what_was_acknowledged() {
    let append = LogOp::Append { offset: Some(0) };
    let history = [entry(0, 1, append), entry(2, 3, LogOp::Latest(0))];
    assert!(matches!(check(&Log, &history, LIMIT), Verdict::Broken(_)));
}

#[test]
fn many_operations_are_decided_and_too_many_are_not() {
    let mut history: Vec<_> =
        (0..3000).map(|n| entry(n * 10, n * 10 + 25, LogOp::Append { offset: Some(n) })).collect();
    assert_eq!(check(&Log, &history, LIMIT), Verdict::Linearizable);
    history.push(entry(0, 100_000, LogOp::Latest(5000)));
    assert!(matches!(check(&Log, &history, LIMIT), Verdict::Broken(_)));
    let mut impossible: Vec<_> = (0..30).map(|n| entry(0, 100, Write(n))).collect();
    impossible.push(entry(0, 100, Read(99)));
    assert_eq!(check(&Register(0), &impossible, 1000), Verdict::Undecided);
}

/// Every order, one after the other, of histories that are made up by a small generator.
#[test]
fn agrees_with_trying_every_order() {
    let mut random = 1_u64;
    let mut below = |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (random >> 33) % bound
    };
    let mut broken = 0;
    for _ in 0..3000 {
        let history: Vec<_> = (0..5)
            .map(|_| {
                let invoked = below(12);
                let value = below(3);
                let op = if below(2) == 0 { Write(value) } else { Read(value) };
                let known = below(4) > 0 || matches!(op, Read(_));
                entry(invoked, known.then_some(invoked + below(6)), op)
            })
            .collect();
        let found = check(&Register(0), &history, LIMIT) == Verdict::Linearizable;
        assert_eq!(found, some_order(&history, &mut Vec::new(), 0), "{history:?}");
        broken += usize::from(!found);
    }
    assert!((500..2500).contains(&broken), "{broken} of 3000 are broken");
}

fn some_order(
    history: &[Entry<super::register::RegisterOp>],
    done: &mut Vec<usize>,
    value: u64,
) -> bool {
    let rest: Vec<_> = (0..history.len()).filter(|place| !done.contains(place)).collect();
    if rest.iter().all(|place| history[*place].returned.is_none()) {
        return true;
    }
    rest.iter().any(|place| {
        let entry = &history[*place];
        let first = |other: &usize| history[*other].returned.is_some_and(|at| at < entry.invoked);
        if rest.iter().any(first) {
            return false;
        }
        let next = match entry.op {
            Write(next) => next,
            Read(read) if read == value => value,
            Read(_) => return false,
        };
        done.push(*place);
        let found = some_order(history, done, next);
        done.pop();
        found
    })
}
