//! What is true of the cluster as a whole: its identity, its fixed number of shards, its feature
//! level and its limits.

use std::fmt;

use minicbor::{Decode, Encode};

use crate::rejection::Rejection;

/// Counts the changes of the catalog; a watcher that knows version `v` has seen them up to `v`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct CatalogVersion(#[n(0)] pub u64);

impl fmt::Display for CatalogVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which commands and fields may be used. It is raised by an operator once every node runs a
/// release that understands it, and never falls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct FeatureLevel(#[n(0)] pub u32);

impl FeatureLevel {
    /// The oldest level that this release still speaks.
    pub const OLDEST: Self = Self(1);
    /// From this level on, bindings between exchanges may have a filter: before, nodes would not
    /// ask it.
    pub const EXCHANGE_FILTERS: Self = Self(2);
    /// The newest level that this release speaks.
    pub const NEWEST: Self = Self::EXCHANGE_FILTERS;
}

impl fmt::Display for FeatureLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The levels that a node's release speaks, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct FeatureRange {
    /// The oldest.
    #[n(0)]
    pub oldest: FeatureLevel,
    /// The newest.
    #[n(1)]
    pub newest: FeatureLevel,
}

impl FeatureRange {
    /// The levels of this release.
    pub const THIS_RELEASE: Self =
        Self { oldest: FeatureLevel::OLDEST, newest: FeatureLevel::NEWEST };

    /// Whether a node with this range can work in a cluster at `level`.
    pub fn speaks(self, level: FeatureLevel) -> bool {
        (self.oldest..=self.newest).contains(&level)
    }
}

/// The largest number of data shards that a cluster may be created with.
pub const SHARDS_MAX: u32 = 4096;
/// The largest number of replicas that a shard may be asked to have.
pub const REPLICATION_FACTOR_MAX: u32 = 9;

/// The cluster row.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Cluster {
    /// The name that clients see; chosen once, never changed. 1 to 64 of `[a-zA-Z0-9_-]`.
    #[n(0)]
    pub cluster_id: String,
    /// When the cluster was founded, in milliseconds since 1970.
    #[n(1)]
    pub created_ms: i64,
    /// How many data shards there are: shards `1..=shard_count`. Fixed for good.
    #[n(2)]
    pub shard_count: u32,
    /// How many replicas a shard should have, once there are that many nodes.
    #[n(3)]
    pub replication_factor: u32,
    /// The feature level in force.
    #[n(4)]
    pub feature_level: FeatureLevel,
    /// The limits in force.
    #[n(5)]
    pub limits: Limits,
}

/// How much a cluster may hold: the catalog lives in memory on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Limits {
    /// Topics, including deleted ones whose partitions are not purged yet.
    #[n(0)]
    pub topics_max: u32,
    /// Partitions of one topic.
    #[n(1)]
    pub partitions_per_topic_max: u32,
    /// Partitions of all topics together, including deleted ones that are not purged yet.
    #[n(2)]
    pub partitions_max: u32,
    /// Nodes, including removed ones.
    #[n(3)]
    pub nodes_max: u32,
    /// Exchanges; `None` = [`EXCHANGES_MAX`].
    #[n(4)]
    pub exchanges_max: Option<u32>,
    /// Bindings of all exchanges together; `None` = [`BINDINGS_MAX`]. Bounds memory on every node:
    /// about 1 KiB each.
    #[n(5)]
    pub bindings_max: Option<u32>,
}

/// How many exchanges there may be where nobody has said otherwise.
pub const EXCHANGES_MAX: u32 = 10_000;
/// How many bindings there may be where nobody has said otherwise.
pub const BINDINGS_MAX: u32 = 1_000_000;

impl Default for Limits {
    fn default() -> Self {
        Self {
            topics_max: 100_000,
            partitions_per_topic_max: 10_000,
            partitions_max: 200_000,
            nodes_max: 256,
            exchanges_max: None,
            bindings_max: None,
        }
    }
}

impl Limits {
    /// Checks that every limit lets at least one thing exist.
    ///
    /// # Errors
    /// [`Rejection::InvalidArgument`] names the first that doesn't.
    pub fn validate(&self) -> Result<(), Rejection> {
        let rows = [
            ("topics_max", self.topics_max),
            ("partitions_per_topic_max", self.partitions_per_topic_max),
            ("partitions_max", self.partitions_max),
            ("nodes_max", self.nodes_max),
            ("exchanges_max", self.exchanges_max.unwrap_or(EXCHANGES_MAX)),
            ("bindings_max", self.bindings_max.unwrap_or(BINDINGS_MAX)),
        ];
        match rows.into_iter().find(|(_, value)| *value == 0) {
            None => Ok(()),
            Some((field, _)) => Err(Rejection::invalid(field, 0, "at least 1")),
        }
    }
}
