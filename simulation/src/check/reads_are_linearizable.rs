//! Whoever reads after something was acknowledged finds it, whoever he asks.

use super::views::{Bound, bounds, broken, floors, name, sent};
use super::{Check, Evidence, Violation};

/// The check.
pub const READS_ARE_LINEARIZABLE: Check = Check {
    name: "reads_are_linearizable",
    promise: "a read that begins after a write was acknowledged, or after another read has ended, \
              sees at least as much",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    let written = sent(evidence).filter_map(|sent| {
        let (when, offset) = sent.acknowledged()?;
        Some((sent.at, when, offset + 1, sent.op))
    });
    let read = bounds(evidence)
        .filter_map(|bound| Some((bound.at, bound.returned, bound.high_watermark?, bound.op)));
    let ends = floors(written.chain(read));
    let started = bounds(evidence)
        .filter_map(|bound| Some((bound.at, bound.returned, bound.log_start?, bound.op)));
    let starts = floors(started);
    let all = || bounds(evidence);
    let wrong = |bound: Bound<'_>, what: &str, value: u64, known: u64, op| {
        let text = format!(
            "a read of {} that began at {} ms saw the {what} {value}; {known} was known since an \
             operation that had ended before",
            name(bound.at),
            bound.op.invoked
        );
        Err(broken(READS_ARE_LINEARIZABLE.name, text, bound.returned, &[op, bound.op]))
    };
    for bound in all() {
        let end = ends.get(bound.at).and_then(|floor| floor.before(bound.op.invoked));
        if let (Some(value), Some((known, op))) = (bound.high_watermark, end)
            && value < known
        {
            return wrong(bound, "high watermark", value, known, op);
        }
        let start = starts.get(bound.at).and_then(|floor| floor.before(bound.op.invoked));
        if let (Some(value), Some((known, op))) = (bound.log_start, start)
            && value < known
        {
            return wrong(bound, "log start", value, known, op);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::run;

    #[test]
    fn reads_see_what_was_acknowledged_before() {
        let mut sample = Sample::default();
        sample.produce(0, 0);
        sample.latest(1);
        sample.produce(1, 1);
        sample.fetch(0, 2, &[0, 1]);
        assert_eq!(run(&sample.evidence), Ok(()));
        sample.produce(2, 2);
        sample.other_client();
        sample.latest(2);
        assert!(run(&sample.evidence).unwrap_err().text.contains("watermark 2; 3 was known"));
    }
}
