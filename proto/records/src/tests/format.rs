//! Round trips, positions, and what a batch shares.

use super::{Plain, Random, TIME, batch_of, compressible, parse, plain_records, resealed};
use crate::{
    Batch, BatchBuilder, BatchHeader, Batches, Compression, ControlMarker, Decompressor, Error,
    Limits, Producer, TimestampType, validate_records,
};
use bytes::{Bytes, BytesMut};

#[test]
fn random_batches_round_trip() {
    let limits = Limits::default();
    let mut builder = BatchBuilder::new(limits);
    for seed in 0..300 {
        let random = &mut Random(seed);
        let count = 1 + random.below(40);
        let records: Vec<_> = (0..count).map(|_| Plain::random(random)).collect();
        for compression in Compression::ALL {
            records.iter().for_each(|record| record.push(&mut builder));
            let producer = (seed % 2 == 0).then_some(Producer {
                id: seed as i64,
                epoch: 1,
                base_sequence: i32::MAX - 3,
            });
            let size = builder.bytes();
            let built = builder.finish(compression, producer).unwrap();
            assert!(built.bytes().len() <= size && builder.is_empty());
            let batch = parse(built.bytes().clone()).unwrap();
            assert_eq!(batch, built);
            assert_eq!(batch.header().producer, producer);
            assert_eq!(batch.header().record_count as usize, records.len());
            assert_eq!(plain_records(&batch, &limits), records, "seed {seed} {compression}");
            validate_records(&batch, &limits).unwrap();
        }
    }
}

#[test]
fn sequences_wrap() {
    assert_eq!(Producer::sequence_after(5, 3), 8);
    assert_eq!(Producer::sequence_after(i32::MAX, 0), i32::MAX);
    assert_eq!(Producer::sequence_after(i32::MAX, 1), 0);
    assert_eq!(Producer::sequence_after(i32::MAX - 1, 4), 2);
}

#[test]
fn each_codec_is_really_used() {
    for compression in Compression::ALL {
        let batch = batch_of(&compressible(100), compression, None);
        assert_eq!(batch.header().compression, compression);
        assert_eq!(batch.bytes().len() < 10_000, compression != Compression::None);
        assert_eq!(plain_records(&batch, &Limits::default()), compressible(100));
    }
}

#[test]
fn what_does_not_compress_is_stored_plain() {
    let record = Plain { timestamp: TIME, key: None, value: None, headers: vec![] };
    let batch = batch_of(&[record], Compression::Gzip, None);
    assert_eq!(batch.header().compression, Compression::None);
}

#[test]
fn snappy_without_framing_is_read() {
    let plain = batch_of(&compressible(3), Compression::None, None);
    let raw = snap::raw::Encoder::new().compress_vec(&plain.encoded_records()).unwrap();
    let bytes = resealed(&plain, |bytes| {
        bytes.truncate(61);
        bytes.extend_from_slice(&raw);
        bytes[22] |= 2;
    });
    assert_eq!(plain_records(&parse(bytes).unwrap(), &Limits::default()), compressible(3));
}

#[test]
fn gzip_of_several_members_and_zstd_of_several_frames_are_read() {
    let plain = batch_of(&compressible(3), Compression::None, None);
    let records = plain.encoded_records();
    let (front, back) = records.split_at(records.len() / 2);
    for (bits, compression) in [(1, Compression::Gzip), (4, Compression::Zstd)] {
        let mut compressor = crate::compression::Compressor::default();
        let mut both = Vec::new();
        for part in [front, back] {
            let mut out = Vec::new();
            compressor.run(compression, part, &mut out).unwrap();
            both.extend_from_slice(&out);
        }
        let bytes = resealed(&plain, |bytes| {
            bytes.truncate(61);
            bytes.extend_from_slice(&both);
            bytes[22] |= bits;
        });
        assert_eq!(plain_records(&parse(bytes).unwrap(), &Limits::default()), compressible(3));
    }
}

#[test]
fn a_position_is_patched_outside_of_the_checksum() {
    let batch = batch_of(&compressible(5), Compression::Lz4, None);
    let mut joined = BytesMut::from(&batch.prefix_at(1_000, 7)[..]);
    joined.extend_from_slice(&batch.tail());
    let shared = batch.bytes().clone();
    let moved = batch.clone().at(1_000, 7);
    assert_eq!(moved.bytes(), &joined);
    assert_eq!(parse(moved.bytes().clone()).unwrap(), moved);
    assert_eq!((moved.header().base_offset, moved.header().leader_epoch), (1_000, 7));
    assert_eq!((moved.header().last_offset(), moved.header().next_offset()), (1_004, 1_005));
    assert_eq!(moved.header().crc, batch.header().crc);
    assert_eq!(batch.bytes(), &shared, "the shared bytes are as they were");
    let offsets: Vec<_> =
        moved.records(&Limits::default()).unwrap().map(|record| record.unwrap().offset).collect();
    assert_eq!(offsets, [1_000, 1_001, 1_002, 1_003, 1_004]);
}

#[test]
fn an_unshared_batch_is_patched_in_place() {
    let batch = batch_of(&compressible(5), Compression::None, None);
    let address = batch.bytes().as_ptr();
    assert_eq!(batch.at(9, 9).bytes().as_ptr(), address);
}

#[test]
fn log_append_time_is_that_of_every_record() {
    let batch = batch_of(&compressible(3), Compression::Zstd, None).with_log_append_time(42);
    let batch = parse(batch.into_bytes()).unwrap();
    assert_eq!(batch.header().timestamp_type, TimestampType::LogAppend);
    let records = plain_records(&batch, &Limits::default());
    assert!(records.iter().all(|record| record.timestamp == 42));
    validate_records(&batch, &Limits::default()).unwrap();
}

#[test]
fn uncompressed_records_are_slices_of_the_batch() {
    let batch = batch_of(&compressible(2), Compression::None, None);
    let bytes = batch.bytes().clone();
    let within = |part: &Bytes| bytes.as_ptr_range().contains(&part.as_ptr());
    for record in batch.records(&Limits::default()).unwrap() {
        let record = record.unwrap();
        assert!(within(&record.key.unwrap()) && within(&record.value.unwrap()));
        assert!(record.headers.iter().all(|header| within(&header.name)));
        assert_eq!(record.headers.last("trace").unwrap(), "abc");
        assert_eq!(record.headers.last("other"), None);
    }
}

#[test]
fn batches_follow_each_other() {
    let limits = Limits::default();
    let mut both = BytesMut::new();
    for count in [2, 3] {
        both.extend_from_slice(batch_of(&compressible(count), Compression::Gzip, None).bytes());
    }
    let both = both.freeze();
    let counts = |batches: Batches| -> Vec<Option<u32>> {
        batches.map(|batch| batch.ok().map(|batch| batch.header().record_count)).collect()
    };
    assert_eq!(counts(Batches::new(both.clone(), limits)), [Some(2), Some(3)]);
    for cut in [1, 40, 70] {
        let cut = both.slice(..both.len() - cut);
        assert_eq!(counts(Batches::with_cut_end(cut.clone(), limits)), [Some(2)]);
        assert_eq!(counts(Batches::new(cut, limits)), [Some(2), None]);
    }
    assert!(matches!(Batch::parse(both, &limits), Err(Error::Trailing { .. })));
}

#[test]
fn markers_round_trip() {
    for committed in [false, true] {
        let marker = ControlMarker { committed, coordinator_epoch: 5 };
        let batch = parse(BatchBuilder::control(marker, TIME, 9, 2).into_bytes()).unwrap();
        let header = *batch.header();
        assert!(header.control && header.transactional);
        assert_eq!(header.last_sequence(), None);
        validate_records(&batch, &Limits::default()).unwrap();
        let records = batch.decompressed(&Limits::default(), &mut Decompressor::default()).unwrap();
        let record = batch.record_refs(&records, &Limits::default()).next().unwrap().unwrap();
        assert_eq!(ControlMarker::decode(&record).unwrap(), marker);
    }
}

#[test]
fn transactional_batches_say_so() {
    let mut builder = BatchBuilder::new(Limits::default());
    compressible(1)[0].push(&mut builder);
    let producer = Producer { id: 1, epoch: 0, base_sequence: 0 };
    let batch = builder.finish_transactional(Compression::None, producer).unwrap();
    assert!(BatchHeader::peek(batch.bytes()).unwrap().transactional);
}
