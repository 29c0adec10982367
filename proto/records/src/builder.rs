//! Records in, one batch out.
//!
//! Records are encoded where they will be sent from, behind room for the header: a batch without
//! compression is finished without a copy and costs one allocation. A builder is meant to be kept:
//! it remembers how large its batches get, and its codecs' memory.

use bytes::{BufMut, Bytes, BytesMut};

use crate::compression::Compressor;
use crate::limits::at_most;
use crate::{
    Batch, BatchHeader, Compression, ControlMarker, Error, HEADER_BYTES, Header, Limits, Producer,
    TimestampType, varint,
};

/// What one record takes beyond key, value and headers, at most: length, attributes, timestamp
/// delta, offset delta, key length, value length, header count.
const RECORD_OVERHEAD_MAX: usize = 5 + 1 + 10 + 5 + 5 + 5 + 5;
/// What one header takes beyond name and value, at most.
const HEADER_OVERHEAD_MAX: usize = 5 + 5;

const RECORD_ATTRIBUTES: u8 = 0;
const NO_LENGTH: i64 = -1;
const UNKNOWN_LEADER_EPOCH: i32 = -1;

/// Encodes records into batches.
#[derive(Debug)]
pub struct BatchBuilder {
    limits: Limits,
    /// Room for the header, then the records; empty without records.
    buffer: BytesMut,
    record_count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
    /// What to reserve for the next batch: the size of the last one.
    reserve_bytes: usize,
    compressor: Compressor,
    scratch: Vec<u8>,
}

impl BatchBuilder {
    /// An empty builder. It refuses records beyond `limits`, so that what it builds is accepted by
    /// whoever has the same ones.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
            record_count: 0,
            base_timestamp: 0,
            max_timestamp: 0,
            reserve_bytes: HEADER_BYTES,
            compressor: Compressor::default(),
            scratch: Vec::new(),
        }
    }

    /// What a record takes in a batch, at most, before compression.
    #[must_use]
    pub fn record_bytes_max(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) -> usize {
        let headers = headers.iter().fold(0_usize, |sum, header| {
            sum.saturating_add(HEADER_OVERHEAD_MAX)
                .saturating_add(header.name.len())
                .saturating_add(header.value.as_ref().map_or(0, Bytes::len))
        });
        RECORD_OVERHEAD_MAX
            .saturating_add(key.map_or(0, <[u8]>::len))
            .saturating_add(value.map_or(0, <[u8]>::len))
            .saturating_add(headers)
    }

    /// Adds a record and returns its position in the batch, from 0. `timestamp` is in ms since
    /// 1970.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if there are too many records or headers, or too many bytes: the batch
    /// stays as it was. [`Error::Invalid`] for a timestamp more than 2^63 ms away from that of the
    /// first record.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<u32, Error> {
        let headers = headers.iter().map(|header| (&header.name[..], header.value.as_deref()));
        self.push_with(timestamp, key, value, headers)
    }

    /// [`BatchBuilder::push`] with headers from anywhere, as pairs of name and value. The iterator
    /// is walked twice.
    ///
    /// # Errors
    /// As [`BatchBuilder::push`].
    pub fn push_with<'a>(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone,
    ) -> Result<u32, Error> {
        let position = self.record_count;
        let count = u64::from(position).saturating_add(1);
        at_most("record_count", count, "records_max", self.limits.records_max.into())?;
        let base = if position == 0 { timestamp } else { self.base_timestamp };
        let delta = timestamp.checked_sub(base).ok_or(Error::Invalid {
            field: "timestamp",
            value: timestamp,
            expected: "a time within 2^63 ms of the first record's",
        })?;
        let (body, header_count) = body_bytes(delta, position, key, value, headers.clone());
        at_most("header count", header_count, "headers_max", self.limits.headers_max.into())?;
        let record = body.saturating_add(varint::size(body as i64));
        self.check_room(record)?;

        self.make_room(record);
        let start = self.buffer.len();
        let out = &mut self.buffer;
        varint::write(out, body as i64);
        out.put_u8(RECORD_ATTRIBUTES);
        varint::write(out, delta);
        varint::write(out, i64::from(position));
        write_nullable(out, key);
        write_nullable(out, value);
        varint::write(out, i64::try_from(header_count).unwrap_or(i64::MAX));
        for (name, value) in headers {
            write_nullable(out, Some(name));
            write_nullable(out, value);
        }
        assert_eq!(out.len().checked_sub(start), Some(record), "a record has the size it claims");

        self.max_timestamp =
            if position == 0 { timestamp } else { self.max_timestamp.max(timestamp) };
        self.base_timestamp = base;
        self.record_count = position.saturating_add(1);
        Ok(position)
    }

    /// Number of records so far.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.record_count
    }

    /// True without records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Bytes of the batch so far, with its header and before compression.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.buffer.len().max(HEADER_BYTES)
    }

    /// Forgets the records.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.record_count = 0;
    }

    /// The batch of all records so far, at offset 0 and of unknown leader epoch; the builder is
    /// empty then. Records that compression would not make smaller are stored without it.
    ///
    /// # Errors
    /// [`Error::Invalid`] without records; [`Error::TooLarge`] over `batch_bytes_max`, or
    /// [`Error::Codec`]: the records stay in the builder then.
    pub fn finish(
        &mut self,
        compression: Compression,
        producer: Option<Producer>,
    ) -> Result<Batch, Error> {
        self.build(compression, producer, false, false)
    }

    /// [`BatchBuilder::finish`] for a batch that belongs to a transaction.
    ///
    /// # Errors
    /// As [`BatchBuilder::finish`].
    pub fn finish_transactional(
        &mut self,
        compression: Compression,
        producer: Producer,
    ) -> Result<Batch, Error> {
        self.build(compression, Some(producer), true, false)
    }

    /// The control batch that ends a producer's transaction in a partition. `timestamp` is in ms
    /// since 1970.
    #[must_use]
    pub fn control(
        marker: ControlMarker,
        timestamp: i64,
        producer_id: i64,
        producer_epoch: i16,
    ) -> Batch {
        let mut builder = Self::new(Limits::default());
        let (key, value) = marker.encode();
        let producer = Producer { id: producer_id, epoch: producer_epoch, base_sequence: -1 };
        builder
            .push(timestamp, Some(&key), Some(&value), &[])
            .and_then(|_| builder.build(Compression::None, Some(producer), true, true))
            .expect("one small record is below every default limit")
    }

    fn build(
        &mut self,
        compression: Compression,
        producer: Option<Producer>,
        transactional: bool,
        control: bool,
    ) -> Result<Batch, Error> {
        let Some(last_offset_delta) = self.record_count.checked_sub(1) else {
            let expected = "1 or more";
            return Err(Error::Invalid { field: "record_count", value: 0, expected });
        };
        let (compression, buffer) = self.encoded(compression)?;
        let header = BatchHeader {
            base_offset: 0,
            batch_bytes: 0,
            leader_epoch: UNKNOWN_LEADER_EPOCH,
            crc: 0,
            compression,
            timestamp_type: TimestampType::Create,
            transactional,
            control,
            last_offset_delta,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer,
            record_count: self.record_count,
        };
        self.clear();
        Ok(Batch::seal(header, buffer))
    }

    /// Takes the batch out of the builder: room for the header and the records as they are sent.
    fn encoded(&mut self, compression: Compression) -> Result<(Compression, BytesMut), Error> {
        self.reserve_bytes = self.buffer.len();
        if compression != Compression::None {
            let records = self.buffer.get(HEADER_BYTES..).unwrap_or_default();
            self.compressor.run(compression, records, &mut self.scratch)?;
            if self.scratch.len() < records.len() {
                let bytes = self.scratch.len().saturating_add(HEADER_BYTES);
                self.check_batch(bytes)?;
                let mut buffer = BytesMut::with_capacity(bytes);
                buffer.put_bytes(0, HEADER_BYTES);
                buffer.put_slice(&self.scratch);
                return Ok((compression, buffer));
            }
        }
        self.check_batch(self.buffer.len())?;
        Ok((Compression::None, self.buffer.split()))
    }

    fn check_batch(&self, bytes: usize) -> Result<(), Error> {
        let limit = u64::from(self.limits.batch_bytes_max);
        at_most("record batch in bytes", bytes as u64, "batch_bytes_max", limit)
    }

    fn check_room(&self, record: usize) -> Result<(), Error> {
        let limit = u64::from(self.limits.decompressed_bytes_max);
        let records = self.bytes().saturating_sub(HEADER_BYTES).saturating_add(record);
        at_most("records in bytes", records as u64, "decompressed_bytes_max", limit)
    }

    fn make_room(&mut self, record: usize) {
        if self.buffer.is_empty() {
            let least = record.saturating_add(HEADER_BYTES);
            self.buffer.reserve(self.reserve_bytes.max(least));
            self.buffer.put_bytes(0, HEADER_BYTES);
        } else {
            self.buffer.reserve(record);
        }
    }
}

/// Bytes of a record after its length, and its number of headers.
fn body_bytes<'a>(
    delta: i64,
    position: u32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
) -> (usize, u64) {
    let mut count = 0_u64;
    let mut bytes = size_of_val(&RECORD_ATTRIBUTES)
        .saturating_add(varint::size(delta))
        .saturating_add(varint::size(i64::from(position)))
        .saturating_add(nullable_bytes(key))
        .saturating_add(nullable_bytes(value));
    for (name, value) in headers {
        count = count.saturating_add(1);
        bytes = bytes.saturating_add(nullable_bytes(Some(name)));
        bytes = bytes.saturating_add(nullable_bytes(value));
    }
    let count_bytes = varint::size(i64::try_from(count).unwrap_or(i64::MAX));
    (bytes.saturating_add(count_bytes), count)
}

fn nullable_bytes(bytes: Option<&[u8]>) -> usize {
    match bytes {
        Some(bytes) => varint::size(bytes.len() as i64).saturating_add(bytes.len()),
        None => varint::size(NO_LENGTH),
    }
}

fn write_nullable(out: &mut BytesMut, bytes: Option<&[u8]>) {
    varint::write(out, bytes.map_or(NO_LENGTH, |bytes| bytes.len() as i64));
    out.put_slice(bytes.unwrap_or_default());
}
