//! Which node should lead each shard.

use std::collections::BTreeMap;

use kontiki_storage::id::{NodeId, ShardId};

use crate::catalog::{Catalog, NodeState};

/// For each shard the active voter that is preferred for the fewest other shards. A shard without
/// an active voter has none.
pub fn leader_preferences(catalog: &Catalog) -> BTreeMap<ShardId, NodeId> {
    let mut leads: BTreeMap<NodeId, usize> = BTreeMap::new();
    let mut preferred = BTreeMap::new();
    for placement in catalog.placements() {
        let stays =
            |replica: &&_| !placement.lost.contains(replica) && placement.goal().contains(replica);
        let active =
            |node: &NodeId| catalog.node(*node).is_some_and(|node| node.state == NodeState::Active);
        let nodes = placement.voters.iter().filter(stays).map(|replica| replica.node());
        let best =
            nodes.filter(active).min_by_key(|node| (leads.get(node).copied().unwrap_or(0), *node));
        if let Some(node) = best {
            *leads.entry(node).or_insert(0) += 1;
            preferred.insert(placement.shard, node);
        }
    }
    preferred
}
