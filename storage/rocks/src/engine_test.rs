//! What is special about this engine: crash images, damage, a full disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use kontiki_storage::engine::{KeyRange, Order, ScanLimit};
use kontiki_storage::{Engine, Error, Family, View, WriteBatch};

use crate::{Options, RocksEngine};

fn small() -> Options {
    Options { free_bytes_min: 0, mark_interval_ms: 0, ..Options::default() }
}

fn key(n: u32) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}

fn put(engine: &RocksEngine, n: u32) {
    let mut batch = WriteBatch::new();
    batch.put(Family::Log, key(n), vec![n as u8; 1000]);
    batch.put(Family::State, key(n), vec![n as u8; 10]);
    engine.write(batch).unwrap();
}

fn sync(engine: &RocksEngine) {
    engine.sync().now_or_never().expect("it blocks").unwrap();
}

fn numbers(view: &dyn View, family: Family, order: Order) -> Vec<u32> {
    let range = KeyRange::new(key(0), key(u32::MAX));
    let rows = view.scan(family, range, order, ScanLimit::rows(usize::MAX)).unwrap();
    rows.iter().map(|(k, _)| u32::from_be_bytes(k[..].try_into().unwrap())).collect()
}

/// What a kill would leave.
fn image(dir: &Path, to: &Path) -> PathBuf {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    to.to_owned()
}

fn newest(dir: &Path, extension: &str) -> PathBuf {
    let files = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    files.filter(|p| p.extension().is_some_and(|x| x == extension)).max().unwrap()
}

fn refused(dir: &Path) -> Error {
    RocksEngine::open(dir, small()).map(|_| ()).expect_err("it is damaged")
}

#[test]
fn it_conforms() {
    kontiki_storage::conformance::engine(&|| {
        let dir = tempfile::tempdir().unwrap();
        Box::new(move || RocksEngine::open(dir.path(), small()).unwrap())
    });
}

#[test]
fn batches_scans_and_snapshots() {
    let dir = tempfile::tempdir().unwrap();
    let engine = RocksEngine::open(dir.path(), small()).unwrap();
    (0..10).for_each(|n| put(&engine, n));
    let before = engine.snapshot();
    let mut batch = WriteBatch::new();
    batch.delete_range(Family::Log, KeyRange::new(key(0), key(8)));
    batch.put(Family::Log, key(3), "again");
    batch.delete_range(Family::Log, KeyRange::new(key(9), key(1)));
    batch.delete(Family::State, key(0));
    engine.write(batch).unwrap();
    assert_eq!(numbers(&*engine, Family::Log, Order::Reverse), [9, 8, 3]);
    assert_eq!(engine.get(Family::Log, &key(3)).unwrap().unwrap(), "again");
    assert_eq!(engine.get(Family::State, &key(0)).unwrap(), None);
    let range = KeyRange::new(key(0), key(9));
    let limit = ScanLimit { rows: 5, bytes: 1005 };
    let rows = before.scan(Family::Log, range, Order::Forward, limit).unwrap();
    assert_eq!(rows.len(), 2, "the row that reaches the limit is the last");
    drop(engine);
    assert_eq!(numbers(&*before, Family::Log, Order::Forward), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_crash_keeps_a_prefix_and_a_lost_one_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let open = dir.path().join("open");
    let engine = RocksEngine::open(&open, Options { mark_interval_ms: 0, ..small() }).unwrap();
    (0..50).for_each(|n| put(&engine, n));
    sync(&engine);
    let marked = fs::metadata(newest(&open, "log")).unwrap().len();
    (50..80).for_each(|n| put(&engine, n));
    let unsynced = image(&open, &dir.path().join("unsynced"));
    let durable_mark = fs::read(open.join(crate::mark::FILE)).unwrap();
    sync(&engine);
    let torn = image(&open, &dir.path().join("torn"));
    fs::write(torn.join(crate::mark::FILE), durable_mark).unwrap();
    let short = image(&open, &dir.path().join("short"));

    let rows =
        numbers(&*RocksEngine::open(&unsynced, small()).unwrap(), Family::Log, Order::Forward);
    assert!(rows.len() >= 50 && rows.iter().copied().eq(0..rows.len() as u32));

    // The tail is torn after the mark: what is before it is kept.
    let log = newest(&torn, "log");
    let length = fs::metadata(&log).unwrap().len();
    assert!(length > marked + 100);
    fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(length - 100).unwrap();
    let rows = numbers(&*RocksEngine::open(&torn, small()).unwrap(), Family::State, Order::Forward);
    assert!(rows.iter().copied().eq(0..79));

    // The same cut below the mark.
    let log = newest(&short, "log");
    fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(length - 100).unwrap();
    assert!(matches!(refused(&short), Error::Corrupt { why, .. } if why.contains("shortened")));
    assert!(refused(&short).is_corrupt(), "it stays refused");
}

#[test]
fn damage_below_the_mark_is_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let open = |to: &str| dir.path().join(to);
    let engine = RocksEngine::open(&open("rows"), small()).unwrap();
    (0..500).for_each(|n| put(&engine, n));
    drop(engine);
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 3;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let wal = image(&open("rows"), &open("wal"));
    flip(&newest(&wal, "log"));
    assert!(refused(&wal).is_corrupt());

    // Recovery has put the rows into sorted files.
    drop(RocksEngine::open(&open("rows"), small()).unwrap());
    let mut found = 0;
    for entry in fs::read_dir(open("rows")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|x| x == "sst") {
            flip(&path);
        }
    }
    match RocksEngine::open(&open("rows"), small()) {
        Err(error) => assert!(error.is_corrupt(), "{error}"),
        Ok(engine) => {
            for n in 0..500 {
                match engine.get(Family::Log, &key(n)) {
                    Ok(value) => assert_eq!(value.unwrap(), vec![n as u8; 1000]),
                    Err(error) => found += usize::from(error.is_corrupt()),
                }
            }
            assert!(found > 0);
            let all = KeyRange::new(key(0), key(u32::MAX));
            let scan = engine.scan(Family::Log, all, Order::Forward, ScanLimit::rows(1000));
            assert!(scan.unwrap_err().is_corrupt());
        }
    }
}

#[test]
fn a_full_disk_refuses_rows_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let engine = RocksEngine::open(dir.path(), small()).unwrap();
    put(&engine, 1);
    drop(engine);
    let full = Options { free_bytes_min: u64::MAX / 2, ..Options::default() };
    let engine: Arc<RocksEngine> = RocksEngine::open(dir.path(), full).unwrap();
    let mut batch = WriteBatch::new();
    batch.put(Family::State, key(2), "x");
    assert!(engine.write(batch).unwrap_err().is_full());
    assert_eq!(numbers(&*engine, Family::State, Order::Forward), [1]);
    let mut batch = WriteBatch::new();
    batch.delete(Family::State, key(1));
    engine.write(batch).unwrap();
    sync(&engine);
    drop(engine);
    let engine = RocksEngine::open(dir.path(), small()).unwrap();
    put(&engine, 3);
    assert_eq!(numbers(&*engine, Family::State, Order::Forward), [3]);
    assert_eq!(engine.stats().syncs, 0);
    let mut batch = WriteBatch::new();
    batch.put(Family::State, key(4), vec![0; 65 << 20]);
    assert!(matches!(engine.write(batch), Err(Error::TooLarge { .. })));
    put(&engine, 5);
}

#[test]
fn invalid_options_are_named() {
    let error = Options { open_files_max: 1, ..small() }.validate().unwrap_err();
    assert_eq!(error.field, "open_files_max");
}
