//! A publish that was confirmed is in all of its queues.

use std::collections::BTreeSet;

use super::queues::{broken, received};
use super::{Check, Evidence, Violation};
use crate::history::{Answer, Call, RecordName};
use crate::workload::{FAILED, FAILING, destinations};

/// The check.
pub const PUBLISHED_EVERYWHERE: Check = Check {
    name: "published_everywhere",
    promise: "a message whose publication was confirmed is delivered in every queue that its \
              exchange leads it to",
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
    for op in &evidence.history.ops {
        let Call::Publish { exchange, key, message } = &op.call else { continue };
        let Some((_, Answer::Published { queues })) = op.answer() else { continue };
        let expected = destinations(exchange, key);
        if expected.len() != *queues as usize {
            let text = format!(
                "{message:?}, published to {exchange} with the key {key}, is in {queues} queues, \
                 it is said; it goes to {expected:?}"
            );
            return Err(broken(PUBLISHED_EVERYWHERE.name, text, &[op.id]));
        }
        for queue in expected {
            // Whoever had it may not have got the answer, until it went away.
            let moved = *queue == FAILING && seen.contains(&(FAILED[0], *message));
            if !seen.contains(&(*queue, *message)) && !moved {
                let text = format!(
                    "{message:?} was published to {exchange} with the key {key}, and was never \
                     delivered in {queue}"
                );
                return Err(broken(PUBLISHED_EVERYWHERE.name, text, &[op.id]));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::queues::tests::{Sample, name};
    use super::*;

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
    fn one_that_fails_may_be_among_the_dead() {
        let mut sample = Sample::new();
        sample.publish("by-topic", "fail.x", 0, 1);
        assert!(run(&sample.0).unwrap_err().text.contains(&format!("{:?}", name(0))));
        sample.receive("failed-a", &[(0, "3-0", 1, 0)]);
        assert_eq!(run(&sample.0), Ok(()));
    }
}
