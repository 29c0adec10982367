//! What the state machine must know about a record batch without opening it.

use std::fmt;

use kontiki_storage::id::ProducerId;
use minicbor::{Decode, Encode};

use crate::settings::Compression;

/// The producer's epoch: a higher one fences all lower ones of the same producer id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct ProducerEpoch(#[n(0)] pub i16);

impl fmt::Display for ProducerEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a record among those of one producer, epoch and partition: 0 to `i32::MAX`,
/// then 0 again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Sequence(#[n(0)] pub i32);

impl Sequence {
    /// The number `count` records further on. After `i32::MAX` comes 0.
    pub fn advance(self, count: u32) -> Self {
        debug_assert!(self.0 >= 0, "a sequence is never negative");
        let period = i64::from(i32::MAX) + 1;
        let sum = (i64::from(self.0) + i64::from(count)) % period;
        Self(i32::try_from(sum).expect("a remainder of 2^31 fits i32"))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who wrote a batch, for the producers that number theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ProducerStamp {
    /// The producer.
    #[cbor(n(0), with = "crate::codec::id")]
    pub id: ProducerId,
    /// Its epoch.
    #[n(1)]
    pub epoch: ProducerEpoch,
    /// The sequence of the first record.
    #[n(2)]
    pub base_sequence: Sequence,
}

/// The attributes of a batch that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Attributes {
    /// How its records are compressed.
    #[n(0)]
    pub compression: Compression,
    /// Whether it belongs to a transaction.
    #[n(1)]
    pub transactional: bool,
    /// Whether it is a marker instead of records of a client.
    #[n(2)]
    pub control: bool,
}

impl Default for Attributes {
    fn default() -> Self {
        Self { compression: Compression::None, transactional: false, control: false }
    }
}

/// What an append says about its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct BatchHeader {
    /// How many records it has, from 1.
    #[n(0)]
    pub record_count: u32,
    /// Offset of its last record relative to its first; `record_count - 1`, as a producer's
    /// batch has no gaps.
    #[n(1)]
    pub last_offset_delta: u32,
    /// Timestamp of the first record, in milliseconds since 1970; -1 = none.
    #[n(2)]
    pub base_timestamp: i64,
    /// The newest timestamp in it; -1 = none.
    #[n(3)]
    pub max_timestamp: i64,
    /// Length of its payload.
    #[n(4)]
    pub bytes: u32,
    /// Its attributes.
    #[n(5)]
    pub attributes: Attributes,
    /// Who wrote it, if its producer is idempotent.
    #[n(6)]
    pub producer: Option<ProducerStamp>,
}
