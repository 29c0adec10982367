//! Founds the cluster: its identity, its nodes and the first placement of every shard.

use std::collections::BTreeSet;

use kontiki_storage::batch::WriteBatch;
use kontiki_storage::id::{NodeId, ShardId};

use crate::catalog::cluster::{REPLICATION_FACTOR_MAX, SHARDS_MAX};
use crate::catalog::command::InitCluster;
use crate::catalog::plan::Spread;
use crate::catalog::{Catalog, Cluster, Node, NodeState, Placement, Reply};
use crate::rejection::Rejection;
use crate::stamp::Stamp;

const CLUSTER_ID_LENGTH_MAX: usize = 64;

pub(super) fn apply(
    catalog: &mut Catalog,
    stamp: Stamp,
    init: &InitCluster,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    if let Some(cluster) = catalog.cluster() {
        if cluster.cluster_id == init.cluster_id {
            return Ok(Reply::Done);
        }
        return Err(Rejection::AlreadyFounded(cluster.cluster_id.clone()));
    }
    validate(init)?;

    for spec in &init.nodes {
        let (spec, joined_ms) = (spec.clone(), stamp.time_ms);
        catalog.put_node(Node { spec, state: NodeState::Active, incarnation: 1, joined_ms }, batch);
    }
    let mut catalog_shard = Placement::found(ShardId::CATALOG, &init.catalog_nodes);
    // The group that commits this command is the catalog's: it exists.
    catalog_shard.founded = true;
    catalog.put_placement(catalog_shard, batch);

    let mut spread = Spread::of(catalog);
    let replicas = usize::try_from(init.replication_factor).expect("at most 9").min(spread.nodes());
    for shard in (1..=init.shard_count).map(ShardId) {
        let mut nodes = Vec::with_capacity(replicas);
        while nodes.len() < replicas {
            let node = spread.best(&nodes).expect("there are at least as many nodes");
            spread.take(node);
            nodes.push(node);
        }
        catalog.put_placement(Placement::found(shard, &nodes), batch);
    }
    let cluster = Cluster {
        cluster_id: init.cluster_id.clone(),
        created_ms: stamp.time_ms,
        shard_count: init.shard_count,
        replication_factor: init.replication_factor,
        feature_level: init.feature_level,
        limits: init.limits,
    };
    catalog.put_cluster(cluster, batch);
    Ok(Reply::Done)
}

fn validate(init: &InitCluster) -> Result<(), Rejection> {
    let id = &init.cluster_id;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if id.is_empty() || id.len() > CLUSTER_ID_LENGTH_MAX || !id.bytes().all(allowed) {
        return Err(Rejection::invalid("cluster_id", id, "1 to 64 of [a-zA-Z0-9_-]"));
    }
    within("shard_count", init.shard_count, SHARDS_MAX)?;
    within("replication_factor", init.replication_factor, REPLICATION_FACTOR_MAX)?;
    init.limits.validate()?;

    let nodes_max = init.limits.nodes_max;
    if init.nodes.is_empty() {
        return Err(Rejection::invalid("nodes", 0, "at least one node"));
    }
    match u32::try_from(init.nodes.len()) {
        Ok(nodes) if nodes <= nodes_max => {}
        Ok(nodes) => return Err(Rejection::NodesLimit { nodes, nodes_max }),
        Err(_) => return Err(Rejection::NodesLimit { nodes: u32::MAX, nodes_max }),
    }
    let mut ids = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    for spec in &init.nodes {
        spec.validate()?;
        if !ids.insert(spec.node) {
            return Err(Rejection::invalid("nodes", spec.node, "each node once"));
        }
        for address in spec.addresses() {
            if !addresses.insert(address) {
                let (address, node) = (address.to_owned(), spec.node);
                return Err(Rejection::AddressInUse { address, node });
            }
        }
        spec.require_level(init.feature_level)?;
    }
    validate_catalog_nodes(&init.catalog_nodes, &ids)
}

fn validate_catalog_nodes(nodes: &[NodeId], founding: &BTreeSet<NodeId>) -> Result<(), Rejection> {
    let distinct: BTreeSet<NodeId> = nodes.iter().copied().collect();
    let limit = usize::try_from(REPLICATION_FACTOR_MAX).expect("a single digit");
    if distinct.is_empty() || distinct.len() != nodes.len() || nodes.len() > limit {
        let expected = format!("1 to {REPLICATION_FACTOR_MAX} nodes, each once");
        return Err(Rejection::invalid("catalog_nodes", nodes.len(), &expected));
    }
    match nodes.iter().find(|node| !founding.contains(node)) {
        None => Ok(()),
        Some(node) => Err(Rejection::UnknownNode(*node)),
    }
}

fn within(field: &str, value: u32, max: u32) -> Result<(), Rejection> {
    if (1..=max).contains(&value) {
        Ok(())
    } else {
        Err(Rejection::invalid(field, value, &format!("1 to {max}")))
    }
}
