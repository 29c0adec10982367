//! The tail's memory and its window on the log.

use super::*;
use crate::types::{Command, EntryPayload, Payload, Proposal, log_id};

fn entry(index: u64, bytes: usize) -> Entry {
    let payload = Payload::in_memory(vec![0; bytes].into());
    let commands = vec![Command { bytes: bytes::Bytes::new(), payloads: vec![payload] }];
    let proposal = Proposal { time_ms: 0, commands };
    Entry { log_id: log_id(1, index), payload: EntryPayload::Normal(proposal) }
}

fn indexes(tail: &Tail, from: u64, to: u64) -> Vec<u64> {
    tail.range(from, to).map(|entry| entry.log_id.index).collect()
}

#[test]
fn only_durable_entries_leave_and_only_over_budget() {
    let budget = TailBudget::new(10_000);
    let mut tail = Tail::new(budget.clone(), 1);
    (1..=20).for_each(|index| tail.push(entry(index, 1_000)));
    assert!(budget.used() > 20_000);
    tail.evict(0);
    assert_eq!(tail.first(), 1, "nothing is durable yet");
    tail.evict(5);
    assert_eq!(tail.first(), 6);
    tail.evict(20);
    assert!(budget.used() <= 10_000, "{} bytes", budget.used());
    assert_eq!(indexes(&tail, 20, 21), [20], "the newest stay as long as there is room");
    drop(tail);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_truncated_tail_goes_on_where_the_log_does() {
    let budget = TailBudget::new(usize::MAX);
    let mut tail = Tail::new(budget.clone(), 1);
    (1..=9).for_each(|index| tail.push(entry(index, 10)));
    tail.truncate(5);
    assert_eq!(indexes(&tail, 1, 100), [1, 2, 3, 4]);
    tail.push(entry(5, 10));
    tail.truncate(1);
    assert_eq!((tail.first(), tail.next(), budget.used()), (1, 1, 0));
    tail.push(entry(1, 10));
    tail.truncate(0);
    assert_eq!((tail.first(), tail.next(), budget.used()), (0, 0, 0), "the very first too");
    tail.push(entry(1, 10));
    assert_eq!(indexes(&tail, 1, 2), [1]);
}

#[test]
fn a_purge_of_everything_lets_the_log_go_on_elsewhere() {
    let mut tail = Tail::new(TailBudget::new(usize::MAX), 1);
    (1..=3).for_each(|index| tail.push(entry(index, 10)));
    tail.purged(100);
    assert_eq!(indexes(&tail, tail.first(), 1_000), [0_u64; 0]);
    tail.push(entry(101, 10));
    assert_eq!((tail.first(), tail.next()), (101, 102));
}

#[test]
#[should_panic(expected = "no holes")]
fn a_hole_is_a_bug() {
    let mut tail = Tail::new(TailBudget::new(usize::MAX), 1);
    tail.push(entry(1, 10));
    tail.push(entry(3, 10));
}

#[test]
fn the_log_is_purged_by_bytes() {
    let mut tail = Tail::new(TailBudget::new(0), 1);
    for index in 1..=2_560 {
        tail.push(entry(index, 936));
        tail.evict(index);
    }
    assert_eq!(tail.index_before(u64::MAX), 0, "everything fits");
    let kept = 2_560 - tail.index_before(1_000_000);
    assert!((1_000..1_600).contains(&kept), "about a megabyte of 1,000 each stays: {kept}");
}
