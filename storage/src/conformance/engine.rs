//! The suite of engines.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::FutureExt;

use super::{Numbers, OpenEngine};
use crate::WriteBatch;
use crate::engine::{Engine, Family, KeyRange, Order, ScanLimit, Sequence, View};

/// Runs all checks, each at a place of its own.
///
/// # Panics
/// Where the engine doesn't do what it must.
pub fn engine(place: &dyn Fn() -> OpenEngine) {
    batches_are_whole_and_in_order(place()().as_ref());
    scans_are_ordered_and_limited(place()().as_ref());
    keys_and_values_of_all_kinds(place()().as_ref());
    snapshots_stay_as_they_are(place()().as_ref());
    sequences_grow(place()().as_ref());
    a_view_shows_the_newest(place()());
    threads_see_whole_batches(place()().as_ref());
    what_was_synced_is_kept(&place());
    it_behaves_like_a_map(&place());
}

fn all() -> KeyRange {
    KeyRange::new(vec![], vec![0xff; 64])
}

fn write(engine: &dyn Engine, fill: impl FnOnce(&mut WriteBatch)) -> Sequence {
    let mut batch = WriteBatch::new();
    fill(&mut batch);
    engine.write(batch).expect("it is written")
}

fn sync(engine: &dyn Engine) -> Sequence {
    engine.sync().now_or_never().expect("it blocks").expect("it is synced")
}

fn scan(view: &dyn View, family: Family, range: KeyRange, order: Order) -> Vec<(Bytes, Bytes)> {
    view.scan(family, range, order, ScanLimit::rows(usize::MAX)).expect("it can be scanned")
}

/// Keys as text.
fn keys(view: &dyn View, family: Family) -> String {
    let rows = scan(view, family, all(), Order::Forward);
    let keys: Vec<_> = rows.iter().map(|(key, _)| key.escape_ascii().to_string()).collect();
    keys.join(" ")
}

fn get(view: &dyn View, key: &'static str) -> Option<Bytes> {
    view.get(Family::State, key.as_bytes()).expect("it can be read")
}

fn batches_are_whole_and_in_order(engine: &dyn Engine) {
    assert_eq!(get(engine, "a"), None);
    write(engine, |batch| {
        batch.put(Family::Log, "a", "log");
        batch.put(Family::State, "a", "one");
        batch.put(Family::State, "a", "two");
        batch.put(Family::State, "b", "gone");
        batch.delete(Family::State, "b");
        batch.delete(Family::State, "never");
        batch.delete(Family::State, "c");
        batch.put(Family::State, "c", "after its deletion");
    });
    assert_eq!(get(engine, "a").expect("it is there"), "two");
    assert_eq!(keys(engine, Family::State), "a c");
    assert_eq!(keys(engine, Family::Log), "a", "the families are apart");
    write(engine, |_| {});
    write(engine, |batch| {
        batch.put(Family::State, "d", "deleted with the range");
        batch.delete_range(Family::State, KeyRange::new("a", "e"));
        batch.put(Family::State, "b", "after the range");
        batch.put(Family::State, "e", "not in the range");
    });
    assert_eq!(keys(engine, Family::State), "b e");
    write(engine, |batch| {
        batch.delete_range(Family::State, KeyRange::new("e", "b"));
        batch.delete_range(Family::State, KeyRange::new("b", "b"));
    });
    assert_eq!(keys(engine, Family::State), "b e", "empty ranges have no keys");
    write(engine, |batch| batch.put(Family::State, "c", "again"));
    assert_eq!(get(engine, "c").expect("it is there"), "again");
    assert_eq!(keys(engine, Family::Log), "a", "ranges are of one family");
}

fn scans_are_ordered_and_limited(engine: &dyn Engine) {
    for n in (0..100_u8).rev() {
        write(engine, |batch| batch.put(Family::Log, vec![1, n], vec![n; 8]));
    }
    write(engine, |batch| batch.delete(Family::Log, vec![1, 50]));
    let numbers = |range: KeyRange, order, rows, bytes| -> Vec<u8> {
        let limit = ScanLimit { rows, bytes };
        let found = engine.scan(Family::Log, range, order, limit).expect("it can be scanned");
        for (key, value) in &found {
            assert_eq!(value, &vec![key[1]; 8]);
        }
        found.iter().map(|(key, _)| key[1]).collect()
    };
    let some = || KeyRange::new(vec![1, 48], vec![1, 53]);
    let max = usize::MAX;
    assert_eq!(numbers(some(), Order::Forward, max, max), [48, 49, 51, 52]);
    assert_eq!(numbers(some(), Order::Reverse, max, max), [52, 51, 49, 48]);
    assert_eq!(numbers(some(), Order::Forward, 2, max), [48, 49]);
    assert_eq!(numbers(some(), Order::Reverse, 3, max), [52, 51, 49]);
    assert_eq!(numbers(some(), Order::Forward, max, 20), [48, 49], "two reach the limit");
    assert_eq!(numbers(some(), Order::Reverse, max, 21), [52, 51, 49], "two don't");
    assert_eq!(numbers(some(), Order::Forward, max, 1), [48], "one row whatever its size");
    assert_eq!(numbers(KeyRange::new(vec![1, 9], vec![1, 9]), Order::Forward, max, max), []);
    assert_eq!(numbers(KeyRange::new(vec![1, 9], vec![1, 3]), Order::Reverse, max, max), []);
    let mut range = KeyRange::prefix(&[1]);
    let mut paged = Vec::new();
    loop {
        let page = numbers(range.clone(), Order::Forward, 7, max);
        let Some(last) = page.last() else { break };
        range = range.after(&[1, *last]);
        paged.extend(page);
    }
    assert!(paged.iter().copied().eq((0..100).filter(|n| *n != 50)), "{paged:?}");
    let range = KeyRange::prefix(&[1]).before(&[1, 4]);
    assert_eq!(numbers(range, Order::Reverse, max, max), [3, 2, 1, 0]);
}

fn keys_and_values_of_all_kinds(engine: &dyn Engine) {
    let large = Bytes::from(vec![7; 1 << 20]);
    let rows: Vec<(Vec<u8>, Bytes)> = vec![
        (vec![0], Bytes::new()),
        (vec![0, 0], "zeros".into()),
        (vec![0, 0xff], "x".into()),
        (vec![1], large),
        (vec![0xfe; 40], "long".into()),
        (vec![0xff], "last".into()),
        (vec![0xff, 0xff, 0xff, 0xff], "the node's own".into()),
    ];
    for (key, value) in rows.iter().rev() {
        write(engine, |batch| batch.put(Family::State, key.clone(), value.clone()));
    }
    let found = scan(engine, Family::State, all(), Order::Forward);
    assert!(found.iter().map(|(k, v)| (k.to_vec(), v.clone())).eq(rows.iter().cloned()));
    for (key, value) in &rows {
        assert_eq!(engine.get(Family::State, key).expect("it can be read").as_ref(), Some(value));
    }
    let found = scan(engine, Family::State, KeyRange::prefix(&[0xff]), Order::Reverse);
    assert_eq!(found.len(), 2, "a prefix that has none after it");
    write(engine, |batch| batch.delete_range(Family::State, KeyRange::prefix(&[0])));
    assert_eq!(scan(engine, Family::State, all(), Order::Forward).len(), 4);
}

fn snapshots_stay_as_they_are(engine: &dyn Engine) {
    write(engine, |batch| {
        for key in ["a", "b", "c"] {
            batch.put(Family::State, key, "old");
        }
    });
    let old = engine.snapshot();
    write(engine, |batch| {
        batch.put(Family::State, "a", "new");
        batch.delete(Family::State, "b");
        batch.put(Family::State, "d", "new");
    });
    let newer = engine.snapshot();
    write(engine, |batch| batch.delete_range(Family::State, KeyRange::new("a", "z")));
    sync(engine);
    assert_eq!(keys(old.as_ref(), Family::State), "a b c");
    assert_eq!(get(old.as_ref(), "a").expect("it was there"), "old");
    assert_eq!(get(old.as_ref(), "d"), None);
    assert_eq!(keys(newer.as_ref(), Family::State), "a c d");
    assert_eq!(get(newer.as_ref(), "b"), None);
    let rows = scan(newer.as_ref(), Family::State, all(), Order::Reverse);
    assert_eq!(rows[0].0, "d");
    drop(old);
    assert_eq!(get(newer.as_ref(), "a").expect("it was there"), "new");
    assert_eq!(keys(engine, Family::State), "");
}

fn sequences_grow(engine: &dyn Engine) {
    let before = engine.stats().syncs;
    let first = write(engine, |batch| batch.put(Family::Log, "a", "1"));
    let second = write(engine, |batch| batch.put(Family::Log, "b", "2"));
    assert!(first < second);
    assert!(sync(engine) >= second, "a sync covers what was written before");
    let third = write(engine, |batch| batch.delete(Family::Log, "a"));
    assert!(third > second && sync(engine) >= third);
    assert_eq!(engine.stats().syncs, before + 2);
}

fn a_view_shows_the_newest(engine: Arc<dyn Engine>) {
    let view = engine.clone().into_view();
    write(engine.as_ref(), |batch| batch.put(Family::State, "a", "later"));
    assert_eq!(get(view.as_ref(), "a").expect("it is there"), "later");
}

fn threads_see_whole_batches(engine: &dyn Engine) {
    let done = AtomicBool::new(false);
    let key = |writer: u8| vec![writer];
    std::thread::scope(|scope| {
        let writer = |writer: u8| {
            move || {
                for n in 0..300_u32 {
                    write(engine, |batch| {
                        batch.put(Family::Log, key(writer), n.to_be_bytes().to_vec());
                        batch.put(Family::State, key(writer), n.to_be_bytes().to_vec());
                    });
                    if n % 64 == 0 {
                        sync(engine);
                    }
                }
            }
        };
        let reader = || {
            while !done.load(Ordering::Acquire) {
                let view = engine.snapshot();
                let read = |family, writer| view.get(family, &key(writer)).expect("it reads");
                for writer in 0..3 {
                    let (log, state) = (read(Family::Log, writer), read(Family::State, writer));
                    assert_eq!(log, state, "a part of a batch is seen");
                }
            }
        };
        let writers: Vec<_> = (0..3).map(|n| scope.spawn(writer(n))).collect();
        scope.spawn(reader);
        let ended: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Release);
        assert!(ended.into_iter().all(|writer| writer.is_ok()));
    });
    for (_, value) in scan(engine, Family::Log, all(), Order::Forward) {
        assert_eq!(value, 299_u32.to_be_bytes().to_vec());
    }
}

fn what_was_synced_is_kept(open: &OpenEngine) {
    let engine = open();
    write(engine.as_ref(), |batch| {
        batch.put(Family::State, "a", "1");
        batch.put(Family::State, "b", "1");
        batch.put(Family::Log, "l", "1");
    });
    write(engine.as_ref(), |batch| batch.delete_range(Family::State, KeyRange::new("b", "c")));
    sync(engine.as_ref());
    drop(engine);
    for round in 0..3 {
        let engine = open();
        assert_eq!(keys(engine.as_ref(), Family::State), "a", "round {round}");
        assert_eq!(keys(engine.as_ref(), Family::Log), "l", "round {round}");
        sync(engine.as_ref());
    }
}

fn it_behaves_like_a_map(open: &OpenEngine) {
    let mut numbers = Numbers(2_024);
    let mut engine = open();
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let key = |n: u64| format!("{n:03}").into_bytes();
    for round in 0..400_u32 {
        write(engine.as_ref(), |batch| {
            for _ in 0..=numbers.below(6) {
                let (from, more) = (numbers.below(150), numbers.below(12));
                match numbers.below(8) {
                    0..=4 => {
                        let value = vec![round as u8; more as usize];
                        batch.put(Family::State, key(from), value.clone());
                        model.insert(key(from), value);
                    }
                    5..=6 => {
                        batch.delete(Family::State, key(from));
                        model.remove(&key(from));
                    }
                    _ => {
                        let range = KeyRange::new(key(from), key(from + more));
                        batch.delete_range(Family::State, range);
                        model.retain(|k, _| !(key(from)..key(from + more)).contains(k));
                    }
                }
            }
        });
        if round % 90 == 89 {
            sync(engine.as_ref());
            drop(engine);
            engine = open();
        }
        let (from, rows) = (numbers.below(150), numbers.below(9) as usize + 1);
        let (range, limit) = (KeyRange::new(key(from), key(120)), ScanLimit::rows(rows));
        let inside = model.range(key(from).min(key(120))..key(120));
        let expected: [Vec<_>; 2] =
            [inside.clone().take(rows).collect(), inside.rev().take(rows).collect()];
        for (order, expected) in [Order::Forward, Order::Reverse].into_iter().zip(expected) {
            let found = engine.scan(Family::State, range.clone(), order, limit);
            let found = found.expect("it can be scanned");
            let found = found.iter().map(|(k, v)| (k.to_vec(), v.to_vec()));
            let expected = expected.into_iter().map(|(k, v)| (k.clone(), v.clone()));
            assert!(found.eq(expected), "round {round}, {order:?} from {from}");
        }
    }
}
