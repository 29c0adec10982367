//! A durable subscription gives everything that matches.

use std::collections::{BTreeMap, BTreeSet};

use super::follows::Resets;
use super::queues::broken;
use super::{Check, Evidence, Violation};
use crate::history::{Answer, Call, Ms, Part};
use crate::workload::{FOLLOWED, is_wanted};

/// The check.
pub const SUBSCRIPTION_COMPLETE: Check = Check {
    name: "subscription_complete",
    promise: "every record that a durable subscription wants is given to one of its consumers at \
              least once, unless one of them began at the end",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    let subscribes = |op: &&crate::history::Op| matches!(op.call, Call::Subscribe { .. });
    let Some(first) = evidence.history.ops.iter().find(subscribes) else { return Ok(()) };
    if evidence.end.whole_at.is_none() {
        return Ok(());
    }
    let resets = Resets::of(evidence);
    let mut given: BTreeMap<&Part, BTreeSet<u64>> = BTreeMap::new();
    for op in &evidence.history.ops {
        if let Some((_, Answer::Followed(Some((at, records))))) = op.answer() {
            given.entry(at).or_default().extend(records.iter().map(|record| record.offset));
        }
    }
    for (partition, log) in evidence.logs.get(FOLLOWED).into_iter().flatten() {
        let at = Part { topic: FOLLOWED.to_owned(), partition: *partition };
        for record in log.records.iter().filter(|record| is_wanted(record.offset)) {
            let is_given = given.get(&at).is_some_and(|given| given.contains(&record.offset));
            if !is_given && !resets.may_skip(*partition, record.offset, Ms::MAX) {
                let text = format!("{record:?} of {FOLLOWED}/{partition} was never given");
                return Err(broken(SUBSCRIPTION_COMPLETE.name, text, &[first.id]));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::FinalLog;
    use super::super::queues::tests::Sample;
    use super::*;
    use crate::history::{Outcome, Producer, RecordName, Reset, Seen};

    #[test]
    fn what_is_never_given_is_noticed() {
        let seen = |offset| Seen { offset, record: None, checksum: 1, timestamp_ms: 1 };
        let mut sample = Sample::new();
        let records = (0..4).map(seen).collect();
        let log = FinalLog { log_start: 0, high_watermark: 4, records };
        sample.0.logs.entry(FOLLOWED.to_owned()).or_default().insert(0, log);
        assert_eq!(run(&sample.0), Ok(()), "there is no subscription");
        sample.op(Call::Subscribe { reset: None }, Answer::Done);
        let at = Part { topic: FOLLOWED.to_owned(), partition: 0 };
        sample.op(Call::Follow, Answer::Followed(Some((at.clone(), vec![seen(0)]))));
        assert!(run(&sample.0).unwrap_err().text.contains("offset: 2"));
        sample.op(Call::Follow, Answer::Followed(Some((at, vec![seen(2)]))));
        assert_eq!(run(&sample.0), Ok(()));
    }
    #[test]
    fn what_is_sent_after_a_reset_to_the_end_is_given() {
        let mut sample = Sample::new();
        let reset = Some(Reset::Latest);
        sample.op(Call::Subscribe { reset }, Answer::Done);
        let record = RecordName { client: 7, number: 0 };
        let call = Call::Produce {
            at: Part { topic: FOLLOWED.to_owned(), partition: 0 },
            producer: Producer { idempotent: true, session: 0 },
            record,
            checksum: 1,
        };
        sample.op(call, Answer::Produced { offset: Some(0) });
        let seen = Seen { offset: 0, record: Some(record), checksum: 1, timestamp_ms: 1 };
        let log = FinalLog { log_start: 0, high_watermark: 1, records: vec![seen] };
        sample.0.logs.entry(FOLLOWED.to_owned()).or_default().insert(0, log);
        assert!(run(&sample.0).unwrap_err().text.contains("was never given"));
        sample.0.history.ops[1].invoked = 5;
        assert_eq!(run(&sample.0), Ok(()), "both were under way");
        let lost = Outcome::Unknown("it is gone".to_owned());
        sample.0.history.ops[0].returned = Some((0, lost));
        assert_eq!(run(&sample.0), Ok(()), "its node may have looked later");
    }
}
