//! Why storage failed.

use std::sync::Arc;

use crate::id::{SegmentId, ShardId};

/// A failure of the engine or of the segments.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The operating system refused. After a failed write or sync the store is poisoned.
    #[error("{op} failed: {source}")]
    Io {
        /// What was being done, and to which file.
        op: String,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// Too little space; nothing was written, and it may be tried again when there is space.
    #[error(
        "{op}: {free} bytes are free on the disk, at least {limit} must stay free; make space or \
         raise the disk's size"
    )]
    Full {
        /// What was being done.
        op: &'static str,
        /// Free bytes.
        free: u64,
        /// The limit that was reached.
        limit: u64,
    },
    /// Stored bytes are not what was written. They are never served; the replica is rebuilt.
    #[error("{what} is corrupt: {why}")]
    Corrupt {
        /// Which row, frame or file.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A payload was asked for whose segment is gone, or that was never written.
    #[error("segment {segment} has no payload at {offset}")]
    NoPayload {
        /// The segment.
        segment: SegmentId,
        /// Where in it.
        offset: u32,
    },
    /// An earlier write or sync failed. The kernel may have dropped data, so nothing more is
    /// written until the process has started anew.
    #[error("storage stopped after an earlier failure ({0}); restart the node")]
    Poisoned(String),
    /// More than one write may hold.
    #[error("{what} of {size} bytes; the limit is {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The store is closed, or what writes to it has stopped.
    #[error("storage is closed")]
    Stopped,
}

impl Error {
    /// The store is closed.
    #[must_use]
    pub fn stopped() -> Self {
        Self::Stopped
    }

    /// An I/O error of an operation.
    #[must_use]
    pub fn io(op: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { op: op.into(), source: Arc::new(source) }
    }

    /// Corruption.
    #[must_use]
    pub fn corrupt(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into(), why: why.into() }
    }

    /// A row of a shard that doesn't decode.
    #[must_use]
    pub fn corrupt_row(shard: ShardId, row: &str, why: impl Into<String>) -> Self {
        Self::corrupt(format!("{row} row of shard {shard}"), why)
    }

    /// Stored data is damaged or missing: the replica that needs it has to be rebuilt.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::NoPayload { .. })
    }

    /// There is too little space.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}
