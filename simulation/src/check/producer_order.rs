//! The order in which a producer sends is the order in which its records are stored.

use std::collections::BTreeMap;

use super::views::{broken, floors, logs, name, record, sent};
use super::{Check, Evidence, Violation};

/// The check.
pub const PRODUCER_ORDER: Check = Check {
    name: "producer_order",
    promise: "records of an idempotent producer are in the order in which it sent them; what was \
              acknowledged before something else was sent lies before it",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    let sessions: BTreeMap<_, _> = sent(evidence)
        .filter(|sent| sent.producer.idempotent)
        .map(|sent| (sent.record, (sent.record.client, sent.producer.session)))
        .collect();
    for (part, log) in logs(evidence) {
        let mut last = BTreeMap::new();
        for seen in &log.records {
            let Some((found, session)) =
                seen.record.and_then(|found| Some((found, sessions.get(&found)?)))
            else {
                continue;
            };
            if let Some((before, offset)) = last.insert(session, (found, seen.offset))
                && before.number >= found.number
            {
                let text = format!(
                    "{} is at offset {} of {}, after {} at {offset}",
                    record(found),
                    seen.offset,
                    name(&part),
                    record(before)
                );
                return Err(broken(PRODUCER_ORDER.name, text, evidence.end.calm_since, &[]));
            }
        }
    }
    let known = sent(evidence).filter_map(|sent| {
        let (when, offset) = sent.acknowledged()?;
        Some((sent.at, when, offset, sent.op))
    });
    let known = floors(known);
    for sent in sent(evidence) {
        let Some((when, offset)) = sent.acknowledged() else { continue };
        let before = known.get(sent.at).and_then(|floor| floor.before(sent.op.invoked));
        if let Some((earlier, op)) = before
            && earlier >= offset
        {
            let text = format!(
                "{} was sent at {} ms and is at offset {offset} of {}, though offset {earlier} \
                 had been acknowledged before",
                record(sent.record),
                sent.op.invoked,
                name(sent.at)
            );
            return Err(broken(PRODUCER_ORDER.name, text, when, &[op, sent.op]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::run;

    #[test]
    fn the_order_of_sending_is_kept() {
        let mut sample = Sample::default();
        (0..3).for_each(|n| sample.produce(n, n));
        sample.log(0, 3, &[0, 1, 2]);
        assert_eq!(run(&sample.evidence), Ok(()));
        sample.log(0, 3, &[0, 2, 1]);
        assert!(run(&sample.evidence).unwrap_err().text.contains("record 1"));
    }

    #[test]
    fn what_was_acknowledged_before_lies_before() {
        let mut sample = Sample::default();
        sample.produce(0, 7);
        sample.produce(1, 6);
        assert!(run(&sample.evidence).unwrap_err().text.contains("offset 7 had been"));
    }
}
