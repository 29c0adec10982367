//! The Raft log of one shard on the node-wide log store.
//!
//! [`ShardLog`] is shared by openraft's writer (`store`), its readers (`reader`) and the committer.
//! Recent entries stay in memory (`tail`), so that replication and apply don't read what was just
//! written. Rows are written by the committer only.

mod reader;
mod store;
mod tail;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use kontiki_storage::engine::{Engine, KeyRange, Order, ScanLimit};
use kontiki_storage::id::{SegmentId, ShardId};
use kontiki_storage::payload::Payloads;
use kontiki_storage::{Family, View, key};
use tokio::sync::watch;

pub(crate) use self::reader::LogReader;
pub(crate) use self::store::LogStore;
pub(crate) use self::tail::TailBudget;
use crate::codec;
use crate::committer::CommitQueue;
use crate::types::{Entry, LogId, Vote};
use tail::Tail;

/// What all logs of a node share.
#[derive(Clone)]
pub(crate) struct LogContext {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) payloads: Arc<dyn Payloads>,
    pub(crate) queue: CommitQueue,
    pub(crate) budget: Arc<TailBudget>,
    pub(crate) inline_bytes_max: usize,
    pub(crate) append_bytes_max: usize,
}

/// One shard's log.
pub(crate) struct ShardLog {
    pub(crate) shard: ShardId,
    context: LogContext,
    inner: Mutex<Inner>,
    /// Held from writing payloads until the entries that refer to them are in the tail.
    storing: Mutex<()>,
    /// Where the search for the oldest segment goes on, and the segment found there.
    searched: Mutex<(u64, Option<SegmentId>)>,
    /// Rows were found damaged.
    corrupt: AtomicBool,
    /// The highest index whose entry is durable on this node.
    flushed: watch::Sender<u64>,
    /// The highest index whose entry is here, durable or not.
    appended: watch::Sender<u64>,
}

struct Inner {
    purged: Option<LogId>,
    last: Option<LogId>,
    vote: Option<Vote>,
    tail: Tail,
}

impl ShardLog {
    /// Opens the log as it is on disk.
    ///
    /// # Errors
    /// Storage errors; rows that don't decode are corruption.
    pub(crate) fn open(shard: ShardId, context: LogContext) -> std::io::Result<Arc<Self>> {
        let view: &dyn View = context.engine.as_ref();
        let get = |key: &[u8]| view.get(Family::Log, key).map_err(crate::error::io);
        let vote = get(&key::raft_vote(shard))?
            .map(codec::decode_vote)
            .transpose()
            .map_err(|error| crate::error::corrupt("vote row", &error))?;
        let purged = get(&key::raft_purged(shard))?
            .map(codec::decode_log_id)
            .transpose()
            .map_err(|error| crate::error::corrupt("purged row", &error))?;
        let last = last_row(view, shard)?.or(purged);
        let flushed = last.map_or(0, |id| id.index);
        let tail = Tail::new(context.budget.clone(), flushed + 1);
        let inner = Mutex::new(Inner { purged, last, vote, tail });
        let (appended, _) = watch::channel(flushed);
        let (flushed, _) = watch::channel(flushed);
        Ok(Arc::new(Self {
            shard,
            context,
            inner,
            storing: Mutex::new(()),
            searched: Mutex::new((0, None)),
            corrupt: AtomicBool::new(false),
            flushed,
            appended,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no code panics while it holds the log's lock")
    }

    /// The committer has made entries up to this index durable.
    pub(crate) fn set_flushed(&self, index: u64) {
        self.flushed.send_if_modified(|flushed| {
            let newer = index > *flushed;
            *flushed = index.max(*flushed);
            newer
        });
        self.lock().tail.evict(index);
    }

    /// The index of the last entry that was appended; changes as entries come.
    pub(crate) fn appended(&self) -> watch::Receiver<u64> {
        self.appended.subscribe()
    }

    /// Waits until the entry at this index is durable here.
    pub(crate) async fn wait_flushed(&self, index: u64) -> std::io::Result<()> {
        if *self.flushed.borrow() >= index {
            return Ok(());
        }
        let mut receiver = self.flushed.subscribe();
        let waited = receiver.wait_for(|flushed| *flushed >= index).await;
        waited.map(|_| ()).map_err(|_| std::io::Error::other("the log is closed"))
    }

    /// Last index, and the first that is still there.
    pub(crate) fn bounds(&self) -> (u64, u64) {
        let inner = self.lock();
        let last = inner.last.map_or(0, |id| id.index);
        (inner.purged.map_or(0, |id| id.index + 1), last)
    }

    /// The index up to which the log may be purged so that about `bytes_keep` bytes and at most
    /// `entries_keep` entries before `applied` remain.
    pub(crate) fn purge_target(&self, applied: u64, entries: u64, bytes: u64) -> u64 {
        let by_count = applied.saturating_sub(entries);
        by_count.max(self.lock().tail.index_before(bytes)).min(applied)
    }

    /// Lets go of the tail's memory up to an index: nobody is expected to need it.
    pub(crate) fn trim_tail(&self, index: u64) {
        let flushed = *self.flushed.borrow();
        self.lock().tail.trim(index.min(flushed));
    }

    /// The oldest segment that an entry of this log refers to; `None`: none does. Segments that
    /// were begun after the call are not considered.
    pub(crate) fn oldest_segment(&self) -> std::io::Result<Option<SegmentId>> {
        // Whoever has stored payloads before has put their entries into the tail after this.
        drop(self.storing.lock().expect("no code panics while it stores payloads"));
        let (first, _) = self.bounds();
        let mut searched = self.searched.lock().expect("no code panics during a search");
        if searched.0 < first {
            *searched = (first, None);
        }
        let in_tail = self.lock().tail.first();
        while searched.1.is_none() && searched.0 < in_tail {
            let rows = self.rows(searched.0, in_tail)?;
            if rows.is_empty() {
                searched.0 = in_tail;
            }
            for (_, row) in rows {
                let entry = codec::decode_row(row).map_err(|error| self.damaged(&error))?;
                searched.0 = entry.log_id.index;
                searched.1 = reader::segment_of(&entry);
                if searched.1.is_some() {
                    break;
                }
                searched.0 += 1;
            }
        }
        if searched.1.is_some() {
            return Ok(searched.1);
        }
        let inner = self.lock();
        let from = inner.tail.first();
        Ok(inner.tail.range(from, u64::MAX).find_map(reader::segment_of))
    }

    /// For [`Mutant::ApplyTwiceAfterCrash`]: the log id before another, where its entry and the
    /// one before are still here.
    pub(crate) fn before(&self, id: Option<LogId>) -> Option<LogId> {
        let id = id?;
        let (first, _) = self.bounds();
        if id.index <= first + 1 {
            return Some(id);
        }
        let rows = self.rows(id.index - 1, id.index).unwrap_or_default();
        let row = rows.into_iter().next().and_then(|(_, row)| codec::decode_row(row).ok());
        Some(row.map_or(id, |entry| entry.log_id))
    }

    fn rows(&self, from: u64, to: u64) -> std::io::Result<Vec<kontiki_storage::engine::Row>> {
        let view: &dyn View = self.context.engine.as_ref();
        let limit = ScanLimit { rows: 256, bytes: 4 << 20 };
        view.scan(Family::Log, key::raft_entries(self.shard, from, to), Order::Forward, limit)
            .map_err(|error| self.io(error))
    }

    /// Notes whether an error means that this log is damaged.
    fn io(&self, error: kontiki_storage::Error) -> std::io::Error {
        if error.is_corrupt() {
            self.corrupt.store(true, Ordering::Release);
        }
        crate::error::io(error)
    }

    fn damaged(&self, error: &codec::DecodeError) -> std::io::Error {
        self.corrupt.store(true, Ordering::Release);
        crate::error::corrupt("log row", error)
    }

    /// Rows of this log were found damaged.
    pub(crate) fn is_corrupt(&self) -> bool {
        self.corrupt.load(Ordering::Acquire)
    }
}

fn last_row(view: &dyn View, shard: ShardId) -> std::io::Result<Option<LogId>> {
    let range: KeyRange = key::raft_entries(shard, 0, u64::MAX);
    let limit = ScanLimit { rows: 1, bytes: usize::MAX };
    let rows = view.scan(Family::Log, range, Order::Reverse, limit).map_err(crate::error::io)?;
    let last = rows.into_iter().next().map(|(_, row)| codec::decode_row_log_id(row));
    last.transpose().map_err(|error| crate::error::corrupt("last log row", &error))
}

/// Entries and where they are on this node.
type Entries = Vec<Entry>;
