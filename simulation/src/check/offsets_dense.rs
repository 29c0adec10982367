//! No offset is left out, and none is out of order.

use super::views::{broken, logs, name, reads};
use super::{Check, Evidence, Violation};
use crate::history::Seen;

/// The check.
pub const OFFSETS_DENSE: Check = Check {
    name: "offsets_dense",
    promise: "a partition has every offset from its log start to its high watermark once; a read \
              begins where it was told to and leaves nothing out",
    run,
};

/// The offset after the last of these records, if they begin at `from` without a hole.
fn end(from: u64, records: &[Seen]) -> Result<u64, String> {
    let mut expected = from;
    for seen in records {
        if seen.offset != expected {
            return Err(format!("offset {} follows, {expected} was expected", seen.offset));
        }
        expected += 1;
    }
    Ok(expected)
}

fn run(evidence: &Evidence) -> Result<(), Violation> {
    for (part, log) in logs(evidence) {
        let found = end(log.log_start, &log.records);
        if found != Ok(log.high_watermark) {
            let text = format!(
                "{} from {} to {} was read as {found:?}",
                name(&part),
                log.log_start,
                log.high_watermark
            );
            return Err(broken(OFFSETS_DENSE.name, text, evidence.end.calm_since, &[]));
        }
    }
    for read in reads(evidence) {
        let found = end(read.from, read.records);
        if found != Ok(read.next) {
            let text = format!(
                "a read of {} from {} says that {} is next; its records end as {found:?}",
                name(read.at),
                read.from,
                read.next
            );
            return Err(broken(OFFSETS_DENSE.name, text, read.returned, &[read.op]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::run;

    #[test]
    fn holes_are_found() {
        let mut sample = Sample::default();
        sample.log(5, 8, &[0, 1, 2]);
        sample.fetch(6, 8, &[1, 2]);
        sample.fetch(8, 8, &[]);
        assert_eq!(run(&sample.evidence), Ok(()));
        sample.log(5, 9, &[0, 1, 2]);
        assert!(run(&sample.evidence).is_err());
        sample.log(5, 8, &[0, 1, 2]);
        sample.evidence.logs.get_mut("t").unwrap().get_mut(&0).unwrap().records[1].offset = 7;
        assert!(run(&sample.evidence).unwrap_err().text.contains("offset 7 follows"));
    }
}
