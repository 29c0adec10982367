//! What the catalog answers when it did what it was asked.

use kontiki_storage::id::{ProducerId, ReplicaId, ShardId, SubscriptionId, TopicId};
use minicbor::{Decode, Encode};

use super::placement::PlacementVersion;
use super::topic::PartitionPlacement;
use crate::settings::Settings;

/// The answer to a command of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    /// Done; there is nothing to add.
    #[n(0)]
    Done,
    /// It would have been done: the command only asked.
    #[n(1)]
    Valid,
    /// The node is known under this incarnation.
    #[n(2)]
    NodeJoined {
        /// How many data directories the node has had, from 1.
        #[n(0)]
        incarnation: u32,
        /// Replicas whose data went with the former directory; they are to be replaced.
        #[n(1)]
        lost: Vec<LostReplica>,
    },
    /// The topic exists.
    #[n(3)]
    TopicCreated {
        /// Its id.
        #[cbor(n(0), with = "crate::codec::id")]
        topic: TopicId,
        /// Its partitions, in the order of their numbers in the topic.
        #[n(1)]
        partitions: Vec<PartitionPlacement>,
        /// The settings to create the partitions with.
        #[n(2)]
        settings: Settings,
        /// It existed already: this request had been committed before.
        #[n(3)]
        existed: bool,
    },
    /// The topic's settings are these.
    #[n(4)]
    TopicAltered {
        /// How often they were changed, from 1.
        #[n(0)]
        settings_version: u64,
        /// The settings to bring to every partition.
        #[n(1)]
        settings: Settings,
        /// All partitions of the topic.
        #[n(2)]
        partitions: Vec<PartitionPlacement>,
    },
    /// The topic has these partitions more.
    #[n(5)]
    PartitionsAdded {
        /// The number, in the topic, of the first new one.
        #[n(0)]
        first: u32,
        /// The new ones.
        #[n(1)]
        partitions: Vec<PartitionPlacement>,
        /// The settings to create them with.
        #[n(2)]
        settings: Settings,
    },
    /// The topic is deleted.
    #[n(6)]
    TopicDeleted {
        /// The partitions that are still to be purged.
        #[n(0)]
        partitions: Vec<PartitionPlacement>,
    },
    /// The purged partitions are noted.
    #[n(7)]
    Purged {
        /// How many of the topic are still to be purged; at 0 the topic is forgotten.
        #[n(0)]
        remaining: u32,
    },
    /// The placement was decided.
    #[n(8)]
    Placed {
        /// The version after the decision.
        #[n(0)]
        version: PlacementVersion,
        /// What the voters are to become, sorted.
        #[cbor(n(1), with = "crate::codec::id")]
        target: Vec<ReplicaId>,
    },
    /// The report was noted.
    #[n(9)]
    PlacementCommitted {
        /// The version after the report.
        #[n(0)]
        version: PlacementVersion,
        /// Whether the voters are what they were to become.
        #[n(1)]
        settled: bool,
    },
    /// These ids, `first` up to but not including `first + count`, are the asker's.
    #[n(10)]
    ProducerIds {
        /// The first.
        #[cbor(n(0), with = "crate::codec::id")]
        first: ProducerId,
        /// How many.
        #[n(1)]
        count: u32,
    },
    /// The exchange or binding is there, or gone, as it was asked for.
    #[n(11)]
    Rerouted {
        /// Whether it was this command that changed it.
        #[n(0)]
        changed: bool,
        /// How many bindings went with an exchange.
        #[n(1)]
        unbound: u64,
    },
    /// The subscription exists.
    #[n(21)]
    SubscriptionCreated {
        /// Its id.
        #[cbor(n(0), with = "crate::codec::id")]
        subscription: SubscriptionId,
        /// It existed already: this request had been committed before.
        #[n(1)]
        existed: bool,
    },
}

/// A replica whose data is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct LostReplica {
    /// Its shard.
    #[cbor(n(0), with = "crate::codec::id")]
    pub shard: ShardId,
    /// The replica.
    #[cbor(n(1), with = "crate::codec::id")]
    pub replica: ReplicaId,
}
