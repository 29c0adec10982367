use super::*;
use crate::check::Violation;
use crate::history::OpId;
use crate::report::{Plan, PlannedFault};
use crate::trace::{Event, Timed};

fn failure() -> Failure {
    let fault = PlannedFault {
        number: 4,
        at: 1_500,
        until: 2_750,
        name: "crash".to_owned(),
        detail: "n2".to_owned(),
    };
    let violation = Violation {
        check: "acked-never-lost".to_owned(),
        text: "c1#7 was acknowledged at 12\nand is not there".to_owned(),
        at: Some(3_000),
        ops: vec![OpId(3)],
        nodes: vec![2],
    };
    let finished = Finished {
        seed: 9,
        profile: "swarm".to_owned(),
        plan: Plan { faults: vec![fault], ..Plan::default() },
        violation: Some(violation),
        ..Finished::default()
    };
    let log = Event::Log { node: "n2".to_owned(), text: "truncated".to_owned() };
    Failure {
        finished,
        promise: "No acknowledged record is ever lost.".to_owned(),
        replay: "kontiki sim replay --seed 9 --profile swarm --drop 0-3".to_owned(),
        found_faults: 5,
        trials: 6,
        is_minimal: true,
        written: vec!["sim-failures/seed-9.json".into()],
        details: Some(Details { events: vec![Timed { at: 2_999, event: log }], shown: vec![] }),
        ..Failure::default()
    }
}

#[test]
fn the_report_says_what_was_broken_and_how_to_see_it_again() {
    let expected = "\
FAILED     seed 9, profile swarm
  broken   acked-never-lost
  promise  No acknowledged record is ever lost.
  found    c1#7 was acknowledged at 12
           and is not there
  at       3.000 s
  faults   1 of 5 are enough, no fewer are (6 runs to find that out)
           #4      1.500 s ..    2.750 s  crash: n2
  events   the last ones of n2
               2.999 s  n2  log: truncated
  replay   kontiki sim replay --seed 9 --profile swarm --drop 0-3
  written  sim-failures/seed-9.json";
    assert_eq!(failure().to_string(), expected);
}

#[test]
fn a_repetition_is_short_and_can_be_replayed() {
    let text = Failure { is_repetition: true, ..failure() }.to_string();
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.contains("replay --seed 9"), "{text}");
}

#[test]
fn panics_fail_in_the_same_way_where_their_place_is_the_same() {
    let died = |text: &str| Finished { died: Some(text.to_owned()), ..Finished::default() };
    let one = died("exit status: 101\nnoise 1\nthread 'main' panicked at raft/src/a.rs:3:4:\nx");
    let other = died("exit status: 101\nthread 'n2' panicked at raft/src/a.rs:3:4:\ny");
    assert_eq!(one.failure().as_deref(), Some("panic at raft/src/a.rs:3:4"));
    assert_eq!(one.failure(), other.failure());
    let late = died("no end within 300 s: ended\nnoise");
    assert_eq!(late.failure().as_deref(), Some("no end within 300 s: ended"));
    assert_eq!(Finished::default().failure(), None);
}
