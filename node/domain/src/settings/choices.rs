//! The settings that are one of a few words, and the names of all settings.

use std::fmt;

use minicbor::{Decode, Encode};

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Durability {
    /// A quorum has the write on disk. The default, and the only one that survives a power
    /// failure of all nodes.
    #[n(0)]
    QuorumFsync,
    /// A quorum has the write in memory.
    #[n(1)]
    QuorumMemory,
    /// The leader has it in memory.
    #[n(2)]
    Leader,
}

/// How the records of a stored batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Compression {
    /// Not at all.
    #[n(0)]
    None,
    /// gzip.
    #[n(1)]
    Gzip,
    /// Snappy.
    #[n(2)]
    Snappy,
    /// LZ4 frames.
    #[n(3)]
    Lz4,
    /// Zstandard.
    #[n(4)]
    Zstd,
}

/// Which compression a topic stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum CompressionPolicy {
    /// Whatever the producer chose.
    #[n(0)]
    Producer,
    /// One kind only. The broker is expected to bring batches into it before it proposes them;
    /// the state machine refuses those that are not.
    #[n(1)]
    Only(#[n(0)] Compression),
}

/// Whose clock the timestamps of records come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum TimestampType {
    /// The producer's: a record keeps the timestamp that it came with.
    #[n(0)]
    Create,
    /// The shard's: the time of the append.
    #[n(1)]
    Append,
}

/// How old records leave the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum CleanupPolicy {
    /// By age and size.
    #[n(0)]
    Delete,
    /// By key: only the newest record of each remains. Known, but refused for now.
    #[n(1)]
    Compact,
    /// By age, size and key. Known, but refused for now.
    #[n(2)]
    CompactAndDelete,
}

/// The names of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum SettingName {
    /// `retention_ms`
    #[n(0)]
    RetentionMs,
    /// `retention_bytes`
    #[n(1)]
    RetentionBytes,
    /// `message_bytes_max`
    #[n(2)]
    MessageBytesMax,
    /// `durability`
    #[n(3)]
    Durability,
    /// `compression`
    #[n(4)]
    Compression,
    /// `timestamp_type`
    #[n(5)]
    TimestampType,
    /// `cleanup_policy`
    #[n(6)]
    CleanupPolicy,
    /// `producer_expiry_ms`
    #[n(7)]
    ProducerExpiryMs,
    /// `producers_max`
    #[n(8)]
    ProducersMax,
    /// `timestamp_ahead_ms_max`
    #[n(9)]
    TimestampAheadMsMax,
    /// `timestamp_behind_ms_max`
    #[n(10)]
    TimestampBehindMsMax,
}

impl SettingName {
    /// Every name, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::RetentionMs,
        Self::RetentionBytes,
        Self::MessageBytesMax,
        Self::Durability,
        Self::Compression,
        Self::TimestampType,
        Self::CleanupPolicy,
        Self::ProducerExpiryMs,
        Self::ProducersMax,
        Self::TimestampAheadMsMax,
        Self::TimestampBehindMsMax,
    ];

    /// The name as it is written in configuration and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RetentionMs => "retention_ms",
            Self::RetentionBytes => "retention_bytes",
            Self::MessageBytesMax => "message_bytes_max",
            Self::Durability => "durability",
            Self::Compression => "compression",
            Self::TimestampType => "timestamp_type",
            Self::CleanupPolicy => "cleanup_policy",
            Self::ProducerExpiryMs => "producer_expiry_ms",
            Self::ProducersMax => "producers_max",
            Self::TimestampAheadMsMax => "timestamp_ahead_ms_max",
            Self::TimestampBehindMsMax => "timestamp_behind_ms_max",
        }
    }
}

impl fmt::Display for SettingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

impl fmt::Display for CleanupPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
            Self::CompactAndDelete => "compact,delete",
        })
    }
}
