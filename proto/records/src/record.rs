//! Records out of a batch: decoded one at a time, as slices of the bytes that they came in.
//!
//! ```text
//! length varint | attributes i8 | timestamp delta varlong | offset delta varint
//! key (varint length, bytes) | value (varint length, bytes) | header count varint
//! headers: name (varint length, bytes), value (varint length, bytes)
//! ```
//! A length of -1 means none.

use std::borrow::Cow;

use bytes::Bytes;

use crate::limits::at_most;
use crate::{BatchHeader, Error, TimestampType, wire::Reader};

/// One header of a record. Names may repeat, and their order is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Header {
    /// Its name; UTF-8 in every batch that passed [`crate::validate_records`].
    pub name: Bytes,
    /// Its value, if it has one.
    pub value: Option<Bytes>,
}

impl Header {
    /// A header of a static name.
    #[must_use]
    pub fn new(name: &'static str, value: impl Into<Bytes>) -> Self {
        Self { name: Bytes::from_static(name.as_bytes()), value: Some(value.into()) }
    }

    /// The name as text, with replacement characters where it isn't UTF-8.
    #[must_use]
    pub fn name_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }
}

/// The headers of one record, checked and still encoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers {
    count: u32,
    encoded: Bytes,
}

impl Headers {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers in their order, as slices of the batch.
    pub fn iter(&self) -> impl Iterator<Item = Header> + '_ {
        HeaderRefs { count: self.count, encoded: &self.encoded }.iter().map(|(name, value)| {
            Header {
                name: self.encoded.slice_ref(name),
                value: value.map(|value| self.encoded.slice_ref(value)),
            }
        })
    }

    /// The value of the last header called `name`: none if there is no such header or if it has no
    /// value.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<Bytes> {
        let all = HeaderRefs { count: self.count, encoded: &self.encoded };
        let found = all.iter().filter(|(its, _)| *its == name.as_bytes()).last()?;
        found.1.map(|value| self.encoded.slice_ref(value))
    }
}

/// One record; its parts share the bytes of the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its offset in the partition.
    pub offset: i64,
    /// Its time in ms since 1970: of its creation, or of the append (see [`TimestampType`]).
    pub timestamp: i64,
    /// Its key, if it has one.
    pub key: Option<Bytes>,
    /// Its value; none is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Headers,
}

/// The headers of a [`RecordRef`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderRefs<'a> {
    count: u32,
    encoded: &'a [u8],
}

impl<'a> HeaderRefs<'a> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Name and value of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let mut reader = Reader::new(self.encoded);
        // They were decoded once when the record was: there is no error left to find.
        (0..self.count).map_while(move |_| header(&mut reader).ok())
    }
}

/// One record, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// See [`Record::offset`].
    pub offset: i64,
    /// See [`Record::timestamp`].
    pub timestamp: i64,
    /// See [`Record::key`].
    pub key: Option<&'a [u8]>,
    /// See [`Record::value`].
    pub value: Option<&'a [u8]>,
    /// See [`Record::headers`].
    pub headers: HeaderRefs<'a>,
}

/// What the records of a batch have in common, and how far an iteration has come.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    header: BatchHeader,
    headers_max: u32,
    next: u32,
    ended: bool,
}

impl Cursor {
    /// Decodes the next record from the front of `rest`.
    fn step<'a>(&mut self, rest: &mut &'a [u8]) -> Option<Result<RecordRef<'a>, Error>> {
        if self.ended {
            return None;
        }
        if self.next >= self.header.record_count {
            self.ended = true;
            let bytes = rest.len() as u64;
            return (bytes > 0).then_some(Err(Error::Trailing { field: "records", bytes }));
        }
        let index = self.next;
        let mut reader = Reader::new(rest);
        let decoded = self.decode(&mut reader).map_err(|error| error.in_record(index));
        *rest = reader.rest();
        self.ended = decoded.is_err();
        self.next = index.saturating_add(1);
        Some(decoded)
    }

    fn decode<'a>(&self, reader: &mut Reader<'a>) -> Result<RecordRef<'a>, Error> {
        let length = reader.varint("record length")?;
        let length = usize::try_from(length).map_err(|_| Error::Invalid {
            field: "record length",
            value: i64::from(length),
            expected: "0 or more",
        })?;
        let mut reader = Reader::new(reader.take("record", length)?);
        reader.i8("record attributes")?;
        let timestamp = self.timestamp(reader.varlong("timestamp delta")?)?;
        let offset = self.offset(reader.varint("offset delta")?)?;
        let key = reader.nullable("record key")?;
        let value = reader.nullable("record value")?;
        let headers = self.headers(&mut reader)?;
        if !reader.rest().is_empty() {
            let bytes = reader.rest().len() as u64;
            return Err(Error::Trailing { field: "record headers", bytes });
        }
        Ok(RecordRef { offset, timestamp, key, value, headers })
    }

    fn timestamp(&self, delta: i64) -> Result<i64, Error> {
        match self.header.timestamp_type {
            TimestampType::LogAppend => Ok(self.header.max_timestamp),
            TimestampType::Create => {
                self.header.base_timestamp.checked_add(delta).ok_or(Error::Invalid {
                    field: "timestamp delta",
                    value: delta,
                    expected: "a delta that keeps the timestamp in 64 bits",
                })
            }
        }
    }

    fn offset(&self, delta: i32) -> Result<i64, Error> {
        if i64::from(delta) != i64::from(self.next) {
            return Err(Error::Invalid {
                field: "offset delta",
                value: i64::from(delta),
                expected: "the position of the record in its batch (offsets are dense)",
            });
        }
        self.header.base_offset.checked_add(i64::from(delta)).ok_or(Error::Invalid {
            field: "base_offset",
            value: self.header.base_offset,
            expected: "an offset that leaves room for the records of the batch",
        })
    }

    fn headers<'a>(&self, reader: &mut Reader<'a>) -> Result<HeaderRefs<'a>, Error> {
        let count = reader.varint("header count")?;
        let count = u32::try_from(count).map_err(|_| Error::Invalid {
            field: "header count",
            value: i64::from(count),
            expected: "0 or more",
        })?;
        at_most("header count", count.into(), "headers_max", self.headers_max.into())?;
        let encoded = reader.rest();
        for _ in 0..count {
            header(reader)?;
        }
        let used = encoded.len().saturating_sub(reader.rest().len());
        Ok(HeaderRefs { count, encoded: encoded.get(..used).unwrap_or_default() })
    }

    fn left(&self) -> usize {
        let left = self.header.record_count.saturating_sub(self.next) as usize;
        if self.ended { 0 } else { left.saturating_add(1) }
    }
}

fn header<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], Option<&'a [u8]>), Error> {
    let name = reader.nullable("header name")?.ok_or(Error::Invalid {
        field: "header name",
        value: -1,
        expected: "a length of 0 or more",
    })?;
    Ok((name, reader.nullable("header value")?))
}

/// Iterates over the records of a batch, each sharing its bytes. Ends after the first error.
#[derive(Debug, Clone)]
pub struct RecordIter {
    cursor: Cursor,
    bytes: Bytes,
    position: usize,
}

impl RecordIter {
    pub(crate) fn new(header: BatchHeader, bytes: Bytes, headers_max: u32) -> Self {
        let cursor = Cursor { header, headers_max, next: 0, ended: false };
        Self { cursor, bytes, position: 0 }
    }

    /// Bytes of the records that are to come, without compression.
    #[must_use]
    pub fn bytes_left(&self) -> usize {
        self.bytes.len().saturating_sub(self.position)
    }
}

impl Iterator for RecordIter {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.bytes.get(self.position..).unwrap_or_default();
        let next = self.cursor.step(&mut rest)?;
        self.position = self.bytes.len().saturating_sub(rest.len());
        Some(next.map(|record| Record {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(|key| self.bytes.slice_ref(key)),
            value: record.value.map(|value| self.bytes.slice_ref(value)),
            headers: Headers {
                count: record.headers.count,
                encoded: self.bytes.slice_ref(record.headers.encoded),
            },
        }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.cursor.left()))
    }
}

/// Iterates over the records of a batch by reference. Ends after the first error.
#[derive(Debug, Clone)]
pub struct RecordRefs<'a> {
    cursor: Cursor,
    rest: &'a [u8],
}

impl<'a> RecordRefs<'a> {
    pub(crate) fn new(header: BatchHeader, bytes: &'a [u8], headers_max: u32) -> Self {
        let cursor = Cursor { header, headers_max, next: 0, ended: false };
        Self { cursor, rest: bytes }
    }
}

impl<'a> Iterator for RecordRefs<'a> {
    type Item = Result<RecordRef<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.cursor.step(&mut self.rest)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.cursor.left()))
    }
}
