//! What was read once is there for good.

use super::views::{broken, name, reads};
use super::{Check, Evidence, Violation};

/// The check.
pub const NOTHING_UNCOMMITTED_READ: Check = Check {
    name: "nothing_uncommitted_read",
    promise: "nothing is read at or above the high watermark, and nothing that is not there in the \
              end, unless retention or a client has removed it",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    for read in reads(evidence) {
        for seen in read.records {
            let offset = seen.offset;
            if offset >= read.high_watermark {
                let text = format!(
                    "offset {offset} of {} was read, the high watermark was {}",
                    name(read.at),
                    read.high_watermark
                );
                let check = NOTHING_UNCOMMITTED_READ.name;
                return Err(broken(check, text, read.returned, &[read.op]));
            }
            let Some(log) = evidence.log(read.at) else { continue };
            if offset >= log.log_start && offset >= log.high_watermark {
                let text = format!(
                    "offset {offset} of {} was read; in the end the high watermark is {}",
                    name(read.at),
                    log.high_watermark
                );
                let check = NOTHING_UNCOMMITTED_READ.name;
                return Err(broken(check, text, read.returned, &[read.op]));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::run;

    #[test]
    fn what_was_read_stays() {
        let mut sample = Sample::default();
        sample.fetch(0, 2, &[0, 1]);
        sample.log(0, 2, &[0, 1]);
        assert_eq!(run(&sample.evidence), Ok(()));
        sample.log(0, 1, &[0]);
        assert!(run(&sample.evidence).unwrap_err().text.contains("in the end"));
        sample.log(2, 2, &[]);
        assert_eq!(run(&sample.evidence), Ok(()));
        sample.fetch(0, 1, &[0, 1]);
        assert!(run(&sample.evidence).unwrap_err().text.contains("high watermark was 1"));
    }
}
