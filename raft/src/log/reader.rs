//! openraft's readers of one shard's log: replication (with payloads) and apply (without).

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::stream::{self, Stream};
use kontiki_storage::engine::{Order, ScanLimit};
use kontiki_storage::id::SegmentId;
use kontiki_storage::{Family, View, key};
use openraft::{OptionalSend, RaftLogReader};

use super::{Entries, ShardLog};
use crate::codec;
use crate::types::{Entry, EntryPayload, Types, Vote, entry_size};

/// Entries read at once for apply.
const APPLY_ENTRIES: usize = 512;

#[derive(Clone)]
pub(crate) struct LogReader(pub(crate) Arc<ShardLog>);

/// How much to read at once.
#[derive(Clone, Copy)]
struct Limit {
    entries: usize,
    bytes: usize,
}

impl LogReader {
    /// The entries of `[from, to)` that the log holds, from the first on, up to a limit (one at
    /// least). With `payloads`, those that are in segments are read too.
    fn read(&self, from: u64, to: u64, limit: Limit, payloads: bool) -> io::Result<Entries> {
        let (older_to, mut newer) = {
            let inner = self.0.lock();
            let first = inner.purged.map_or(0, |id| id.index + 1).max(from);
            let tail_first = inner.tail.first().max(first);
            let newer: Entries = if first >= inner.tail.first() {
                take(inner.tail.range(tail_first, to).cloned(), limit)
            } else {
                Entries::new()
            };
            (inner.tail.first().min(to), newer)
        };
        if !newer.is_empty() || from >= older_to {
            if payloads {
                newer.iter_mut().try_for_each(|entry| self.load(entry))?;
            }
            return Ok(newer);
        }
        let older = self.read_rows(from, older_to, limit, payloads)?;
        if older.is_empty() && older_to < to {
            // The log begins in the tail.
            return self.read(older_to, to, limit, payloads);
        }
        Ok(older)
    }

    fn read_rows(&self, from: u64, to: u64, limit: Limit, payloads: bool) -> io::Result<Entries> {
        let view: &dyn View = self.0.context.engine.as_ref();
        let scan = ScanLimit { rows: limit.entries, bytes: limit.bytes };
        let range = key::raft_entries(self.0.shard, from, to);
        let rows = view
            .scan(Family::Log, range, Order::Forward, scan)
            .map_err(|error| self.0.io(error))?;
        let mut entries: Entries = Vec::with_capacity(rows.len());
        let mut bytes = 0;
        for (_, row) in rows {
            let mut entry = codec::decode_row(row).map_err(|error| self.0.damaged(&error))?;
            if let Some(before) = entries.last()
                && before.log_id.index + 1 != entry.log_id.index
            {
                let shard = self.0.shard;
                let after = before.log_id.index;
                let text = format!("log of shard {shard} has a hole after index {after}");
                self.0.corrupt.store(true, Ordering::Release);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            if payloads {
                self.load(&mut entry)?;
            }
            bytes += entry_size(&entry);
            entries.push(entry);
            if bytes >= limit.bytes {
                break;
            }
        }
        Ok(entries)
    }

    /// Reads the payloads that are not in memory.
    fn load(&self, entry: &mut Entry) -> io::Result<()> {
        let EntryPayload::Normal(proposal) = &mut entry.payload else { return Ok(()) };
        for payload in proposal.commands.iter_mut().flat_map(|command| &mut command.payloads) {
            if let (None, Some(location)) = (&payload.bytes, payload.location) {
                let bytes = self.0.context.payloads.read(location);
                let bytes = bytes.map_err(|error| self.0.io(error))?;
                payload.bytes = Some(bytes);
            }
        }
        Ok(())
    }
}

fn take(entries: impl Iterator<Item = Entry>, limit: Limit) -> Entries {
    let mut bytes = 0;
    let mut taken = Entries::new();
    for entry in entries.take(limit.entries) {
        bytes += entry_size(&entry);
        if bytes > limit.bytes && !taken.is_empty() {
            break;
        }
        taken.push(entry);
    }
    taken
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before + 1,
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

/// The first segment that an entry's payloads are in.
pub(crate) fn segment_of(entry: &Entry) -> Option<SegmentId> {
    let EntryPayload::Normal(proposal) = &entry.payload else { return None };
    let payloads = proposal.commands.iter().flat_map(|command| &command.payloads);
    payloads.filter_map(|payload| payload.location.map(|location| location.segment)).min()
}

impl RaftLogReader<Types> for LogReader {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (mut from, to) = bounds(&range);
        let limit = Limit { entries: APPLY_ENTRIES, bytes: usize::MAX };
        let mut all = Vec::new();
        while from < to {
            let entries = self.read(from, to, limit, true)?;
            let Some(last) = entries.last() else { break };
            from = last.log_id.index + 1;
            all.extend(entries);
        }
        Ok(all)
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        let reader = self.clone();
        let state = (reader, from, Entries::new().into_iter());
        Box::pin(stream::try_unfold(state, move |(reader, from, mut read)| async move {
            if let Some(entry) = read.next() {
                let next = entry.log_id.index + 1;
                return Ok(Some((entry, (reader, next, read))));
            }
            if from >= to {
                return Ok(None);
            }
            let limit = Limit { entries: APPLY_ENTRIES, bytes: 8 << 20 };
            let mut read = reader.read(from, to, limit, false)?.into_iter();
            Ok(read.next().map(|entry| {
                let next = entry.log_id.index + 1;
                (entry, (reader, next, read))
            }))
        }))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.0.lock().vote)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let bytes = self.0.context.append_bytes_max;
        self.read(start, end, Limit { entries: 1024, bytes }, true)
    }
}
