//! Ids, each its own type: a shard's number can't be taken for a partition's.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$meta:meta])* $name:ident($inner:ty)) => {
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
            Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

id! {
    /// A Raft group. 0 is the catalog, 1.. hold partitions.
    ShardId(u32)
}
id! {
    /// A node, as it is configured; from 1.
    NodeId(u32)
}
id! {
    /// One replica of one shard, in Raft's eyes: the node in the upper 32 bits, its incarnation
    /// in the lower. A replica that has lost its data comes back under a new incarnation, so it
    /// can't vote twice in one term.
    ReplicaId(u64)
}
id! {
    /// A topic; never used again after the topic is gone.
    TopicId(u64)
}
id! {
    /// A partition, unique in the cluster; never used again.
    PartitionId(u64)
}
id! {
    /// A producer of an idempotent client.
    ProducerId(u64)
}
id! {
    /// A durable subscription; never used again.
    SubscriptionId(u64)
}
id! {
    /// A payload segment of one node.
    SegmentId(u64)
}
id! {
    /// The number of a record in its partition, dense from 0.
    Offset(u64)
}
id! {
    /// Raft's number of an entry in a shard's log. Never shown as an offset.
    LogIndex(u64)
}

impl ShardId {
    /// The shard of the catalog.
    pub const CATALOG: Self = Self(0);
    /// Not a Raft group: the prefix of rows that belong to the node alone.
    pub const NODE: Self = Self(u32::MAX);
}

impl ReplicaId {
    /// A node's replica of the given incarnation.
    #[must_use]
    pub fn new(node: NodeId, incarnation: u32) -> Self {
        Self((u64::from(node.0) << 32) | u64::from(incarnation))
    }

    /// The node that has it.
    #[must_use]
    pub fn node(self) -> NodeId {
        NodeId((self.0 >> 32) as u32)
    }

    /// Which of the node's successive replicas of the shard it is; from 1.
    #[must_use]
    pub fn incarnation(self) -> u32 {
        self.0 as u32
    }
}
