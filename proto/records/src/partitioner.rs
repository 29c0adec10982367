//! Which partition a key belongs to: the same answer as Kafka's own clients give, so that the
//! records of a key stay in one partition whoever produces them.

const MULTIPLIER: u32 = 0x5bd1_e995;
const SEED: u32 = 0x9747_b28c;
const SHIFT: u32 = 24;

/// MurmurHash2, 32 bits, with the seed and the byte order of Kafka's default partitioner.
#[must_use]
pub fn murmur2(key: &[u8]) -> i32 {
    let (words, tail) = key.as_chunks::<4>();
    let mut hash = SEED ^ (key.len() as u32);
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> SHIFT;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        let last = tail.iter().rev().fold(0_u32, |last, &byte| (last << 8) | u32::from(byte));
        hash = (hash ^ last).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    (hash ^ (hash >> 15)) as i32
}

/// The partition of `key` among `partition_count`, or none if there are no partitions.
#[must_use]
pub fn partition_for_key(key: &[u8], partition_count: u32) -> Option<u32> {
    ((murmur2(key) & i32::MAX) as u32).checked_rem(partition_count)
}
