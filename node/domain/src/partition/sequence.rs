//! What a partition remembers of an idempotent producer, and how it judges the next batch.
//!
//! The last five batches are remembered, as many as a Kafka producer has under way: a retry of any
//! of them is answered with the original offset instead of being stored again.

use bytes::Bytes;
use kontiki_storage::Error;
use kontiki_storage::id::{Offset, PartitionId, ShardId};
use minicbor::{Decode, Encode};

use super::header::{ProducerEpoch, ProducerStamp, Sequence};
use crate::codec;
use crate::rejection::Rejection;

const VERSION: u8 = 1;

/// How many of a producer's last batches a retry is recognized among.
pub const WINDOW_BATCHES: usize = 5;

/// One batch of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Remembered {
    /// The sequence of its first record.
    #[n(0)]
    pub base_sequence: Sequence,
    /// How many records it has.
    #[n(1)]
    pub record_count: u32,
    /// The offset of its first record.
    #[cbor(n(2), with = "crate::codec::id")]
    pub base_offset: Offset,
    /// When it was appended, in milliseconds since 1970.
    #[n(3)]
    pub append_time_ms: i64,
}

impl Remembered {
    /// The sequence of its last record.
    pub fn last_sequence(&self) -> Sequence {
        self.base_sequence.advance(self.record_count - 1)
    }

    /// The sequence that follows it.
    pub fn next_sequence(&self) -> Sequence {
        self.base_sequence.advance(self.record_count)
    }
}

/// The row of a producer in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ProducerState {
    /// Its newest epoch; older ones are fenced.
    #[n(0)]
    pub epoch: ProducerEpoch,
    /// Its last batches in this epoch, oldest first: 1 to [`WINDOW_BATCHES`].
    #[n(1)]
    pub window: Vec<Remembered>,
}

impl ProducerState {
    /// Its newest batch.
    pub fn last(&self) -> &Remembered {
        self.window.last().expect("a window begins with the batch that it was made for")
    }

    /// When it last appended, in milliseconds since 1970.
    pub fn last_append_ms(&self) -> i64 {
        self.last().append_time_ms
    }

    pub(super) fn encode(&self) -> Bytes {
        assert!(self.is_sound(), "a producer's state contradicts itself: {self:?}");
        codec::encode(VERSION, self)
    }

    pub(super) fn decode(shard: ShardId, row: &[u8]) -> Result<Self, Error> {
        let state: Self = codec::decode(VERSION, row)
            .map_err(|fault| Error::corrupt_row(shard, "producer", fault.to_string()))?;
        if state.is_sound() {
            Ok(state)
        } else {
            Err(Error::corrupt_row(shard, "producer", "its batches contradict each other"))
        }
    }

    fn is_sound(&self) -> bool {
        let follows = |a: &Remembered, b: &Remembered| {
            a.next_sequence() == b.base_sequence && a.base_offset < b.base_offset
        };
        (1..=WINDOW_BATCHES).contains(&self.window.len())
            && self.window.iter().all(|batch| batch.record_count > 0 && batch.base_sequence.0 >= 0)
            && self.window.is_sorted_by(follows)
    }
}

/// What a batch is to its producer's sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The first of its epoch.
    First,
    /// The one that follows.
    Next,
    /// It was stored before.
    Duplicate(Remembered),
}

/// Judges a batch of `record_count` records.
pub(super) fn judge(
    partition: PartitionId,
    known: Option<&ProducerState>,
    stamp: ProducerStamp,
    record_count: u32,
) -> Result<Verdict, Rejection> {
    let ProducerStamp { id: producer, epoch, base_sequence: got } = stamp;
    let first = got == Sequence(0);
    let Some(known) = known else {
        // Taking any sequence here would let the second of two batches under way overtake the
        // first one, when that was refused.
        let unknown = Rejection::UnknownProducerId { partition, producer, got };
        return if first { Ok(Verdict::First) } else { Err(unknown) };
    };
    if epoch < known.epoch {
        let current = known.epoch;
        return Err(Rejection::ProducerFenced { partition, producer, epoch, current });
    }
    let out_of_order =
        |expected| Rejection::OutOfOrderSequence { partition, producer, epoch, expected, got };
    if epoch > known.epoch {
        return if first { Ok(Verdict::First) } else { Err(out_of_order(Sequence(0))) };
    }
    let same =
        |batch: &&Remembered| batch.base_sequence == got && batch.record_count == record_count;
    if let Some(original) = known.window.iter().rev().find(same) {
        return Ok(Verdict::Duplicate(*original));
    }
    let expected = known.last().next_sequence();
    if got == expected { Ok(Verdict::Next) } else { Err(out_of_order(expected)) }
}

/// What is to be remembered after `batch` was stored.
pub(super) fn remember(
    known: Option<ProducerState>,
    epoch: ProducerEpoch,
    batch: Remembered,
) -> ProducerState {
    match known {
        Some(mut state) if state.epoch == epoch => {
            if state.window.len() == WINDOW_BATCHES {
                state.window.remove(0);
            }
            state.window.push(batch);
            state
        }
        Some(_) | None => ProducerState { epoch, window: vec![batch] },
    }
}
