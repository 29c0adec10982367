//! The finer reasons inside some refusals. Their numbers are append-only too.

use std::fmt;

use minicbor::{Decode, Encode};

use crate::catalog::NAME_LENGTH_MAX;
use crate::settings::Compression;

/// How a batch contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum BatchFault {
    /// It has no records.
    #[n(0)]
    Empty,
    /// Its offsets have gaps.
    #[n(1)]
    CountMismatch {
        /// Its number of records.
        #[n(0)]
        record_count: u32,
        /// Its last offset delta; must be one less.
        #[n(1)]
        last_offset_delta: u32,
    },
    /// The command names a payload that its entry doesn't have.
    #[n(2)]
    PayloadMissing {
        /// The index that it names.
        #[n(0)]
        payload: u16,
        /// How many the entry has.
        #[n(1)]
        payloads: u32,
    },
    /// The payload has another length than the header says.
    #[n(3)]
    LengthMismatch {
        /// What the header says.
        #[n(0)]
        header: u32,
        /// What the payload has.
        #[n(1)]
        payload: u32,
    },
    /// The producer id, epoch or base sequence is negative or otherwise impossible.
    #[n(4)]
    ProducerField,
    /// A marker, which only the broker itself may write.
    #[n(5)]
    Control,
    /// A timestamp is negative, other than -1.
    #[n(6)]
    Timestamps {
        /// The first record's.
        #[n(0)]
        base: i64,
        /// The newest.
        #[n(1)]
        max: i64,
    },
    /// The partition's offsets would pass their last value.
    #[n(7)]
    OffsetsExhausted,
}

impl fmt::Display for BatchFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it has no records; send at least one"),
            Self::CountMismatch { record_count, last_offset_delta } => write!(
                f,
                "it has {record_count} records but last offset delta {last_offset_delta}; a batch \
                 has one offset per record, without gaps"
            ),
            Self::PayloadMissing { payload, payloads } => write!(
                f,
                "it refers to payload {payload} of an entry that has {payloads}; this is a fault \
                 of the proposing node, please report it"
            ),
            Self::LengthMismatch { header, payload } => write!(
                f,
                "its header says {header} bytes but its payload has {payload}; this is a fault of \
                 the proposing node, please report it"
            ),
            Self::ProducerField => {
                f.write_str("an idempotent batch needs a producer epoch and a base sequence from 0")
            }
            Self::Control => f.write_str("clients cannot write markers"),
            Self::Timestamps { base, max } => write!(
                f,
                "its first timestamp is {base} and its newest {max}; both count milliseconds from \
                 1970, and -1 stands for none"
            ),
            Self::OffsetsExhausted => {
                f.write_str("its partition has used up all offsets; create another partition")
            }
        }
    }
}

/// Which setting of its topic a batch violates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Policy {
    /// The topic stores another compression.
    #[n(0)]
    Compression {
        /// What the topic stores.
        #[n(0)]
        wanted: Compression,
        /// What came.
        #[n(1)]
        got: Compression,
    },
    /// Timestamps are too far ahead.
    #[n(1)]
    TimestampAhead {
        /// The newest timestamp.
        #[n(0)]
        timestamp: i64,
        /// The time of the append.
        #[n(1)]
        now: i64,
        /// `timestamp_ahead_ms_max`.
        #[n(2)]
        limit_ms: i64,
    },
    /// Timestamps are too far behind.
    #[n(2)]
    TimestampBehind {
        /// The first record's timestamp.
        #[n(0)]
        timestamp: i64,
        /// The time of the append.
        #[n(1)]
        now: i64,
        /// `timestamp_behind_ms_max`.
        #[n(2)]
        limit_ms: i64,
    },
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compression { wanted, got } => {
                write!(f, "compression is {wanted} but the batch has {got}; send {wanted}")
            }
            Self::TimestampAhead { timestamp, now, limit_ms } => write!(
                f,
                "timestamp {timestamp} is more than timestamp_ahead_ms_max {limit_ms} after the \
                 append at {now}; set the producer's clock, or timestamps in milliseconds"
            ),
            Self::TimestampBehind { timestamp, now, limit_ms } => write!(
                f,
                "timestamp {timestamp} is more than timestamp_behind_ms_max {limit_ms} before the \
                 append at {now}; set the producer's clock, or timestamps in milliseconds"
            ),
        }
    }
}

/// What is wrong with the form of a topic name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum TopicNameFault {
    /// There is none.
    #[n(0)]
    Empty,
    /// It is too long.
    #[n(1)]
    TooLong,
    /// It is `.` or `..`.
    #[n(2)]
    Dots,
    /// A character is not permitted.
    #[n(3)]
    Character,
}

impl fmt::Display for TopicNameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty; use 1 to 249 characters"),
            Self::TooLong => write!(f, "it is longer than {NAME_LENGTH_MAX} characters"),
            Self::Dots => f.write_str("'.' and '..' mean folders; choose another name"),
            Self::Character => f.write_str("use only letters, digits, '.', '_' and '-'"),
        }
    }
}
