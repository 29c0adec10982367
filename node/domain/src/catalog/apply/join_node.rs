//! A node joins: new, back with its disk, or back without it; and what a running node changes
//! about itself.

use kontiki_storage::batch::WriteBatch;
use kontiki_storage::id::NodeId;

use crate::catalog::reply::LostReplica;
use crate::catalog::{Catalog, Node, NodeSpec, NodeState, Reply};
use crate::rejection::Rejection;
use crate::stamp::Stamp;

pub(super) fn join(
    catalog: &mut Catalog,
    stamp: Stamp,
    spec: &NodeSpec,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    validate(catalog, spec)?;
    match catalog.node(spec.node) {
        None => join_new(catalog, stamp, spec, batch),
        Some(known) if known.spec.disk == spec.disk => {
            let known = known.clone();
            join_again(catalog, known, spec, batch)
        }
        Some(known) => {
            let known = known.clone();
            Ok(join_without_data(catalog, known, spec, batch))
        }
    }
}

fn join_new(
    catalog: &mut Catalog,
    stamp: Stamp,
    spec: &NodeSpec,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    let nodes_max = catalog.founded()?.limits.nodes_max;
    let nodes = u32::try_from(catalog.nodes().count()).unwrap_or(u32::MAX);
    if nodes >= nodes_max {
        return Err(Rejection::NodesLimit { nodes, nodes_max });
    }
    let (spec, joined_ms) = (spec.clone(), stamp.time_ms);
    let node = Node { spec, state: NodeState::Active, incarnation: 1, joined_ms };
    catalog.put_node(node, batch);
    Ok(Reply::NodeJoined { incarnation: 1, lost: Vec::new() })
}

fn join_again(
    catalog: &mut Catalog,
    known: Node,
    spec: &NodeSpec,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    if known.state == NodeState::Removed {
        return Err(Rejection::NodeNotReady {
            node: spec.node,
            state: known.state,
            advice: "it was removed from the cluster; to use it again, empty its data directory"
                .to_owned(),
        });
    }
    let incarnation = known.incarnation;
    if known.spec != *spec {
        catalog.put_node(Node { spec: spec.clone(), ..known }, batch);
    }
    Ok(Reply::NodeJoined { incarnation, lost: Vec::new() })
}

/// The node has an empty disk: whatever replicas it had are gone, and must not be mistaken for
/// those that it may get now.
fn join_without_data(
    catalog: &mut Catalog,
    known: Node,
    spec: &NodeSpec,
    batch: &mut WriteBatch,
) -> Reply {
    let incarnation = known.incarnation + 1;
    let state = match known.state {
        NodeState::Active | NodeState::Removed => NodeState::Active,
        NodeState::Draining => NodeState::Draining,
    };
    catalog.put_node(Node { spec: spec.clone(), state, incarnation, ..known }, batch);
    Reply::NodeJoined { incarnation, lost: mark_all_lost(catalog, spec.node, batch) }
}

fn mark_all_lost(catalog: &mut Catalog, node: NodeId, batch: &mut WriteBatch) -> Vec<LostReplica> {
    let mut lost = Vec::new();
    let placements: Vec<_> = catalog.placements().cloned().collect();
    for mut placement in placements {
        let mut replicas = placement.replicas();
        replicas.retain(|replica| replica.node() == node && !placement.lost.contains(replica));
        if replicas.is_empty() {
            continue;
        }
        let shard = placement.shard;
        lost.extend(replicas.iter().map(|replica| LostReplica { shard, replica: *replica }));
        placement.lost.extend(replicas);
        placement.changed();
        catalog.put_placement(placement, batch);
    }
    lost
}

pub(super) fn update(
    catalog: &mut Catalog,
    spec: &NodeSpec,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    let known = catalog.known_node(spec.node)?.clone();
    validate(catalog, spec)?;
    if known.state == NodeState::Removed {
        return Err(Rejection::NodeNotReady {
            node: spec.node,
            state: known.state,
            advice: "it was removed from the cluster; stop it".to_owned(),
        });
    }
    if known.spec.disk != spec.disk {
        let expected = "the data directory that it joined with; join again instead";
        return Err(Rejection::invalid("disk", spec.disk, expected));
    }
    if known.spec != *spec {
        catalog.put_node(Node { spec: spec.clone(), ..known }, batch);
    }
    Ok(Reply::Done)
}

fn validate(catalog: &Catalog, spec: &NodeSpec) -> Result<(), Rejection> {
    let level = catalog.founded()?.feature_level;
    spec.validate()?;
    spec.require_level(level)?;
    for other in catalog.nodes() {
        if other.spec.node == spec.node || other.state == NodeState::Removed {
            continue;
        }
        if let Some(address) = spec.shared_address(&other.spec) {
            let (address, node) = (address.to_owned(), other.spec.node);
            return Err(Rejection::AddressInUse { address, node });
        }
    }
    Ok(())
}
