use kontiki_records::{BatchBuilder, Compression};

use super::*;

/// A batch of records of this many zeros.
fn batch(sizes: &[usize], compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(ANY);
    for size in sizes {
        builder.push(0, None, Some(&vec![0; *size]), &[]).expect("there is room");
    }
    builder.finish(compression, None).expect("it can be compressed").into_bytes()
}

/// Offsets and sizes.
fn shown(taken: Result<Vec<(u64, Record)>, Error>) -> Vec<(u64, usize)> {
    let shown = |(offset, record): (u64, Record)| (offset, record.value.map_or(0, |v| v.len()));
    taken.expect("it is sound").into_iter().map(shown).collect()
}

const MIB: usize = 1 << 20;

#[test]
fn only_the_first_batch_is_decoded_and_it_counts() {
    let mut ready = Ready::new(PartitionId(1), 7);
    let payload = batch(&[MIB, MIB], Compression::Zstd);
    let encoded = payload.len() as u64;
    for first in [0, 2, 4] {
        assert_eq!(ready.push(payload.clone(), vec![first, first + 1]), Ok(2));
    }
    assert!(encoded < 4_000, "{encoded}");
    assert_eq!(ready.bytes(), encoded * 3);
    assert_eq!(shown(ready.take(0, MIB)), []);
    assert_eq!(ready.bytes(), encoded * 3, "nothing is wanted yet");
    assert_eq!(shown(ready.take(1, MIB)), [(0, MIB)]);
    let decoded = ready.bytes() - encoded * 2;
    assert!((2 * MIB as u64..3 * MIB as u64).contains(&decoded), "{decoded}");
    assert_eq!(shown(ready.take(1, MIB)), [(1, MIB)]);
    assert_eq!(ready.bytes(), encoded * 2, "the next one waits");
    assert_eq!(shown(ready.take(9, 9 * MIB)), [(2, MIB), (3, MIB)], "not of two batches");
    assert_eq!(shown(ready.take(9, 9 * MIB)), [(4, MIB), (5, MIB)]);
    assert!(ready.is_empty());
    assert_eq!((ready.bytes(), shown(ready.take(9, MIB))), (0, vec![]));
}

#[test]
fn so_many_bytes_are_taken_at_a_time_and_one_record_at_least() {
    let mut ready = Ready::new(PartitionId(1), 7);
    let payload = batch(&[10, 400, 400, 900, 10, 10], Compression::None);
    assert_eq!(ready.push(payload, Vec::new()), Ok(6));
    assert_eq!(shown(ready.take(10, 500)), [(0, 10), (1, 400)]);
    assert_eq!(shown(ready.take(10, 500)), [(2, 400)]);
    assert_eq!(shown(ready.take(10, 500)), [(3, 900)]);
    assert!(!ready.is_empty());
    assert_eq!(shown(ready.take(1, 500)), [(4, 10)]);
    assert_eq!(shown(ready.take(10, 500)), [(5, 10)]);
    assert!(ready.is_empty());
}

#[test]
fn what_is_not_sound_is_refused() {
    let mut ready = Ready::new(PartitionId(1), 7);
    let payload = batch(&[1, 2], Compression::Lz4);
    ready.push(payload.clone(), vec![1]).expect_err("an offset is missing");
    ready.push(payload.slice(..payload.len() - 1), Vec::new()).expect_err("it is cut");
    assert!(ready.is_empty());
}
