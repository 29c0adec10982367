//! Batches as they are stored, and the records that clients get of them.

use kontiki_records::{BatchBuilder, Compression, Header};

use super::*;

const ROOM: usize = 1 << 20;

/// A batch at an offset with one record for each value.
fn batch(base: i64, values: &[&str], compression: Compression) -> Batch {
    let mut builder = BatchBuilder::new(Limits::default());
    for (time, value) in (1_000..).zip(values) {
        builder.push(time, Some(b"k"), Some(value.as_bytes()), &[]).expect("it is small");
    }
    builder.finish(compression, None).expect("it has records").at(base, 3)
}

fn fetched(batches: Vec<Batch>, next_offset: u64) -> Fetched {
    let batches = batches.into_iter().map(Batch::into_bytes).collect();
    Fetched { batches, next_offset, ..Fetched::default() }
}

fn seen(records: &[v1::Record]) -> Vec<(u64, &[u8])> {
    records.iter().map(|r| (r.offset, r.value.as_deref().expect("all have one"))).collect()
}

#[test]
fn records_come_with_their_offsets_and_without_those_before_the_one_asked_for() {
    for codec in [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let batches = vec![batch(10, &["a", "b", "c"], codec), batch(13, &["d"], codec)];
        let got = Decoder::new(ROOM).records(fetched(batches, 14), 11).expect("sound");
        assert_eq!(seen(&got.0), [(11, &b"b"[..]), (12, b"c"), (13, b"d")], "{codec}");
        assert_eq!(got.1, 14);
        assert_eq!(got.0[0].timestamp_ms, 1_001);
        assert_eq!(got.0[0].key.as_deref(), Some(&b"k"[..]));
    }
}

#[test]
fn nothing_stored_is_no_records() {
    let got = Decoder::new(ROOM).records(fetched(vec![], 5), 5);
    assert_eq!(got, Ok((vec![], 5)));
}

#[test]
fn null_is_told_from_empty_and_headers_keep_their_order() {
    let mut builder = BatchBuilder::new(Limits::default());
    let null = Header { name: Bytes::from_static(b"h"), value: None };
    builder.push(7, None, Some(b""), &[Header::new("h", "1"), null]).expect("small");
    builder.push(7, Some(b""), None, &[]).expect("small");
    let stored = builder.finish(Compression::None, None).expect("two records");
    let (got, _) = Decoder::new(ROOM).records(fetched(vec![stored], 2), 0).expect("sound");
    assert_eq!((&got[0].key, &got[0].value), (&None, &Some(Bytes::new())));
    assert_eq!((&got[1].key, &got[1].value), (&Some(Bytes::new()), &None));
    let headers: Vec<_> =
        got[0].headers.iter().map(|h| (h.name.as_str(), h.value.as_deref())).collect();
    assert_eq!(headers, [("h", Some(&b"1"[..])), ("h", None)]);
    assert!(got[1].headers.is_empty());
}

#[test]
fn with_log_append_time_every_record_has_the_time_of_its_batch() {
    let stored = batch(0, &["a", "b"], Compression::None).with_log_append_time(5_555);
    let (got, _) = Decoder::new(ROOM).records(fetched(vec![stored], 2), 0).expect("sound");
    assert_eq!(got.iter().map(|r| r.timestamp_ms).collect::<Vec<_>>(), [5_555, 5_555]);
}

#[test]
fn values_share_the_bytes_of_their_batch() {
    let stored = batch(0, &["some value"], Compression::None);
    let range = stored.bytes().as_ptr_range();
    let (got, _) = Decoder::new(ROOM).records(fetched(vec![stored], 1), 0).expect("sound");
    let value = got[0].value.as_ref().expect("it has one");
    assert!(range.contains(&value.as_ptr()), "not copied");
}

#[test]
fn an_answer_that_is_full_says_where_to_go_on() {
    let large = "x".repeat(1_000);
    let stored = |base| batch(base, &[&large], Compression::Zstd);
    let mut decoder = Decoder::new(2_500);
    let first = decoder.records(fetched(vec![stored(5), stored(6), stored(7)], 8), 5);
    let (records, next) = first.expect("sound");
    assert_eq!((records.len(), next), (2, 7));
    // The next partition of the same answer finds no room at all.
    let second = decoder.records(fetched(vec![stored(40)], 41), 40).expect("sound");
    assert_eq!(second, (vec![], 40));
    // But one batch is always decoded.
    let alone = Decoder::new(1).records(fetched(vec![stored(5), stored(6)], 7), 5);
    let (records, next) = alone.expect("sound");
    assert_eq!((records.len(), next), (1, 6));
}

#[test]
fn where_to_go_on_is_never_before_the_offset_asked_for() {
    let large = "x".repeat(1_000);
    let mut decoder = Decoder::new(1);
    decoder.records(fetched(vec![batch(0, &["a"], Compression::None)], 1), 0).expect("sound");
    let stored = batch(5, &[&large, &large], Compression::None);
    let got = decoder.records(fetched(vec![stored], 7), 6).expect("sound");
    assert_eq!(got, (vec![], 6));
}

#[test]
fn damage_is_reported_with_its_place() {
    let sound = batch(10, &["a", "b"], Compression::None).into_bytes();
    let mut broken = sound.to_vec();
    let last = broken.len() - 1;
    // The count of headers of the last record.
    broken[last] = 0x7f;
    let stored = Fetched { batches: vec![broken.into()], next_offset: 12, ..Fetched::default() };
    let error = Decoder::new(ROOM).records(stored, 10).expect_err("damaged");
    assert_eq!((error.kind, error.code), (Kind::Internal, Code::CORRUPT));
    assert!(error.detail.contains("at offset 10"), "{error}");
    for cut in [0, 20, 61, sound.len() - 1] {
        let batches = vec![sound.slice(..cut)];
        let stored = Fetched { batches, next_offset: 12, ..Fetched::default() };
        assert!(Decoder::new(ROOM).records(stored, 10).is_err(), "cut at {cut}");
    }
}
