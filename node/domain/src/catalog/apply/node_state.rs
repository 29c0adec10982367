//! Drains a node, takes the drain back, and removes a node that is empty.

use kontiki_storage::batch::WriteBatch;
use kontiki_storage::id::{NodeId, ShardId};

use crate::catalog::{Catalog, Node, NodeState, Reply};
use crate::rejection::Rejection;

pub(super) fn drain(
    catalog: &mut Catalog,
    node: NodeId,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    set(catalog, node, NodeState::Draining, batch)
}

pub(super) fn activate(
    catalog: &mut Catalog,
    node: NodeId,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    set(catalog, node, NodeState::Active, batch)
}

fn set(
    catalog: &mut Catalog,
    node: NodeId,
    state: NodeState,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    let known = catalog.known_node(node)?;
    if known.state == NodeState::Removed {
        return Err(Rejection::NodeNotReady {
            node,
            state: known.state,
            advice: "it was removed; let it join with an empty data directory".to_owned(),
        });
    }
    if known.state != state {
        let known = known.clone();
        catalog.put_node(Node { state, ..known }, batch);
    }
    Ok(Reply::Done)
}

pub(super) fn remove(
    catalog: &mut Catalog,
    node: NodeId,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    let known = catalog.known_node(node)?;
    if known.state == NodeState::Removed {
        return Ok(Reply::Done);
    }
    // A lost replica counts as well: it is still a voter until the group has replaced it.
    let held: Vec<ShardId> = catalog
        .placements()
        .flat_map(|placement| {
            let replicas = placement.replicas().into_iter();
            replicas.filter(|replica| replica.node() == node).map(|_| placement.shard)
        })
        .collect();
    if let Some(shard) = held.first().copied() {
        let replicas = u32::try_from(held.len()).unwrap_or(u32::MAX);
        return Err(Rejection::NodeHasReplicas { node, replicas, shard });
    }
    let known = known.clone();
    catalog.put_node(Node { state: NodeState::Removed, ..known }, batch);
    Ok(Reply::Done)
}
