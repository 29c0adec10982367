//! What can be asked of the catalog, as it stands in the Raft log.
//!
//! Numbers are only ever appended. A field or variant that is new in a release may be proposed
//! only once the feature level says that every node understands it.

use kontiki_storage::id::{NodeId, PartitionId, ReplicaId, ShardId, TopicId};
use minicbor::{Decode, Encode};

use super::cluster::{FeatureLevel, Limits};
use super::exchange::{ExchangeKind, Route};
use super::node::NodeSpec;
use super::placement::PlacementVersion;
use super::subscription::Start;
use super::topic::RequestId;
use crate::filter::{FilterText, PatternSyntax};
use crate::queue::QueueSettings;
use crate::settings::{Overrides, SettingName};

/// A command of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// Founds the cluster. Done once; asking again with the same cluster id changes nothing.
    #[n(0)]
    InitCluster(#[n(0)] InitCluster),
    /// A node starts: it is new, or comes back with its disk, or comes back without.
    #[n(1)]
    JoinNode(#[n(0)] NodeSpec),
    /// A running node's addresses, rack, labels or release changed.
    #[n(2)]
    UpdateNode(#[n(0)] NodeSpec),
    /// No new replicas go to the node; those it has are to be moved away.
    #[n(3)]
    DrainNode {
        /// The node.
        #[cbor(n(0), with = "crate::codec::id")]
        node: NodeId,
    },
    /// Takes back a drain.
    #[n(4)]
    ActivateNode {
        /// The node.
        #[cbor(n(0), with = "crate::codec::id")]
        node: NodeId,
    },
    /// The node is gone for good. Refused while it has replicas.
    #[n(5)]
    RemoveNode {
        /// The node.
        #[cbor(n(0), with = "crate::codec::id")]
        node: NodeId,
    },
    /// One replica's data is gone or damaged although its node is well: it must be replaced.
    #[n(6)]
    MarkReplicaLost {
        /// Its shard.
        #[cbor(n(0), with = "crate::codec::id")]
        shard: ShardId,
        /// The replica.
        #[cbor(n(1), with = "crate::codec::id")]
        replica: ReplicaId,
    },
    /// Creates a topic.
    #[n(7)]
    CreateTopic(#[n(0)] CreateTopic),
    /// Changes a topic's settings.
    #[n(8)]
    AlterTopic(#[n(0)] AlterTopic),
    /// Gives a topic more partitions.
    #[n(9)]
    AddPartitions {
        /// The topic.
        #[cbor(n(0), with = "crate::codec::id")]
        topic: TopicId,
        /// How many it is to have afterwards. Asking for as many as it has changes nothing.
        #[n(1)]
        total: u32,
        /// Only answer whether it would be done.
        #[n(2)]
        validate_only: bool,
    },
    /// Deletes a topic: its name is free at once, its partitions are then purged one by one.
    /// Asking again changes nothing.
    #[n(10)]
    DeleteTopic {
        /// The topic.
        #[cbor(n(0), with = "crate::codec::id")]
        topic: TopicId,
    },
    /// The shards have removed these partitions of a deleted topic.
    #[n(11)]
    PartitionsPurged {
        /// The topic.
        #[cbor(n(0), with = "crate::codec::id")]
        topic: TopicId,
        /// The partitions of which nothing is left.
        #[cbor(n(1), with = "crate::codec::id")]
        partitions: Vec<PartitionId>,
    },
    /// Decides on which nodes a shard's replicas are to be.
    #[n(12)]
    PlaceShard {
        /// The shard.
        #[cbor(n(0), with = "crate::codec::id")]
        shard: ShardId,
        /// The version of its placement that this was decided on.
        #[n(1)]
        version: PlacementVersion,
        /// One replica on each of these, no others. A node whose replica is lost gets a new one.
        #[cbor(n(2), with = "crate::codec::id")]
        nodes: Vec<NodeId>,
    },
    /// Reports the voters that a shard's Raft group has now, on the way or at the end of a move.
    /// The first report also says that the group has been initialized. Only the group's leader
    /// reports, after a read barrier in the group, or a former leader could report the past.
    #[n(13)]
    CommitPlacement {
        /// The shard.
        #[cbor(n(0), with = "crate::codec::id")]
        shard: ShardId,
        /// The version of its placement that the report is made on, so that a delayed report
        /// doesn't undo a later one.
        #[n(1)]
        version: PlacementVersion,
        /// All voters, in any order.
        #[cbor(n(2), with = "crate::codec::id")]
        voters: Vec<ReplicaId>,
    },
    /// Takes a range of producer ids that are given out nowhere else.
    #[n(14)]
    AllocateProducerIds {
        /// How many, from 1 to [`PRODUCER_IDS_MAX`].
        #[n(0)]
        count: u32,
    },
    /// Raises the feature level.
    #[n(15)]
    SetFeatureLevel {
        /// The new level.
        #[n(0)]
        level: FeatureLevel,
    },
    /// Changes the limits. What exists already stays, even above a new limit.
    #[n(16)]
    SetLimits {
        /// The new limits.
        #[n(0)]
        limits: Limits,
    },
    /// Creates an exchange. Asking again for the same one changes nothing.
    #[n(17)]
    CreateExchange(#[n(0)] CreateExchange),
    /// Deletes an exchange with all bindings that lead from it and to it.
    #[n(18)]
    DeleteExchange {
        /// Its name.
        #[n(0)]
        name: String,
        /// Refuse where bindings lead from it.
        #[n(1)]
        if_unused: bool,
    },
    /// Binds a queue or an exchange to an exchange. Asking again changes nothing.
    #[n(19)]
    Bind(#[n(0)] Bind),
    /// Takes a binding back. Where it isn't there, that changes nothing.
    #[n(20)]
    Unbind {
        /// The binding.
        #[n(0)]
        route: Route,
    },
    /// Creates a durable subscription.
    #[n(21)]
    CreateSubscription(#[n(0)] CreateSubscription),
    /// Deletes a durable subscription; its positions are forgotten by the shards.
    #[n(22)]
    DeleteSubscription {
        /// Its name.
        #[n(0)]
        name: String,
    },
}

/// See [`Command::CreateSubscription`]. That pattern and filter can be compiled is checked before
/// it is proposed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CreateSubscription {
    /// 1 to 249 of `[a-zA-Z0-9._-]`, but neither `.` nor `..`.
    #[n(0)]
    pub name: String,
    /// Over the names of topics; at most 255 bytes.
    #[n(1)]
    pub pattern: String,
    /// How the pattern is written.
    #[n(2)]
    pub syntax: PatternSyntax,
    /// Which records; none: all.
    #[n(3)]
    pub filter: Option<FilterText>,
    /// Where it begins in partitions that exist already.
    #[n(4)]
    pub start: Start,
    /// Identifies the request, so that it can be repeated after an unknown outcome.
    #[n(5)]
    pub request: Option<RequestId>,
}

/// The most producer ids that one command may take.
pub const PRODUCER_IDS_MAX: u32 = 1_000_000;

/// See [`Command::InitCluster`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct InitCluster {
    /// The name that clients see; 1 to 64 of `[a-zA-Z0-9_-]`.
    #[n(0)]
    pub cluster_id: String,
    /// How many data shards; fixed for good.
    #[n(1)]
    pub shard_count: u32,
    /// How many replicas a shard should have.
    #[n(2)]
    pub replication_factor: u32,
    /// The founding nodes. Those that join later get replicas by rebalancing.
    #[n(3)]
    pub nodes: Vec<NodeSpec>,
    /// The nodes whose replicas, of incarnation 1, found the catalog shard itself. The Raft
    /// group in which this command is committed already consists of them.
    #[cbor(n(4), with = "crate::codec::id")]
    pub catalog_nodes: Vec<NodeId>,
    /// The limits to begin with.
    #[n(5)]
    pub limits: Limits,
    /// The feature level to begin with.
    #[n(6)]
    pub feature_level: FeatureLevel,
}

/// See [`Command::CreateTopic`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CreateTopic {
    /// 1 to 249 of `[a-zA-Z0-9._-]`, but neither `.` nor `..`.
    #[n(0)]
    pub name: String,
    /// How many partitions, from 1.
    #[n(1)]
    pub partitions: u32,
    /// The settings that differ from the defaults.
    #[n(2)]
    pub overrides: Overrides,
    /// Identifies the request, so that it can be repeated after an unknown outcome.
    #[n(3)]
    pub request: Option<RequestId>,
    /// Only answer whether it would be done.
    #[n(4)]
    pub validate_only: bool,
    /// Set where it is to be a queue: then it has one partition.
    #[n(5)]
    pub queue: Option<QueueSettings>,
}

/// See [`Command::AlterTopic`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AlterTopic {
    /// The topic.
    #[cbor(n(0), with = "crate::codec::id")]
    pub topic: TopicId,
    /// The settings to choose.
    #[n(1)]
    pub set: Overrides,
    /// The settings to bring back to their defaults; done before `set`.
    #[n(2)]
    pub reset: Vec<SettingName>,
    /// Refuse unless the topic's settings still have this version.
    #[n(3)]
    pub settings_version: Option<u64>,
    /// Only answer whether it would be done.
    #[n(4)]
    pub validate_only: bool,
    /// What a queue is to be set to, all of it; `None` leaves that as it is.
    #[n(5)]
    pub queue: Option<QueueSettings>,
}

/// See [`Command::CreateExchange`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CreateExchange {
    /// 1 to 255 bytes; names that begin with `kontiki.` or `amq.` are reserved.
    #[n(0)]
    pub name: String,
    /// How it chooses among its bindings.
    #[n(1)]
    pub kind: ExchangeKind,
    /// The exchange that gets messages for which no binding was chosen. It need not be there.
    #[n(2)]
    pub alternate: Option<String>,
    /// Clients may not publish to it.
    #[n(3)]
    pub internal: bool,
}

/// See [`Command::Bind`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Bind {
    /// From where to where, and for which messages.
    #[n(0)]
    pub route: Route,
    /// Which of these messages; only where it leads to a queue.
    #[n(1)]
    pub filter: Option<FilterText>,
}
