//! Once faults are over, everything works again, and nobody waits for ever.

use super::{Check, Evidence, Violation};
use crate::history::OpId;

/// The check.
pub const LIVENESS: Check = Check {
    name: "liveness",
    promise: "within a bound after the last fault every shard is led and every replica has caught \
              up, and within another one every operation has ended",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    let end = &evidence.end;
    let Some(whole_at) = end.whole_at else {
        let text = format!(
            "{} ms after the last fault (at {} ms) the cluster isn't whole: {}",
            end.heal_bound_ms,
            end.calm_since,
            end.not_whole.join("; ")
        );
        return Err(violation(text, end.calm_since + end.heal_bound_ms, Vec::new()));
    };
    let open = evidence.history.ops.iter().filter(|op| op.returned.is_none());
    let open: Vec<_> = open.map(|op| op.id).collect();
    if end.unfinished.is_empty() && open.is_empty() {
        return Ok(());
    }
    let text = if end.unfinished.is_empty() {
        let open: Vec<_> = open.iter().map(|op| op.0.to_string()).collect();
        format!("operations never ended: {}", open.join(", "))
    } else {
        format!(
            "{} ms after the cluster was whole (at {whole_at} ms) clients still wait: {}",
            end.client_bound_ms,
            end.unfinished.join("; ")
        )
    };
    Err(violation(text, whole_at + end.client_bound_ms, open))
}

fn violation(text: String, at: u64, ops: Vec<OpId>) -> Violation {
    Violation { check: LIVENESS.name.to_owned(), text, at: Some(at), ops, nodes: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::super::End;
    use super::*;
    use crate::history::{Answer, Call, ClientId, Outcome, Recorder};

    fn evidence(returned: bool) -> Evidence {
        let recorder = Recorder::default();
        let op = recorder.invoke(1, ClientId(1), Call::DeleteTopic { topic: "t".to_owned() });
        if returned {
            recorder.complete(2, op, Outcome::Ok(Answer::Done));
        }
        let end = End {
            calm_since: 100,
            whole_at: Some(150),
            heal_bound_ms: 1000,
            client_bound_ms: 500,
            ..End::default()
        };
        Evidence { history: recorder.history(), end, ..Evidence::default() }
    }

    #[test]
    fn a_whole_cluster_without_waiting_clients_is_alive() {
        assert_eq!(run(&evidence(true)), Ok(()));
    }

    #[test]
    fn a_cluster_that_is_not_whole_is_found() {
        let mut evidence = evidence(true);
        evidence.end.whole_at = None;
        evidence.end.not_whole = vec!["shard 3 has no leader".to_owned()];
        let found = run(&evidence).unwrap_err();
        assert_eq!(found.at, Some(1100));
        assert!(found.text.contains("shard 3 has no leader"), "{}", found.text);
    }

    #[test]
    fn an_operation_that_never_ends_is_found() {
        assert_eq!(run(&evidence(false)).unwrap_err().ops, [OpId(0)]);
        let mut evidence = evidence(true);
        evidence.end.unfinished = vec!["client 1 waits for a produce".to_owned()];
        assert!(run(&evidence).unwrap_err().text.contains("client 1 waits"));
    }
}
