//! What a disk in memory loses and keeps.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;

use super::{Device, Disk, Keep, MemoryEngine, MemoryPayloads, Options};
use crate::engine::{Engine, Family, KeyRange, Order, ScanLimit, View};
use crate::id::ShardId;
use crate::payload::Payloads;
use crate::{Error, WriteBatch};

fn put(engine: &MemoryEngine, key: u8) {
    let mut batch = WriteBatch::new();
    batch.put(Family::Log, vec![key], vec![key]);
    batch.put(Family::State, vec![key], vec![key; 3]);
    engine.write(batch).unwrap();
}

fn sync(engine: &dyn Engine) -> Result<(), Error> {
    engine.sync().now_or_never().expect("it has no delay").map(|_| ())
}

fn keys(view: &dyn View) -> Vec<u8> {
    let range = KeyRange::new(vec![], vec![0xff; 2]);
    let rows = view.scan(Family::State, range, Order::Forward, ScanLimit::rows(1_000)).unwrap();
    rows.iter().map(|(key, _)| key[0]).collect()
}

#[test]
fn a_crash_keeps_a_prefix_and_makes_handles_stale() {
    let disk = Disk::new();
    let engine = MemoryEngine::open(&disk);
    (0..3).for_each(|n| put(&engine, n));
    sync(&*engine).unwrap();
    (3..7).for_each(|n| put(&engine, n));
    let snapshot = engine.snapshot();
    disk.faults().crash(Keep { writes: 2, appends: 0 });
    assert!(matches!(engine.get(Family::Log, b"x"), Err(Error::Stopped)));
    assert!(matches!(snapshot.get(Family::Log, b"x"), Err(Error::Stopped)));
    assert!(matches!(engine.write(WriteBatch::new()), Err(Error::Stopped)));
    assert!(matches!(sync(&*engine), Err(Error::Stopped)));
    let engine = MemoryEngine::open(&disk);
    assert_eq!(keys(&*engine), [0, 1, 2, 3, 4]);
    disk.faults().crash(Keep::SYNCED);
    assert_eq!(keys(&*MemoryEngine::open(&disk)), [0, 1, 2, 3, 4], "what a crash left is durable");
}

#[test]
fn a_failed_sync_poisons_and_loses_what_was_not_synced() {
    let disk = Disk::new();
    let engine = MemoryEngine::open(&disk);
    put(&engine, 1);
    sync(&*engine).unwrap();
    put(&engine, 2);
    disk.faults().fail_next_sync(Device::Rows);
    assert!(matches!(sync(&*engine), Err(Error::Io { .. })));
    assert!(matches!(sync(&*engine), Err(Error::Poisoned(_))));
    assert!(matches!(engine.write(WriteBatch::new()), Err(Error::Poisoned(_))));
    assert_eq!(keys(&*engine), [1, 2], "it can still be read");
    assert_eq!(keys(&*MemoryEngine::open(&disk)), [1]);
}

#[test]
fn lies_damage_and_a_full_disk() {
    let disk = Disk::new();
    let faults = disk.faults();
    let engine = MemoryEngine::open(&disk);
    put(&engine, 1);
    faults.corrupt_row(Family::State, &[1]);
    assert!(engine.get(Family::State, &[1]).unwrap_err().is_corrupt());
    assert_eq!(engine.get(Family::Log, &[1]).unwrap().unwrap(), vec![1]);
    put(&engine, 1);
    assert_eq!(keys(&*engine), [1], "a new value is good");
    faults.set_full(Device::Rows, true);
    let mut batch = WriteBatch::new();
    batch.put(Family::State, vec![2], vec![2]);
    assert!(engine.write(batch).unwrap_err().is_full());
    assert_eq!(keys(&*engine), [1]);
    faults.set_full(Device::Rows, false);
    faults.set_lying_sync(Device::Rows, true);
    sync(&*engine).unwrap();
    faults.crash(Keep::SYNCED);
    assert_eq!(keys(&*MemoryEngine::open(&disk)), Vec::<u8>::new());
}

#[tokio::test(start_paused = true)]
async fn a_sync_covers_what_was_written_before_the_call() {
    let disk = Disk::new();
    disk.faults().set_sync_delay(Device::Rows, Duration::from_secs(3));
    let engine = MemoryEngine::open(&disk);
    put(&engine, 1);
    let sync = engine.sync();
    put(&engine, 2);
    let started = tokio::time::Instant::now();
    sync.await.unwrap();
    assert_eq!(started.elapsed(), Duration::from_secs(3));
    let late = engine.sync();
    disk.faults().crash(Keep::SYNCED);
    assert!(matches!(late.await, Err(Error::Stopped)));
    assert_eq!(keys(&*MemoryEngine::open(&disk)), [1]);
}

#[test]
fn payloads_are_lost_and_damaged_too() {
    let disk = Disk::new();
    let faults = disk.faults();
    let open = || MemoryPayloads::open(&disk, Options { segment_bytes: 200 });
    let payloads = open();
    let append = |n: u8| payloads.append(ShardId(1), &[vec![n; 100].into()]).unwrap()[0];
    let first = append(1);
    payloads.sync().now_or_never().unwrap().unwrap();
    let (second, third) = (append(2), append(3));
    assert!(first.segment < second.segment && second.segment < third.segment);
    assert_eq!(payloads.read(third).unwrap(), vec![3; 100]);
    faults.crash(Keep { writes: 0, appends: 1 });
    assert!(matches!(payloads.read(first), Err(Error::Stopped)));
    let payloads = open();
    assert_eq!(payloads.read(first).unwrap(), vec![1; 100]);
    assert_eq!(payloads.read(second).unwrap(), vec![2; 100]);
    assert!(matches!(payloads.read(third), Err(Error::NoPayload { .. })));
    assert!(faults.corrupt_payload(first));
    assert!(matches!(payloads.read(first), Err(Error::Corrupt { .. })));
}

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<(u8, Option<u8>)>),
    DeleteRange(u8, u8),
    Sync,
    Snapshot,
    Crash(usize),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = (0_u8..16, prop::option::weighted(0.7, any::<u8>()));
    let step = prop_oneof![
        8 => prop::collection::vec(change, 1..5).prop_map(Step::Write),
        2 => (0_u8..16, 0_u8..16).prop_map(|(a, b)| Step::DeleteRange(a, b)),
        2 => Just(Step::Sync),
        2 => Just(Step::Snapshot),
        1 => (0_usize..5).prop_map(Step::Crash),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..80)
}

type Model = BTreeMap<u8, u8>;

fn check(view: &dyn View, model: &Model) {
    let range = KeyRange::new(vec![2], vec![14]);
    for order in [Order::Forward, Order::Reverse] {
        let rows = view.scan(Family::Log, range.clone(), order, ScanLimit::rows(5)).unwrap();
        let found: Vec<_> = rows.iter().map(|(key, value)| (key[0], value[0])).collect();
        let all = model.range(2..14).map(|(key, value)| (*key, *value));
        let expected: Vec<_> = match order {
            Order::Forward => all.take(5).collect(),
            Order::Reverse => all.rev().take(5).collect(),
        };
        assert_eq!(found, expected);
    }
    for key in 0..16 {
        let found = view.get(Family::Log, &[key]).unwrap().map(|value| value[0]);
        assert_eq!(found, model.get(&key).copied());
    }
}

proptest! {
    /// Each version of the rows is kept as a whole map; versions after the durable one can be
    /// lost from the end.
    #[test]
    fn property_rows_behave_like_a_map(steps in steps()) {
        let disk = Disk::new();
        let mut engine = MemoryEngine::open(&disk);
        let mut versions = vec![Model::new()];
        let mut snapshots = Vec::new();
        for step in steps {
            let mut model = versions.last().unwrap().clone();
            match step {
                Step::Write(changes) => {
                    let mut batch = WriteBatch::new();
                    for (key, value) in changes {
                        if let Some(value) = value {
                            batch.put(Family::Log, vec![key], vec![value]);
                            model.insert(key, value);
                        } else {
                            batch.delete(Family::Log, vec![key]);
                            model.remove(&key);
                        }
                    }
                    engine.write(batch).unwrap();
                    versions.push(model);
                }
                Step::DeleteRange(from, to) => {
                    let mut batch = WriteBatch::new();
                    batch.delete_range(Family::Log, KeyRange::new(vec![from], vec![to]));
                    engine.write(batch).unwrap();
                    model.retain(|key, _| !(from..to).contains(key));
                    versions.push(model);
                }
                Step::Sync => {
                    sync(&*engine).unwrap();
                    versions = vec![model];
                }
                Step::Snapshot if snapshots.len() > 3 => drop(snapshots.remove(1)),
                Step::Snapshot => snapshots.push((engine.snapshot(), model)),
                Step::Crash(keep) => {
                    disk.faults().crash(Keep { writes: keep, appends: 0 });
                    versions.truncate(keep + 1);
                    versions = vec![versions.pop().unwrap()];
                    snapshots.clear();
                    engine = MemoryEngine::open(&disk);
                }
                Step::Reopen => {
                    snapshots.clear();
                    engine = MemoryEngine::open(&disk);
                }
            }
            check(&*engine, versions.last().unwrap());
            for (view, model) in &snapshots {
                check(&**view, model);
            }
        }
    }

    #[test]
    fn property_a_seed_always_keeps_the_same(seed in any::<u64>(), writes in 0_u8..20) {
        let run = || {
            let disk = Disk::new();
            let engine = MemoryEngine::open(&disk);
            (0..writes).for_each(|n| put(&engine, n));
            let keep = disk.faults().crash_seeded(seed);
            let left = keys(&*MemoryEngine::open(&disk));
            assert!(left.iter().copied().eq(0..u8::try_from(keep.writes).unwrap()));
            left
        };
        prop_assert_eq!(run(), run());
    }
}
