//! The 61 bytes in front of every batch.
//!
//! ```text
//!  0 base offset i64          21 attributes i16          43 producer id i64
//!  8 length i32 (from 12 on)  23 last offset delta i32   51 producer epoch i16
//! 12 leader epoch i32         27 base timestamp i64      53 base sequence i32
//! 16 magic i8                 35 max timestamp i64       57 record count i32
//! 17 crc u32 (of 21 ..)
//! ```
//!
//! Only what the header itself can show is checked here: not the checksum (see [`crate::Batch`])
//! and not the records (see [`crate::validate_records`]).

use crate::{Compression, Error, wire::Reader};

/// Bytes of a batch header.
pub const HEADER_BYTES: usize = 61;

/// Bytes that may change without touching the checksum: base offset, length and leader epoch.
pub const PREFIX_BYTES: usize = 16;

/// Bytes before the ones that the length field counts.
pub(crate) const BEFORE_LENGTH: usize = 12;
/// Where the bytes start that the checksum covers.
pub(crate) const CHECKSUM_FROM: usize = 21;

const MAGIC: i8 = 2;
const NO_PRODUCER: i64 = -1;

const COMPRESSION_BITS: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const KNOWN_BITS: i16 = COMPRESSION_BITS | LOG_APPEND_TIME | TRANSACTIONAL | CONTROL;

/// Who wrote a batch, and which of its batches it is (idempotent producers only).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    /// Producer id, 0 or more.
    pub id: i64,
    /// Producer epoch, 0 or more.
    pub epoch: i16,
    /// Sequence of the first record, 0 or more; after 2^31 - 1 comes 0. -1 in control batches,
    /// which have none.
    pub base_sequence: i32,
}

impl Producer {
    /// The sequence of the record that is `delta` records after `sequence` (it wraps to 0).
    #[must_use]
    pub fn sequence_after(sequence: i32, delta: u32) -> i32 {
        let sum = i64::from(sequence).saturating_add(i64::from(delta));
        let wrapped = sum.checked_rem(1 << 31).unwrap_or_default();
        i32::try_from(wrapped).unwrap_or_default()
    }
}

/// What the timestamps of a batch mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// Each record has its own, set by whoever produced it.
    #[default]
    Create,
    /// All have the batch's largest one: when the log took it.
    LogAppend,
}

/// The decoded header of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record. Outside of the checksum.
    pub base_offset: i64,
    /// The whole batch in bytes, with its header.
    pub batch_bytes: u32,
    /// Term of the leader that took it; -1 if unknown. Outside of the checksum.
    pub leader_epoch: i32,
    /// CRC32C of everything from the attributes on.
    pub crc: u32,
    /// Codec of the records.
    pub compression: Compression,
    /// What the timestamps mean.
    pub timestamp_type: TimestampType,
    /// Belongs to a transaction.
    pub transactional: bool,
    /// Holds a marker and no user records.
    pub control: bool,
    /// Offset of the last record minus that of the first.
    pub last_offset_delta: u32,
    /// What the records' timestamps are relative to, in ms since 1970.
    pub base_timestamp: i64,
    /// The largest of the records' timestamps, in ms since 1970; -1 if they have none.
    pub max_timestamp: i64,
    /// Who wrote it; none if the producer is not idempotent.
    pub producer: Option<Producer>,
    /// Number of records, 1 or more.
    pub record_count: u32,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`; the batch itself need not be complete.
    ///
    /// # Errors
    /// [`Error::Truncated`] with fewer than 61 bytes; [`Error::Invalid`] for a length below 49, a
    /// magic other than 2, unknown attribute bits or codec, fewer than one record, offsets that
    /// are not dense, a producer without epoch or sequence, a transaction without a producer.
    pub fn peek(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let mut reader = Reader::new(reader.take("batch header", HEADER_BYTES)?);
        let base_offset = reader.i64("base_offset")?;
        let batch_bytes = batch_bytes(reader.i32("batch_length")?)?;
        let leader_epoch = reader.i32("partition_leader_epoch")?;
        magic(reader.i8("magic")?)?;
        let crc = reader.u32("crc")?;
        let attributes = attributes(reader.i16("attributes")?)?;
        let last_offset_delta = reader.i32("last_offset_delta")?;
        let base_timestamp = reader.i64("base_timestamp")?;
        let max_timestamp = reader.i64("max_timestamp")?;
        let producer = Producer {
            id: reader.i64("producer_id")?,
            epoch: reader.i16("producer_epoch")?,
            base_sequence: reader.i32("base_sequence")?,
        };
        let control = attributes & CONTROL != 0;
        let transactional = attributes & TRANSACTIONAL != 0;
        let record_count = record_count(reader.i32("record_count")?)?;
        Ok(Self {
            base_offset,
            batch_bytes,
            leader_epoch,
            crc,
            compression: Compression::from_bits(attributes & COMPRESSION_BITS)?,
            timestamp_type: if attributes & LOG_APPEND_TIME == 0 {
                TimestampType::Create
            } else {
                TimestampType::LogAppend
            },
            transactional,
            control,
            last_offset_delta: dense(last_offset_delta, record_count)?,
            base_timestamp,
            max_timestamp,
            producer: checked_producer(producer, control, transactional)?,
            record_count,
        })
    }

    /// Offset of the last record (saturating at the largest offset that there is).
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// Offset after the last record (saturating).
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// Bytes of the records, as they are encoded.
    #[must_use]
    pub fn record_bytes(&self) -> u32 {
        self.batch_bytes.saturating_sub(HEADER_BYTES as u32)
    }

    /// Sequence of the last record, for a batch of an idempotent producer.
    #[must_use]
    pub fn last_sequence(&self) -> Option<i32> {
        self.producer.filter(|producer| producer.base_sequence >= 0).map(|producer| {
            Producer::sequence_after(producer.base_sequence, self.last_offset_delta)
        })
    }

    /// The 61 bytes of this header, with `self.crc` as it is.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let mut rest = &mut out[..];
        let none = Producer { id: NO_PRODUCER, epoch: -1, base_sequence: -1 };
        let producer = self.producer.unwrap_or(none);
        let length = self.batch_bytes.saturating_sub(BEFORE_LENGTH as u32);
        let mut put = |bytes: &[u8]| bytes::BufMut::put_slice(&mut rest, bytes);
        put(&self.base_offset.to_be_bytes());
        put(&length.to_be_bytes());
        put(&self.leader_epoch.to_be_bytes());
        put(&MAGIC.to_be_bytes());
        put(&self.crc.to_be_bytes());
        put(&self.attributes().to_be_bytes());
        put(&self.last_offset_delta.to_be_bytes());
        put(&self.base_timestamp.to_be_bytes());
        put(&self.max_timestamp.to_be_bytes());
        put(&producer.id.to_be_bytes());
        put(&producer.epoch.to_be_bytes());
        put(&producer.base_sequence.to_be_bytes());
        put(&self.record_count.to_be_bytes());
        out
    }

    fn attributes(&self) -> i16 {
        let mut bits = self.compression.bits();
        if self.timestamp_type == TimestampType::LogAppend {
            bits |= LOG_APPEND_TIME;
        }
        if self.transactional {
            bits |= TRANSACTIONAL;
        }
        if self.control {
            bits |= CONTROL;
        }
        bits
    }
}

fn batch_bytes(length: i32) -> Result<u32, Error> {
    let least = HEADER_BYTES.saturating_sub(BEFORE_LENGTH);
    u32::try_from(length)
        .ok()
        .filter(|length| *length as usize >= least)
        .and_then(|length| length.checked_add(BEFORE_LENGTH as u32))
        .ok_or(Error::Invalid {
            field: "batch_length",
            value: i64::from(length),
            expected: "49 (a header without records) or more",
        })
}

fn magic(magic: i8) -> Result<(), Error> {
    if magic == MAGIC {
        return Ok(());
    }
    Err(Error::Invalid {
        field: "magic",
        value: i64::from(magic),
        expected: "2 (the message formats 0 and 1 of Kafka before 0.11 are not supported)",
    })
}

fn attributes(attributes: i16) -> Result<i16, Error> {
    if attributes & !KNOWN_BITS == 0 {
        return Ok(attributes);
    }
    Err(Error::Invalid {
        field: "attributes",
        value: i64::from(attributes),
        expected: "only the bits 0 to 5 (codec, timestamp type, transactional, control)",
    })
}

fn record_count(count: i32) -> Result<u32, Error> {
    u32::try_from(count).ok().filter(|count| *count > 0).ok_or(Error::Invalid {
        field: "record_count",
        value: i64::from(count),
        expected: "1 or more",
    })
}

fn dense(last_offset_delta: i32, record_count: u32) -> Result<u32, Error> {
    u32::try_from(last_offset_delta)
        .ok()
        .filter(|delta| *delta == record_count.saturating_sub(1))
        .ok_or(Error::Invalid {
            field: "last_offset_delta",
            value: i64::from(last_offset_delta),
            expected: "record_count - 1 (offsets are dense)",
        })
}

/// Some clients fill epoch and sequence with zeros when there is no producer: those don't count.
fn checked_producer(
    producer: Producer,
    control: bool,
    transactional: bool,
) -> Result<Option<Producer>, Error> {
    if producer.id < NO_PRODUCER {
        let expected = "-1 (none) or more";
        return Err(Error::Invalid { field: "producer_id", value: producer.id, expected });
    }
    if producer.id == NO_PRODUCER {
        if transactional {
            let expected = "0 or more in a transactional batch";
            return Err(Error::Invalid { field: "producer_id", value: producer.id, expected });
        }
        return Ok(None);
    }
    if producer.epoch < 0 {
        return Err(Error::Invalid {
            field: "producer_epoch",
            value: i64::from(producer.epoch),
            expected: "0 or more with a producer id",
        });
    }
    let least = if control { -1 } else { 0 };
    if producer.base_sequence < least {
        return Err(Error::Invalid {
            field: "base_sequence",
            value: i64::from(producer.base_sequence),
            expected: "0 or more with a producer id",
        });
    }
    Ok(Some(producer))
}
