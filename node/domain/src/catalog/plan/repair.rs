//! Replaces replicas whose data is gone.

use kontiki_storage::id::{NodeId, ReplicaId};

use super::{Move, Spread};
use crate::catalog::Catalog;

/// A new replica for each lost one: on the same node if it takes replicas, or else on another. If
/// there is none, the shard gets one replica less, as the lost one serves nobody.
///
/// A shard that has lost all its replicas cannot be repaired by moving, and is left out.
pub fn plan_repair(catalog: &Catalog) -> Vec<Move> {
    let mut spread = Spread::of(catalog);
    let mut moves = Vec::new();
    for placement in catalog.placements().filter(|placement| placement.founded) {
        let is_lost = |replica: &ReplicaId| placement.lost.contains(replica);
        if !placement.goal().iter().any(is_lost) || placement.voters.iter().all(is_lost) {
            continue;
        }
        let (lost, kept): (Vec<_>, Vec<_>) = placement.goal().iter().copied().partition(is_lost);
        let mut nodes: Vec<NodeId> = kept.iter().map(|replica| replica.node()).collect();
        let mut homeless = 0;
        for node in lost.iter().map(|replica| replica.node()) {
            if !spread.has(node) {
                homeless += 1;
            } else if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        for _ in 0..homeless {
            if let Some(node) = spread.best(&nodes) {
                spread.take(node);
                nodes.push(node);
            }
        }
        if !nodes.is_empty() {
            moves.push(Move::of(placement, nodes));
        }
    }
    moves
}
