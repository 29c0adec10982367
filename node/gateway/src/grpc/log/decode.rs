//! From stored record batches to plain records.
//!
//! Batches were looked at deeply when they were produced; whatever fails here was damaged since,
//! and is said to be.

use bytes::Bytes;
use kontiki_broker::fetch::Fetched;
use kontiki_broker::options::bounds;
use kontiki_broker::{Code, Error, Kind};
use kontiki_proto::v1;
use kontiki_records::{Batch, Decompressor, Limits, RecordRef};

/// What a stored batch may be; it has been held against its topic's own limits when it came.
const STORED: Limits = Limits {
    batch_bytes_max: bounds::BATCH_BYTES_MAX,
    decompressed_bytes_max: i32::MAX.cast_unsigned(),
    records_max: i32::MAX.cast_unsigned(),
    headers_max: i32::MAX.cast_unsigned(),
    zstd_window_log_max: 27,
};

/// Decodes what one answer holds.
#[derive(Debug)]
pub(super) struct Decoder {
    decompressor: Decompressor,
    /// Bytes that may still be decoded.
    left: usize,
    begun: bool,
}

impl Decoder {
    /// One whose answer holds this many bytes of decoded records, or one batch.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { decompressor: Decompressor::default(), left: bytes_max, begun: false }
    }

    /// The records from `from` on, and where to go on reading: after the last batch that had room
    /// in the answer.
    ///
    /// # Errors
    /// A batch that can't be decoded.
    pub(super) fn records(
        &mut self,
        fetched: Fetched,
        from: u64,
    ) -> Result<(Vec<v1::Record>, u64), Error> {
        let mut records = Vec::new();
        for bytes in fetched.batches {
            let batch = Batch::from_verified(bytes, &STORED).map_err(|why| damaged(from, &why))?;
            if batch.header().control {
                continue;
            }
            let base = offset(batch.header().base_offset);
            let decompressed = batch.decompressed(&STORED, &mut self.decompressor);
            let bytes = decompressed.map_err(|why| damaged(base, &why))?;
            if self.begun && bytes.len() > self.left {
                return Ok((records, base.max(from)));
            }
            self.begun = true;
            self.left = self.left.saturating_sub(bytes.len());
            for record in batch.record_refs(&bytes, &STORED) {
                let record = record.map_err(|why| damaged(base, &why))?;
                if offset(record.offset) >= from {
                    records.push(wire(&bytes, record));
                }
            }
        }
        Ok((records, fetched.next_offset))
    }
}

/// The record as a message that shares the bytes of its batch.
fn wire(bytes: &Bytes, record: RecordRef<'_>) -> v1::Record {
    let share = |part: Option<&[u8]>| part.map(|part| bytes.slice_ref(part));
    let header = |(name, value)| v1::Header {
        name: String::from_utf8_lossy(name).into_owned(),
        value: share(value),
    };
    v1::Record {
        key: share(record.key),
        value: share(record.value),
        headers: record.headers.iter().map(header).collect(),
        timestamp_ms: record.timestamp,
        offset: offset(record.offset),
    }
}

fn offset(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or_default()
}

fn damaged(offset: u64, why: &kontiki_records::Error) -> Error {
    let detail = format!(
        "the record batch at offset {offset} is damaged ({why}): read it from another replica by \
         moving the leadership, or go on after it"
    );
    Error::new(Kind::Internal, Code::CORRUPT, detail)
}

#[cfg(test)]
#[path = "decode_test.rs"]
mod tests;
