//! The suite of payload stores.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::FutureExt;

use super::{Numbers, OpenPayloads};
use crate::Error;
use crate::id::{SegmentId, ShardId};
use crate::payload::{PayloadLocation, Payloads};

const SHARD: ShardId = ShardId(1);

/// Runs all checks, each at a place of its own.
///
/// # Panics
/// Where the store doesn't do what it must.
pub fn payloads(place: &dyn Fn() -> OpenPayloads) {
    what_is_appended_can_be_read(place()().as_ref());
    wrong_locations_are_noticed(place()().as_ref());
    segments_follow_each_other(place()().as_ref());
    segments_are_removed_unless_pinned(place()().as_ref());
    costs_are_counted(place()().as_ref());
    threads_append_and_read(place()().as_ref());
    what_was_synced_is_kept(&place());
}

fn payload(n: u64) -> Bytes {
    let length = Numbers(n).below(900) as usize;
    vec![n as u8; length].into()
}

fn append(payloads: &dyn Payloads, payload: &Bytes) -> PayloadLocation {
    let locations = payloads.append(SHARD, std::slice::from_ref(payload));
    locations.expect("it is appended")[0]
}

fn sync(payloads: &dyn Payloads) {
    payloads.sync().now_or_never().expect("it blocks").expect("it is synced");
}

fn assert_read(payloads: &dyn Payloads, at: PayloadLocation, payload: &Bytes) {
    assert_eq!(&payloads.read(at).expect("it can be read"), payload);
}

/// Appends until one more segment is sealed; returns where the first payload is.
fn fill(payloads: &dyn Payloads) -> PayloadLocation {
    let sealed = || payloads.segments().iter().filter(|segment| segment.sealed).count();
    let before = sealed();
    let first = append(payloads, &payload(7));
    while sealed() == before {
        append(payloads, &Bytes::from(vec![1; 500]));
    }
    first
}

fn what_is_appended_can_be_read(payloads: &dyn Payloads) {
    assert_eq!(payloads.append(SHARD, &[]).expect("nothing is no error"), []);
    let mut written: Vec<(PayloadLocation, Bytes)> = Vec::new();
    for n in 0..40 {
        let some: Vec<Bytes> = (0..n % 7).map(|m| payload(n * 10 + m)).collect();
        let at = payloads.append(ShardId(n as u32), &some).expect("it is appended");
        assert_eq!(at.len(), some.len());
        written.extend(at.into_iter().zip(some));
        if n % 9 == 0 {
            sync(payloads);
        }
    }
    written.push((append(payloads, &Bytes::new()), Bytes::new()));
    for (at, payload) in &written {
        assert_eq!((at.length as usize, at.crc), (payload.len(), crc32c::crc32c(payload)));
        assert_read(payloads, *at, payload);
    }
    assert!(written.is_sorted_by_key(|(at, _)| (at.segment, at.offset)));
    let places: BTreeSet<_> = written.iter().map(|(at, _)| (at.segment, at.offset)).collect();
    assert_eq!(places.len(), written.len());
}

fn wrong_locations_are_noticed(payloads: &dyn Payloads) {
    let first = append(payloads, &Bytes::from(vec![1; 50]));
    let at = append(payloads, &Bytes::from(vec![2; 60]));
    let wrong = [
        PayloadLocation { crc: at.crc ^ 1, ..at },
        PayloadLocation { length: at.length - 1, ..at },
        PayloadLocation { offset: at.offset + 1, length: 10, ..at },
        PayloadLocation { offset: first.offset, ..at },
    ];
    for at in wrong {
        let error = payloads.read(at).expect_err("it is not what is there");
        assert!(matches!(error, Error::Corrupt { .. }), "{at:?}: {error}");
    }
    let missing = [
        PayloadLocation { offset: at.offset + 5_000, ..at },
        PayloadLocation { segment: SegmentId(at.segment.0 + 9), ..at },
        PayloadLocation { segment: SegmentId(0), ..at },
    ];
    for at in missing {
        let error = payloads.read(at).expect_err("nothing is there");
        assert!(matches!(error, Error::NoPayload { .. }), "{at:?}: {error}");
    }
}

fn segments_follow_each_other(payloads: &dyn Payloads) {
    for _ in 0..3 {
        fill(payloads);
    }
    let segments = payloads.segments();
    assert!(segments.is_sorted_by_key(|segment| segment.id));
    let (newest, sealed) = segments.split_last().expect("there are some");
    assert!(sealed.len() == 3 && sealed.iter().all(|segment| segment.sealed) && !newest.sealed);
    for segment in sealed {
        assert!((1_000..10_000).contains(&segment.bytes), "{segment:?}");
    }
    assert_eq!(payloads.stats().segments, 4);
}

fn segments_are_removed_unless_pinned(payloads: &dyn Payloads) {
    let remove = |at: PayloadLocation| payloads.remove(at.segment).expect("it is no failure");
    let [a, b, c] = [fill(payloads), fill(payloads), fill(payloads)];
    assert!(remove(a));
    assert!(!remove(a), "it is gone");
    assert!(matches!(payloads.read(a), Err(Error::NoPayload { .. })));
    assert_read(payloads, b, &payload(7));
    let pin = payloads.pin();
    let copy = pin.clone();
    let later = [fill(payloads), fill(payloads)];
    drop(pin);
    assert!(!remove(b) && !remove(c), "a pin is held");
    assert!(!remove(later[0]), "it was appended to when the pin was taken");
    assert!(remove(later[1]), "it was begun afterwards");
    drop(copy);
    assert!(remove(b) && remove(c) && remove(later[0]));
    let newest = append(payloads, &payload(8));
    assert!(!remove(newest), "it is appended to");
    assert_read(payloads, newest, &payload(8));
    assert_eq!(payloads.segments().len(), 1);
}

fn costs_are_counted(payloads: &dyn Payloads) {
    let before = payloads.stats();
    append(payloads, &Bytes::from(vec![1; 700]));
    sync(payloads);
    let after = payloads.stats();
    let appended = after.appended_bytes - before.appended_bytes;
    assert!((700..800).contains(&appended), "{appended} bytes");
    assert_eq!(after.syncs, before.syncs + 1);
    assert!(after.disk_bytes >= 700 && after.free_bytes > 0);
}

fn threads_append_and_read(payloads: &dyn Payloads) {
    let written = Mutex::new(Vec::new());
    let done = AtomicBool::new(false);
    let lock = || written.lock().expect("nobody panics meanwhile");
    std::thread::scope(|scope| {
        let appender = |shard: u64| {
            move || {
                for n in 0..150 {
                    let some = [payload(shard * 1_000 + n), payload(n)];
                    let at = payloads.append(ShardId(shard as u32), &some).expect("it appends");
                    if n % 32 == 0 {
                        sync(payloads);
                    }
                    lock().extend(at.into_iter().zip(some));
                }
            }
        };
        let reader = || {
            while !done.load(Ordering::Acquire) {
                let some: Vec<_> = lock().iter().rev().step_by(5).cloned().collect();
                some.iter().for_each(|(at, payload)| assert_read(payloads, *at, payload));
            }
        };
        let appenders: Vec<_> = (1..4).map(|shard| scope.spawn(appender(shard))).collect();
        scope.spawn(reader);
        let ended: Vec<_> = appenders.into_iter().map(|appender| appender.join()).collect();
        done.store(true, Ordering::Release);
        assert!(ended.into_iter().all(|appender| appender.is_ok()));
    });
    let written = lock();
    assert_eq!(written.len(), 900);
    written.iter().for_each(|(at, payload)| assert_read(payloads, *at, payload));
    let places: BTreeSet<_> = written.iter().map(|(at, _)| (at.segment, at.offset)).collect();
    assert_eq!(places.len(), 900, "no two are at one place");
}

fn what_was_synced_is_kept(open: &OpenPayloads) {
    let mut written: Vec<(PayloadLocation, Bytes)> = Vec::new();
    for round in 0..4 {
        let payloads = open();
        let payloads = payloads.as_ref();
        written.iter().for_each(|(at, payload)| assert_read(payloads, *at, payload));
        let (newest, sealed) = {
            let mut segments = payloads.segments();
            (segments.pop().expect("one is begun"), segments)
        };
        assert!(sealed.iter().all(|segment| segment.sealed), "round {round}");
        let last = written.last().map_or(SegmentId(0), |(at, _)| at.segment);
        assert!(!newest.sealed && newest.id > last, "what is there is not appended to");
        for n in 0..30 {
            let payload = payload(n + round);
            written.push((append(payloads, &payload), payload));
        }
        sync(payloads);
        append(payloads, &Bytes::from("not synced"));
    }
}
