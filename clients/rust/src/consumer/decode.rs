//! Batches as a node sends them, to records. Pure.

use kontiki_records::{Batch, Decompressor, Limits};

use crate::{ConsumedRecord, Error};
use bytes::Bytes;

/// What came out of some batches.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) records: Vec<ConsumedRecord>,
    /// Where to go on reading.
    pub(crate) next: u64,
    /// The batches don't begin where the reading had come to: they belong to a former position.
    pub(crate) gap: bool,
}

/// The records of `batches` from `wanted` on.
///
/// # Errors
/// INVALID, where a batch is damaged or expands beyond the limit.
pub(crate) fn decode(
    batches: Vec<Bytes>,
    wanted: u64,
    limits: &Limits,
    decompressor: &mut Decompressor,
) -> Result<Decoded, Error> {
    let mut decoded = Decoded { records: Vec::new(), next: wanted, gap: false };
    for bytes in batches {
        let batch = Batch::parse(bytes, limits)?;
        let header = batch.header();
        let begin = u64::try_from(header.base_offset).unwrap_or(0);
        let end = u64::try_from(header.next_offset()).unwrap_or(0);
        if end <= decoded.next {
            // It is from before: a former position, or a repetition.
            continue;
        }
        if begin > decoded.next {
            decoded.gap = true;
            return Ok(decoded);
        }
        if !header.control {
            decoded.records.reserve(header.record_count as usize);
            for record in batch.records_with(limits, decompressor)? {
                let record = record?;
                let offset = u64::try_from(record.offset).unwrap_or(0);
                if offset >= decoded.next {
                    let headers = record.headers.iter().collect();
                    decoded.records.push(ConsumedRecord {
                        offset,
                        timestamp_ms: record.timestamp,
                        key: record.key,
                        value: record.value,
                        headers,
                    });
                }
            }
        }
        decoded.next = end;
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontiki_records::{BatchBuilder, Compression, Header};

    fn batch(base_offset: i64, values: &[&str], compression: Compression) -> Bytes {
        let mut builder = BatchBuilder::new(Limits::default());
        for value in values {
            let headers = [Header::new("h", "x")];
            builder.push(1, None, Some(value.as_bytes()), &headers).unwrap();
        }
        builder.finish(compression, None).unwrap().at(base_offset, 3).into_bytes()
    }

    fn decoded(batches: Vec<Bytes>, wanted: u64) -> Decoded {
        decode(batches, wanted, &Limits::default(), &mut Decompressor::default()).unwrap()
    }

    fn offsets(decoded: &Decoded) -> Vec<u64> {
        decoded.records.iter().map(|record| record.offset).collect()
    }

    #[test]
    fn records_before_the_wanted_offset_are_left_out() {
        let long = "x".repeat(500);
        let first = batch(10, &[&long, &long, &long], Compression::Lz4);
        let second = batch(13, &["d"], Compression::None);
        let out = decoded(vec![first, second], 11);
        assert_eq!((offsets(&out), out.next, out.gap), (vec![11, 12, 13], 14, false));
        assert_eq!(out.records[2].value.as_deref(), Some(&b"d"[..]));
        assert_eq!(out.records[2].headers, [Header::new("h", "x")]);
    }

    #[test]
    fn batches_of_a_former_position_are_told_apart() {
        let before = batch(0, &["a", "b"], Compression::None);
        let out = decoded(vec![before], 5);
        assert_eq!((offsets(&out), out.next, out.gap), (vec![], 5, false));
        let after = batch(9, &["a"], Compression::None);
        let out = decoded(vec![after], 5);
        assert_eq!((offsets(&out), out.next, out.gap), (vec![], 5, true));
    }

    #[test]
    fn a_damaged_batch_is_an_error() {
        let mut damaged = batch(0, &["a"], Compression::None).to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        let limits = Limits::default();
        let mut decompressor = Decompressor::default();
        let error = decode(vec![damaged.into()], 0, &limits, &mut decompressor).unwrap_err();
        assert!(error.message.contains("crc"), "{error}");
    }
}
