//! What queues promise: each message to one consumer at a time, again until it is settled, and
//! never afterwards.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, Evidence, Violation};
use crate::history::{Action, Answer, Call, Delivery, Op, OpId, RecordName};
use crate::workload::{
    AGAIN, AGAIN_DEAD, ATTEMPTS_MAX, BULKY, BULKY_ATTEMPTS_MAX, BULKY_DEAD, DEAD, FRAGILE, LATER,
    LATER_MS, ORDERED, SPILLING,
};

/// The check.
pub const MESSAGES_NOT_LOST: Check = Check {
    name: "messages_not_lost",
    promise: "a message whose sending was acknowledged is delivered, in its queue or in the \
              dead-letter queue, until it is settled",
    run: not_lost,
};

/// The check.
pub const SETTLED_STAYS_SETTLED: Check = Check {
    name: "settled_stays_settled",
    promise: "a message that was acknowledged under a valid lease is never delivered again",
    run: settled,
};

/// The check.
pub const ONE_LEASE_AT_A_TIME: Check = Check {
    name: "one_lease_at_a_time",
    promise: "at most one consumer holds a valid lease on a message, and deliveries are counted",
    run: one_lease,
};

/// The check.
pub const SENT_ONCE: Check = Check {
    name: "sent_once",
    promise: "a message that is sent again under its deduplication id is stored once, and moved to \
              the dead-letter queue once",
    run: once,
};

/// The check.
pub const GROUPS_IN_ORDER: Check = Check {
    name: "groups_in_order",
    promise: "messages of a FIFO group are delivered in the order in which they were stored, the \
              next one when the one before is settled",
    run: in_order,
};

/// The check.
pub const NEVER_EARLY: Check = Check {
    name: "never_early",
    promise: "a delayed message is not delivered before its time, and no message more often than \
              its queue allows",
    run: early,
};

/// A message in its queue.
pub(super) type Place<'e> = (&'e str, &'e str);

pub(super) struct Got<'e> {
    pub(super) op: &'e Op,
    pub(super) delivery: &'e Delivery,
}

pub(super) fn received(evidence: &Evidence) -> BTreeMap<Place<'_>, Vec<Got<'_>>> {
    let mut all: BTreeMap<Place<'_>, Vec<Got<'_>>> = BTreeMap::new();
    for op in &evidence.history.ops {
        let Call::Receive { queue, .. } = &op.call else { continue };
        let Some((_, Answer::Received(deliveries))) = op.answer() else { continue };
        for delivery in deliveries {
            let place = (queue.as_str(), delivery.message_id.as_str());
            all.entry(place).or_default().push(Got { op, delivery });
        }
    }
    for deliveries in all.values_mut() {
        deliveries.sort_by_key(|got| got.delivery.number);
    }
    all
}

/// What was asked for each delivery.
pub(super) fn settlements(evidence: &Evidence) -> BTreeMap<(Place<'_>, u32), Vec<(&Op, Action)>> {
    let mut all: BTreeMap<(Place<'_>, u32), Vec<(&Op, Action)>> = BTreeMap::new();
    for op in &evidence.history.ops {
        let Call::Settle { queue, message_id, delivery, action } = &op.call else { continue };
        let place = (queue.as_str(), message_id.as_str());
        all.entry((place, *delivery)).or_default().push((op, *action));
    }
    all
}

pub(super) fn broken(check: &str, text: String, ops: &[OpId]) -> Violation {
    let (check, ops) = (check.to_owned(), ops.to_vec());
    Violation { check, text, at: None, ops, nodes: Vec::new() }
}

pub(super) fn is_done(op: &Op) -> bool {
    matches!(op.answer(), Some((_, Answer::Settled { done: true, .. })))
}

fn not_lost(evidence: &Evidence) -> Result<(), Violation> {
    if evidence.end.whole_at.is_none() {
        // Nothing was drained; the liveness check says why.
        return Ok(());
    }
    let all = received(evidence);
    let mut seen: BTreeSet<(&str, RecordName)> = BTreeSet::new();
    for ((queue, _), deliveries) in &all {
        seen.extend(deliveries.iter().filter_map(|got| Some((*queue, got.delivery.message?))));
    }
    for op in &evidence.history.ops {
        let Call::Send { queue, message, .. } = &op.call else { continue };
        let Some((_, Answer::Sent { message_id, .. })) = op.answer() else { continue };
        let there = seen.contains(&(queue.as_str(), *message))
            || ((queue == FRAGILE || queue == SPILLING) && seen.contains(&(DEAD, *message)))
            || (queue == AGAIN && seen.contains(&(AGAIN_DEAD, *message)))
            || (queue == BULKY && seen.contains(&(BULKY_DEAD, *message)));
        if !there {
            let text = format!("{message:?} is {message_id} of {queue}, and was never delivered");
            return Err(broken(MESSAGES_NOT_LOST.name, text, &[op.id]));
        }
    }
    Ok(())
}

fn settled(evidence: &Evidence) -> Result<(), Violation> {
    let all = received(evidence);
    for ((place, number), ops) in settlements(evidence) {
        let acknowledged =
            ops.iter().find(|(op, action)| *action == Action::Acknowledge && is_done(op));
        let Some((op, _)) = acknowledged else { continue };
        let again = all.get(&place).and_then(|got| got.last());
        let again = again.filter(|got| got.delivery.number > number);
        if let Some(again) = again {
            let text = format!(
                "{} of {} was acknowledged after delivery {number}, and delivered again: {:?}",
                place.1, place.0, again.delivery
            );
            return Err(broken(SETTLED_STAYS_SETTLED.name, text, &[op.id, again.op.id]));
        }
    }
    Ok(())
}

fn one_lease(evidence: &Evidence) -> Result<(), Violation> {
    let settlements = settlements(evidence);
    for (place, deliveries) in received(evidence) {
        for pair in deliveries.windows(2) {
            let [former, next] = pair else { continue };
            let ops = [former.op.id, next.op.id];
            let (before, after) = (former.delivery, next.delivery);
            if before.number == after.number {
                let text = format!("{place:?}: two deliveries are number {}", after.number);
                return Err(broken(ONE_LEASE_AT_A_TIME.name, text, &ops));
            }
            let asked = settlements.get(&(place, before.number));
            let asked = asked.map(Vec::as_slice).unwrap_or_default();
            let given_back = asked.iter().any(|(op, action)| {
                matches!(action, Action::Release | Action::Fail) && op.may_be_done()
            });
            let until_ms = asked
                .iter()
                .filter_map(|(op, _)| match op.answer() {
                    Some((_, Answer::Settled { done: true, until_ms })) => Some(*until_ms),
                    _ => None,
                })
                .fold(before.until_ms, i64::max);
            if !given_back && after.granted_ms < until_ms {
                let text = format!(
                    "{place:?}: delivery {} was leased until {until_ms}, and delivery {} began at \
                     {}",
                    before.number, after.number, after.granted_ms
                );
                return Err(broken(ONE_LEASE_AT_A_TIME.name, text, &ops));
            }
        }
    }
    Ok(())
}

/// The ids of a message in a queue, with when each was stored by the shard's clock, if it is known.
type Ids<'e> = BTreeMap<&'e str, (Option<i64>, OpId)>;

/// How long ids are remembered, by the shard's clock.
const WINDOW_MS: i64 = 300_000;

fn once(evidence: &Evidence) -> Result<(), Violation> {
    let mut ids: BTreeMap<(&str, RecordName), Ids<'_>> = BTreeMap::new();
    for op in &evidence.history.ops {
        match (&op.call, op.answer()) {
            (Call::Send { queue, message, .. }, Some((_, Answer::Sent { message_id, .. }))) => {
                let known = ids.entry((queue, *message)).or_default();
                known.entry(message_id).or_insert((None, op.id));
            }
            (Call::Receive { queue, .. }, Some((_, Answer::Received(deliveries)))) => {
                for delivery in deliveries {
                    let Some(message) = delivery.message else { continue };
                    let known = ids.entry((queue, message)).or_default();
                    let stored = Some(delivery.sent_ms);
                    known.insert(&delivery.message_id, (stored, op.id));
                }
            }
            _ => {}
        }
    }
    // What is redriven has a new id each time: that has a check of its own.
    ids.retain(|(queue, _), _| *queue != AGAIN && *queue != AGAIN_DEAD);
    for ((queue, message), known) in &ids {
        let mut stored: Vec<(i64, &str, OpId)> =
            known.iter().map(|(id, (at, op))| (at.unwrap_or(0), *id, *op)).collect();
        stored.sort_unstable();
        // What was stored twice, because its window was over, is moved twice.
        let twice = |from: &str| ids.get(&(from, *message)).is_some_and(|known| known.len() > 1);
        for pair in stored.windows(2) {
            let [(first_ms, first, first_op), (second_ms, second, second_op)] = pair else {
                continue;
            };
            let over = second_ms - first_ms >= WINDOW_MS && *first_ms > 0;
            let moved_twice = *queue == DEAD && (twice(FRAGILE) || twice(SPILLING));
            if !over && !moved_twice {
                let text = format!(
                    "{message:?} is {first} of {queue}, stored at {first_ms}, and {second}, stored \
                     at {second_ms}"
                );
                return Err(broken(SENT_ONCE.name, text, &[*first_op, *second_op]));
            }
        }
    }
    Ok(())
}

/// Where a message is in its queue: ids are given out in order.
fn offset(message_id: &str) -> u64 {
    let last = message_id.rsplit('-').next().unwrap_or_default();
    u64::from_str_radix(last, 16).unwrap_or(0)
}

fn in_order(evidence: &Evidence) -> Result<(), Violation> {
    let mut groups: BTreeMap<RecordName, u64> = BTreeMap::new();
    for op in &evidence.history.ops {
        if let Call::Send { queue, message, group: Some(group), .. } = &op.call
            && queue == ORDERED
        {
            groups.insert(*message, *group);
        }
    }
    // Per group, by offset: when a message was delivered first and last, and in which answers.
    let mut delivered: BTreeMap<u64, BTreeMap<u64, Vec<Got<'_>>>> = BTreeMap::new();
    for ((queue, id), deliveries) in received(evidence) {
        let message = deliveries.first().and_then(|got| got.delivery.message);
        let Some(group) = message.and_then(|message| groups.get(&message)) else { continue };
        if queue == ORDERED {
            delivered.entry(*group).or_default().insert(offset(id), deliveries);
        }
    }
    for messages in delivered.values() {
        let mut earlier: Vec<&Vec<Got<'_>>> = Vec::new();
        for deliveries in messages.values() {
            for before in &earlier {
                deliveries.iter().try_for_each(|got| after(before, got))?;
            }
            earlier.push(deliveries);
        }
    }
    Ok(())
}

/// A delivery comes after the last one of an earlier message of its group, or together with one:
/// those of one answer may be settled in any order, but each comes again only in its turn.
fn after(before: &[Got<'_>], got: &Got<'_>) -> Result<(), Violation> {
    let is_with = |one: &Got<'_>| {
        one.op.id == got.op.id || one.delivery.granted_ms == got.delivery.granted_ms
    };
    let last = before.last().expect("it was delivered");
    if before.iter().any(is_with) || last.delivery.granted_ms < got.delivery.granted_ms {
        return Ok(());
    }
    let text = format!(
        "{:?} was delivered before the last delivery of an earlier message of its group: {:?}",
        got.delivery, last.delivery
    );
    Err(broken(GROUPS_IN_ORDER.name, text, &[got.op.id, last.op.id]))
}

fn early(evidence: &Evidence) -> Result<(), Violation> {
    let mut delays: BTreeMap<(&str, RecordName), u32> = BTreeMap::new();
    for op in &evidence.history.ops {
        if let Call::Send { queue, message, delay_ms: Some(delay_ms), .. } = &op.call {
            delays.insert((queue, *message), *delay_ms);
        }
    }
    for ((queue, id), deliveries) in received(evidence) {
        for got in &deliveries {
            let delivery = got.delivery;
            let own = delivery.message.and_then(|message| delays.get(&(queue, message)));
            let delay_ms = if queue == LATER { LATER_MS } else { own.map_or(0, |ms| (*ms).into()) };
            if delivery.granted_ms < delivery.sent_ms + delay_ms {
                let text = format!("{id} of {queue} came early: {delivery:?}");
                return Err(broken(NEVER_EARLY.name, text, &[got.op.id]));
            }
            let attempts_max = match queue {
                FRAGILE => ATTEMPTS_MAX,
                BULKY => BULKY_ATTEMPTS_MAX,
                _ => u32::MAX,
            };
            if delivery.number > attempts_max {
                let text = format!("{id} of {queue} was delivered too often: {delivery:?}");
                return Err(broken(NEVER_EARLY.name, text, &[got.op.id]));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "queues_test.rs"]
pub(super) mod tests;
