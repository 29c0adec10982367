//! Records are sent again when nobody answers; they are stored once all the same.

use std::collections::{BTreeMap, BTreeSet};

use super::views::{broken, logs, name, reads, record, sent};
use super::{Check, Evidence, Violation};
use crate::history::{Part, RecordName};

/// The check.
pub const NO_DUPLICATES: Check = Check {
    name: "no_duplicates",
    promise: "a record of an idempotent producer is stored once, however often it is sent",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    let once: BTreeSet<RecordName> =
        sent(evidence).filter(|sent| sent.producer.idempotent).map(|sent| sent.record).collect();
    let mut places: BTreeMap<RecordName, (Part, u64)> = BTreeMap::new();
    let mut see = |part: &Part, offset: u64, found: Option<RecordName>, at, ops: &[_]| {
        let Some(found) = found.filter(|found| once.contains(found)) else { return Ok(()) };
        let place = (part.clone(), offset);
        let first = places.entry(found).or_insert_with(|| place.clone());
        if *first == place {
            return Ok(());
        }
        let (name, first_name) = (name(part), name(&first.0));
        let text = format!(
            "{} is at offset {offset} of {name}, and at offset {} of {first_name}",
            record(found),
            first.1
        );
        Err(broken(NO_DUPLICATES.name, text, at, ops))
    };
    for (part, log) in logs(evidence) {
        for seen in &log.records {
            see(&part, seen.offset, seen.record, evidence.end.calm_since, &[])?;
        }
    }
    for read in reads(evidence) {
        for seen in read.records {
            see(read.at, seen.offset, seen.record, read.returned, &[read.op])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::run;

    #[test]
    fn a_record_has_one_place() {
        let mut sample = Sample::default();
        (0..3).for_each(|n| sample.produce(n, n));
        sample.fetch(0, 3, &[0, 1, 2]);
        sample.log(0, 3, &[0, 1, 2]);
        assert_eq!(run(&sample.evidence), Ok(()));
        sample.log(0, 4, &[0, 1, 2, 1]);
        assert!(run(&sample.evidence).unwrap_err().text.contains("offset 3 of t/0"));
        sample.log(0, 3, &[0, 1, 2]);
        sample.fetch(0, 3, &[1, 0, 2]);
        assert!(run(&sample.evidence).is_err());
    }
}
