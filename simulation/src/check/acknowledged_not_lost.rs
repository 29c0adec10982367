//! The first thing that anybody wants of a log.

use super::views::{broken, name, record, sent};
use super::{Check, Evidence, Violation};

/// The check.
pub const ACKNOWLEDGED_NOT_LOST: Check = Check {
    name: "acknowledged_not_lost",
    promise: "a record that was acknowledged is there, at the offset that was acknowledged, until \
              retention or a client removes it",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    for sent in sent(evidence) {
        let Some((when, offset)) = sent.acknowledged() else { continue };
        let Some(log) = evidence.log(sent.at) else { continue };
        if offset < log.log_start {
            continue;
        }
        let index = usize::try_from(offset - log.log_start).unwrap_or(usize::MAX);
        let found = log.records.get(index);
        let is_it = found.is_some_and(|found| {
            found.offset == offset
                && found.record == Some(sent.record)
                && found.checksum == sent.checksum
        });
        if !is_it {
            let text = format!(
                "{} was acknowledged at {when} ms at offset {offset} of {}; in the end {found:?} \
                 is there (log start {}, high watermark {})",
                record(sent.record),
                name(sent.at),
                log.log_start,
                log.high_watermark
            );
            return Err(broken(ACKNOWLEDGED_NOT_LOST.name, text, when, &[sent.op]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::run;

    #[test]
    fn what_was_acknowledged_is_there_or_was_removed() {
        let mut sample = Sample::default();
        (0..4).for_each(|n| sample.produce(n, n));
        sample.log(2, 4, &[2, 3]);
        assert_eq!(run(&sample.evidence), Ok(()));
        sample.log(2, 4, &[3, 2]);
        assert!(run(&sample.evidence).unwrap_err().text.contains("offset 2 of t/0"));
        sample.log(2, 3, &[2]);
        assert!(run(&sample.evidence).unwrap_err().text.contains("record 3"));
    }
}
