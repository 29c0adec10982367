//! Bytes from a stranger: each fault gets its own error, and nothing panics.

use super::{Plain, Random, batch_of, compressible, parse, resealed};
use crate::{
    Batch, BatchHeader, Batches, Compression, Decompressor, Error, Limits, validate_records,
};
use bytes::Bytes;

/// Everything that can be done with bytes, for the sake of not panicking.
fn exercise(bytes: Bytes, limits: &Limits) {
    let _ = BatchHeader::peek(&bytes);
    let _ = Batches::with_cut_end(bytes.clone(), *limits).count();
    let Ok(batch) = Batch::from_verified(bytes, limits) else { return };
    let _ = validate_records(&batch, limits);
    if let Ok(records) = batch.records(limits) {
        let (_, most) = records.size_hint();
        let mut count = 0;
        for record in records {
            count += 1;
            let _ = record.map(|record| record.headers.iter().count());
        }
        assert!(count <= most.unwrap());
    }
    let moved = batch.clone().at(i64::MAX, i32::MIN);
    if let Ok(plain) = moved.decompressed(limits, &mut Decompressor::default()) {
        let _ = moved.record_refs(&plain, limits).count();
    }
    let _ = (moved.header().last_offset(), moved.header().next_offset());
    let _ = batch.with_log_append_time(i64::MIN).with_max_timestamp(1);
}

fn small() -> Limits {
    Limits { decompressed_bytes_max: 1 << 20, ..Limits::default() }
}

#[test]
fn random_bytes() {
    for seed in 0..2_000 {
        let random = &mut Random(seed);
        exercise(random.bytes(300), &small());
    }
}

#[test]
fn random_records_behind_a_sound_header() {
    let batch = batch_of(&compressible(3), Compression::None, None);
    for seed in 0..4_000 {
        let random = &mut Random(seed);
        let records = random.bytes(120);
        let bytes = resealed(&batch, |bytes| {
            bytes.truncate(61);
            bytes.extend_from_slice(&records);
            bytes[22] = (random.below(5)) as u8;
        });
        exercise(bytes, &small());
    }
}

#[test]
fn mutated_batches() {
    for seed in 0..3_000 {
        let random = &mut Random(seed);
        let records: Vec<_> = (0..=random.below(6)).map(|_| Plain::random(random)).collect();
        let compression = Compression::ALL[random.below(5) as usize];
        let batch = batch_of(&records, compression, None);
        let mut changes = 1 + random.below(4);
        let bytes = resealed(&batch, |bytes| {
            while changes > 0 {
                let at = random.below(bytes.len() as u64 - 21) as usize + 21;
                match random.below(4) {
                    0 => bytes[at] ^= 1 << random.below(8),
                    1 => bytes[at] = random.next() as u8,
                    2 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, random.next() as u8),
                }
                changes -= 1;
                if bytes.len() < 62 {
                    break;
                }
            }
        });
        exercise(bytes, &small());
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let batch = batch_of(&compressible(2), Compression::None, None);
    for bit in (PREFIX_BITS..batch.bytes().len() * 8).chain(64..96) {
        let mut bytes = batch.bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(parse(bytes.into()).is_err(), "bit {bit}");
    }
}

const PREFIX_BITS: usize = 16 * 8;

#[test]
fn every_cut_is_noticed() {
    let batch = batch_of(&compressible(2), Compression::Zstd, None);
    for length in 0..batch.bytes().len() {
        let error = parse(batch.bytes().slice(..length)).unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }), "{length}: {error}");
        assert!(error.is_corruption());
    }
}

/// One field of the header changed, with a checksum that fits, and what the error says.
#[test]
fn each_field_of_the_header_is_checked() {
    let batch = batch_of(&compressible(3), Compression::None, None);
    for (at, value, says) in [
        (16, &[1][..], "magic is 1"),
        (21, &[0x01, 0], "attributes is 256"),
        (22, &[0x40], "attributes is 64"),
        (22, &[5], "compression codec is 5"),
        (22, &[0x10], "producer_id is -1"),
        (23, &[0, 0, 0, 3], "last_offset_delta is 3"),
        (23, &[0xff; 4], "last_offset_delta is -1"),
        (43, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe], "producer_id is -2"),
        (43, &[0; 8], "producer_epoch is -1"),
        (43, &[0; 10], "base_sequence is -1"),
        (57, &[0; 4], "record_count is 0"),
        (57, &[0xff; 4], "record_count is -1"),
    ] {
        let bytes = resealed(&batch, |bytes| bytes[at..at + value.len()].copy_from_slice(value));
        let message = parse(bytes).unwrap_err().to_string();
        assert!(message.starts_with(says), "{message}");
    }
    let mut bytes = batch.bytes().to_vec();
    bytes[8..12].copy_from_slice(&48_i32.to_be_bytes());
    let message = parse(bytes.into()).unwrap_err().to_string();
    assert!(message.starts_with("batch_length is 48"), "{message}");
}

#[test]
fn epoch_and_sequence_without_a_producer_are_ignored() {
    let batch = batch_of(&compressible(1), Compression::None, None);
    let bytes = resealed(&batch, |bytes| bytes[51..57].fill(0));
    assert_eq!(parse(bytes).unwrap().header().producer, None);
}

#[test]
fn the_checksum_is_checked() {
    let batch = batch_of(&compressible(1), Compression::None, None);
    let mut bytes = batch.bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let error = parse(bytes.into()).unwrap_err();
    assert!(matches!(error, Error::Checksum { .. }) && error.is_corruption());
}

/// Records changed behind a sound header, and what the error says.
#[test]
fn each_field_of_a_record_is_checked() {
    let batch = batch_of(&compressible(2), Compression::None, None);
    // Record 0: length (2 bytes), attributes, timestamp delta, offset delta, key length, "key-0".
    for (at, value, says) in [
        (61, &[0x01][..], "record 0 of the batch: record length is -1"),
        (61, &[0xff; 6], "record 0 of the batch: record length is"),
        (65, &[0x02], "record 0 of the batch: offset delta is 1"),
        (66, &[0x03], "record 0 of the batch: record key is -2"),
        (66, &[0x7e], "record 0 of the batch: "),
        (57, &[0, 0, 0, 1], "records: "),
        (57, &[0, 0, 0, 3], "record 2 of the batch: record length: needs 1 bytes, 0 are left"),
        (35, &[0; 8], "max_timestamp is 0, but the records say 1700000000001"),
    ] {
        let bytes = resealed(&batch, |bytes| {
            bytes[at..at + value.len()].copy_from_slice(value);
            let count = bytes[60] - 1;
            bytes[26] = count;
        });
        let batch = parse(bytes).unwrap();
        let message = validate_records(&batch, &Limits::default()).unwrap_err().to_string();
        assert!(message.starts_with(says), "{says}: {message}");
    }
}

#[test]
fn a_header_name_has_to_be_text() {
    let mut records = compressible(2);
    records[1].headers[0].name = Bytes::from_static(b"caf\xe9");
    let batch = batch_of(&records, Compression::None, None);
    let message = validate_records(&batch, &Limits::default()).unwrap_err().to_string();
    assert_eq!(message, "record 1 of the batch: header name is 233, expected UTF-8");
}

#[test]
fn offsets_do_not_overflow() {
    let batch = batch_of(&compressible(2), Compression::None, None).at(i64::MAX, 0);
    let results: Vec<_> = batch.records(&Limits::default()).unwrap().collect();
    assert!(results[0].is_ok() && results[1].is_err() && results.len() == 2);
}
