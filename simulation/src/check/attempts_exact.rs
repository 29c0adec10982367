//! What nobody was given is no attempt; and nobody is given more than was asked for.

use std::collections::BTreeMap;

use super::queues::{broken, received};
use super::{Check, Evidence, Violation};
use crate::history::{Answer, Call, DeadLetter, Ms, Op, RecordName};
use crate::workload::{BULKY, LEASE_MS};

/// The check.
pub const ATTEMPTS_EXACT: Check = Check {
    name: "attempts_exact",
    promise: "a message counts as delivered when it was handed on, and no more often: what is \
              leased and given back because nobody got it is no attempt, and brings no message to \
              the dead-letter queue",
    run: attempts,
};

/// The check.
pub const NO_MORE_THAN_ASKED: Check = Check {
    name: "no_more_than_asked",
    promise: "a receive gives no more messages than were asked for, and a stream no more than it \
              was allowed",
    run: asked,
};

/// A node may not know for so long that a client has gone.
const GONE_MS: Ms = 10_000;

fn asked(evidence: &Evidence) -> Result<(), Violation> {
    for op in &evidence.history.ops {
        let Call::Receive { queue, max } = &op.call else { continue };
        let Some((_, Answer::Received(deliveries))) = op.answer() else { continue };
        if deliveries.len() > *max as usize {
            let count = deliveries.len();
            let text = format!("{count} messages of {queue} came, and {max} were asked for");
            return Err(broken(NO_MORE_THAN_ASKED.name, text, &[op.id]));
        }
    }
    Ok(())
}

/// A moment at which it is known how often a message was delivered.
struct Known<'e> {
    op: &'e Op,
    count: u32,
    /// By the clock of the shard.
    at_ms: i64,
}

/// Attempts that nobody saw: the answer was lost on its way. Each of them has either lasted until
/// its lease had ended, by the clock of the shard; or it was given back with a stream that ended
/// without all of it having been read, which is an operation that nobody knows the end of.
fn unseen_max(evidence: &Evidence, from: &Known<'_>, to: &Known<'_>) -> u64 {
    let lease_ms = i64::try_from(LEASE_MS).expect("small");
    let leases = u64::try_from((to.at_ms - from.at_ms) / lease_ms).unwrap_or(0);
    let returned = to.op.returned.as_ref().map_or(Ms::MAX, |(at, _)| *at);
    let is_lost = |op: &&Op| {
        let is_blind = matches!(&op.call, Call::Receive { queue, .. } if queue == BULKY)
            && op.answer().is_none()
            && op.may_be_done();
        let ends = op.returned.as_ref().map_or(Ms::MAX, |(at, _)| at.saturating_add(GONE_MS));
        is_blind && op.invoked <= returned && ends >= from.op.invoked
    };
    leases + evidence.history.ops.iter().filter(is_lost).count() as u64
}

fn attempts(evidence: &Evidence) -> Result<(), Violation> {
    let mut sent: BTreeMap<RecordName, &Op> = BTreeMap::new();
    for op in &evidence.history.ops {
        if let Call::Send { queue, message, .. } = &op.call
            && queue == BULKY
        {
            sent.entry(*message).or_insert(op);
        }
    }
    let all = received(evidence);
    let mut dead: BTreeMap<RecordName, (&Op, &DeadLetter)> = BTreeMap::new();
    for got in all.values().flatten() {
        if let (Some(letter), Some(message)) = (&got.delivery.dead, got.delivery.message)
            && letter.from == BULKY
        {
            dead.insert(message, (got.op, letter));
        }
    }
    for ((queue, id), deliveries) in &all {
        let Some(first) = deliveries.first().filter(|_| *queue == BULKY) else { continue };
        let message = first.delivery.message;
        let stored = message.and_then(|message| sent.get(&message)).map_or(first.op, |op| *op);
        let mut known = Known { op: stored, count: 0, at_ms: first.delivery.sent_ms };
        let seen = deliveries.iter().map(|got| {
            let (count, at_ms) = (got.delivery.number, got.delivery.granted_ms);
            (Known { op: got.op, count, at_ms }, 1)
        });
        let letter = message.and_then(|message| dead.get(&message));
        let letter = letter.map(|(op, letter)| {
            let (count, at_ms) = (letter.deliveries, letter.failed_ms);
            (Known { op, count, at_ms }, 0)
        });
        for (next, own) in seen.chain(letter) {
            let unseen = u64::from(next.count.saturating_sub(known.count + own));
            let most = unseen_max(evidence, &known, &next);
            if unseen > most {
                let text = format!(
                    "{id} of {queue} had {} attempts by {} and {} by {}, of which nobody saw \
                     {unseen}; {most} may have got lost",
                    known.count, known.at_ms, next.count, next.at_ms
                );
                return Err(broken(ATTEMPTS_EXACT.name, text, &[known.op.id, next.op.id]));
            }
            known = next;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::queues::tests::Sample;
    use super::*;
    use crate::history::Outcome;
    use crate::workload::BULKY_DEAD;

    const LEASE: i64 = LEASE_MS.cast_signed();

    fn said(sample: &Sample) -> String {
        attempts(&sample.0).unwrap_err().text
    }

    #[test]
    fn an_attempt_that_nobody_saw_has_to_have_had_its_time() {
        let mut sample = Sample::new();
        sample.receive(BULKY, &[(0, "1-0", 1, 10)]);
        sample.receive(BULKY, &[(0, "1-0", 2, 20)]);
        sample.receive(BULKY, &[(0, "1-0", 4, 20 + LEASE)]);
        assert_eq!(attempts(&sample.0), Ok(()));
        sample.receive(BULKY, &[(0, "1-0", 6, 19 + 2 * LEASE)]);
        assert!(said(&sample).contains("nobody saw 1; 0 may have got lost"), "{}", said(&sample));
        sample.receive("jobs", &[(1, "2-0", 7, 0)]);
        let mut sample = Sample::new();
        sample.receive("jobs", &[(1, "2-0", 7, 0)]);
        assert_eq!(attempts(&sample.0), Ok(()), "clients are not so careful there");
    }

    #[test]
    fn the_first_delivery_is_number_one() {
        let mut sample = Sample::new();
        sample.receive(BULKY, &[(0, "1-0", 2, 10)]);
        assert!(said(&sample).contains("had 0 attempts by 0 and 2 by 10"), "{}", said(&sample));
    }

    #[test]
    fn a_stream_that_nobody_read_to_its_end_may_have_had_it() {
        let mut sample = Sample::new();
        let call = Call::Receive { queue: BULKY.to_owned(), max: 5 };
        sample.op(call, Answer::Received(Vec::new()));
        sample.receive(BULKY, &[(0, "1-0", 2, 10)]);
        assert!(said(&sample).contains("nobody saw 1; 0 may have got lost"));
        let lost = Outcome::Unknown("it is gone".to_owned());
        sample.0.history.ops[0].returned = Some((5, lost));
        assert_eq!(attempts(&sample.0), Ok(()));
        sample.0.history.ops[1].invoked = 5 + GONE_MS;
        assert_eq!(attempts(&sample.0), Ok(()));
        sample.0.history.ops[1].invoked += 1;
        assert!(said(&sample).contains("nobody saw 1; 0 may have got lost"));
    }

    #[test]
    fn a_dead_letter_has_had_its_attempts() {
        let mut sample = Sample::new();
        sample.receive(BULKY, &[(0, "1-0", 1, 10)]);
        sample.receive_dead(BULKY_DEAD, (0, "3-0"), (BULKY, 1, 60));
        assert_eq!(attempts(&sample.0), Ok(()));
        sample.receive_dead(BULKY_DEAD, (0, "3-0"), (BULKY, 4, 60));
        assert!(said(&sample).contains("had 1 attempts by 10 and 4 by 60"), "{}", said(&sample));
    }

    #[test]
    fn more_than_was_asked_for_is_noticed() {
        let mut sample = Sample::new();
        let messages: Vec<_> = (0..5).map(|number| (number, "1-0", 1, 10)).collect();
        sample.receive(BULKY, &messages);
        assert_eq!(asked(&sample.0), Ok(()));
        let messages: Vec<_> = (0..6).map(|number| (number, "1-0", 1, 10)).collect();
        sample.receive(BULKY, &messages);
        let said = asked(&sample.0).unwrap_err().text;
        assert_eq!(said, "6 messages of bulky came, and 5 were asked for");
    }
}
