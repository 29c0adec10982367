//! The deep check of a batch from a stranger: every record is decoded once and thrown away.

use crate::{Batch, ControlMarker, Decompressor, Error, Limits, TimestampType};

/// Checks that the records are what the header says: their number, dense offset deltas from 0, the
/// largest timestamp, header names in UTF-8, nothing after the last record; and for a control
/// batch that it holds one marker.
///
/// A batch that passes can be decoded by everyone, in every protocol, without an error.
///
/// # Errors
/// The first thing that is wrong, naming the record; [`Error::TooLarge`] over one of `limits`.
pub fn validate_records(batch: &Batch, limits: &Limits) -> Result<(), Error> {
    let decompressed = batch.decompressed(limits, &mut Decompressor::default())?;
    let header = batch.header();
    let mut largest = i64::MIN;
    for (record, index) in batch.record_refs(&decompressed, limits).zip(0_u32..) {
        let record = record?;
        largest = largest.max(record.timestamp);
        for (name, _) in record.headers.iter() {
            names_are_text(name).map_err(|error| error.in_record(index))?;
        }
        if header.control {
            ControlMarker::decode(&record).map_err(|error| error.in_record(index))?;
        }
    }
    if header.control && header.record_count != 1 {
        return Err(Error::Invalid {
            field: "record_count",
            value: i64::from(header.record_count),
            expected: "1 in a control batch",
        });
    }
    if header.timestamp_type == TimestampType::Create && largest != header.max_timestamp {
        return Err(Error::Mismatch {
            field: "max_timestamp",
            value: header.max_timestamp,
            actual: largest,
        });
    }
    Ok(())
}

fn names_are_text(name: &[u8]) -> Result<(), Error> {
    std::str::from_utf8(name).map(drop).map_err(|error| Error::Invalid {
        field: "header name",
        value: name.get(error.valid_up_to()).copied().unwrap_or_default().into(),
        expected: "UTF-8",
    })
}
