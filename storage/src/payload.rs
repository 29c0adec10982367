//! Payloads: the bytes of record batches, stored once per node in append-only segments that all
//! shards share. Rows refer to them by location.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::error::Error;
use crate::id::{SegmentId, ShardId};

/// Where a payload is on this node, and what it must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadLocation {
    /// The segment.
    pub segment: SegmentId,
    /// Offset of its frame in the segment.
    pub offset: u32,
    /// Length of the payload.
    pub length: u32,
    /// CRC32C of the payload.
    pub crc: u32,
}

/// A payload, or where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadRef {
    /// It is small and inside the row.
    Inline(Bytes),
    /// It is in a segment.
    Stored(PayloadLocation),
}

impl PayloadRef {
    /// Length of the payload.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Stored(location) => location.length as usize,
        }
    }

    /// Nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Keeps all segments that exist when it is taken from being removed while it lives.
#[derive(Clone)]
pub struct SegmentPin {
    _keep: Arc<dyn std::any::Any + Send + Sync>,
}

impl SegmentPin {
    /// Holds whatever counts pins.
    pub fn new(keep: Arc<dyn std::any::Any + Send + Sync>) -> Self {
        Self { _keep: keep }
    }
}

/// One segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number; later segments have greater ones.
    pub id: SegmentId,
    /// Nothing is appended to it any more.
    pub sealed: bool,
    /// Bytes written to it, frame headers included.
    pub bytes: u64,
}

/// What the segments cost at the moment. Counters are since they were opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PayloadStats {
    /// How many segments there are.
    pub segments: u64,
    /// Bytes of their files.
    pub disk_bytes: u64,
    /// Bytes appended.
    pub appended_bytes: u64,
    /// Syncs done.
    pub syncs: u64,
    /// Free bytes on their disk; `u64::MAX` where there is no disk.
    pub free_bytes: u64,
}

/// Append-only segments of payloads.
///
/// A crash keeps a prefix of what was appended: all up to the last sync at least.
pub trait Payloads: Send + Sync {
    /// Appends payloads; they can be read at once, and are not durable yet.
    ///
    /// # Errors
    /// [`Error::Full`] leaves everything as it was; after other errors the store is poisoned.
    fn append(&self, shard: ShardId, payloads: &[Bytes]) -> Result<Vec<PayloadLocation>, Error>;

    /// Makes everything durable that was appended before the call. May block the thread that
    /// polls it.
    ///
    /// # Errors
    /// The store is poisoned: a failed sync is never tried again.
    fn sync(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Reads a payload and checks it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the bytes are not what the location says, [`Error::NoPayload`]
    /// where the segment is gone.
    fn read(&self, location: PayloadLocation) -> Result<Bytes, Error>;

    /// Keeps the segments of this moment.
    fn pin(&self) -> SegmentPin;

    /// All segments, oldest first.
    fn segments(&self) -> Vec<SegmentInfo>;

    /// Removes a sealed segment that nothing refers to. Returns false, and removes nothing, where
    /// a pin is held that is older than the segment's end.
    ///
    /// # Errors
    /// I/O.
    fn remove(&self, segment: SegmentId) -> Result<bool, Error>;

    /// What they cost.
    fn stats(&self) -> PayloadStats;
}
