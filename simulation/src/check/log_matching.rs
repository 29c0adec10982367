//! The logs on the disks: what is committed is the same everywhere.

use std::collections::BTreeMap;

use super::{Check, Evidence, LogEntry, Replica, Violation};

/// The check.
pub const LOG_MATCHING: Check = Check {
    name: "log_matching",
    promise: "replicas of a shard have the same entry wherever both have applied it, and entries \
              of the same index and term are the same everywhere",
    run,
};

type Found<'a> = (&'a Replica, LogEntry);

fn run(evidence: &Evidence) -> Result<(), Violation> {
    let mut proposed: BTreeMap<(u32, u64, u64), Found<'_>> = BTreeMap::new();
    let mut committed: BTreeMap<(u32, u64), Found<'_>> = BTreeMap::new();
    for replica in &evidence.replicas {
        for entry in &replica.log {
            let here = (replica, *entry);
            let place = (replica.shard, entry.index, entry.term);
            let there = *proposed.entry(place).or_insert(here);
            if there.1.digest != entry.digest {
                return Err(violation("of the same term differ", there, here));
            }
            if entry.index > replica.applied {
                continue;
            }
            let there = *committed.entry((replica.shard, entry.index)).or_insert(here);
            if there.1 != *entry {
                return Err(violation("that both have applied differ", there, here));
            }
        }
    }
    Ok(())
}

fn violation(what: &str, there: Found<'_>, here: Found<'_>) -> Violation {
    let describe = |(replica, entry): Found<'_>| {
        let Replica { at, node, replica, applied, .. } = replica;
        let LogEntry { term, digest, .. } = entry;
        format!(
            "replica {replica} on node {node} (applied {applied}, at {at} ms) has term {term}, \
             digest {digest:016x}"
        )
    };
    Violation {
        check: LOG_MATCHING.name.to_owned(),
        text: format!(
            "shard {}: entries {} {what}: {}; {}",
            here.0.shard,
            here.1.index,
            describe(there),
            describe(here)
        ),
        at: Some(here.0.at),
        ops: Vec::new(),
        nodes: vec![there.0.node, here.0.node],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(node: u32, applied: u64, log: &[(u64, u64, u64)]) -> Replica {
        let entry = |(index, term, digest): &(u64, u64, u64)| LogEntry {
            index: *index,
            term: *term,
            digest: *digest,
        };
        let log = log.iter().map(entry).collect();
        Replica { at: 9, node, shard: 0, replica: node.into(), applied, state: 0, log }
    }

    fn evidence(replicas: Vec<Replica>) -> Evidence {
        Evidence { replicas, ..Evidence::default() }
    }

    #[test]
    fn what_is_not_applied_may_differ() {
        let replicas = vec![
            replica(1, 2, &[(1, 1, 10), (2, 1, 20), (3, 1, 30)]),
            replica(2, 3, &[(2, 1, 20), (3, 2, 31)]),
        ];
        assert_eq!(run(&evidence(replicas)), Ok(()));
    }

    #[test]
    fn what_both_have_applied_may_not() {
        let replicas = vec![replica(1, 3, &[(3, 1, 30)]), replica(2, 3, &[(3, 2, 30)])];
        let found = run(&evidence(replicas)).unwrap_err();
        assert_eq!(found.nodes, [1, 2]);
        assert!(found.text.contains("that both have applied differ"), "{}", found.text);
    }

    #[test]
    fn a_term_has_one_entry_at_an_index_even_before_it_is_committed() {
        let replicas = vec![replica(1, 0, &[(3, 1, 30)]), replica(2, 0, &[(3, 1, 31)])];
        assert!(run(&evidence(replicas)).is_err());
    }
}
