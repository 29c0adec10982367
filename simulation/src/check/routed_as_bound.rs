//! Nothing is in a queue that it isn't routed to.

use std::collections::{BTreeMap, BTreeSet};

use super::queues::{broken, received};
use super::routes::Routes;
use super::{Check, Evidence, Violation};
use crate::history::{Call, OpId, RecordName};
use crate::workload::{FAILED, FAILING, ROUTED, SPARED, route};

/// The check.
pub const ROUTED_AS_BOUND: Check = Check {
    name: "routed_as_bound",
    promise: "nothing is delivered in a queue that its exchange does not lead it to, by the \
              bindings that are there at that time; where one of several is chosen, it is always \
              the same",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    let routes = Routes::of(evidence);
    let mut published: BTreeMap<RecordName, (BTreeSet<&str>, OpId)> = BTreeMap::new();
    // By exchange and key: where one of several queues is chosen.
    let mut chosen: BTreeMap<RecordName, (&str, &str)> = BTreeMap::new();
    for op in &evidence.history.ops {
        if let Call::Publish { exchange, key, message, .. } = &op.call {
            // It may have been tried several times, and bindings have changed meanwhile.
            let (led_to, _) = published.entry(*message).or_insert((BTreeSet::new(), op.id));
            led_to.extend(routes.outcomes(op).into_iter().flatten());
            if !route(exchange, key).one.is_empty() {
                chosen.insert(*message, (exchange, key));
            }
        }
    }
    let mut homes: BTreeMap<(&str, &str), (&str, OpId)> = BTreeMap::new();
    for ((queue, id), deliveries) in received(evidence) {
        let from = if FAILED.contains(&queue) { FAILING } else { queue };
        if from != FAILING && from != SPARED && !ROUTED.contains(&from) {
            continue;
        }
        for got in deliveries {
            let message = got.delivery.message;
            let known = message.and_then(|message| published.get(&message));
            let (led_to, op) = match known {
                Some((led_to, op)) if !led_to.contains(from) => (led_to.clone(), Some(*op)),
                Some(_) => {
                    let Some(key) = message.and_then(|message| chosen.get(&message)) else {
                        continue;
                    };
                    let (home, first) = homes.entry(*key).or_insert((queue, got.op.id));
                    if *home == queue {
                        continue;
                    }
                    let text = format!("{key:?} leads to {queue}, and has led to {home}");
                    return Err(broken(ROUTED_AS_BOUND.name, text, &[*first, got.op.id]));
                }
                None => (BTreeSet::new(), None),
            };
            let text = format!("{id} of {queue} is {message:?}, which goes to {led_to:?}");
            let ops: Vec<OpId> = op.into_iter().chain([got.op.id]).collect();
            return Err(broken(ROUTED_AS_BOUND.name, text, &ops));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::queues::tests::Sample;
    use super::super::{Deed, Probe};
    use super::*;
    use crate::history::{Answer, Bound};

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
    #[test]
    fn a_key_that_leads_elsewhere_the_next_time_is_noticed() {
        let mut sample = Sample::new();
        for number in 0..3 {
            sample.publish("by-hash", if number == 2 { "h2" } else { "h1" }, number, 1);
        }
        sample.receive("routed-a", &[(0, "1-0", 1, 0)]);
        sample.receive("routed-b", &[(2, "2-0", 1, 0)]);
        assert_eq!(run(&sample.0), Ok(()));
        sample.receive("routed-b", &[(1, "2-1", 1, 0)]);
        let said = run(&sample.0).unwrap_err().text;
        assert!(said.ends_with("leads to routed-b, and has led to routed-a"), "{said}");
    }

    #[test]
    fn what_comes_by_a_binding_that_was_taken_back_is_noticed() {
        let (exchange, key) = ("by-key".to_owned(), "moving-3".to_owned());
        let binding = Bound { exchange, key, queue: "routed-b".to_owned() };
        let mut sample = Sample::new();
        sample.op(Call::Bind { binding: binding.clone() }, Answer::Done);
        sample.op(Call::Unbind { binding }, Answer::Done);
        sample.publish("by-key", "moving-3", 0, 1);
        for (at, index) in [(4, 8), (14, 9)] {
            let deed = Deed::Applied { index, term: 1, entry: 0, replies: 0 };
            sample.0.probes.push(Probe { at, node: 1, shard: 0, replica: 1, deed });
        }
        sample.receive("routed-b", &[(0, "2-0", 1, 0)]);
        assert_eq!(run(&sample.0), Ok(()), "any node may have been asked");
        let Call::Publish { through, .. } = &mut sample.0.history.ops[2].call else {
            unreachable!("it was published third");
        };
        *through = Some(1);
        let said = run(&sample.0).unwrap_err().text;
        assert!(said.contains("2-0 of routed-b") && said.ends_with("{\"spared\"}"), "{said}");
    }
}
