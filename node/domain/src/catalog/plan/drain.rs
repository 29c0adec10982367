//! Empties a node.

use kontiki_storage::id::{NodeId, ReplicaId, ShardId};

use super::{Move, Spread};
use crate::catalog::Catalog;

/// What it takes to empty a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DrainPlan {
    /// Moves that can be proposed now.
    pub moves: Vec<Move>,
    /// Shards whose replica has nowhere to go.
    pub blocked: Vec<ShardId>,
}

/// Moves every replica of `node` to another node. A shard for which there is no other node gets one
/// replica less, as long as it keeps as many as the replication factor: the catalog has a replica
/// on each node that founded the cluster, which may be more.
///
/// Shards that are not founded yet or have lost a replica are left alone: plan again later.
pub fn plan_drain(catalog: &Catalog, node: NodeId) -> DrainPlan {
    let factor = catalog.cluster().map_or(1, |cluster| cluster.replication_factor);
    let enough = usize::try_from(factor).expect("at most 9");
    let mut spread = Spread::of(catalog);
    let mut plan = DrainPlan::default();
    for placement in catalog.placements().filter(|placement| placement.founded) {
        let goal: Vec<NodeId> = placement.goal().iter().copied().map(ReplicaId::node).collect();
        let repairing = placement.goal().iter().any(|replica| placement.lost.contains(replica));
        if !goal.contains(&node) || repairing {
            continue;
        }
        let mut nodes: Vec<NodeId> = goal.iter().copied().filter(|other| *other != node).collect();
        match spread.best(&goal) {
            Some(other) => {
                spread.take(other);
                nodes.push(other);
            }
            None if nodes.len() >= enough => {}
            None => {
                plan.blocked.push(placement.shard);
                continue;
            }
        }
        spread.give(node);
        plan.moves.push(Move::of(placement, nodes));
    }
    plan
}
