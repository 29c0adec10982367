//! A durable subscription gives what matches, and nothing else, in order.

use std::collections::{BTreeMap, BTreeSet};

use super::follows::{Closed, Follow, Resets, follows};
use super::queues::broken;
use super::{Check, Evidence, Violation};
use crate::history::{Part, Seen};
use crate::workload::{FOLLOWED, is_wanted};

/// The check.
pub const SUBSCRIPTION_IN_ORDER: Check = Check {
    name: "subscription_in_order",
    promise: "a durable subscription gives records that match, as they are stored, each for the \
              first time when all before it in its partition were given, to whichever consumer, \
              and to those that come later none that is committed; but for what a reset has \
              passed over or taken back",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    let (follows, closed) = follows(evidence);
    let resets = Resets::of(evidence);
    let mut places: BTreeMap<&Part, Place> = BTreeMap::new();
    // What came in the same millisecond came in any order.
    for together in follows.chunk_by(|one, other| one.returned == other.returned) {
        for follow in together {
            let place = places.entry(follow.at).or_default();
            place.given.extend(follow.records.iter().map(|record| record.offset));
        }
        for follow in together {
            let place = places.entry(follow.at).or_default();
            given(evidence, &resets, follow, place)
                .and_then(|()| uncommitted(&resets, follow, &closed))
                .map_err(|text| broken(SUBSCRIPTION_IN_ORDER.name, text, &[follow.op.id]))?;
        }
    }
    Ok(())
}

/// What is known of one partition.
#[derive(Default)]
struct Place {
    /// Everything below it that matches was given, or passed over.
    next: u64,
    /// What was given.
    given: BTreeSet<u64>,
}

fn name(at: &Part, record: &Seen) -> String {
    format!("{}/{}: {record:?}", at.topic, at.partition)
}

fn given(
    evidence: &Evidence,
    resets: &Resets<'_>,
    follow: &Follow<'_>,
    place: &mut Place,
) -> Result<(), String> {
    let at = follow.at;
    let mut before = None;
    for record in follow.records {
        let offset = record.offset;
        if at.topic != FOLLOWED || !is_wanted(offset) {
            return Err(format!("{} was given, and does not match", name(at, record)));
        }
        if before.is_some_and(|before| offset <= before) {
            return Err(format!("{} was given after a later one", name(at, record)));
        }
        before = Some(offset);
        while place.next < offset {
            let next = place.next;
            let is_due = is_wanted(next) && !place.given.contains(&next);
            if is_due && !resets.may_skip(at.partition, next, follow.returned) {
                return Err(format!("{} was given, and {next} was not", name(at, record)));
            }
            place.next += 1;
        }
        let stored = evidence.log(at).filter(|log| offset < log.high_watermark);
        let stored = stored.and_then(|log| log.records.iter().find(|one| one.offset == offset));
        if stored.is_some_and(|stored| stored.checksum != record.checksum) {
            return Err(format!("{} was given, and is stored as {stored:?}", name(at, record)));
        }
        if stored.is_none() && !evidence.logs.is_empty() {
            return Err(format!("{} was given, and is not stored", name(at, record)));
        }
    }
    Ok(())
}

/// Whoever opens the subscription when another one has closed it begins behind that one.
fn uncommitted(
    resets: &Resets<'_>,
    follow: &Follow<'_>,
    closed: &[Closed<'_>],
) -> Result<(), String> {
    let Some(first) = follow.records.first() else { return Ok(()) };
    let before = closed.iter().filter(|closed| closed.returned < follow.opened);
    for closed in before {
        let committed = closed.positions.iter().find(|(at, _)| at == follow.at);
        let Some((_, committed)) = committed.filter(|(_, to)| first.offset < *to) else { continue };
        if !resets.may_repeat(closed, follow.returned) {
            let what = name(follow.at, first);
            return Err(format!("{what} was given, below {committed}, committed"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::queues::tests::Sample;
    use super::*;
    use crate::history::{Answer, Call, ClientId, Reset};

    fn at(topic: &str) -> Part {
        Part { topic: topic.to_owned(), partition: 0 }
    }

    fn subscribe(sample: &mut Sample, reset: Option<Reset>) {
        sample.op(Call::Subscribe { reset }, Answer::Done);
    }

    fn close(sample: &mut Sample, offset: u64) {
        let call = Call::Unsubscribe { acknowledged: vec![(at("log"), offset)] };
        sample.op(call, Answer::Done);
    }

    fn follow(sample: &mut Sample, topic: &str, offsets: &[u64]) {
        let seen =
            |offset: &u64| Seen { offset: *offset, record: None, checksum: 1, timestamp_ms: 1 };
        let records = offsets.iter().map(seen).collect();
        sample.op(Call::Follow, Answer::Followed(Some((at(topic), records))));
    }

    fn all(topic: &str, answers: &[&[u64]]) -> Sample {
        let mut sample = Sample::new();
        subscribe(&mut sample, None);
        answers.iter().for_each(|offsets| follow(&mut sample, topic, offsets));
        sample
    }

    fn said(sample: &Sample) -> String {
        run(&sample.0).unwrap_err().text
    }

    #[test]
    fn again_from_further_back_is_in_order() {
        let mut sample = all("log", &[&[0, 2, 4]]);
        close(&mut sample, 1);
        subscribe(&mut sample, None);
        follow(&mut sample, "log", &[2, 4, 6]);
        assert_eq!(run(&sample.0), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_noticed() {
        assert!(said(&all("log", &[&[0, 1]])).contains("does not match"));
        assert!(said(&all("retained", &[&[0]])).contains("does not match"));
        assert!(said(&all("log", &[&[0, 2, 0]])).contains("after a later one"));
        assert!(said(&all("log", &[&[0], &[4]])).contains("was given, and 2 was not"));
    }

    #[test]
    fn what_is_committed_does_not_come_again() {
        let mut sample = all("log", &[&[0, 2]]);
        close(&mut sample, 3);
        follow(&mut sample, "log", &[2]);
        assert_eq!(run(&sample.0), Ok(()), "it had begun before");
        subscribe(&mut sample, None);
        follow(&mut sample, "log", &[2]);
        assert!(said(&sample).contains("below 3, committed"));
        sample.0.history.ops.truncate(4);
        subscribe(&mut sample, Some(Reset::Earliest));
        follow(&mut sample, "log", &[0, 2]);
        assert_eq!(run(&sample.0), Ok(()));
        close(&mut sample, 3);
        subscribe(&mut sample, None);
        follow(&mut sample, "log", &[2]);
        assert!(!said(&sample).is_empty(), "the reset was before");
    }

    #[test]
    fn another_consumer_goes_on_where_the_first_one_was() {
        let mut sample = all("log", &[&[0]]);
        subscribe(&mut sample, None);
        follow(&mut sample, "log", &[2, 4]);
        follow(&mut sample, "log", &[2]);
        for op in &mut sample.0.history.ops[2..4] {
            op.client = ClientId(2);
        }
        assert_eq!(run(&sample.0), Ok(()));
        // It heard of its records later than the other one of those after them.
        sample.0.history.ops[1].returned =
            sample.0.history.ops[1].returned.take().map(|(_, outcome)| (99, outcome));
        assert!(said(&sample).contains("was given, and 0 was not"));
    }

    #[test]
    fn who_begins_at_the_end_passes_over_what_was_sent_before() {
        let mut sample = all("log", &[&[0]]);
        subscribe(&mut sample, Some(Reset::Latest));
        follow(&mut sample, "log", &[6]);
        assert_eq!(run(&sample.0), Ok(()));
        sample.0.history.ops[2].call = Call::Subscribe { reset: None };
        assert!(said(&sample).contains("was given, and 2 was not"));
    }
}
