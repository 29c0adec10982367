//! What was deleted doesn't come back.

use super::views::{bounds, broken, floors, name, reads};
use super::{Check, Evidence, Violation};

/// The check.
pub const DELETED_STAY_DELETED: Check = Check {
    name: "deleted_stay_deleted",
    promise: "a record below a log start that was told is never read again",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    let told = bounds(evidence)
        .filter_map(|bound| Some((bound.at, bound.returned, bound.log_start?, bound.op)));
    let told = floors(told);
    for read in reads(evidence) {
        let (Some(first), Some(floor)) = (read.records.first(), told.get(read.at)) else {
            continue;
        };
        if let Some((start, op)) = floor.before(read.op.invoked)
            && (first.offset < start || read.log_start < start)
        {
            let text = format!(
                "offset {} of {} was read, though the log start was {start} before",
                first.offset,
                name(read.at)
            );
            let ops = [op, read.op];
            return Err(broken(DELETED_STAY_DELETED.name, text, read.returned, &ops));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::run;

    #[test]
    fn what_is_below_the_log_start_is_gone() {
        let mut sample = Sample::default();
        sample.fetch(0, 3, &[0, 1, 2]);
        sample.delete(2);
        assert_eq!(run(&sample.evidence), Ok(()));
        sample.fetch(1, 3, &[1, 2]);
        assert!(run(&sample.evidence).unwrap_err().text.contains("log start was 2"));
    }
}
