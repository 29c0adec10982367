//! Limits: on what is built, on what is parsed, and on what a batch expands to.

use super::{Plain, TIME, batch_of, compressible, parse, resealed};
use crate::{Batch, BatchBuilder, Compression, Error, Limits, validate_records};

fn limit_of(error: Error) -> &'static str {
    assert!(error.is_too_large() && !error.is_corruption(), "{error}");
    if let Error::Record { source, .. } = error {
        return limit_of(*source);
    }
    let Error::TooLarge { limit_name, .. } = error else { panic!("{error}") };
    limit_name
}

#[test]
fn the_defaults_are_valid_and_each_field_is_checked() {
    Limits::default().validate().unwrap();
    for (limits, name) in [
        (Limits { batch_bytes_max: 60, ..Limits::default() }, "batch_bytes_max"),
        (Limits { decompressed_bytes_max: 0, ..Limits::default() }, "decompressed_bytes_max"),
        (Limits { records_max: 0, ..Limits::default() }, "records_max"),
        (Limits { headers_max: u32::MAX, ..Limits::default() }, "headers_max"),
        (Limits { zstd_window_log_max: 28, ..Limits::default() }, "zstd_window_log_max"),
    ] {
        assert!(limits.validate().unwrap_err().to_string().starts_with(name));
    }
}

#[test]
fn the_builder_stays_below_its_limits() {
    let limits = Limits { records_max: 2, headers_max: 1, ..Limits::default() };
    let mut builder = BatchBuilder::new(limits);
    let header = crate::Header::new("a", "b");
    let two = [header.clone(), header];
    let refused = builder.push(TIME, None, None, &two).unwrap_err();
    assert_eq!(limit_of(refused), "headers_max");
    assert!(builder.is_empty());
    builder.push(TIME, None, None, &two[..1]).unwrap();
    builder.push(TIME, None, None, &[]).unwrap();
    assert_eq!(limit_of(builder.push(TIME, None, None, &[]).unwrap_err()), "records_max");
    let far = builder.finish(Compression::None, None).unwrap();
    assert_eq!(far.header().record_count, 2);

    builder.push(i64::MIN, None, None, &[]).unwrap();
    let refused = builder.push(1, None, None, &[]).unwrap_err();
    assert!(matches!(refused, Error::Invalid { field: "timestamp", .. }));
}

#[test]
fn a_batch_that_is_too_large_stays_in_the_builder() {
    let limits = Limits { batch_bytes_max: 300, ..Limits::default() };
    let mut builder = BatchBuilder::new(limits);
    compressible(5).iter().for_each(|record| record.push(&mut builder));
    let refused = builder.finish(Compression::None, None).unwrap_err();
    assert_eq!(limit_of(refused), "batch_bytes_max");
    assert_eq!(builder.len(), 5);
    let batch = builder.finish(Compression::Zstd, None).unwrap();
    assert_eq!(Batch::parse(batch.clone().into_bytes(), &limits).unwrap(), batch);
    assert!(builder.finish(Compression::Zstd, None).is_err(), "it is empty");
}

#[test]
fn parsing_is_limited() {
    let batch = batch_of(&compressible(5), Compression::None, None);
    for (limits, name) in [
        (Limits { batch_bytes_max: 500, ..Limits::default() }, "batch_bytes_max"),
        (Limits { records_max: 4, ..Limits::default() }, "records_max"),
    ] {
        let refused = Batch::parse(batch.bytes().clone(), &limits).unwrap_err();
        assert_eq!(limit_of(refused), name);
    }
    let limits = Limits { headers_max: 0, ..Limits::default() };
    assert_eq!(limit_of(validate_records(&batch, &limits).unwrap_err()), "headers_max");
}

#[test]
fn every_codec_stops_at_the_limit() {
    let zeros =
        Plain { timestamp: TIME, key: None, value: Some(vec![0; 3 << 20].into()), headers: vec![] };
    for compression in Compression::ALL {
        let mut builder =
            BatchBuilder::new(Limits { batch_bytes_max: 8 << 20, ..Limits::default() });
        zeros.push(&mut builder);
        let batch = builder.finish(compression, None).unwrap();
        let exact = batch.header();
        assert_eq!(exact.compression, compression);
        let size = (3 << 20) + 13;
        let fits = Limits { decompressed_bytes_max: size, ..Limits::default() };
        validate_records(&batch, &fits).unwrap();
        let bomb = Limits { decompressed_bytes_max: size - 1, ..Limits::default() };
        let refused = validate_records(&batch, &bomb).unwrap_err();
        assert_eq!(limit_of(refused), "decompressed_bytes_max", "{compression}");
    }
}

#[test]
fn claims_are_not_believed() {
    let batch = batch_of(&compressible(2), Compression::None, None);
    let with = |bits: u8, records: &[u8]| {
        let bytes = resealed(&batch, |bytes| {
            bytes.truncate(61);
            bytes.extend_from_slice(records);
            bytes[22] |= bits;
        });
        validate_records(&parse(bytes).unwrap(), &Limits::default()).unwrap_err()
    };
    // A snappy block that claims 2^28 bytes, and one that claims 32 MiB in five bytes.
    assert_eq!(limit_of(with(2, &[0x80, 0x80, 0x80, 0x80, 0x01, 0])), "decompressed_bytes_max");
    assert!(matches!(with(2, &[0x80, 0x80, 0x80, 0x10, 0]), Error::Codec { .. }));
    // A zstd frame of one segment that claims 2^32 bytes.
    let claim = [0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 1, 0, 0, 0, 0x01, 0, 0];
    assert_eq!(limit_of(with(4, &claim)), "decompressed_bytes_max");
    // Cut off, or nothing at all.
    for bits in 1..=4 {
        assert!(matches!(with(bits, &[]), Error::Codec { .. } | Error::Record { .. }), "{bits}");
    }
}
