//! Replicas are copies: the state is decided by the log.

use std::collections::BTreeMap;

use super::{Check, Evidence, Replica, Violation};

/// The check.
pub const SAME_STATE_AT_SAME_INDEX: Check = Check {
    name: "same_state_at_same_index",
    promise: "replicas of a shard that have applied the same entries have the same state",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    let mut states: BTreeMap<(u32, u64), &Replica> = BTreeMap::new();
    for replica in &evidence.replicas {
        let first = *states.entry((replica.shard, replica.applied)).or_insert(replica);
        if first.state != replica.state {
            let describe = |replica: &Replica| {
                let Replica { at, node, replica, state, .. } = replica;
                format!("replica {replica} on node {node} had {state:016x} at {at} ms")
            };
            return Err(Violation {
                check: SAME_STATE_AT_SAME_INDEX.name.to_owned(),
                text: format!(
                    "shard {}: the states after entry {} differ: {}; {}",
                    replica.shard,
                    replica.applied,
                    describe(first),
                    describe(replica)
                ),
                at: Some(replica.at),
                ops: Vec::new(),
                nodes: vec![first.node, replica.node],
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(at: u64, node: u32, applied: u64, state: u64) -> Replica {
        let replica = node.into();
        Replica { at, node, shard: 4, replica, applied, state, log: Vec::new() }
    }

    fn evidence(replicas: Vec<Replica>) -> Evidence {
        Evidence { replicas, ..Evidence::default() }
    }

    #[test]
    fn states_differ_after_different_entries() {
        let replicas = vec![replica(1, 1, 5, 50), replica(2, 2, 6, 60), replica(3, 2, 5, 50)];
        assert_eq!(run(&evidence(replicas)), Ok(()));
    }

    #[test]
    fn a_replica_that_went_another_way_is_found() {
        let replicas = vec![replica(1, 1, 5, 50), replica(2, 2, 6, 60), replica(3, 3, 6, 61)];
        let found = run(&evidence(replicas)).unwrap_err();
        assert_eq!((found.at, found.nodes), (Some(3), vec![2, 3]));
    }
}
