//! Messages that die and come back, as often as it may be, are one message all the time.

use std::collections::{BTreeMap, BTreeSet};

use super::queues::{broken, is_done, received, settlements};
use super::{Check, Evidence, Violation};
use crate::history::{Action, OpId, RecordName};
use crate::workload::{AGAIN, AGAIN_DEAD};

/// The check.
pub const REDRIVEN_ONCE: Check = Check {
    name: "redriven_once",
    promise: "a message that is dead-lettered and redriven is acknowledged in one place in the \
              end: \
              it is neither lost nor doubled on the way",
    run,
};

#[derive(Default)]
struct Ends<'e> {
    /// Its ids, with where one was delivered.
    ids: BTreeMap<(&'e str, &'e str), OpId>,
    /// Those under which it was acknowledged, and those under which it may have been.
    acknowledged: BTreeMap<(&'e str, &'e str), OpId>,
    maybe: BTreeSet<(&'e str, &'e str)>,
}

fn run(evidence: &Evidence) -> Result<(), Violation> {
    if evidence.end.whole_at.is_none() {
        return Ok(());
    }
    let mut messages: BTreeMap<RecordName, Ends<'_>> = BTreeMap::new();
    let mut names: BTreeMap<(&str, &str), RecordName> = BTreeMap::new();
    for (place, deliveries) in received(evidence) {
        let message = deliveries.first().and_then(|got| got.delivery.message);
        let Some(message) = message.filter(|_| place.0 == AGAIN || place.0 == AGAIN_DEAD) else {
            continue;
        };
        names.insert(place, message);
        messages.entry(message).or_default().ids.insert(place, deliveries[0].op.id);
    }
    for ((place, _), ops) in settlements(evidence) {
        let Some(message) = names.get(&place) else { continue };
        let ends = messages.entry(*message).or_default();
        for (op, _) in ops.iter().filter(|(_, action)| *action == Action::Acknowledge) {
            if is_done(op) {
                ends.acknowledged.insert(place, op.id);
            }
            if op.may_be_done() {
                ends.maybe.insert(place);
            }
        }
    }
    for (message, ends) in messages {
        let ops: Vec<OpId> = ends.acknowledged.values().copied().collect();
        if ops.len() > 1 {
            let text = format!("{message:?} was acknowledged as {:?}", ends.acknowledged.keys());
            return Err(broken(REDRIVEN_ONCE.name, text, &ops));
        }
        if ends.maybe.is_empty() {
            let text = format!(
                "{message:?} was delivered as {:?}, was never acknowledged, and is gone",
                ends.ids.keys()
            );
            let ops: Vec<OpId> = ends.ids.values().copied().collect();
            return Err(broken(REDRIVEN_ONCE.name, text, &ops));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::queues::tests::Sample;
    use super::*;

    #[test]
    fn a_message_ends_once() {
        let mut sample = Sample::new();
        sample.receive(AGAIN, &[(0, "1-0", 1, 0)]);
        sample.settle(AGAIN, "1-0", 1, Action::Reject, 0);
        assert!(run(&sample.0).unwrap_err().text.contains("and is gone"));
        sample.receive(AGAIN, &[(0, "1-5", 1, 200)]);
        sample.settle(AGAIN, "1-5", 1, Action::Acknowledge, 0);
        assert_eq!(run(&sample.0), Ok(()));
        sample.receive(AGAIN_DEAD, &[(0, "2-0", 1, 300)]);
        sample.settle(AGAIN_DEAD, "2-0", 1, Action::Acknowledge, 0);
        assert!(run(&sample.0).unwrap_err().text.contains("was acknowledged as"));
    }
}
