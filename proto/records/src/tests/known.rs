//! Known bytes, known hashes.

use super::{Plain, TIME, frozen, parse, plain_records};
use crate::{
    BatchBuilder, Compression, Header, Limits, Producer, murmur2, partition_for_key,
    validate_records,
};
use bytes::Bytes;

fn expected() -> Vec<Plain> {
    let bytes = Bytes::from_static;
    let header = |name: &'static str, value| Header { name: bytes(name.as_bytes()), value };
    let order = Some(bytes(b"order-17"));
    vec![
        Plain {
            timestamp: TIME,
            key: order.clone(),
            value: Some(br#"{"amount":100,"state":"new"}"#.repeat(6).into()),
            headers: vec![
                header("trace", Some(bytes(&[0, 1]))),
                header("trace", Some(Bytes::new())),
                header("none", None),
            ],
        },
        Plain {
            timestamp: TIME + 5,
            key: None,
            value: Some(vec![b'x'; 150].into()),
            headers: vec![],
        },
        Plain { timestamp: TIME - 3, key: Some(Bytes::new()), value: None, headers: vec![] },
        Plain {
            timestamp: TIME + 4,
            key: order,
            value: Some(Bytes::new()),
            headers: vec![header("ключ", Some(bytes(&[0xff])))],
        },
    ]
}

pub(super) fn unhex(hex: &str) -> Bytes {
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[test]
fn frozen_batches_decode() {
    let limits = Limits::default();
    for (hex, compression) in [
        (frozen::NONE, Compression::None),
        (frozen::GZIP, Compression::Gzip),
        (frozen::SNAPPY, Compression::Snappy),
        (frozen::LZ4, Compression::Lz4),
        (frozen::ZSTD, Compression::Zstd),
    ] {
        let batch = parse(unhex(hex)).unwrap();
        assert_eq!(batch.header().compression, compression);
        assert_eq!(batch.header().record_count, 4);
        assert_eq!(batch.header().max_timestamp, TIME + 5);
        assert_eq!(plain_records(&batch, &limits), expected(), "{compression}");
        validate_records(&batch, &limits).unwrap();
    }
}

#[test]
fn the_builder_writes_the_frozen_bytes() {
    let mut builder = BatchBuilder::new(Limits::default());
    expected().iter().for_each(|record| record.push(&mut builder));
    let producer = Producer { id: 7, epoch: 3, base_sequence: 11 };
    let batch = builder.finish(Compression::None, Some(producer)).unwrap();
    let mut frozen = unhex(frozen::NONE).to_vec();
    // The other encoder leaves the leader epoch at 0, which is outside of the checksum.
    frozen[12..16].copy_from_slice(&(-1_i32).to_be_bytes());
    assert_eq!(batch.bytes(), &frozen);
    assert_eq!(batch.header().producer, Some(producer));
    assert_eq!(batch.header().last_sequence(), Some(14));
}

#[test]
fn murmur2_is_that_of_kafka() {
    let all: Vec<u8> = (0..=255).collect();
    for (key, hash) in [
        (&b""[..], 275_646_681),
        (b"a", -1_563_381_124),
        (b"21", -973_932_308),
        (b"abc", 479_470_107),
        (b"foobar", -790_332_482),
        (b"a-little-bit-long-string", -985_981_536),
        (b"a-little-bit-longer-string", -1_486_304_829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("ключ".as_bytes(), 2_122_343_024),
        (&all, -1_948_347_274),
    ] {
        assert_eq!(murmur2(key), hash, "{key:?}");
    }
    assert_eq!(partition_for_key(b"21", 12), Some(0));
    assert_eq!(partition_for_key(b"foobar", 12), Some(6));
    assert_eq!(partition_for_key(b"foobar", 1), Some(0));
    assert_eq!(partition_for_key(b"foobar", 0), None);
}
