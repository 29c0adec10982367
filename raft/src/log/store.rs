//! openraft's writer of one shard's log.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use kontiki_storage::{Family, WriteBatch, key};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend};

use super::{LogReader, ShardLog};
use crate::codec;
use crate::committer::{Done, Op};
use crate::mutant::{self, Mutant};
use crate::types::{Entry, EntryPayload, LogId, Types, Vote};

/// Appends, truncates, purges; all through the node's committer.
pub(crate) struct LogStore(pub(crate) Arc<ShardLog>);

impl LogStore {
    /// Puts the payloads that are too large for a log row into segments.
    fn store_payloads(&self, entries: &mut [Entry]) -> io::Result<bool> {
        let inline_max = self.0.context.inline_bytes_max;
        let mut large: Vec<Bytes> = Vec::new();
        for_each_payload(entries, |payload| {
            if let (None, Some(bytes)) = (&payload.location, &payload.bytes)
                && bytes.len() >= inline_max
            {
                large.push(bytes.clone());
            }
        });
        if large.is_empty() {
            return Ok(false);
        }
        let payloads = &self.0.context.payloads;
        let locations = payloads.append(self.0.shard, &large).map_err(crate::error::io)?;
        assert_eq!(locations.len(), large.len(), "every payload has got its location");
        let mut locations = locations.into_iter();
        for_each_payload(entries, |payload| {
            if payload.location.is_none()
                && payload.bytes.as_ref().is_some_and(|bytes| bytes.len() >= inline_max)
            {
                payload.location = locations.next();
            }
        });
        Ok(true)
    }

    /// Puts entries into the tail, and their payloads into segments; returns their rows, with the
    /// rows' size, and whether payloads must be synced.
    fn store(&self, mut entries: Vec<Entry>, last: LogId) -> io::Result<(WriteBatch, usize, bool)> {
        let _storing = self.0.storing.lock().expect("no code panics while it stores payloads");
        let payloads = self.store_payloads(&mut entries)?;
        let mut rows = WriteBatch::new();
        let mut bytes = 0;
        for entry in &entries {
            let row = codec::encode_row(entry);
            bytes += row.len();
            rows.put(Family::Log, key::raft_entry(self.0.shard, entry.log_id.index), row);
        }
        let mut inner = self.0.lock();
        entries.into_iter().for_each(|entry| inner.tail.push(entry));
        inner.last = Some(last);
        Ok((rows, bytes, payloads))
    }

    async fn write(&self, rows: WriteBatch, sync: bool) -> io::Result<()> {
        let context = &self.0.context;
        if !sync {
            let done = Done::Nobody;
            return context.queue.push(Op { rows, bytes: 0, payloads: false, sync, done }).await;
        }
        context.queue.write(rows, false).await.map_err(io::Error::other)
    }
}

fn for_each_payload(entries: &mut [Entry], mut visit: impl FnMut(&mut crate::types::Payload)) {
    for entry in entries {
        if let EntryPayload::Normal(proposal) = &mut entry.payload {
            proposal.commands.iter_mut().flat_map(|c| &mut c.payloads).for_each(&mut visit);
        }
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let inner = self.0.lock();
        Ok(LogState { last_purged_log_id: inner.purged, last_log_id: inner.last })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader(self.0.clone())
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let mut rows = WriteBatch::new();
        rows.put(Family::Log, key::raft_vote(self.0.shard), codec::encode_vote(vote));
        self.write(rows, true).await?;
        self.0.lock().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut entries: Vec<Entry> = entries.into_iter().collect();
        if mutant::is(Mutant::SkipTruncation) {
            let present = self.0.lock().last.map(|last| last.index);
            entries.retain(|entry| Some(entry.log_id.index) > present);
        }
        let Some(last) = entries.last().map(|entry| entry.log_id) else {
            flushed.io_completed(Ok(()));
            return Ok(());
        };
        let (rows, bytes, payloads) = self.store(entries, last)?;
        let done = Done::Appended { log: self.0.clone(), index: last.index, flushed };
        self.0.context.queue.push(Op { rows, bytes, payloads, sync: true, done }).await?;
        self.0.appended.send_replace(last.index);
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        if mutant::is(Mutant::SkipTruncation) {
            return Ok(());
        }
        let from = last_log_id.map_or(0, |id| id.index + 1);
        let mut rows = WriteBatch::new();
        rows.delete_range(Family::Log, key::raft_entries(self.0.shard, from, u64::MAX));
        self.write(rows, true).await?;
        let mut inner = self.0.lock();
        if inner.last.is_none_or(|last| last.index < from) {
            return Ok(());
        }
        inner.tail.truncate(from);
        inner.last = last_log_id.or(inner.purged);
        let last = inner.last.map_or(0, |id| id.index);
        drop(inner);
        self.0.flushed.send_modify(|flushed| *flushed = last.min(*flushed));
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let shard = self.0.shard;
        let mut rows = WriteBatch::new();
        let (first, _) = self.0.bounds();
        rows.put(Family::Log, key::raft_purged(shard), codec::encode_log_id(&log_id));
        rows.delete_range(Family::Log, key::raft_entries(shard, first, log_id.index + 1));
        {
            let mut inner = self.0.lock();
            inner.tail.purged(log_id.index);
            inner.purged = Some(log_id);
            if inner.last < Some(log_id) {
                inner.last = Some(log_id);
            }
        }
        self.0.flushed.send_modify(|flushed| *flushed = log_id.index.max(*flushed));
        self.write(rows, false).await
    }
}
