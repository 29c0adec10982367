//! Ordered rows: what an engine must do.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::batch::WriteBatch;
use crate::error::Error;

/// Which rows: the two are stored apart, because they live differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Raft's log: written once, read seldom, deleted from the front.
    Log,
    /// The state that was applied.
    State,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Log, Self::State];

    /// Its name in files and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::State => "state",
        }
    }
}

/// Keys from `start` up to, not including, `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key.
    pub start: Bytes,
    /// The key after the last.
    pub end: Bytes,
}

impl KeyRange {
    /// The range of two keys.
    #[must_use]
    pub fn new(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self { start: start.into(), end: end.into() }
    }

    /// All keys with a prefix.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        Self { start: Bytes::copy_from_slice(prefix), end: after_prefix(prefix) }
    }

    /// What is left of it after a key.
    #[must_use]
    pub fn after(&self, key: &[u8]) -> Self {
        let mut start = Vec::with_capacity(key.len() + 1);
        start.extend_from_slice(key);
        start.push(0);
        Self { start: start.into(), end: self.end.clone() }
    }

    /// What is left of it before a key.
    #[must_use]
    pub fn before(&self, key: &[u8]) -> Self {
        Self { start: self.start.clone(), end: Bytes::copy_from_slice(key) }
    }

    /// No key fits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }
}

/// The first key that doesn't have the prefix. Prefixes begin with a shard's number; that of
/// the node's own rows is all ones, so the fallback is a key longer than any that is used.
fn after_prefix(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end.into();
        }
    }
    Bytes::from_static(&[0xff; 64])
}

/// The order of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// From the first key on.
    Forward,
    /// From the last key back.
    Reverse,
}

/// How much a scan may return: it ends with the row that reaches a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimit {
    /// Rows.
    pub rows: usize,
    /// Bytes of keys and values. One row is returned whatever its size.
    pub bytes: usize,
}

impl ScanLimit {
    /// A number of rows.
    #[must_use]
    pub fn rows(rows: usize) -> Self {
        Self { rows, bytes: usize::MAX }
    }
}

/// Key and value.
pub type Row = (Bytes, Bytes);

/// Rows as they are (an engine), or as they were at one moment (a snapshot).
pub trait View: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// I/O and corruption.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Error>;

    /// Rows of a range, in order, up to a limit.
    ///
    /// # Errors
    /// I/O and corruption.
    fn scan(
        &self,
        family: Family,
        range: KeyRange,
        order: Order,
        limit: ScanLimit,
    ) -> Result<Vec<Row>, Error>;
}

/// Counts writes; a sync says up to which one all is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence(pub u64);

/// What an engine costs at the moment. Counters are since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Bytes of its files.
    pub disk_bytes: u64,
    /// Bytes of rows that are in memory and not in sorted files yet.
    pub memory_bytes: u64,
    /// Bytes of cached blocks.
    pub cache_bytes: u64,
    /// Bytes written to its log.
    pub wal_bytes: u64,
    /// Bytes written by flushes and compactions.
    pub compaction_bytes: u64,
    /// Syncs done.
    pub syncs: u64,
    /// Free bytes on its disk; `u64::MAX` where there is no disk.
    pub free_bytes: u64,
}

/// Ordered rows that survive a crash as far as they were synced.
///
/// A crash keeps a prefix of the writes: all up to the last sync at least, never one without
/// those before it.
pub trait Engine: View {
    /// Writes a batch: all of it or nothing, in both families, visible at once. Not durable yet.
    /// Payload bookkeeping in the batch must have been turned into rows, see
    /// [`Accounting`](crate::Accounting).
    ///
    /// # Errors
    /// After any error but [`Error::Full`] and [`Error::TooLarge`] the engine is poisoned.
    fn write(&self, batch: WriteBatch) -> Result<Sequence, Error>;

    /// Makes everything durable that was written before the call. May block the thread that
    /// polls it.
    ///
    /// # Errors
    /// The engine is poisoned: a failed sync is never tried again.
    fn sync(&self) -> BoxFuture<'_, Result<Sequence, Error>>;

    /// The rows as they are now, unaffected by later writes.
    fn snapshot(&self) -> Arc<dyn View>;

    /// What it costs.
    fn stats(&self) -> EngineStats;

    /// The engine as a view that always shows the newest rows.
    fn into_view(self: Arc<Self>) -> Arc<dyn View>;
}
