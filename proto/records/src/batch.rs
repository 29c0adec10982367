//! One checked batch, as bytes that are shared and never changed in place.
//!
//! A [`Batch`] is what the rest of the system passes around: whoever holds one knows that its
//! header is sound, that its length is its own and that its checksum was verified. It does not
//! know its records: see [`crate::validate_records`] for those.

use bytes::{Bytes, BytesMut};

use crate::header::{BEFORE_LENGTH, CHECKSUM_FROM};
use crate::limits::at_most;
use crate::{
    BatchHeader, Decompressor, Error, HEADER_BYTES, Limits, PREFIX_BYTES, RecordIter, RecordRefs,
    TimestampType,
};

/// A batch whose header and checksum are right. A clone shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// Takes `bytes` as exactly one batch.
    ///
    /// # Errors
    /// What [`BatchHeader::peek`] refuses; [`Error::TooLarge`] over a limit; [`Error::Truncated`]
    /// or [`Error::Trailing`] if the length is not that of `bytes`; [`Error::Checksum`].
    pub fn parse(bytes: Bytes, limits: &Limits) -> Result<Self, Error> {
        let batch = Self::from_verified(bytes, limits)?;
        let computed = checksum(&batch.bytes);
        if computed != batch.header.crc {
            return Err(Error::Checksum { stored: batch.header.crc, computed });
        }
        Ok(batch)
    }

    /// Like [`Batch::parse`], but trusts the checksum: for bytes that came from a place which has
    /// verified its own (payload segments).
    ///
    /// # Errors
    /// As [`Batch::parse`], without [`Error::Checksum`].
    pub fn from_verified(bytes: Bytes, limits: &Limits) -> Result<Self, Error> {
        let header = BatchHeader::peek(&bytes)?;
        check_limits(&header, limits)?;
        let needed = u64::from(header.batch_bytes);
        let available = bytes.len() as u64;
        if available < needed {
            return Err(Error::Truncated { field: "record batch", needed, available });
        }
        if available > needed {
            let bytes = available.saturating_sub(needed);
            return Err(Error::Trailing { field: "record batch", bytes });
        }
        Ok(Self { header, bytes })
    }

    /// Takes one batch from the front of `bytes`, which may hold several.
    ///
    /// # Errors
    /// As [`Batch::parse`], without [`Error::Trailing`]; `bytes` is untouched then.
    pub fn split_first(bytes: &mut Bytes, limits: &Limits) -> Result<Self, Error> {
        let header = BatchHeader::peek(bytes)?;
        check_limits(&header, limits)?;
        let length = header.batch_bytes as usize;
        if bytes.len() < length {
            return Err(Error::Truncated {
                field: "record batch",
                needed: length as u64,
                available: bytes.len() as u64,
            });
        }
        let batch = Self::parse(bytes.slice(..length), limits)?;
        bytes::Buf::advance(bytes, length);
        Ok(batch)
    }

    /// Joins a header and the encoded records that follow it; `buffer` has room for the header in
    /// front. Computes length and checksum.
    pub(crate) fn seal(mut header: BatchHeader, mut buffer: BytesMut) -> Self {
        header.batch_bytes = u32::try_from(buffer.len()).expect("the builder bounds a batch");
        write_front(&mut buffer, &header.encode());
        header.crc = checksum(&buffer);
        write_front(&mut buffer, &header.encode());
        Self { header, bytes: buffer.freeze() }
    }

    /// The decoded header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The encoded batch.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The encoded batch, without a further reference.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The encoded records, still compressed.
    #[must_use]
    pub fn encoded_records(&self) -> Bytes {
        self.bytes.slice(HEADER_BYTES..)
    }

    /// The first [`PREFIX_BYTES`] bytes of this batch at another position. They and [`Batch::tail`]
    /// are the whole batch: a server writes the two without copying the records.
    #[must_use]
    pub fn prefix_at(&self, base_offset: i64, leader_epoch: i32) -> [u8; PREFIX_BYTES] {
        let header = BatchHeader { base_offset, leader_epoch, ..self.header };
        header.encode().first_chunk().copied().expect("a header is longer than its prefix")
    }

    /// What follows the prefix: the bytes that no patch changes.
    #[must_use]
    pub fn tail(&self) -> Bytes {
        self.bytes.slice(PREFIX_BYTES..)
    }

    /// This batch at another position. Copies the bytes if they are shared; see
    /// [`Batch::prefix_at`] for the way without a copy.
    #[must_use]
    pub fn at(self, base_offset: i64, leader_epoch: i32) -> Self {
        let prefix = self.prefix_at(base_offset, leader_epoch);
        let mut bytes = owned(self.bytes);
        write_front(&mut bytes, &prefix);
        let header = BatchHeader { base_offset, leader_epoch, ..self.header };
        Self { header, bytes: bytes.freeze() }
    }

    /// This batch with `timestamp` (ms since 1970) as the time of all its records. Computes a new
    /// checksum, and copies the bytes if they are shared.
    #[must_use]
    pub fn with_log_append_time(self, timestamp: i64) -> Self {
        let timestamp_type = TimestampType::LogAppend;
        let header = BatchHeader { timestamp_type, max_timestamp: timestamp, ..self.header };
        Self::seal(header, owned(self.bytes))
    }

    /// This batch with the `max_timestamp` that its records really have, for clients that do not
    /// compute it. Computes a new checksum, and copies the bytes if they are shared.
    #[must_use]
    pub fn with_max_timestamp(self, max_timestamp: i64) -> Self {
        let header = BatchHeader { max_timestamp, ..self.header };
        Self::seal(header, owned(self.bytes))
    }

    /// The records, decompressed at once if they are compressed and decoded one by one; key, value
    /// and headers are slices of this batch or of the one decompressed buffer.
    ///
    /// # Errors
    /// [`Error::Codec`], or [`Error::TooLarge`] if they expand to more than the limit.
    pub fn records(&self, limits: &Limits) -> Result<RecordIter, Error> {
        self.records_with(limits, &mut Decompressor::default())
    }

    /// [`Batch::records`] with a decompressor that is kept from batch to batch.
    ///
    /// # Errors
    /// As [`Batch::records`].
    pub fn records_with(
        &self,
        limits: &Limits,
        decompressor: &mut Decompressor,
    ) -> Result<RecordIter, Error> {
        let bytes = self.decompressed(limits, decompressor)?;
        Ok(RecordIter::new(self.header, bytes, limits.headers_max))
    }

    /// The encoded records without compression: a slice of this batch, or a new buffer.
    ///
    /// # Errors
    /// As [`Batch::records`].
    pub fn decompressed(
        &self,
        limits: &Limits,
        decompressor: &mut Decompressor,
    ) -> Result<Bytes, Error> {
        decompressor.run(self.header.compression, self.encoded_records(), limits)
    }

    /// Borrowed records out of what [`Batch::decompressed`] returned: the way without reference
    /// counting.
    #[must_use]
    pub fn record_refs<'a>(&self, decompressed: &'a [u8], limits: &Limits) -> RecordRefs<'a> {
        RecordRefs::new(self.header, decompressed, limits.headers_max)
    }
}

/// The batches that follow each other in a buffer, as in the body of a fetch or a produce.
#[derive(Debug, Clone)]
pub struct Batches {
    bytes: Bytes,
    limits: Limits,
    cut_allowed: bool,
}

impl Batches {
    /// All batches of `bytes`; the last one has to be complete.
    #[must_use]
    pub fn new(bytes: Bytes, limits: Limits) -> Self {
        Self { bytes, limits, cut_allowed: false }
    }

    /// All complete batches of `bytes`: a last one that is cut off is passed over, as in Kafka's
    /// fetch responses.
    #[must_use]
    pub fn with_cut_end(bytes: Bytes, limits: Limits) -> Self {
        Self { bytes, limits, cut_allowed: true }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let next = Batch::split_first(&mut self.bytes, &self.limits);
        if next.is_err() {
            self.bytes.clear();
        }
        match next {
            Err(Error::Truncated { .. }) if self.cut_allowed => None,
            next => Some(next),
        }
    }
}

fn check_limits(header: &BatchHeader, limits: &Limits) -> Result<(), Error> {
    let size = u64::from(header.batch_bytes);
    at_most("record batch in bytes", size, "batch_bytes_max", limits.batch_bytes_max.into())?;
    let count = u64::from(header.record_count);
    at_most("record_count", count, "records_max", limits.records_max.into())
}

fn checksum(batch: &[u8]) -> u32 {
    crc32c::crc32c(batch.get(CHECKSUM_FROM..).unwrap_or_default())
}

fn owned(bytes: Bytes) -> BytesMut {
    bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))
}

fn write_front(buffer: &mut [u8], front: &[u8]) {
    let place = buffer.get_mut(..front.len()).expect("a batch starts with its header");
    place.copy_from_slice(front);
}

const _: () = assert!(BEFORE_LENGTH < PREFIX_BYTES && PREFIX_BYTES < CHECKSUM_FROM);
