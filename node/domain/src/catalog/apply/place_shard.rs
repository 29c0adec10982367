//! Decides where the replicas of a shard are to be, and notes what its Raft group has become.

use std::collections::BTreeSet;

use kontiki_storage::batch::WriteBatch;
use kontiki_storage::id::{NodeId, ReplicaId, ShardId};

use crate::catalog::cluster::REPLICATION_FACTOR_MAX;
use crate::catalog::{Catalog, NodeState, Placement, PlacementVersion, Reply};
use crate::rejection::Rejection;

pub(super) fn place(
    catalog: &mut Catalog,
    shard: ShardId,
    version: PlacementVersion,
    nodes: &[NodeId],
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    let placement = at_version(catalog, shard, version)?;
    if !placement.founded {
        return Err(Rejection::ShardNotFounded(shard));
    }
    let distinct: BTreeSet<NodeId> = nodes.iter().copied().collect();
    let limit = usize::try_from(REPLICATION_FACTOR_MAX).expect("a single digit");
    if distinct.is_empty() || distinct.len() != nodes.len() || nodes.len() > limit {
        let expected = format!("1 to {REPLICATION_FACTOR_MAX} nodes, each once");
        return Err(Rejection::invalid("nodes", nodes.len(), &expected));
    }
    for node in &distinct {
        takes_replica(catalog, placement, *node)?;
    }

    let mut placement = placement.clone();
    let mut target: Vec<ReplicaId> = Vec::with_capacity(distinct.len());
    for node in distinct {
        let kept = placement.replica_on(node);
        target.push(kept.unwrap_or_else(|| placement.issue(node)));
    }
    target.sort_unstable();
    if placement.goal() == target {
        return Ok(Reply::Placed { version, target });
    }
    placement.target = (target != placement.voters).then(|| target.clone());
    placement.changed();
    let version = placement.version;
    catalog.put_placement(placement, batch);
    Ok(Reply::Placed { version, target })
}

fn takes_replica(catalog: &Catalog, at: &Placement, node: NodeId) -> Result<(), Rejection> {
    let state = catalog.known_node(node)?.state;
    let permitted = match state {
        NodeState::Active => true,
        // What it has may stay until its turn comes.
        NodeState::Draining => at.replica_on(node).is_some(),
        NodeState::Removed => false,
    };
    if permitted {
        return Ok(());
    }
    let advice = "choose a node that is active".to_owned();
    Err(Rejection::NodeNotReady { node, state, advice })
}

pub(super) fn commit(
    catalog: &mut Catalog,
    shard: ShardId,
    version: PlacementVersion,
    voters: &[ReplicaId],
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    let placement = at_version(catalog, shard, version)?;
    let mut sorted = voters.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.is_empty() || sorted.len() != voters.len() {
        return Err(Rejection::invalid("voters", voters.len(), "at least one, each once"));
    }
    if let Some(replica) = sorted.iter().find(|replica| !placement.issued(**replica)) {
        return Err(Rejection::UnknownReplica { shard, replica: *replica });
    }

    let settled = placement.target.is_none() || placement.target.as_ref() == Some(&sorted);
    let unchanged = placement.voters == sorted && placement.founded;
    if unchanged && placement.target.is_none() {
        return Ok(Reply::PlacementCommitted { version, settled: true });
    }
    if unchanged && !settled {
        return Ok(Reply::PlacementCommitted { version, settled: false });
    }
    let mut placement = placement.clone();
    placement.founded = true;
    placement.voters = sorted;
    if settled {
        placement.target = None;
    }
    placement.changed();
    let version = placement.version;
    catalog.put_placement(placement, batch);
    Ok(Reply::PlacementCommitted { version, settled })
}

pub(super) fn mark_lost(
    catalog: &mut Catalog,
    shard: ShardId,
    replica: ReplicaId,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    let placement = catalog.known_placement(shard)?;
    if !placement.replicas().contains(&replica) {
        return Err(Rejection::UnknownReplica { shard, replica });
    }
    if !placement.lost.contains(&replica) {
        let mut placement = placement.clone();
        placement.lost.push(replica);
        placement.changed();
        catalog.put_placement(placement, batch);
    }
    Ok(Reply::Done)
}

fn at_version(
    catalog: &Catalog,
    shard: ShardId,
    expected: PlacementVersion,
) -> Result<&Placement, Rejection> {
    let placement = catalog.known_placement(shard)?;
    if placement.version == expected {
        Ok(placement)
    } else {
        let current = placement.version;
        Err(Rejection::PlacementChanged { shard, expected, current })
    }
}
