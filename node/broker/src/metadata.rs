//! What a client needs to talk to leaders: nodes, topics, partitions and who leads them.

use std::collections::BTreeMap;

use kontiki_domain::catalog::{Catalog, NodeState, PartitionPlacement, Topic};
use kontiki_storage::id::{NodeId, ReplicaId, ShardId};

use crate::core::{Broker, Core};
use crate::error::Error;
use crate::options::bounds;

/// Which topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// These; at most [`crate::options::bounds::TOPICS_MAX`].
    Named(Vec<String>),
    /// All.
    All,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its number.
    pub node: u32,
    /// Where clients reach it.
    pub client_address: String,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Its number.
    pub partition: u32,
    /// The shard that hosts it.
    pub shard: u32,
    /// The node that leads it, where it is known.
    pub leader: Option<u32>,
    /// Raft term of the shard, as far as this node knows.
    pub leader_epoch: u64,
    /// The nodes that have a replica.
    pub replicas: Vec<u32>,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub topic: String,
    /// Its id and its partitions.
    pub outcome: Result<(u64, Vec<PartitionInfo>), Error>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The cluster.
    pub cluster_id: String,
    /// Its nodes, but for removed ones.
    pub nodes: Vec<NodeInfo>,
    /// The topics that were asked for.
    pub topics: Vec<TopicInfo>,
    /// Of the catalog.
    pub version: u64,
}

/// What partitions are told of the shards that host them.
pub(crate) struct ShardInfos(BTreeMap<ShardId, ShardInfo>);

#[derive(Debug, Clone, Default)]
struct ShardInfo {
    leader: Option<u32>,
    term: u64,
    replicas: Vec<u32>,
}

impl ShardInfos {
    /// The partitions of a topic, in the order of their numbers.
    pub(crate) fn partitions(&self, placed: &[PartitionPlacement]) -> Vec<PartitionInfo> {
        let one = |(partition, at): (u32, &PartitionPlacement)| {
            let ShardInfo { leader, term, replicas } =
                self.0.get(&at.shard).cloned().unwrap_or_default();
            PartitionInfo { partition, shard: at.shard.0, leader, leader_epoch: term, replicas }
        };
        (0..).zip(placed).map(one).collect()
    }
}

impl Core {
    /// All shards, as this node knows them now.
    pub(crate) fn shard_infos(&self) -> ShardInfos {
        let placed: Vec<(ShardId, Vec<u32>)> = self.catalog.look(|catalog| {
            let placements = catalog.placements();
            placements.map(|placement| (placement.shard, nodes_of(&placement.voters))).collect()
        });
        let with_leader = placed.into_iter().map(|(shard, replicas)| {
            let (leader, term) = self.router.leader_and_term(shard);
            (shard, ShardInfo { leader: leader.map(|node| node.0), term, replicas })
        });
        ShardInfos(with_leader.collect())
    }
}

/// The nodes of voters, each once: while one is replaced, a node may have two.
fn nodes_of(voters: &[ReplicaId]) -> Vec<u32> {
    let mut nodes: Vec<u32> = voters.iter().map(|replica| replica.node().0).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

fn topic_info(topic: &Topic, shards: &ShardInfos) -> TopicInfo {
    let partitions = shards.partitions(&topic.partitions);
    TopicInfo { topic: topic.name.clone(), outcome: Ok((topic.topic.0, partitions)) }
}

fn topics(catalog: &Catalog, which: Which, shards: &ShardInfos) -> Vec<TopicInfo> {
    match which {
        Which::All => catalog.active_topics().map(|topic| topic_info(topic, shards)).collect(),
        Which::Named(names) => {
            let one = |name: String| match catalog.topic_named(&name) {
                Some(topic) => topic_info(topic, shards),
                None => TopicInfo { outcome: Err(Error::unknown_topic(&name)), topic: name },
            };
            names.into_iter().map(one).collect()
        }
    }
}

impl Broker {
    /// From this node's copy of the catalog.
    ///
    /// # Errors
    /// No cluster yet, or too many names.
    pub fn metadata(&self, which: Which) -> Result<Metadata, Error> {
        if let Which::Named(names) = &which
            && names.len() > bounds::TOPICS_MAX
        {
            let expected = format!("at most {}", bounds::TOPICS_MAX);
            return Err(Error::invalid("the number of topics", names.len(), &expected));
        }
        let shards = self.0.shard_infos();
        self.0.catalog.look(|catalog| {
            let cluster = catalog.cluster().ok_or_else(Error::not_ready)?;
            let present = catalog.nodes().filter(|node| node.state != NodeState::Removed);
            let nodes = present.map(|node| NodeInfo {
                node: node.spec.node.0,
                client_address: node.spec.client_address.clone(),
            });
            Ok(Metadata {
                cluster_id: cluster.cluster_id.clone(),
                nodes: nodes.collect(),
                topics: topics(catalog, which, &shards),
                version: catalog.version().0,
            })
        })
    }

    /// Where clients reach a node.
    #[must_use]
    pub fn client_address(&self, node: NodeId) -> Option<String> {
        let found =
            |catalog: &Catalog| catalog.node(node).map(|node| node.spec.client_address.clone());
        self.0.catalog.look(found)
    }
}
