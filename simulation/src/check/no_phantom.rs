//! Nothing is there that nobody has sent.

use std::collections::BTreeMap;

use super::views::{Sent, broken, logs, name, reads, sent};
use super::{Check, Evidence, Violation};
use crate::history::{Part, RecordName, Seen};

/// The check.
pub const NO_PHANTOM: Check = Check {
    name: "no_phantom",
    promise: "what is read was sent, to this partition, with these bytes, and was not refused",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    let all: BTreeMap<RecordName, Sent<'_>> =
        sent(evidence).map(|sent| (sent.record, sent)).collect();
    let look = |part: &Part, seen: &Seen, at, ops: &[_]| {
        let found = seen.record.and_then(|record| all.get(&record));
        let why = match found {
            None => "nobody has sent it",
            Some(sent) if sent.at != part => "it was sent to another partition",
            Some(sent) if sent.checksum != seen.checksum => "it was sent with other bytes",
            Some(sent) if sent.op.invoked > at => "it was sent later",
            Some(sent) if !sent.op.may_be_done() => "it was refused",
            Some(_) => return Ok(()),
        };
        let text = format!("{} has {seen:?}: {why}", name(part));
        Err(broken(NO_PHANTOM.name, text, at, ops))
    };
    for (part, log) in logs(evidence) {
        let late = crate::history::Ms::MAX;
        log.records.iter().try_for_each(|seen| look(&part, seen, late, &[]))?;
    }
    for read in reads(evidence) {
        read.records.iter().try_for_each(|seen| look(read.at, seen, read.returned, &[read.op]))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::run;
    use crate::history::{Outcome, Refusal};

    #[test]
    fn what_is_read_was_sent() {
        let mut sample = Sample::default();
        sample.produce(0, 0);
        sample.fetch(0, 1, &[0]);
        sample.log(0, 1, &[0]);
        assert_eq!(run(&sample.evidence), Ok(()));
        let mut other = sample.evidence.clone();
        let refusal = Refusal { kind: "THROTTLED".to_owned(), text: String::new() };
        other.history.ops[0].returned = Some((9, Outcome::Refused(refusal)));
        assert!(run(&other).unwrap_err().text.contains("refused"));
        sample.fetch(1, 2, &[8]);
        assert!(run(&sample.evidence).unwrap_err().text.contains("nobody"));
    }
}
