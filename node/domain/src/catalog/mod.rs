//! The catalog, shard 0: the cluster, its nodes, where the replicas of each shard are, and the
//! topics with their partitions.
//!
//! [`Catalog`] is the state machine; all of it is in memory on every node, bounded by [`Limits`].
//! [`plan`] says which replicas should move. What is decided here is carried out by the broker.

mod apply;
mod cluster;
mod command;
mod node;
mod placement;
pub mod plan;
mod reply;
mod rows;
mod state;
mod subscription;
mod topic;

pub use self::cluster::{
    CatalogVersion, Cluster, FeatureLevel, FeatureRange, Limits, REPLICATION_FACTOR_MAX, SHARDS_MAX,
};
pub use self::command::{
    AlterTopic, Command, CreateSubscription, CreateTopic, InitCluster, PRODUCER_IDS_MAX,
};
pub use self::node::{DiskId, ENTRIES_MAX, Node, NodeSpec, NodeState, TEXT_BYTES_MAX};
pub use self::placement::{Placement, PlacementVersion};
pub use self::reply::{LostReplica, Reply};
pub use self::state::{Catalog, PartitionRef};
pub use self::subscription::{
    FILTER_BYTES_MAX, FilterText, Language, PATTERN_BYTES_MAX, SUBSCRIPTIONS_MAX, Start,
    Subscription, Syntax,
};
pub use self::topic::{
    NAME_LENGTH_MAX, PartitionPlacement, RequestId, Topic, TopicState, collision_key, validate_name,
};

#[cfg(test)]
mod tests;
