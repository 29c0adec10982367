//! What is dead-lettered through an exchange is in all of the queues that it leads to, or in none.

use std::collections::BTreeMap;

use super::queues::{broken, is_done, received, settlements};
use super::{Check, Evidence, Violation};
use crate::history::{Action, OpId, RecordName};
use crate::workload::{FAILED, FAILING};

/// The check.
pub const DEAD_LETTERED_EVERYWHERE: Check = Check {
    name: "dead_lettered_everywhere",
    promise: "a message that is dead-lettered through an exchange is delivered in every queue that \
              it leads to; one that was acknowledged is in none of them",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    if evidence.end.whole_at.is_none() {
        return Ok(());
    }
    let all = received(evidence);
    let mut dead: [BTreeMap<RecordName, OpId>; 2] = Default::default();
    for ((queue, _), deliveries) in &all {
        let Some(place) = FAILED.iter().position(|failed| failed == queue) else { continue };
        let messages = deliveries.iter().filter_map(|got| Some((got.delivery.message?, got.op.id)));
        dead[place].extend(messages);
    }
    for (here, there) in [(0, 1), (1, 0)] {
        let missing = dead[here].iter().find(|(message, _)| !dead[there].contains_key(message));
        if let Some((message, op)) = missing {
            let text = format!(
                "{message:?} was delivered in {}, and never in {}",
                FAILED[here], FAILED[there]
            );
            return Err(broken(DEAD_LETTERED_EVERYWHERE.name, text, &[*op]));
        }
    }
    for ((place, number), ops) in settlements(evidence) {
        if place.0 != FAILING {
            continue;
        }
        let done = ops.iter().find(|(op, action)| *action == Action::Acknowledge && is_done(op));
        let Some((op, _)) = done else { continue };
        let messages = all.get(&place).into_iter().flatten();
        for message in messages.filter_map(|got| got.delivery.message) {
            if let Some(again) = dead[0].get(&message) {
                let text = format!(
                    "{message:?} was acknowledged in {FAILING}, delivery {number}, and \
                     dead-lettered"
                );
                return Err(broken(DEAD_LETTERED_EVERYWHERE.name, text, &[op.id, *again]));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::queues::tests::Sample;
    use super::*;

    #[test]
    fn a_dead_letter_is_in_both_or_none() {
        let mut sample = Sample::new();
        sample.receive("failed-b", &[(0, "3-0", 1, 0)]);
        let said = run(&sample.0).unwrap_err().text;
        assert!(said.contains("in failed-b, and never in failed-a"), "{said}");
        sample.receive("failed-a", &[(0, "4-0", 1, 0)]);
        assert_eq!(run(&sample.0), Ok(()));
        sample.receive(FAILING, &[(0, "5-0", 1, 0)]);
        sample.settle(FAILING, "5-0", 1, Action::Fail, 0);
        assert_eq!(run(&sample.0), Ok(()));
        sample.settle(FAILING, "5-0", 1, Action::Acknowledge, 0);
        assert!(run(&sample.0).unwrap_err().text.contains("and dead-lettered"));
    }
}
