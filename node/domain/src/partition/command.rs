//! What can be asked of the partitions of a shard, as it stands in the Raft log.
//!
//! Numbers are only ever appended. A field or variant that is new in a release may be proposed
//! only once the feature level says that every node understands it.

use kontiki_storage::id::{Offset, PartitionId, SubscriptionId, TopicId};
use minicbor::{Decode, Encode};

use super::header::BatchHeader;
use crate::queue::QueueSettings;
use crate::settings::Settings;

/// A command of a data shard.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// Stores one record batch at the end of a partition.
    #[n(0)]
    Append(#[n(0)] Append),
    /// Makes a partition. Asking again changes nothing.
    #[n(1)]
    CreatePartition {
        /// Its id, given out by the catalog.
        #[cbor(n(0), with = "crate::codec::id")]
        partition: PartitionId,
        /// The topic that it belongs to.
        #[cbor(n(1), with = "crate::codec::id")]
        topic: TopicId,
        /// The topic's settings.
        #[n(2)]
        settings: Settings,
        /// The version of these settings in the catalog.
        #[n(3)]
        settings_version: u64,
        /// Set where it is to be a queue.
        #[n(4)]
        queue: Option<QueueSettings>,
    },
    /// Deletes a partition: gone for clients at once, its rows leave over several commands.
    #[n(2)]
    DeletePartition {
        /// The partition.
        #[cbor(n(0), with = "crate::codec::id")]
        partition: PartitionId,
        /// How many rows to remove now, at least 1.
        #[n(1)]
        limit: u32,
    },
    /// Brings a topic's changed settings to one of its partitions.
    #[n(3)]
    UpdateSettings {
        /// The partition.
        #[cbor(n(0), with = "crate::codec::id")]
        partition: PartitionId,
        /// The topic's settings.
        #[n(1)]
        settings: Settings,
        /// Their version in the catalog; an older one than the partition has changes nothing.
        #[n(2)]
        settings_version: u64,
        /// Set where it is a queue.
        #[n(3)]
        queue: Option<QueueSettings>,
    },
    /// Removes what the retention settings no longer keep, and what lies below the log start.
    #[n(4)]
    Retain {
        /// The partition.
        #[cbor(n(0), with = "crate::codec::id")]
        partition: PartitionId,
        /// How many batches to remove now, at least 1.
        #[n(1)]
        limit: u32,
    },
    /// Moves the log start, on behalf of a client.
    #[n(5)]
    DeleteRecords {
        /// The partition.
        #[cbor(n(0), with = "crate::codec::id")]
        partition: PartitionId,
        /// The new log start; `None` is the high watermark. One below the log start changes
        /// nothing.
        #[cbor(n(1), with = "crate::codec::id")]
        before: Option<Offset>,
        /// How many batches to remove now, at least 1; `Retain` removes the rest.
        #[n(2)]
        limit: u32,
    },
    /// Forgets idle producers, and the last traces of partitions deleted long ago.
    #[n(6)]
    Expire {
        /// How many of them to forget now, at least 1.
        #[n(0)]
        limit: u32,
    },
    /// Notes how far durable subscriptions have come; at most [`POSITIONS_MAX`].
    #[n(7)]
    CommitPositions(#[n(0)] Vec<CommitPosition>),
    /// Forgets positions of subscriptions that are deleted; at most [`POSITIONS_MAX`].
    #[n(8)]
    ForgetPositions(#[n(0)] Vec<PositionOf>),
}

/// Positions that one command may name.
pub const POSITIONS_MAX: usize = 256;

/// One position, to be noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct CommitPosition {
    /// The partition.
    #[cbor(n(0), with = "crate::codec::id")]
    pub partition: PartitionId,
    /// The subscription.
    #[cbor(n(1), with = "crate::codec::id")]
    pub subscription: SubscriptionId,
    /// The next offset that it wants; one beyond the end counts as the end.
    #[cbor(n(2), with = "crate::codec::id")]
    pub offset: Offset,
    /// Also where that is a step back. Once for each generation, unless that is 0.
    #[n(3)]
    pub reset: bool,
    /// Of the consumer that says so: a later one has a higher one. After a reset, what those before
    /// it have to say changes nothing. 0: it isn't known, and is before all others.
    #[cbor(n(4), with = "crate::codec::unset", has_nil)]
    pub generation: u64,
}

/// Whose position, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct PositionOf {
    /// The partition.
    #[cbor(n(0), with = "crate::codec::id")]
    pub partition: PartitionId,
    /// The subscription.
    #[cbor(n(1), with = "crate::codec::id")]
    pub subscription: SubscriptionId,
}

/// See [`Command::Append`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Append {
    /// Where to.
    #[cbor(n(0), with = "crate::codec::id")]
    pub partition: PartitionId,
    /// Which of the entry's payloads is the batch.
    #[n(1)]
    pub payload: u16,
    /// What the state machine must know about the batch; the broker has read it from the bytes.
    #[n(2)]
    pub header: BatchHeader,
    /// Refuse unless the command is committed in this term.
    #[n(3)]
    pub leader_term: Option<u64>,
}
