//! What nobody has told about was done or was not done, as a whole.

use std::collections::BTreeMap;

use super::views::{broken, logs, name, record, sent};
use super::{Check, Evidence, Violation};
use crate::history::{Outcome, RecordName};

/// The check.
pub const UNKNOWN_RESOLVED: Check = Check {
    name: "unknown_resolved",
    promise: "a record whose fate was unknown is stored once or not at all; one that was refused \
              is not stored",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    let mut counts: BTreeMap<RecordName, usize> = BTreeMap::new();
    for (_, log) in logs(evidence) {
        for found in log.records.iter().filter_map(|seen| seen.record) {
            *counts.entry(found).or_default() += 1;
        }
    }
    for sent in sent(evidence) {
        let count = counts.get(&sent.record).copied().unwrap_or_default();
        let (when, most, how) = match &sent.op.returned {
            Some((when, Outcome::Refused(why))) => (*when, 0, format!("was refused: {}", why.text)),
            Some((when, Outcome::Unknown(why))) if sent.producer.idempotent => {
                (*when, 1, format!("had an unknown fate: {why}"))
            }
            Some((_, Outcome::Unknown(_) | Outcome::Ok(_))) | None => continue,
        };
        if count > most {
            let text =
                format!("{} {how}; {} has it {count} times", record(sent.record), name(sent.at));
            return Err(broken(UNKNOWN_RESOLVED.name, text, when, &[sent.op]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::run;
    use crate::history::{Outcome, Refusal};

    #[test]
    fn all_or_nothing() {
        let mut sample = Sample::default();
        sample.produce(0, 0);
        sample.evidence.history.ops[0].returned = Some((1, Outcome::Unknown("lost".to_owned())));
        for records in [&[][..], &[0]] {
            sample.log(0, records.len() as u64, records);
            assert_eq!(run(&sample.evidence), Ok(()));
        }
        sample.log(0, 2, &[0, 0]);
        assert!(run(&sample.evidence).unwrap_err().text.contains("2 times"));
        sample.log(0, 1, &[0]);
        let refusal = Refusal { kind: "THROTTLED".to_owned(), text: "later".to_owned() };
        sample.evidence.history.ops[0].returned = Some((1, Outcome::Refused(refusal)));
        assert!(run(&sample.evidence).unwrap_err().text.contains("later"));
    }
}
