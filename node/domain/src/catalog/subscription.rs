//! Durable subscriptions: which topics and records somebody wants, kept whether they are connected
//! or not. How far each has come is in the shards of the partitions.

use kontiki_storage::id::{PartitionId, SubscriptionId};
use minicbor::{Decode, Encode};

use super::topic::RequestId;
use crate::filter::{FilterText, PatternSyntax};

/// How many durable subscriptions a cluster may have. All of them are in memory on every node:
/// some 300 bytes and their filters.
pub const SUBSCRIPTIONS_MAX: u32 = 10_000;
/// Longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 255;

/// Where a subscription begins in a partition that was there before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub enum Start {
    /// At the log start.
    #[n(0)]
    Earliest,
    /// At the end.
    #[default]
    #[n(1)]
    Latest,
    /// At the first record with this timestamp or a later one, in milliseconds since 1970.
    #[n(2)]
    Timestamp(#[n(0)] i64),
}

/// The row of a durable subscription.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Subscription {
    /// Its id: the version of the catalog that it came with, so it is never used again.
    #[cbor(n(0), with = "crate::codec::id")]
    pub id: SubscriptionId,
    /// Its name.
    #[n(1)]
    pub name: String,
    /// Over the names of topics.
    #[n(2)]
    pub pattern: String,
    /// How the pattern is written.
    #[n(3)]
    pub syntax: PatternSyntax,
    /// Which records; none: all.
    #[n(4)]
    pub filter: Option<FilterText>,
    /// Where it begins in partitions that were there before it.
    #[n(5)]
    pub start: Start,
    /// Partitions from this id on were made after it: it reads them from their first record.
    #[cbor(n(6), with = "crate::codec::id")]
    pub next_partition: PartitionId,
    /// When it was created, in milliseconds since 1970.
    #[n(7)]
    pub created_ms: i64,
    /// Which request created it.
    #[n(8)]
    pub request: Option<RequestId>,
}
