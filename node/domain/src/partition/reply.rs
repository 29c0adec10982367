//! What the partitions of a shard answer when they did what they were asked.

use kontiki_storage::id::Offset;
use minicbor::{Decode, Encode};

use crate::settings::TimestampType;

/// The answer to a command of a data shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    /// The batch is stored.
    #[n(0)]
    Appended(#[n(0)] Appended),
    /// The partition exists.
    #[n(1)]
    PartitionCreated {
        /// It existed already.
        #[n(0)]
        existed: bool,
    },
    /// The partition is deleted.
    #[n(2)]
    PartitionDeleted {
        /// How many of its rows are still to be removed; at 0 nothing of it is left.
        #[n(0)]
        remaining: u64,
    },
    /// The settings are known.
    #[n(3)]
    SettingsUpdated {
        /// The version that is in force now.
        #[n(0)]
        settings_version: u64,
    },
    /// Retention was applied.
    #[n(4)]
    Retained(#[n(0)] Trimmed),
    /// The log start was moved.
    #[n(5)]
    RecordsDeleted(#[n(0)] Trimmed),
    /// Producers and traces were forgotten.
    #[n(6)]
    Expired {
        /// Producers whose sequence state was removed.
        #[n(0)]
        producers: u32,
        /// Deleted partitions of which the last trace was removed.
        #[n(1)]
        partitions: u32,
        /// Whether there is more to forget already.
        #[n(2)]
        more: bool,
    },
    /// The positions are noted, or forgotten.
    #[n(7)]
    Positions {
        /// How many have changed. Those of partitions that aren't there have not.
        #[n(0)]
        changed: u32,
    },
}

/// Where a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Appended {
    /// The offset of its first record.
    #[cbor(n(0), with = "crate::codec::id")]
    pub base_offset: Offset,
    /// When it was appended, in milliseconds since 1970; for a duplicate, when the original was.
    #[n(1)]
    pub append_time_ms: i64,
    /// The partition's log start at the time of this answer.
    #[cbor(n(2), with = "crate::codec::id")]
    pub log_start_offset: Offset,
    /// It had been stored before: nothing was appended now.
    #[n(3)]
    pub duplicate: bool,
    /// Whose clock its timestamps come from, by the settings in force.
    #[n(4)]
    pub timestamp_type: TimestampType,
}

/// What was removed from the head of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Trimmed {
    /// The log start after the command.
    #[cbor(n(0), with = "crate::codec::id")]
    pub log_start_offset: Offset,
    /// How many batches were removed.
    #[n(1)]
    pub batches: u32,
    /// The sum of their payloads' lengths.
    #[n(2)]
    pub bytes: u64,
    /// Whether there is more to remove already: propose `Retain` again.
    #[n(3)]
    pub more: bool,
}
