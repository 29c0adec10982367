//! The row of a partition: where its log begins and ends, and what it is set to.

use std::sync::Arc;

use bytes::Bytes;
use kontiki_storage::Error;
use kontiki_storage::id::{Offset, PartitionId, ShardId, TopicId};
use minicbor::{Decode, Encode};

use crate::codec;
use crate::queue::QueueSettings;
use crate::rejection::Rejection;
use crate::settings::Settings;

const VERSION: u8 = 1;

/// How many changes of the leader epoch a partition remembers.
pub const EPOCHS_KEPT: usize = 32;

/// Whether a partition can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Phase {
    /// It can.
    #[n(0)]
    Live,
    /// It is deleted, and some of its rows are still there.
    #[n(1)]
    Deleting {
        /// Since when, in milliseconds since 1970.
        #[n(0)]
        since_ms: i64,
    },
    /// It is deleted and empty. This trace of it refuses a late command to create it.
    #[n(2)]
    Deleted {
        /// Since when, in milliseconds since 1970.
        #[n(0)]
        since_ms: i64,
    },
}

/// The first offset that was written in a Raft term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct EpochStart {
    /// The term; clients know it as the leader epoch.
    #[n(0)]
    pub term: u64,
    /// The offset.
    #[cbor(n(1), with = "crate::codec::id")]
    pub start: Offset,
}

/// Where the records of a leader epoch end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch that the answer is about: the newest one that is not after the one asked for.
    pub term: u64,
    /// The offset after its last record.
    pub end_offset: Offset,
}

/// The state of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PartitionState {
    /// The topic that it belongs to; 0 when it was deleted before it was created.
    #[cbor(n(0), with = "crate::codec::id")]
    pub topic: TopicId,
    /// Whether it can be used.
    #[n(1)]
    pub phase: Phase,
    /// When it was created, in milliseconds since 1970.
    #[n(2)]
    pub created_ms: i64,
    /// The oldest offset that can be read.
    #[cbor(n(3), with = "crate::codec::id")]
    pub log_start_offset: Offset,
    /// The next offset to be written. As what is applied is committed, it is the high watermark
    /// and the last stable offset as well.
    #[cbor(n(4), with = "crate::codec::id")]
    pub log_end_offset: Offset,
    /// The first offset of the oldest batch that has a row; `log_end_offset` when there is none.
    /// Batches below the log start keep their rows until they are removed.
    #[cbor(n(5), with = "crate::codec::id")]
    pub first_base_offset: Offset,
    /// Sum of the payloads of all batches that have a row.
    #[n(6)]
    pub bytes: u64,
    /// How many batches have a row.
    #[n(7)]
    pub batches: u64,
    /// The newest timestamp that was ever written; -1 = none.
    #[n(8)]
    pub running_max_timestamp: i64,
    /// The newest changes of the leader epoch, oldest first; at most [`EPOCHS_KEPT`].
    #[n(9)]
    pub epochs: Vec<EpochStart>,
    /// The settings in force.
    #[n(10)]
    pub settings: Settings,
    /// Their version in the catalog.
    #[n(11)]
    pub settings_version: u64,
    /// Set where it is a queue. Then its batches leave when all of their messages are settled, in
    /// any order, and `log_start_offset` is that of the oldest batch.
    #[cbor(n(12), with = "crate::codec::shared", has_nil)]
    pub queue: Option<Arc<QueueSettings>>,
}

impl PartitionState {
    pub(super) fn new(topic: TopicId, settings: Settings, version: u64, now_ms: i64) -> Self {
        Self {
            topic,
            phase: Phase::Live,
            created_ms: now_ms,
            log_start_offset: Offset(0),
            log_end_offset: Offset(0),
            first_base_offset: Offset(0),
            bytes: 0,
            batches: 0,
            running_max_timestamp: -1,
            epochs: Vec::new(),
            settings,
            settings_version: version,
            queue: None,
        }
    }

    /// Whether clients may use it.
    pub fn is_live(&self) -> bool {
        match self.phase {
            Phase::Live => true,
            Phase::Deleting { .. } | Phase::Deleted { .. } => false,
        }
    }

    /// How many records can be read.
    pub fn records(&self) -> u64 {
        self.log_end_offset.0 - self.log_start_offset.0
    }

    /// The leader epoch of the last batch; `None` when nothing was ever written.
    pub fn leader_epoch(&self) -> Option<u64> {
        self.epochs.last().map(|epoch| epoch.term)
    }

    /// Where the records of the newest epoch that is not after `term` end: a reader that has read
    /// further has read what was never committed. `None` when nothing was ever written.
    ///
    /// For a term before all that are remembered, the end is where the oldest of those starts.
    pub fn end_offset_for_epoch(&self, term: u64) -> Option<EpochEnd> {
        let after = self.epochs.partition_point(|epoch| epoch.term <= term);
        let end_offset = self.epochs.get(after).map_or(self.log_end_offset, |next| next.start);
        let known = after.checked_sub(1).and_then(|at| self.epochs.get(at));
        match (known, self.epochs.is_empty()) {
            (_, true) => None,
            (Some(epoch), false) => Some(EpochEnd { term: epoch.term, end_offset }),
            (None, false) => Some(EpochEnd { term, end_offset }),
        }
    }

    /// Checks that an offset is one that a reader may stand at, both ends included.
    ///
    /// # Errors
    /// [`Rejection::OffsetOutOfRange`].
    pub fn check_offset(&self, partition: PartitionId, offset: Offset) -> Result<(), Rejection> {
        let (start, end) = (self.log_start_offset, self.log_end_offset);
        if (start..=end).contains(&offset) {
            Ok(())
        } else {
            Err(Rejection::OffsetOutOfRange { partition, offset, start, end })
        }
    }

    /// Notes that the next batch is written in `term`.
    pub(super) fn enter_epoch(&mut self, term: u64) {
        let known = self.leader_epoch();
        assert!(known.is_none_or(|known| known <= term), "a term before the last one: {term}");
        if known == Some(term) {
            return;
        }
        if self.epochs.len() == EPOCHS_KEPT {
            self.epochs.remove(0);
        }
        self.epochs.push(EpochStart { term, start: self.log_end_offset });
    }

    /// The bytes of the row.
    pub(crate) fn encode(&self) -> Bytes {
        self.check();
        codec::encode(VERSION, self)
    }

    /// Reads a row of `shard`.
    pub(crate) fn decode(shard: ShardId, row: &[u8]) -> Result<Self, Error> {
        let state: Self = codec::decode(VERSION, row)
            .map_err(|fault| Error::corrupt_row(shard, "partition", fault.to_string()))?;
        if state.is_sound() {
            Ok(state)
        } else {
            Err(Error::corrupt_row(shard, "partition", "its offsets contradict each other"))
        }
    }

    fn is_sound(&self) -> bool {
        let ordered = self.log_start_offset <= self.log_end_offset
            && self.first_base_offset <= self.log_end_offset;
        let empty = self.batches == 0;
        ordered
            && empty == (self.first_base_offset == self.log_end_offset)
            && (!empty || self.bytes == 0)
            && self.epochs.len() <= EPOCHS_KEPT
            && self.epochs.is_sorted_by(|a, b| a.term < b.term && a.start <= b.start)
    }

    fn check(&self) {
        assert!(self.is_sound(), "a partition's state contradicts itself: {self:?}");
    }
}
