//! Nothing is in a queue that it isn't routed to.

use std::collections::BTreeMap;

use super::queues::{broken, received};
use super::{Check, Evidence, Violation};
use crate::history::{Call, OpId, RecordName};
use crate::workload::{FAILED, FAILING, ROUTED, destinations};

/// The check.
pub const ROUTED_AS_BOUND: Check = Check {
    name: "routed_as_bound",
    promise: "nothing is delivered in a queue that its exchange does not lead it to",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    let mut published: BTreeMap<RecordName, (&'static [&'static str], OpId)> = BTreeMap::new();
    for op in &evidence.history.ops {
        if let Call::Publish { exchange, key, message } = &op.call {
            published.insert(*message, (destinations(exchange, key), op.id));
        }
    }
    for ((queue, id), deliveries) in received(evidence) {
        let from = if FAILED.contains(&queue) { FAILING } else { queue };
        if from != FAILING && !ROUTED.contains(&from) {
            continue;
        }
        for got in deliveries {
            let known = got.delivery.message.and_then(|message| published.get(&message));
            let (led_to, op) = match known {
                Some((led_to, op)) if !led_to.contains(&from) => (*led_to, Some(*op)),
                Some(_) => continue,
                None => (&[][..], None),
            };
            let text =
                format!("{id} of {queue} is {:?}, which goes to {led_to:?}", got.delivery.message);
            let ops: Vec<OpId> = op.into_iter().chain([got.op.id]).collect();
            return Err(broken(ROUTED_AS_BOUND.name, text, &ops));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::queues::tests::Sample;
    use super::*;

    #[test]
    fn what_is_elsewhere_is_noticed() {
        let mut sample = Sample::new();
        sample.publish("by-topic", "a.x", 0, 1);
        sample.publish("by-topic", "fail.x", 1, 1);
        sample.receive("routed-a", &[(0, "1-0", 1, 0)]);
        sample.receive("failed-b", &[(1, "3-0", 1, 0)]);
        sample.receive("jobs", &[(7, "9-0", 1, 0)]);
        assert_eq!(run(&sample.0), Ok(()));
        let mut other = Sample(sample.0.clone());
        other.receive("routed-b", &[(0, "2-0", 1, 0)]);
        assert!(run(&other.0).unwrap_err().text.starts_with("2-0 of routed-b"));
        sample.receive("failed-a", &[(0, "4-0", 1, 0)]);
        assert!(run(&sample.0).unwrap_err().text.starts_with("4-0 of failed-a"));
    }
}
