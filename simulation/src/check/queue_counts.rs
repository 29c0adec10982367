//! What queues say about themselves.

use std::collections::{BTreeMap, BTreeSet};

use super::routes::Routes;
use super::{Check, Evidence, Violation};
use crate::history::{Action, Answer, Call, Counts, Op, OpId, RecordName};
use crate::workload::{
    AGAIN, AGAIN_DEAD, BULKY, BULKY_DEAD, DEAD, FAILED, FAILING, FRAGILE, LENGTH_MAX, NARROW,
    SPILLING,
};

/// The check.
pub const LENGTH_RESPECTED: Check = Check {
    name: "length_respected",
    promise: "a queue never has more messages than it may have",
    run: length,
};

/// The check.
pub const COUNTS_EXACT: Check = Check {
    name: "counts_exact",
    promise: "a queue counts what was sent, delivered, acknowledged and moved, each once, through \
              all failures",
    run: exact,
};

fn broken(check: &str, text: String, ops: &[OpId]) -> Violation {
    let (check, ops) = (check.to_owned(), ops.to_vec());
    Violation { check, text, at: None, ops, nodes: Vec::new() }
}

fn counted(evidence: &Evidence) -> impl Iterator<Item = (&Op, &str, Counts)> {
    evidence.history.ops.iter().filter_map(|op| {
        let Call::Count { queue } = &op.call else { return None };
        let Some((_, Answer::Counted(counts))) = op.answer() else { return None };
        Some((op, queue.as_str(), *counts))
    })
}

fn length(evidence: &Evidence) -> Result<(), Violation> {
    for (op, queue, counts) in counted(evidence) {
        let messages = match queue {
            NARROW => counts.waiting + counts.leased,
            // What consumers have can't be moved away for others.
            SPILLING => counts.waiting,
            _ => continue,
        };
        if messages > LENGTH_MAX {
            let text = format!("{queue} may have {LENGTH_MAX} messages, and has {messages}");
            return Err(broken(LENGTH_RESPECTED.name, text, &[op.id]));
        }
    }
    Ok(())
}

/// What clients know of a queue.
#[derive(Default)]
struct Known<'e> {
    sent: BTreeSet<&'e str>,
    /// Messages whose publication was confirmed.
    published: BTreeSet<RecordName>,
    /// Calls that may have stored a message.
    sends: u64,
    /// What each message said last about how often it was delivered.
    deliveries: BTreeMap<&'e str, u32>,
    acknowledged: BTreeSet<(&'e str, u32)>,
    /// Calls that may have acknowledged one.
    acknowledgements: u64,
    /// How often those were delivered that have come elsewhere as dead letters. Of two copies
    /// each says the same.
    dead: BTreeMap<RecordName, u32>,
}

impl Known<'_> {
    /// How many deliveries there were. A message that is acknowledged was not delivered again, so
    /// the last delivery that anybody knows of is its last one; one that is moved says how many it
    /// had. `None`: something else has become of some, and what is known is the least.
    fn delivered(&self, counts: &Counts) -> (u64, Option<u64>) {
        let known: u64 = self.deliveries.values().map(|number| u64::from(*number)).sum();
        if counts.moved == 0 {
            let all = self.deliveries.len() as u64 == counts.acknowledged;
            return (known, all.then_some(known));
        }
        let acked: BTreeSet<&str> = self.acknowledged.iter().map(|(id, _)| *id).collect();
        let is_whole =
            self.dead.len() as u64 == counts.moved && acked.len() as u64 == counts.acknowledged;
        let of_acked = acked.iter().filter_map(|id| self.deliveries.get(id));
        let of_dead = self.dead.values();
        let all = of_acked.chain(of_dead).map(|number| u64::from(*number)).sum();
        (known, is_whole.then_some(all))
    }
}

fn known(evidence: &Evidence) -> BTreeMap<&str, Known<'_>> {
    let mut all: BTreeMap<&str, Known<'_>> = BTreeMap::new();
    let routes = Routes::of(evidence);
    for op in &evidence.history.ops {
        let answer = op.answer().map(|(_, answer)| answer);
        if let Call::Send { queue, .. } = &op.call {
            let known = all.entry(queue).or_default();
            let is_repeated = matches!(answer, Some(Answer::Sent { duplicate: true, .. }));
            known.sends += u64::from(op.may_be_done() && !is_repeated);
            if let Some(Answer::Sent { message_id, .. }) = answer {
                known.sent.insert(message_id);
            }
        }
        if let Call::Publish { message, .. } = &op.call {
            let ways = routes.outcomes(op);
            let queues: BTreeSet<&str> = ways.iter().flatten().copied().collect();
            for queue in queues {
                let known = all.entry(queue).or_default();
                known.sends += u64::from(op.may_be_done());
                if answer.is_some() && ways.iter().all(|way| way.contains(&queue)) {
                    known.published.insert(*message);
                }
            }
        }
        if let (Call::Receive { queue, .. }, Some(Answer::Received(deliveries))) =
            (&op.call, answer)
        {
            for delivery in deliveries {
                let known = all.entry(queue).or_default();
                let number = known.deliveries.entry(&delivery.message_id).or_default();
                *number = (*number).max(delivery.number);
                if let (Some(dead), Some(message)) = (&delivery.dead, delivery.message) {
                    let from = all.entry(&dead.from).or_default();
                    from.dead.insert(message, dead.deliveries);
                }
            }
        }
        if let Call::Settle { queue, message_id, delivery, action: Action::Acknowledge } = &op.call
        {
            let known = all.entry(queue).or_default();
            known.acknowledgements += u64::from(op.may_be_done());
            if let Some(Answer::Settled { done: true, .. }) = answer {
                known.acknowledged.insert((message_id, *delivery));
            }
        }
    }
    all
}

fn exact(evidence: &Evidence) -> Result<(), Violation> {
    if evidence.end.whole_at.is_none() {
        return Ok(());
    }
    let last: BTreeMap<&str, (OpId, Counts)> =
        counted(evidence).map(|(op, queue, counts)| (queue, (op.id, counts))).collect();
    let known = known(evidence);
    let none = Known::default();
    for (queue, (op, counts)) in &last {
        let Counts { waiting, leased, moving, sent, delivered, acknowledged, dropped, moved } =
            *counts;
        if waiting + leased + moving > 0 {
            // It could not be emptied; the liveness check says why.
            continue;
        }
        let seen = known.get(queue).unwrap_or(&none);
        let arrived = |from: &str| last.get(from).map_or(0, |(_, counts)| counts.moved);
        let arrived = match *queue {
            DEAD => arrived(FRAGILE) + arrived(SPILLING),
            AGAIN => arrived(AGAIN_DEAD),
            AGAIN_DEAD => arrived(AGAIN),
            BULKY_DEAD => arrived(BULKY),
            queue if FAILED.contains(&queue) => arrived(FAILING),
            _ => 0,
        };
        let known_sent = (seen.sent.len() + seen.published.len()) as u64;
        let (least, most) = (known_sent + arrived, seen.sends + arrived);
        let deliveries = seen.delivered(counts);
        let acked = (seen.acknowledged.len() as u64, seen.acknowledgements);
        let rows = [
            ("sent", sent, least, most),
            ("delivered", delivered, deliveries.0, deliveries.1.unwrap_or(u64::MAX)),
            ("acknowledged", acknowledged, acked.0, acked.1),
            ("dropped", dropped, 0, 0),
            ("acknowledged, or moved elsewhere", acknowledged + moved, sent, sent),
        ];
        for (what, count, least, most) in rows {
            if !(least..=most).contains(&count) {
                let text = format!(
                    "{queue} is empty and says that {count} messages were {what}; it must be \
                     {least} to {most}: {counts:?}"
                );
                return Err(broken(COUNTS_EXACT.name, text, &[*op]));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::queues::tests::Sample;
    use super::*;
    use crate::history::{ClientId, Outcome};

    fn evidence(queue: &str, counts: Counts) -> Evidence {
        let mut evidence = Evidence::default();
        evidence.end.whole_at = Some(1);
        let call = Call::Count { queue: queue.to_owned() };
        evidence.history.ops.push(Op {
            id: OpId(0),
            client: ClientId(1),
            call,
            invoked: 0,
            returned: Some((5, Outcome::Ok(Answer::Counted(counts)))),
        });
        evidence
    }

    #[test]
    fn more_messages_than_there_may_be_are_noticed() {
        let full = Counts { waiting: LENGTH_MAX, ..Counts::default() };
        assert_eq!(length(&evidence(NARROW, full)), Ok(()));
        let leased = Counts { leased: 1, ..full };
        assert_eq!(length(&evidence(SPILLING, leased)), Ok(()));
        let said = length(&evidence(NARROW, leased)).unwrap_err().text;
        assert_eq!(said, "narrow may have 6 messages, and has 7");
    }

    #[test]
    fn each_delivery_is_counted_once() {
        let mut sample = Sample::new();
        sample.receive("jobs", &[(0, "1-0", 1, 0), (1, "1-1", 1, 0)]);
        sample.receive("jobs", &[(0, "1-0", 3, 0)]);
        let known = |sample: &Sample, counts: &Counts| {
            known(&sample.0).get("jobs").map(|known| known.delivered(counts))
        };
        let acked = Counts { acknowledged: 2, ..Counts::default() };
        assert_eq!(known(&sample, &acked), Some((4, Some(4))), "one of them nobody has seen");
        let more = Counts { acknowledged: 3, ..Counts::default() };
        assert_eq!(known(&sample, &more), Some((4, None)), "one was never seen");
        let moved = Counts { acknowledged: 1, moved: 1, ..Counts::default() };
        assert_eq!(known(&sample, &moved), Some((4, None)), "nobody knows which");
        sample.settle("jobs", "1-1", 1, Action::Acknowledge, 0);
        sample.receive_dead(DEAD, (0, "2-0"), ("jobs", 5, 9_000));
        assert_eq!(known(&sample, &moved), Some((4, Some(6))));
    }

    #[test]
    fn too_many_deliveries_are_noticed() {
        let mut sample = Sample::new();
        let call = Call::Send {
            queue: "jobs".to_owned(),
            message: RecordName { client: 1, number: 0 },
            group: None,
            delay_ms: None,
        };
        sample.op(call, Answer::Sent { message_id: "1-0".to_owned(), duplicate: false });
        sample.receive("jobs", &[(0, "1-0", 2, 0)]);
        sample.settle("jobs", "1-0", 2, Action::Acknowledge, 0);
        let count = |sample: &Sample, delivered| {
            let mut sample = Sample(sample.0.clone());
            let counts = Counts { sent: 1, delivered, acknowledged: 1, ..Counts::default() };
            let call = Call::Count { queue: "jobs".to_owned() };
            sample.op(call, Answer::Counted(counts));
            exact(&sample.0)
        };
        assert_eq!(count(&sample, 2), Ok(()));
        for delivered in [1, 3] {
            let said = count(&sample, delivered).unwrap_err().text;
            assert!(said.contains("delivered; it must be 2 to 2"), "{said}");
        }
    }

    #[test]
    fn a_message_that_was_sent_and_is_nowhere_is_noticed() {
        let counts = Counts { sent: 3, acknowledged: 3, ..Counts::default() };
        let said = exact(&evidence("jobs", counts)).unwrap_err().text;
        assert!(said.contains("3 messages were sent; it must be 0 to 0"), "{said}");
        let said = exact(&evidence(DEAD, counts)).unwrap_err().text;
        assert!(said.contains("must be 0 to 0"), "{said}");
        assert_eq!(exact(&evidence("jobs", Counts::default())), Ok(()));
        let busy = Counts { waiting: 1, ..counts };
        assert_eq!(exact(&evidence("jobs", busy)), Ok(()), "it wasn't emptied");
    }
}
