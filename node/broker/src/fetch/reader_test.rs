//! Credit and turns of a reader.

use bytes::Bytes;

use super::*;

fn open(topic: &str, offset: u64) -> Open {
    Open { topic: topic.to_owned(), partition: 0, offset, max_bytes: 1_000 }
}

fn fetched(length: usize, next_offset: u64, high_watermark: u64) -> Fetched {
    let batches = vec![Bytes::from(vec![0; length])];
    Fetched { batches, next_offset, high_watermark, ..Fetched::default() }
}

#[test]
fn credit_is_used_and_never_owed() {
    let mut state = State::default();
    state.open(open("a", 0), 2).expect("there is room");
    assert!(state.next_read(500).is_none(), "without credit nothing is read");
    state.add_credit(10).expect("little");
    let (number, _, bytes) = state.next_read(500).expect("there is credit");
    assert_eq!(bytes, 10);
    // One batch is sent although it is larger than the credit.
    assert_eq!(state.deliver(number, &fetched(300, 1, 5)), 300);
    assert_eq!(state.credit, 0);
    assert!(state.next_read(500).is_none());
    state.add_credit(10_000).expect("little");
    let (number, open, bytes) = state.next_read(500).expect("there is credit");
    assert_eq!((open.offset, bytes), (1, 500));
    state.deliver(number, &fetched(400, 5, 5));
    assert_eq!(state.credit, 9_600);
    assert_eq!(state.idle, [number], "it is at its end");
}

#[test]
fn credit_has_a_bound() {
    let mut state = State::default();
    state.add_credit(u32::try_from(bounds::CREDIT_BYTES_MAX).expect("it fits")).expect("all");
    let error = state.add_credit(1).expect_err("one too many");
    assert_eq!(error.kind, Kind::Invalid);
    assert_eq!(state.credit, bounds::CREDIT_BYTES_MAX);
}

#[test]
fn partitions_are_read_by_turns() {
    let mut state = State::default();
    state.add_credit(100_000).expect("little");
    state.open(open("a", 0), 2).expect("there is room");
    state.open(open("b", 0), 2).expect("there is room");
    let mut turns = Vec::new();
    for offset in 1..5 {
        let (number, open, _) = state.next_read(500).expect("there is something");
        turns.push(open.topic);
        state.deliver(number, &fetched(10, offset, 100));
    }
    assert_eq!(turns, ["a", "b", "a", "b"]);
}

#[test]
fn a_partition_that_is_opened_again_is_another_one() {
    let mut state = State::default();
    state.add_credit(100).expect("little");
    state.open(open("a", 0), 1).expect("there is room");
    let (former, _, _) = state.next_read(500).expect("there is credit");
    state.open(open("a", 50), 1).expect("it only moves");
    state.moved(former, &fetched(0, 9, 100));
    let (number, now, _) = state.next_read(500).expect("it is ready");
    assert_ne!(number, former);
    assert_eq!(now.offset, 50);
    assert!(state.next_read(500).is_none());
    let error = state.open(open("b", 0), 1).expect_err("one is the limit");
    assert!(error.detail.contains("broker.fetch.stream_partitions_max"), "{error}");
    state.close("a".to_owned(), 0);
    state.open(open("b", 0), 1).expect("there is room again");
    assert!(state.take_failed(number).is_none());
}
