//! A publish that was confirmed is in all of its queues.

use std::collections::BTreeSet;

use super::queues::{broken, received};
use super::routes::{Queues, Routes};
use super::{Check, Evidence, Violation};
use crate::history::{Answer, Call, RecordName};
use crate::workload::{FAILED, FAILING};

/// The check.
pub const PUBLISHED_EVERYWHERE: Check = Check {
    name: "published_everywhere",
    promise: "a message whose publication was confirmed is delivered in every queue that its \
              exchange leads it to, by the bindings that are there at that time",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    if evidence.end.whole_at.is_none() {
        // Nothing was drained; the liveness check says why.
        return Ok(());
    }
    let mut seen: BTreeSet<(&str, RecordName)> = BTreeSet::new();
    for ((queue, _), deliveries) in received(evidence) {
        seen.extend(deliveries.iter().filter_map(|got| Some((queue, got.delivery.message?))));
    }
    let is_in = |queue: &str, message: RecordName| {
        // Whoever had it may not have got the answer, until it went away.
        let moved = queue == FAILING && seen.contains(&(FAILED[0], message));
        moved || seen.contains(&(queue, message))
    };
    let routes = Routes::of(evidence);
    for op in &evidence.history.ops {
        let Call::Publish { exchange, key, message, .. } = &op.call else { continue };
        let Some((_, Answer::Published { queues })) = op.answer() else { continue };
        let ways = routes.outcomes(op);
        let as_many = |way: &&Queues| way.len() == *queues as usize;
        let mut missing = None;
        let mut is_said = false;
        for way in ways.iter().filter(as_many) {
            is_said = true;
            missing = way.iter().find(|queue| !is_in(queue, *message));
            if missing.is_none() {
                break;
            }
        }
        let what = format!("{message:?}, published to {exchange} with the key {key}");
        if !is_said {
            let text = format!("{what}, is in {queues} queues, it is said; it goes to {ways:?}");
            return Err(broken(PUBLISHED_EVERYWHERE.name, text, &[op.id]));
        }
        if let Some(queue) = missing {
            let text = format!("{what}, was never delivered in {queue}; it goes to {ways:?}");
            return Err(broken(PUBLISHED_EVERYWHERE.name, text, &[op.id]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::queues::tests::{Sample, name};
    use super::*;
    use crate::history::Bound;

    #[test]
    fn every_queue_has_to_have_it() {
        let mut sample = Sample::new();
        sample.publish("by-topic", "a.b", 0, 2);
        sample.receive("routed-a", &[(0, "1-0", 1, 0)]);
        let said = run(&sample.0).unwrap_err().text;
        assert!(said.contains("never delivered in routed-b"), "{said}");
        sample.receive("routed-b", &[(0, "2-0", 1, 0)]);
        assert_eq!(run(&sample.0), Ok(()));
        sample.publish("by-topic", "a.b", 1, 1);
        let said = run(&sample.0).unwrap_err().text;
        assert!(said.contains("is in 1 queues, it is said"), "{said}");
    }

    #[test]
    fn one_of_the_possible_ways_has_to_be_whole() {
        let mut sample = Sample::new();
        sample.publish("by-topic", "moving.3.b", 0, 2);
        // It may have been bound or not, but there was no binding.
        assert!(run(&sample.0).unwrap_err().text.contains("is in 2 queues, it is said"));
        let (exchange, key) = ("by-topic".to_owned(), "moving.3.#".to_owned());
        let binding = Bound { exchange, key, queue: "routed-c".to_owned() };
        sample.op(Call::Bind { binding }, Answer::Done);
        sample.0.history.ops[1].invoked = 0;
        sample.receive("routed-b", &[(0, "1-0", 1, 0)]);
        let said = run(&sample.0).unwrap_err().text;
        assert!(said.contains("never delivered in routed-c"), "{said}");
        sample.receive("routed-c", &[(0, "2-0", 1, 0)]);
        assert_eq!(run(&sample.0), Ok(()));
        sample.publish("by-hash", "h1", 1, 1);
        assert!(run(&sample.0).unwrap_err().text.contains("never delivered in routed-"));
        sample.receive("routed-b", &[(1, "1-1", 1, 0)]);
        assert_eq!(run(&sample.0), Ok(()));
    }

    #[test]
    fn one_that_fails_may_be_among_the_dead() {
        let mut sample = Sample::new();
        sample.publish("by-topic", "fail.x", 0, 1);
        assert!(run(&sample.0).unwrap_err().text.contains(&format!("{:?}", name(0))));
        sample.receive("failed-a", &[(0, "3-0", 1, 0)]);
        assert_eq!(run(&sample.0), Ok(()));
    }
}
