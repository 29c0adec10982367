//! What replicas applied: the same entries, in order, with the same results.

use std::collections::BTreeMap;

use super::{Check, Deed, Evidence, Probe, Violation};

/// The check.
pub const SAME_ENTRIES_APPLIED: Check = Check {
    name: "same_entries_applied",
    promise: "every replica of a shard applies the same entry at an index, with the same replies, \
              however often, and leaves out none",
    run,
};

/// Term, digest of the entry, and digest of the replies.
type Applied = (u64, u64, u64);

fn run(evidence: &Evidence) -> Result<(), Violation> {
    let mut applied: BTreeMap<(u32, u64), (&Probe, Applied)> = BTreeMap::new();
    let mut expected: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    for probe in &evidence.probes {
        match probe.deed {
            Deed::Leads { .. } => {}
            Deed::Installed { next } | Deed::Opened { next } => {
                expected.insert((probe.shard, probe.replica), next);
            }
            Deed::Applied { index, term, entry, replies } => {
                let next = expected.insert((probe.shard, probe.replica), index + 1);
                if let Some(next) = next.filter(|next| *next != index) {
                    return Err(out_of_order(probe, next, index));
                }
                let here = (probe, (term, entry, replies));
                let there = *applied.entry((probe.shard, index)).or_insert(here);
                if there.1 != here.1 {
                    return Err(differ(index, there, here));
                }
            }
        }
    }
    Ok(())
}

fn out_of_order(probe: &Probe, next: u64, index: u64) -> Violation {
    let Probe { at, node, shard, replica, .. } = probe;
    let text = format!(
        "shard {shard}: replica {replica} on node {node} was to apply entry {next} and applied \
         entry {index} at {at} ms"
    );
    violation(text, *at, vec![*node])
}

fn differ(index: u64, there: (&Probe, Applied), here: (&Probe, Applied)) -> Violation {
    let describe = |(probe, (term, entry, replies)): (&Probe, Applied)| {
        let Probe { at, node, replica, .. } = probe;
        format!(
            "replica {replica} on node {node} at {at} ms: term {term}, entry {entry:016x}, \
             replies {replies:016x}"
        )
    };
    let text = format!(
        "shard {}: what was applied as entry {index} differs: {}; {}",
        here.0.shard,
        describe(there),
        describe(here)
    );
    violation(text, here.0.at, vec![there.0.node, here.0.node])
}

fn violation(text: String, at: u64, nodes: Vec<u32>) -> Violation {
    let check = SAME_ENTRIES_APPLIED.name.to_owned();
    Violation { check, text, at: Some(at), ops: Vec::new(), nodes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(node: u32, deed: Deed) -> Probe {
        Probe { at: 7, node, shard: 2, replica: node.into(), deed }
    }

    fn applied(node: u32, index: u64, replies: u64) -> Probe {
        probe(node, Deed::Applied { index, term: 1, entry: index, replies })
    }

    fn evidence(probes: Vec<Probe>) -> Evidence {
        Evidence { probes, ..Evidence::default() }
    }

    #[test]
    fn after_a_crash_entries_are_applied_again() {
        let probes = vec![
            probe(1, Deed::Opened { next: 1 }),
            applied(1, 1, 10),
            applied(1, 2, 20),
            probe(1, Deed::Opened { next: 2 }),
            applied(1, 2, 20),
            applied(1, 3, 30),
            probe(2, Deed::Opened { next: 1 }),
            probe(2, Deed::Installed { next: 3 }),
            applied(2, 3, 30),
        ];
        assert_eq!(run(&evidence(probes)), Ok(()));
    }

    #[test]
    fn other_replies_are_found_even_of_the_same_replica() {
        let probes = vec![applied(1, 1, 10), probe(1, Deed::Opened { next: 1 }), applied(1, 1, 11)];
        assert!(run(&evidence(probes)).unwrap_err().text.contains("differs"));
    }

    #[test]
    fn an_entry_that_is_left_out_or_repeated_is_found() {
        for index in [1, 3] {
            let probes = vec![applied(1, 1, 1), applied(1, index, index)];
            let found = run(&evidence(probes)).unwrap_err();
            assert!(found.text.contains("was to apply entry 2 and applied"), "{}", found.text);
        }
    }
}
