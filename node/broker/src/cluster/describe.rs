//! The cluster as it is: what the catalog says, and what every node that answers says about itself.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use kontiki_domain::catalog::NodeState;
use kontiki_proto::node::{StatusRequest, StatusResponse, status_response};
use kontiki_raft::Shard;
use kontiki_storage::id::{NodeId, ReplicaId, ShardId};

use super::Cluster;

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDescription {
    /// Its number.
    pub node: NodeId,
    /// Where clients reach it.
    pub client_address: String,
    /// Where the other nodes reach it.
    pub peer_address: String,
    /// Whether it takes replicas.
    pub state: NodeState,
    /// Replicas that the catalog has given it.
    pub replicas: u32,
    /// Shards that it leads.
    pub leaders: u32,
    /// Whether the answering node can reach it.
    pub reachable: bool,
}

/// One shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardDescription {
    /// Its number.
    pub shard: ShardId,
    /// The node that leads it, where any node knows.
    pub leader: Option<NodeId>,
    /// Raft term.
    pub term: u64,
    /// Nodes with a voter.
    pub voters: Vec<NodeId>,
    /// Nodes whose replica is catching up or leaving.
    pub moving: Vec<NodeId>,
    /// Partitions in it.
    pub partitions: u32,
}

/// The whole cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its id; empty before it is founded.
    pub cluster_id: String,
    /// The feature level in force.
    pub feature_level: u32,
    /// All nodes, removed ones included.
    pub nodes: Vec<NodeDescription>,
    /// All shards; 0 is the catalog.
    pub shards: Vec<ShardDescription>,
    /// The node that answers.
    pub answered_by: NodeId,
}

impl Cluster {
    /// Asks all nodes; those that don't answer in time are left out of who leads.
    pub async fn describe(&self) -> ClusterDescription {
        let statuses = self.statuses().await;
        let mut leaders: BTreeMap<ShardId, (u64, Option<NodeId>)> = BTreeMap::new();
        for shard in statuses.iter().flat_map(|status| &status.shards) {
            let leader = (shard.leader != 0).then(|| ReplicaId(shard.leader).node());
            let known = leaders.entry(ShardId(shard.shard)).or_insert((shard.term, leader));
            if shard.term > known.0 || (shard.term == known.0 && known.1.is_none()) {
                *known = (shard.term, leader);
            }
        }
        self.with_catalog(|catalog| {
            let shards: Vec<ShardDescription> = catalog
                .placements()
                .map(|placement| {
                    let (term, leader) = leaders.get(&placement.shard).copied().unwrap_or_default();
                    let nodes = |replicas: &[ReplicaId]| -> Vec<NodeId> {
                        replicas.iter().map(|replica| replica.node()).collect()
                    };
                    let both = placement.replicas();
                    let moving: Vec<ReplicaId> = both
                        .into_iter()
                        .filter(|_| placement.target.is_some())
                        .filter(|r| !(placement.voters.contains(r) && placement.goal().contains(r)))
                        .collect();
                    ShardDescription {
                        shard: placement.shard,
                        leader,
                        term,
                        voters: nodes(&placement.voters),
                        moving: nodes(&moving),
                        partitions: catalog.partitions_on(placement.shard),
                    }
                })
                .collect();
            let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            let nodes = catalog
                .nodes()
                .map(|node| NodeDescription {
                    node: node.spec.node,
                    client_address: node.spec.client_address.clone(),
                    peer_address: node.spec.peer_address.clone(),
                    state: node.state,
                    replicas: count(
                        catalog
                            .placements()
                            .filter(|p| p.replica_on(node.spec.node).is_some())
                            .count(),
                    ),
                    leaders: count(
                        shards.iter().filter(|s| s.leader == Some(node.spec.node)).count(),
                    ),
                    reachable: self.0.raft.reachable(node.spec.node),
                })
                .collect();
            ClusterDescription {
                cluster_id: catalog.cluster().map_or_else(String::new, |c| c.cluster_id.clone()),
                feature_level: catalog.cluster().map_or(0, |c| c.feature_level.0),
                nodes,
                shards,
                answered_by: self.0.node,
            }
        })
    }

    async fn statuses(&self) -> Vec<StatusResponse> {
        let others = self.known_nodes().into_iter().filter(|(node, _)| *node != self.0.node);
        let asked = others.filter(|(node, _)| self.0.raft.reachable(*node)).map(|(_, address)| {
            let mut peer = self.peer(&address);
            async move { self.within(peer.status(self.request(StatusRequest {}))).await.ok() }
        });
        let mut statuses: Vec<StatusResponse> =
            join_all(asked).await.into_iter().flatten().collect();
        statuses.push(self.status_self());
        statuses
    }

    /// This node's replicas.
    #[must_use]
    pub fn status_self(&self) -> StatusResponse {
        StatusResponse {
            node_id: self.0.node.0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            shards: self.0.raft.shards().iter().map(shard_status).collect(),
        }
    }
}

fn shard_status(shard: &Shard) -> status_response::Shard {
    let status = shard.status();
    let ids = |replicas: Vec<ReplicaId>| replicas.into_iter().map(|replica| replica.0).collect();
    status_response::Shard {
        shard: status.shard.0,
        replica: status.replica.0,
        leader: status.leader.map_or(0, |leader| leader.0),
        term: status.term,
        last_index: status.last.0,
        applied_index: status.applied.0,
        voters: ids(status.voters),
        learners: ids(status.learners),
        failed: status.failed,
    }
}
