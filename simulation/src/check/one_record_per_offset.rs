//! What an offset names never changes.

use std::collections::BTreeMap;

use super::views::{broken, logs, name, reads, record, sent};
use super::{Check, Evidence, Violation};
use crate::history::{Part, Seen};

/// The check.
pub const ONE_RECORD_PER_OFFSET: Check = Check {
    name: "one_record_per_offset",
    promise: "an offset of a partition names one record for ever, whoever reads it, from whichever \
              replica",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    let mut known: BTreeMap<(Part, u64), Seen> = BTreeMap::new();
    let mut see = |part: &Part, seen: &Seen, at, ops: &[_]| {
        let offset = seen.offset;
        let first = known.entry((part.clone(), offset)).or_insert_with(|| seen.clone());
        if first == seen {
            return Ok(());
        }
        let text = format!("offset {offset} of {} was {first:?}, and {seen:?}", name(part));
        Err(broken(ONE_RECORD_PER_OFFSET.name, text, at, ops))
    };
    for (part, log) in logs(evidence) {
        log.records.iter().try_for_each(|seen| see(&part, seen, evidence.end.calm_since, &[]))?;
    }
    for read in reads(evidence) {
        read.records.iter().try_for_each(|seen| see(read.at, seen, read.returned, &[read.op]))?;
    }
    for sent in sent(evidence) {
        let Some((when, offset)) = sent.acknowledged() else { continue };
        let Some(seen) = known.get(&(sent.at.clone(), offset)) else { continue };
        if seen.record != Some(sent.record) {
            let text = format!(
                "{} was acknowledged at offset {offset} of {}, where {seen:?} was read",
                record(sent.record),
                name(sent.at)
            );
            return Err(broken(ONE_RECORD_PER_OFFSET.name, text, when, &[sent.op]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::run;

    #[test]
    fn an_offset_names_one_record() {
        let mut sample = Sample::default();
        sample.produce(0, 0);
        sample.fetch(0, 2, &[0, 1]);
        sample.fetch(1, 2, &[1]);
        assert_eq!(run(&sample.evidence), Ok(()));
        sample.produce(5, 1);
        assert!(run(&sample.evidence).unwrap_err().text.contains("record 5"));
        sample.fetch(1, 2, &[2]);
        assert!(run(&sample.evidence).unwrap_err().text.contains("offset 1 of t/0"));
    }
}
