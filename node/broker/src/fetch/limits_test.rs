//! How bytes are divided and counted.

use super::*;

/// What each of several partitions gives, in the order of the partitions, when all its batches
/// have the same size.
fn divided(total: u64, batches: &[(u32, u64)], turn: usize) -> Vec<u64> {
    let wanted = batches.iter().map(|(wanted, _)| *wanted).collect();
    let mut shares = Shares::new(total, wanted, turn);
    let mut taken = vec![0; batches.len()];
    while let Some((at, allowed)) = shares.next() {
        let size = batches[at].1;
        let bytes = match allowed.bytes {
            0 => 0,
            bytes if bytes >= size => bytes / size * size,
            _ if size <= allowed.first => size,
            _ => 0,
        };
        shares.took(bytes);
        taken[at] = bytes;
    }
    taken
}

#[test]
fn all_get_the_same_and_what_one_leaves_goes_to_the_others() {
    assert_eq!(divided(300, &[(1_000, 10), (1_000, 10), (1_000, 10)], 0), [100, 100, 100]);
    assert_eq!(divided(300, &[(20, 10), (1_000, 10), (1_000, 10)], 0), [20, 140, 140]);
    assert_eq!(divided(300, &[(0, 10), (1_000, 10), (0, 10)], 2), [0, 300, 0]);
}

#[test]
fn the_first_batch_of_all_is_given_whatever_its_size() {
    assert_eq!(divided(100, &[(50, 5_000), (50, 10)], 0), [5_000, 0]);
    assert_eq!(divided(100, &[(50, 5_000), (50, 10)], 1), [0, 50]);
    // A batch that is larger than its share, but fits into what is left.
    assert_eq!(divided(100, &[(100, 60), (100, 30)], 0), [60, 30]);
}

#[test]
fn nobody_is_the_first_every_time() {
    let firsts: Vec<_> =
        (0..3).map(|turn| Shares::new(1, vec![1, 1, 1], turn).next().map(|(at, _)| at)).collect();
    assert_eq!(firsts, [Some(0), Some(1), Some(2)]);
    assert!(Shares::new(1, Vec::new(), 7).next().is_none());
}

fn limits(response_bytes_max: usize, waiting_max: usize) -> Limits {
    let options = FetchOptions { response_bytes_max, waiting_max, ..FetchOptions::default() };
    Limits::new(&options, Gauge::default())
}

#[test]
fn room_is_given_back_with_the_last_of_the_bytes() {
    let limits = limits(100, 1);
    let held = limits.take(1_000).expect("whoever is alone gets what it needs");
    let bytes = held.hold(Bytes::from_static(b"records"));
    drop(held);
    let part = bytes.slice(1..3);
    drop(bytes);
    assert!(limits.take(1).is_err());
    assert_eq!(&part[..], b"ec");
    drop(part);
    let small = limits.take(60).expect("there is room");
    assert!(limits.take(50).is_err());
    assert!(limits.take(40).is_ok());
    drop(small);
}

#[test]
fn no_more_wait_than_may() {
    let limits = limits(1, 2);
    let first = limits.wait().expect("the first");
    let _second = limits.wait().expect("the second");
    let error = limits.wait().expect_err("the third");
    assert_eq!(error.kind, crate::error::Kind::Throttled);
    assert_eq!(limits.gauge.get(), 2);
    drop(first);
    assert!(limits.wait().is_ok());
}
