//! What segment files keep, refuse and notice.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::FutureExt;

use super::format::{FILE_HEADER_BYTES, FRAME_HEADER_BYTES};
use super::{Files, Options};
use crate::Error;
use crate::id::{SegmentId, ShardId};
use crate::payload::{PayloadLocation, Payloads};

const SHARD: ShardId = ShardId(3);

fn small() -> Options {
    Options { segment_bytes: 64 << 10, free_bytes_min: 0, open_files_max: 2, ..Options::default() }
}

fn open(dir: &Path) -> Files {
    Files::open(dir, small()).unwrap()
}

fn payload(n: u8, length: usize) -> Bytes {
    (0..length).map(|i| n.wrapping_mul(31).wrapping_add(i as u8) | 1).collect()
}

fn append(files: &Files, n: u8, length: usize) -> PayloadLocation {
    files.append(SHARD, &[payload(n, length)]).unwrap()[0]
}

fn sync(files: &Files) -> Result<(), Error> {
    files.sync().now_or_never().expect("it blocks")
}

fn path(dir: &Path, segment: SegmentId) -> std::path::PathBuf {
    dir.join(format!("{:020}.segment", segment.0))
}

fn flip(dir: &Path, segment: SegmentId, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path(dir, segment)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn what_was_appended_is_read_and_survives_a_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(dir.path());
    let payloads: Vec<Bytes> = (0..3000).map(|n| payload(n as u8, n as usize % 700)).collect();
    let locations = files.append(SHARD, &payloads).unwrap();
    sync(&files).unwrap();
    assert!(files.segments().len() > 10, "{} segments", files.segments().len());
    let check = |files: &Files| {
        for (at, payload) in locations.iter().zip(&payloads) {
            assert_eq!(files.read(*at).unwrap(), payload);
        }
    };
    check(&files);
    let before = files.segments();
    assert!(before.iter().rev().skip(1).all(|segment| segment.sealed));
    drop(files);

    let files = open(dir.path());
    check(&files);
    let after = files.segments();
    let (newest, found) = after.split_last().unwrap();
    assert!(found.iter().all(|segment| segment.sealed) && !newest.sealed);
    assert!(found.iter().map(|s| (s.id, s.bytes)).eq(before.iter().map(|s| (s.id, s.bytes))));
    for segment in found {
        let length = fs::metadata(path(dir.path(), segment.id)).unwrap().len();
        assert_eq!(length, segment.bytes, "unused space is given back");
    }
    let next = append(&files, 9, 10);
    assert!(next.segment > locations.last().unwrap().segment);
    drop(files);
    drop(open(dir.path()));
    drop(open(dir.path()));
    let files = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(files, found.len() + 2, "segments without payloads don't pile up");
}

#[test]
fn a_directory_is_opened_once() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(dir.path());
    let error = Files::open(dir.path(), small()).unwrap_err();
    assert!(error.to_string().contains("another node"), "{error}");
    drop(files);
    open(dir.path());
}

#[test]
fn a_torn_tail_is_kept_apart_from_what_follows() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(dir.path());
    let kept = append(&files, 1, 5000);
    sync(&files).unwrap();
    let torn = append(&files, 2, 9000);
    let lost = append(&files, 3, 100);
    drop(files);
    // A power cut left the header of the second frame and a part of its payload.
    let file = OpenOptions::new().write(true).open(path(dir.path(), kept.segment)).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(u64::from(torn.offset) + 4000).unwrap();
    file.set_len(length).unwrap();

    let files = open(dir.path());
    assert_eq!(files.read(kept).unwrap(), payload(1, 5000));
    assert!(files.read(torn).unwrap_err().is_corrupt());
    assert!(matches!(files.read(lost), Err(Error::NoPayload { .. } | Error::Corrupt { .. })));
    let next = append(&files, 4, 50);
    assert!(next.segment > kept.segment, "nothing is written where an old frame was");
    assert_eq!(files.read(next).unwrap(), payload(4, 50));
}

#[test]
fn frames_behind_a_damaged_one_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(dir.path());
    let all: Vec<_> = (0..4).map(|n| append(&files, n, 6000)).collect();
    sync(&files).unwrap();
    drop(files);
    let segment = all[0].segment;
    flip(dir.path(), segment, u64::from(all[1].offset) + 6);
    flip(dir.path(), segment, u64::from(all[2].offset) + FRAME_HEADER_BYTES as u64 + 77);

    let files = open(dir.path());
    let why = |at| match files.read(at) {
        Err(Error::Corrupt { what, why }) => format!("{what}: {why}"),
        other => panic!("{other:?}"),
    };
    assert_eq!(files.read(all[0]).unwrap(), payload(0, 6000));
    assert!(why(all[1]).contains("header is damaged"), "{}", why(all[1]));
    assert!(why(all[2]).contains("CRC"), "{}", why(all[2]));
    assert!(why(all[2]).contains("00000000000000000001.segment"), "{}", why(all[2]));
    assert_eq!(files.read(all[3]).unwrap(), payload(3, 6000));
    // A location that is not what is there.
    let wrong = PayloadLocation { crc: all[3].crc ^ 1, ..all[3] };
    assert!(why(wrong).contains("another payload"));
    let within = PayloadLocation { offset: all[3].offset + 1, length: 10, ..all[3] };
    assert!(why(within).contains("no frame starts there"));
}

#[test]
fn a_file_that_is_no_segment_does_not_stop_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(dir.path());
    let first = append(&files, 1, 60_000);
    let second = append(&files, 2, 60_000);
    drop(files);
    flip(dir.path(), first.segment, 3);
    fs::write(dir.path().join("notes.txt"), "not ours").unwrap();
    // Begun, and then the power was cut.
    let unwritten = File::create(path(dir.path(), SegmentId(7))).unwrap();
    unwritten.set_len(64 << 10).unwrap();

    let files = open(dir.path());
    match files.read(first) {
        Err(Error::Corrupt { what, .. }) => assert!(what.contains("1.segment"), "{what}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(files.read(second).unwrap(), payload(2, 60_000));
    let ids: Vec<_> = files.segments().iter().map(|segment| segment.id.0).collect();
    assert_eq!(ids, [1, 2, 8]);
    assert!(files.remove(first.segment).unwrap(), "it can be got rid of");
    assert!(dir.path().join("notes.txt").exists());
}

#[test]
fn a_payload_larger_than_a_segment_has_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(dir.path());
    let all = files.append(SHARD, &[payload(1, 10), payload(2, 300_000), payload(3, 10)]).unwrap();
    sync(&files).unwrap();
    assert!(all[0].segment < all[1].segment && all[1].segment < all[2].segment);
    assert_eq!(files.read(all[1]).unwrap(), payload(2, 300_000));
    let info = files.segments()[1];
    let frame = (FRAME_HEADER_BYTES + 300_000) as u64;
    assert_eq!((info.id, info.bytes), (all[1].segment, FILE_HEADER_BYTES as u64 + frame));
}

#[test]
fn a_failed_write_or_sync_is_the_last() {
    let poisoned = |files: &Files| {
        assert!(matches!(files.append(SHARD, &[payload(1, 9)]), Err(Error::Poisoned(_))));
        assert!(matches!(sync(files), Err(Error::Poisoned(_))));
        assert!(matches!(files.remove(SegmentId(1)), Err(Error::Poisoned(_))));
    };
    let dir = tempfile::tempdir().unwrap();
    let files = open(dir.path());
    let before = append(&files, 1, 100);
    let read_only = File::open(path(dir.path(), before.segment)).unwrap();
    files.writer().replace_file(read_only);
    assert!(matches!(files.append(SHARD, &[payload(2, 9)]), Err(Error::Io { .. })));
    poisoned(&files);
    assert_eq!(files.read(before).unwrap(), payload(1, 100), "it can still be read");
    drop(files);

    // This file takes writes and can't be synced.
    let files = open(dir.path());
    files.writer().replace_file(OpenOptions::new().write(true).open("/dev/null").unwrap());
    append(&files, 3, 10);
    assert!(matches!(sync(&files), Err(Error::Io { op, .. }) if op.contains("syncing")));
    poisoned(&files);
    drop(files);

    // No next segment can be begun.
    let files = open(&dir.path().join("gone"));
    append(&files, 4, 60_000);
    fs::remove_dir_all(dir.path().join("gone")).unwrap();
    assert!(matches!(files.append(SHARD, &[payload(5, 60_000)]), Err(Error::Io { .. })));
    poisoned(&files);
}

#[test]
fn a_full_disk_refuses_appends_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(dir.path());
    let before = append(&files, 1, 60_000);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let file = files.writer().replace_file(full);
    let error = files.append(SHARD, &[payload(2, 100)]).unwrap_err();
    assert!(error.is_full(), "{error}");
    files.writer().replace_file(file);
    files.writer().take_unsynced();
    append(&files, 3, 60_000);
    sync(&files).unwrap();
    drop(files);

    let full = Options { free_bytes_min: u64::MAX / 2, ..small() };
    let files = Files::open(dir.path(), full.clone()).unwrap();
    assert!(files.segments().iter().all(|segment| segment.sealed), "none is begun");
    assert!(files.append(SHARD, &[payload(4, 100)]).unwrap_err().is_full());
    assert!(files.append(SHARD, &[payload(4, 100)]).unwrap_err().is_full(), "and not poisoned");
    assert_eq!(files.read(before).unwrap(), payload(1, 60_000));
    sync(&files).unwrap();
    assert!(files.remove(before.segment).unwrap());
    drop(files);
    let files = Files::open(dir.path(), Options { preallocate: false, ..full }).unwrap();
    assert!(files.append(SHARD, &[payload(4, 100)]).unwrap_err().is_full());
}

#[test]
fn segments_are_removed_unless_they_are_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(dir.path());
    let all: Vec<_> = (0..4).map(|n| append(&files, n, 60_000)).collect();
    let free = files.pin();
    drop(free);
    assert!(files.remove(all[0].segment).unwrap());
    assert!(!files.remove(all[0].segment).unwrap(), "it is gone");
    assert!(!files.remove(all[3].segment).unwrap(), "it is appended to");
    assert!(matches!(files.read(all[0]), Err(Error::NoPayload { .. })));
    let (pin, later) = (files.pin(), append(&files, 5, 60_000));
    append(&files, 6, 60_000);
    assert!(!files.remove(all[1].segment).unwrap());
    assert_eq!(files.read(all[1]).unwrap(), payload(1, 60_000));
    assert!(files.remove(later.segment).unwrap(), "it is newer than the pin");
    drop(pin);
    assert!(files.remove(all[1].segment).unwrap());
    assert!(!path(dir.path(), all[1].segment).exists());
    let (segments, bytes) = files.table.size();
    assert_eq!((segments, files.stats().segments, files.stats().disk_bytes), (3, 3, bytes));
}

#[test]
fn syncs_happen_only_where_there_is_something_to_sync() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::open(dir.path(), Options { preallocate: false, ..small() }).unwrap();
    sync(&files).unwrap();
    assert_eq!(files.stats().syncs, 0);
    for n in 0..5 {
        append(&files, n, 40_000);
    }
    let unsynced = files.writer().take_unsynced();
    assert_eq!(unsynced.files.len(), 5, "those that were sealed too");
    assert!(unsynced.directory);
    append(&files, 9, 10);
    sync(&files).unwrap();
    sync(&files).unwrap();
    assert_eq!(files.stats().syncs, 1);
    let frames = 5 * (40_000 + FRAME_HEADER_BYTES) + 10 + FRAME_HEADER_BYTES;
    assert_eq!(files.stats().appended_bytes, frames as u64);
}

#[test]
fn payloads_are_read_while_others_are_appended_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let files = Arc::new(open(dir.path()));
    let written = Arc::new(Mutex::new(Vec::new()));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let appender = |shard: u32| {
            let (files, written) = (files.clone(), written.clone());
            move || {
                for n in 0..400_u32 {
                    let payloads = [payload(n as u8, 900), payload(n as u8 ^ 0x55, 17)];
                    let at = files.append(ShardId(shard), &payloads).unwrap();
                    if n % 16 == 0 {
                        sync(&files).unwrap();
                    }
                    written.lock().unwrap().extend(at.into_iter().zip(payloads));
                }
            }
        };
        let reader = || {
            let mut reads = 0;
            while !done.load(Ordering::Acquire) || reads == 0 {
                let some: Vec<_> =
                    written.lock().unwrap().iter().rev().step_by(7).cloned().collect();
                for (at, payload) in some {
                    assert_eq!(files.read(at).unwrap(), payload);
                    reads += 1;
                }
            }
        };
        let appenders = [scope.spawn(appender(1)), scope.spawn(appender(2))];
        scope.spawn(reader);
        appenders.into_iter().for_each(|appender| appender.join().unwrap());
        done.store(true, Ordering::Release);
    });
    let written = written.lock().unwrap();
    assert_eq!(written.len(), 1600);
    for (at, payload) in written.iter() {
        assert_eq!(files.read(*at).unwrap(), payload);
    }
    let starts: std::collections::BTreeSet<_> =
        written.iter().map(|(at, _)| (at.segment, at.offset)).collect();
    assert_eq!(starts.len(), 1600, "no two are at one place");
}

#[test]
fn options_are_checked_and_have_names() {
    let error = Options { segment_bytes: 1, ..small() }.validate().unwrap_err();
    assert_eq!(error.field, "segment_bytes");
    let error = Options { open_files_max: 0, ..small() }.validate().unwrap_err();
    assert_eq!(error.field, "open_files_max");
    Options::default().validate().unwrap();
}
