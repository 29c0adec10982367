//! A durable subscription gives what matches, and nothing else, in order.

use std::collections::BTreeMap;

use super::queues::broken;
use super::{Check, Evidence, Violation};
use crate::history::{Answer, Call, Op, Part, Seen};
use crate::workload::{FOLLOWED, is_wanted};

/// The check.
pub const SUBSCRIPTION_IN_ORDER: Check = Check {
    name: "subscription_in_order",
    promise: "a durable subscription gives records that match, as they are stored, each for the \
              first time when all before it in its partition were given, and none that is \
              committed",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    let mut places: BTreeMap<&Part, Place> = BTreeMap::new();
    for op in &evidence.history.ops {
        match (&op.call, op.answer()) {
            (Call::Unsubscribe { acknowledged }, Some(_)) => {
                for (at, offset) in acknowledged {
                    let place = places.entry(at).or_default();
                    place.committed = place.committed.max(*offset);
                }
            }
            (Call::Follow, Some((_, Answer::Followed(Some((at, records)))))) => {
                let place = places.entry(at).or_default();
                given(evidence, at, records, place).map_err(|text| violation(op, text))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// What is known of one partition.
#[derive(Default)]
struct Place {
    /// Everything below it that matches was given.
    next: u64,
    /// Everything below it is committed.
    committed: u64,
}

fn given(
    evidence: &Evidence,
    at: &Part,
    records: &[Seen],
    place: &mut Place,
) -> Result<(), String> {
    let name = |record: &Seen| format!("{}/{}: {record:?}", at.topic, at.partition);
    let mut before = None;
    for record in records {
        let offset = record.offset;
        if at.topic != FOLLOWED || !is_wanted(offset) {
            return Err(format!("{} was given, and does not match", name(record)));
        }
        if before.is_some_and(|before| offset <= before) {
            return Err(format!("{} was given after a later one", name(record)));
        }
        before = Some(offset);
        if offset < place.committed {
            let committed = place.committed;
            return Err(format!("{} was given, below {committed}, committed", name(record)));
        }
        if (place.next..offset).any(is_wanted) {
            let next = place.next;
            return Err(format!("{} was given, and what matches from {next} not", name(record)));
        }
        place.next = place.next.max(offset + 1);
        let stored = evidence.log(at).filter(|log| offset < log.high_watermark);
        let stored = stored.and_then(|log| log.records.iter().find(|one| one.offset == offset));
        if stored.is_some_and(|stored| stored.checksum != record.checksum) {
            return Err(format!("{} was given, and is stored as {stored:?}", name(record)));
        }
        if stored.is_none() && !evidence.logs.is_empty() {
            return Err(format!("{} was given, and is not stored", name(record)));
        }
    }
    Ok(())
}

fn violation(op: &Op, text: String) -> Violation {
    broken(SUBSCRIPTION_IN_ORDER.name, text, &[op.id])
}

#[cfg(test)]
mod tests {
    use super::super::queues::tests::Sample;
    use super::*;

    fn at(topic: &str) -> Part {
        Part { topic: topic.to_owned(), partition: 0 }
    }

    fn follow(topic: &str, answers: &[&[u64]], committed: Option<u64>) -> Sample {
        let mut sample = Sample::new();
        for (count, offsets) in answers.iter().enumerate() {
            if let Some(offset) = committed.filter(|_| count == 1) {
                let call = Call::Unsubscribe { acknowledged: vec![(at(topic), offset)] };
                sample.op(call, Answer::Done);
            }
            let records = offsets.iter().map(|offset| Seen {
                offset: *offset,
                record: None,
                checksum: 1,
                timestamp_ms: 1,
            });
            let answer = Answer::Followed(Some((at(topic), records.collect())));
            sample.op(Call::Follow, answer);
        }
        sample
    }

    #[test]
    fn again_from_further_back_is_in_order() {
        assert_eq!(run(&follow("log", &[&[0, 2, 4], &[2, 4, 6]], Some(1)).0), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_noticed() {
        let said = |sample: Sample| run(&sample.0).unwrap_err().text;
        assert!(said(follow("log", &[&[0, 1]], None)).contains("does not match"));
        assert!(said(follow("retained", &[&[0]], None)).contains("does not match"));
        assert!(said(follow("log", &[&[0, 2, 0]], None)).contains("after a later one"));
        assert!(said(follow("log", &[&[0], &[4]], None)).contains("what matches from 1 not"));
        assert!(said(follow("log", &[&[0, 2], &[2]], Some(3))).contains("below 3, committed"));
    }
}
