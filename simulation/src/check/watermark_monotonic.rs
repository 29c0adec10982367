//! A client never sees a partition shrink.

use std::collections::BTreeMap;

use super::views::{Bound, Floor, bounds, broken, name};
use super::{Check, Evidence, Violation};
use crate::history::{ClientId, Op, Part};

/// The check.
pub const WATERMARK_MONOTONIC: Check = Check {
    name: "watermark_monotonic",
    promise: "in a client's session, neither the high watermark nor the log start of a partition \
              ever goes back",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    let start = |bound: &Bound<'_>| bound.log_start;
    let end = |bound: &Bound<'_>| bound.high_watermark;
    look(evidence, "log start", start)?;
    look(evidence, "high watermark", end)
}

fn look(
    evidence: &Evidence,
    what: &str,
    value: impl Fn(&Bound<'_>) -> Option<u64>,
) -> Result<(), Violation> {
    type Known<'e> = BTreeMap<(ClientId, &'e Part), Vec<(u64, u64, &'e Op)>>;
    let mut known: Known<'_> = BTreeMap::new();
    for bound in bounds(evidence) {
        if let Some(value) = value(&bound) {
            let session = known.entry((bound.op.client, bound.at)).or_default();
            session.push((bound.returned, value, bound.op));
        }
    }
    let known: BTreeMap<_, _> =
        known.into_iter().map(|(session, known)| (session, Floor::new(known))).collect();
    for bound in bounds(evidence) {
        let Some(value) = value(&bound) else { continue };
        let floor = known.get(&(bound.op.client, bound.at));
        if let Some((before, op)) = floor.and_then(|floor| floor.before(bound.op.invoked))
            && before > value
        {
            let text = format!(
                "client {} saw the {what} of {} at {before}, and later at {value}",
                bound.op.client.0,
                name(bound.at)
            );
            let ops = [op, bound.op];
            return Err(broken(WATERMARK_MONOTONIC.name, text, bound.returned, &ops));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::run;

    #[test]
    fn a_session_never_goes_back() {
        let mut sample = Sample::default();
        sample.latest(5);
        sample.fetch(5, 5, &[]);
        sample.latest(6);
        assert_eq!(run(&sample.evidence), Ok(()));
        sample.latest(5);
        assert!(run(&sample.evidence).unwrap_err().text.contains("at 6, and later at 5"));
    }
}
