//! The catalog, shard 0: the cluster, its nodes, where the replicas of each shard are, and the
//! topics with their partitions, exchanges and bindings.
//!
//! [`Catalog`] is the state machine; all of it is in memory on every node, bounded by [`Limits`].
//! [`plan`] says which replicas should move. What is decided here is carried out by the broker.

mod apply;
mod cluster;
mod command;
mod exchange;
mod node;
mod placement;
pub mod plan;
mod reply;
mod routes;
mod rows;
mod state;
mod subscription;
mod topic;

pub use self::cluster::{
    BINDINGS_MAX, CatalogVersion, Cluster, EXCHANGES_MAX, FeatureLevel, FeatureRange, Limits,
    REPLICATION_FACTOR_MAX, SHARDS_MAX,
};
pub use self::command::{
    AlterTopic, Bind, Command, CreateExchange, CreateSubscription, CreateTopic, InitCluster,
    PRODUCER_IDS_MAX,
};
pub(crate) use self::exchange::check_text;
pub use self::exchange::{
    Argument, Binding, BindingId, Destination, EXCHANGE_NAME_BYTES_MAX, Exchange, ExchangeKind,
    Route,
};
pub use self::node::{DiskId, ENTRIES_MAX, Node, NodeSpec, NodeState, TEXT_BYTES_MAX};
pub use self::placement::{Placement, PlacementVersion};
pub use self::reply::{LostReplica, Reply};
pub use self::routes::{Routes, RoutingChange};
pub use self::state::{Catalog, PartitionRef};
pub use self::subscription::{PATTERN_BYTES_MAX, SUBSCRIPTIONS_MAX, Start, Subscription};
pub use self::topic::{
    NAME_LENGTH_MAX, PartitionPlacement, RequestId, Topic, TopicState, collision_key, validate_name,
};

#[cfg(test)]
mod tests;
