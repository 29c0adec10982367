//! Elections: nobody leads beside another.

use std::collections::BTreeMap;

use super::{Check, Deed, Evidence, Probe, Violation};

/// The check.
pub const ONE_LEADER_PER_TERM: Check = Check {
    name: "one_leader_per_term",
    promise: "in each term of a shard no more than one replica leads",
    run,
};

fn run(evidence: &Evidence) -> Result<(), Violation> {
    let mut leaders: BTreeMap<(u32, u64), &Probe> = BTreeMap::new();
    for probe in &evidence.probes {
        let Deed::Leads { term } = probe.deed else { continue };
        let first = *leaders.entry((probe.shard, term)).or_insert(probe);
        if first.replica != probe.replica || first.node != probe.node {
            return Err(Violation {
                check: ONE_LEADER_PER_TERM.name.to_owned(),
                text: format!(
                    "shard {}, term {term}: replica {} on node {} leads since {} ms, and replica \
                     {} on node {} since {} ms",
                    probe.shard,
                    first.replica,
                    first.node,
                    first.at,
                    probe.replica,
                    probe.node,
                    probe.at
                ),
                at: Some(probe.at),
                ops: Vec::new(),
                nodes: vec![first.node, probe.node],
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(at: u64, shard: u32, replica: u64, term: u64) -> Probe {
        let node = u32::try_from(replica).unwrap();
        Probe { at, node, shard, replica, deed: Deed::Leads { term } }
    }

    fn evidence(probes: Vec<Probe>) -> Evidence {
        Evidence { probes, ..Evidence::default() }
    }

    #[test]
    fn other_terms_and_other_shards_have_other_leaders() {
        let probes =
            vec![leads(1, 0, 1, 1), leads(2, 0, 2, 2), leads(3, 1, 2, 1), leads(4, 0, 1, 1)];
        assert_eq!(run(&evidence(probes)), Ok(()));
    }

    #[test]
    fn two_leaders_of_a_term_are_found() {
        let probes = vec![leads(1, 0, 1, 1), leads(2, 0, 2, 2), leads(7, 0, 3, 2)];
        let found = run(&evidence(probes)).unwrap_err();
        assert_eq!((found.at, found.nodes), (Some(7), vec![2, 3]));
    }
}
