//! What a client needs to talk to leaders: nodes, topics, partitions and who leads them.

use crate::core::Broker;
use crate::error::Error;

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

impl Broker {
    /// From this node's copy of the catalog.
    ///
    /// # Errors
    /// No cluster yet, or too many names.
    pub fn metadata(&self, which: Which) -> Result<Metadata, Error> {
        let _ = which;
        Err(Error::internal("to be written"))
    }

    /// Where clients reach a node.
    #[must_use]
    pub fn client_address(&self, node: kontiki_storage::id::NodeId) -> Option<String> {
        let found = |catalog: &kontiki_domain::catalog::Catalog| {
            catalog.node(node).map(|node| node.spec.client_address.clone())
        };
        self.0.catalog.look(found)
    }
}
