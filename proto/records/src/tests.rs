//! Tests over the whole crate: known bytes, round trips, limits, and input from a stranger.

use bytes::Bytes;

use crate::{Batch, BatchBuilder, Compression, Error, Header, Limits, Producer, Record};

mod bombs;
mod format;
mod frozen;
mod known;
mod strangers;

const TIME: i64 = 1_700_000_000_000;

/// A small generator (SplitMix64), so that a failure is found again by its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn bytes(&mut self, length_max: u64) -> Bytes {
        let length = self.below(length_max + 1);
        // Half of them compress well.
        let mask = if self.next() & 1 == 0 { 0xff } else { 0x03 };
        (0..length).map(|_| self.next() as u8 & mask).collect()
    }

    fn maybe(&mut self, length_max: u64) -> Option<Bytes> {
        (self.below(5) > 0).then(|| self.bytes(length_max))
    }

    fn headers(&mut self) -> Vec<Header> {
        let count = if self.below(2) == 0 { 0 } else { self.below(4) };
        let name = |random: &mut Self| format!("name-{}", random.below(3));
        (0..count)
            .map(|_| Header { name: name(self).into_bytes().into(), value: self.maybe(20) })
            .collect()
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Plain {
    timestamp: i64,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<Header>,
}

impl Plain {
    fn random(random: &mut Random) -> Self {
        Self {
            timestamp: TIME + random.below(2_000) as i64 - 1_000,
            key: random.maybe(30),
            value: random.maybe(300),
            headers: random.headers(),
        }
    }

    fn push(&self, builder: &mut BatchBuilder) {
        let (key, value) = (self.key.as_deref(), self.value.as_deref());
        let before = builder.bytes();
        builder.push(self.timestamp, key, value, &self.headers).unwrap();
        let grown = builder.bytes() - before;
        assert!(grown <= BatchBuilder::record_bytes_max(key, value, &self.headers));
    }
}

impl From<Record> for Plain {
    fn from(record: Record) -> Self {
        Self {
            timestamp: record.timestamp,
            headers: record.headers.iter().collect(),
            key: record.key,
            value: record.value,
        }
    }
}

fn plain_records(batch: &Batch, limits: &Limits) -> Vec<Plain> {
    batch.records(limits).unwrap().map(|record| record.unwrap().into()).collect()
}

fn batch_of(records: &[Plain], compression: Compression, producer: Option<Producer>) -> Batch {
    let mut builder = BatchBuilder::new(Limits::default());
    for record in records {
        record.push(&mut builder);
    }
    builder.finish(compression, producer).unwrap()
}

/// A few records that every codec makes smaller.
fn compressible(count: usize) -> Vec<Plain> {
    (0..count)
        .map(|index| Plain {
            timestamp: TIME + index as i64,
            key: Some(format!("key-{index}").into_bytes().into()),
            value: Some(Bytes::from(vec![b'x'; 200])),
            headers: vec![Header::new("trace", &b"abc"[..])],
        })
        .collect()
}

/// `batch` with `change` made to its bytes and the checksum made to fit again.
fn resealed(batch: &Batch, change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut bytes = batch.bytes().to_vec();
    change(&mut bytes);
    let length = (bytes.len() as i32 - 12).to_be_bytes();
    bytes[8..12].copy_from_slice(&length);
    let crc = crc32c::crc32c(&bytes[21..]).to_be_bytes();
    bytes[17..21].copy_from_slice(&crc);
    bytes.into()
}

fn parse(bytes: Bytes) -> Result<Batch, Error> {
    Batch::parse(bytes, &Limits::default())
}
