use std::time::Duration;

use super::*;
use crate::check::Violation;
use crate::report::{Plan, PlannedFault};
use crate::runner::scene::Variant;

fn finished(seed: u64, faults: &[usize]) -> Finished {
    let fault = |number: &usize| PlannedFault {
        number: *number,
        at: 100,
        until: 200,
        name: "crash".to_owned(),
        detail: "n1".to_owned(),
    };
    let violation = Violation {
        check: "acked-never-lost".to_owned(),
        text: "it is lost".to_owned(),
        at: Some(150),
        ops: vec![],
        nodes: vec![],
    };
    Finished {
        seed,
        profile: "swarm".to_owned(),
        plan: Plan { faults: faults.iter().map(fault).collect(), ..Plan::default() },
        violation: Some(violation),
        ..Finished::default()
    }
}

/// A program that fails where faults 2 and 3 are both there. Of the six faults, three in a row (as
/// in 0-2) are never without one of them.
fn program() -> Children {
    let json = |finished| serde_json::to_string(&finished).expect("plain data");
    let passed = Finished { seed: 8, ..Finished::default() };
    let script = format!(
        "drop=; while [ $# -gt 0 ]; do case $1 in --drop) drop=$2;; \
         --details) echo '{{\"events\":[],\"shown\":[]}}' >$2;; esac; shift; done; \
         case $drop in *[23]* | *-*) echo '{}';; *) echo '{}';; esac",
        json(passed),
        json(finished(8, &[2, 3]))
    );
    Children::of_script(&script, Duration::from_secs(60))
}

fn variant() -> Variant {
    Variant { profile: "swarm".to_owned(), ..Variant::default() }
}

#[test]
fn what_a_failure_does_not_need_is_left_out_and_the_rest_is_written_down() {
    let scratch = Scratch::new().expect("there is room");
    let (program, folder) = (program(), scratch.file("failures"));
    let args = ShrinkArgs { runs: 60, at_a_time: 2, folder: folder.clone() };
    let mut aftermath = Aftermath::new(&program, args);
    let all = finished(8, &[0, 1, 2, 3, 4, 5]);
    let failure = aftermath.examine(variant().scene(8), all).expect("there is room");
    assert_eq!(failure.replay, "kontiki sim replay --seed 8 --profile swarm --drop 0,1,4,5");
    assert_eq!((failure.found_faults, failure.finished.plan.faults.len()), (6, 2));
    assert!(failure.is_minimal && !failure.is_unsteady && failure.details.is_some());
    let json = folder.join("seed-8-swarm.json");
    assert_eq!(failure.written, [json.clone(), folder.join("seed-8-swarm.html")]);
    let text = fs::read_to_string(json).expect("it was written");
    let json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(json["replay"], serde_json::json!(failure.replay));

    // Another one that fails in the same way costs nothing more.
    let again = aftermath.examine(variant().scene(9), finished(9, &[0])).expect("nothing is done");
    assert!(again.is_repetition && again.written.is_empty());
    assert_eq!(again.replay, "kontiki sim replay --seed 9 --profile swarm");
}

#[test]
fn one_that_does_not_fail_again_is_called_unsteady() {
    let scratch = Scratch::new().expect("there is room");
    let program = program();
    let args = ShrinkArgs { runs: 0, at_a_time: 1, folder: scratch.file("failures") };
    let mut aftermath = Aftermath::new(&program, args);
    let mut other = finished(8, &[0]);
    other.violation = None;
    other.died = Some("exit status: 101".to_owned());
    let failure = aftermath.examine(variant().scene(8), other).expect("there is room");
    assert!(failure.is_unsteady && failure.trials == 0);
    assert!(failure.to_string().contains("unsteady"), "{failure}");
}
