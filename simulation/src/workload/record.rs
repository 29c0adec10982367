//! Records whose values say which they are.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use kontiki_client::ConsumedRecord;
use rand::rngs::SmallRng;
use rand::{Rng as _, RngCore as _};

use crate::history::{RecordName, Seen};

const MAGIC: u32 = 0x6b6f_6e74;

/// A value for a record: its name and some random bytes; mostly a few, sometimes so many that they
/// are stored outside of the log.
pub(super) fn value(name: RecordName, rng: &mut SmallRng) -> Bytes {
    let more = match rng.random_range(0..100) {
        0 => rng.random_range(10_000..100_000),
        1..=9 => rng.random_range(4_000..6_000),
        _ => rng.random_range(0..200),
    };
    padded(name, more, rng)
}

/// The same where large ones are no exception.
pub(super) fn bulky(name: RecordName, rng: &mut SmallRng) -> Bytes {
    let more = match rng.random_range(0..100) {
        0..=14 => rng.random_range(6_000..20_000),
        15..=44 => rng.random_range(1_000..6_000),
        _ => rng.random_range(0..200),
    };
    padded(name, more, rng)
}

fn padded(name: RecordName, more: usize, rng: &mut SmallRng) -> Bytes {
    let mut value = BytesMut::with_capacity(16 + more);
    value.put_u32(MAGIC);
    value.put_u32(name.client);
    value.put_u64(name.number);
    let mut padding = vec![0; more];
    rng.fill_bytes(&mut padding);
    value.extend_from_slice(&padding);
    value.freeze()
}

pub(super) fn name(value: Option<&Bytes>) -> Option<RecordName> {
    let mut value = value?.as_ref();
    if value.len() < 16 || value.get_u32() != MAGIC {
        return None;
    }
    Some(RecordName { client: value.get_u32(), number: value.get_u64() })
}

/// A record as it was read.
pub(super) fn seen(record: &ConsumedRecord) -> Seen {
    found(record.offset, record.timestamp_ms, record.value.as_ref())
}

/// A record as it was read.
pub(super) fn found(offset: u64, timestamp_ms: i64, value: Option<&Bytes>) -> Seen {
    let checksum = value.map_or(0, |value| crc32c::crc32c(value));
    Seen { offset, record: name(value), checksum, timestamp_ms }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn a_value_says_which_record_it_is() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut sizes = Vec::new();
        for number in 0..300 {
            let expected = RecordName { client: 7, number };
            let value = value(expected, &mut rng);
            assert_eq!(found(5, 6, Some(&value)).record, Some(expected));
            sizes.push(value.len());
        }
        assert!(sizes.iter().any(|size| *size < 100) && sizes.iter().any(|size| *size > 4_096));
        assert_eq!(found(5, 6, Some(&Bytes::from_static(b"something else"))).record, None);
        assert_eq!(found(5, 6, None).record, None);
    }
}
