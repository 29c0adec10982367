//! Redrives come to their end.

use super::queues::broken;
use super::{Check, Evidence, Violation};
use crate::history::{Answer, Call};

/// The check.
pub const REDRIVES_END: Check = Check {
    name: "redrives_end",
    promise: "a redrive whose queues are there ends by itself, does not fail, and leaves no \
              message \
              behind because nobody knows where it came from",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    for op in &evidence.history.ops {
        let Call::ListRedrives { queue } = &op.call else { continue };
        // That they end is what clients wait for: if they don't, the liveness check says so.
        let Some((_, Answer::Redrives { failed, stranded, .. })) = op.answer() else { continue };
        if failed + stranded > 0 {
            let text =
                format!("of {queue}, {failed} redrives failed, {stranded} messages were stranded");
            return Err(broken(REDRIVES_END.name, text, &[op.id]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::queues::tests::Sample;
    use super::*;

    #[test]
    fn one_that_fails_is_noticed() {
        let mut sample = Sample::new();
        let call = Call::ListRedrives { queue: "q".to_owned() };
        let answer = |failed, stranded| Answer::Redrives { under_way: true, failed, stranded };
        sample.op(call.clone(), answer(0, 0));
        assert_eq!(run(&sample.0), Ok(()));
        let mut other = Sample(sample.0.clone());
        other.op(call.clone(), answer(1, 0));
        assert!(run(&other.0).unwrap_err().text.contains("1 redrives failed"));
        sample.op(call, answer(0, 2));
        assert!(run(&sample.0).unwrap_err().text.contains("2 messages were stranded"));
    }
}
