//! What was written can be read: at once, later, continuously, and by time.

use std::time::Duration;

use kontiki_domain::settings::{Overrides, TimestampType};
use kontiki_storage::engine::{Order, ScanLimit};
use kontiki_storage::id::{Offset, PartitionId, ShardId};
use kontiki_storage::memory::Keep;
use kontiki_storage::payload::PayloadRef;
use kontiki_storage::row::BatchRow;
use kontiki_storage::{Family, key};

use super::node::{BEGIN_MS, TestNode, at, eventually, node, node_on, node_with, record, records};
use crate::offsets::{At, Query};
use crate::records::Target;
use crate::{Code, Kind, Options, Routing};

const LONG: Duration = Duration::from_secs(60);
const AT_ONCE: Duration = Duration::ZERO;

#[tokio::test]
async fn what_was_written_is_read_with_its_offsets() {
    let node = node().await;
    node.create("t", 1, Overrides::default()).await;
    let large = vec![7; 100_000];
    for values in [vec![&b"a"[..], b"b"], vec![&large], vec![b"d"]] {
        let written = values.iter().map(|value| record(value)).collect();
        node.produce("t", 0, written).await.expect("it is written");
    }

    let fetched = node.fetch("t", &[(0, 1)], AT_ONCE).await.remove(0).expect("it is read");
    assert_eq!((fetched.log_start_offset, fetched.high_watermark), (0, 4));
    assert_eq!(fetched.next_offset, 4);
    assert!(fetched.leader_epoch > 0);
    let read = records(&fetched.batches);
    let values: Vec<_> = read.iter().map(|(offset, _, value)| (*offset, value.len())).collect();
    assert_eq!(values, [(0, 1), (1, 1), (2, 100_000), (3, 1)]);
    assert_eq!(&read[2].2[..], &large[..]);
}

#[tokio::test]
async fn a_reader_at_the_end_is_answered_when_something_comes() {
    let node = node().await;
    node.create("t", 4, Overrides::default()).await;
    // Partitions of two shards: whichever gets something ends the wait.
    let wanted = [(0, 0), (1, 0), (2, 0), (3, 0)];
    let wait = node.fetch("t", &wanted, LONG);
    let write = async {
        while node.broker.0.metrics.fetch_waiting.get() < 2 {
            tokio::task::yield_now().await;
        }
        node.produce("t", 2, vec![record(b"x")]).await.expect("it is written");
    };
    let (answers, ()) = tokio::join!(wait, write);
    let lengths: Vec<_> =
        answers.into_iter().map(|answer| answer.expect("nothing failed").batches.len()).collect();
    assert_eq!(lengths, [0, 0, 1, 0]);
    assert_eq!(node.broker.0.metrics.fetch_waiting.get(), 0);
}

#[tokio::test]
async fn an_offset_out_of_range_names_the_range_and_spoils_nothing_else() {
    let node = node().await;
    node.create("t", 2, Overrides::default()).await;
    node.produce("t", 0, vec![record(b"x")]).await.expect("it is written");
    let wanted = [(0, 2), (1, 0), (9, 0)];
    let mut answers = node.fetch("t", &wanted, LONG).await;
    let unknown = answers.pop().expect("three").expect_err("there is no partition 9");
    assert_eq!(unknown.code, Code::UNKNOWN_PARTITION);
    assert!(answers.pop().expect("three").expect("nothing failed").batches.is_empty());
    let error = answers.pop().expect("three").expect_err("it is beyond the end");
    assert_eq!((error.kind, error.code), (Kind::NotFound, Code::OFFSET_OUT_OF_RANGE));
    assert!(error.detail.contains("t/0: offset 2 is out of range: the log has 0 to 1"), "{error}");
}

#[tokio::test]
async fn append_time_is_what_readers_get_where_the_topic_says_so() {
    let node = node().await;
    let timestamp_type = Some(TimestampType::Append);
    node.create("t", 1, Overrides { timestamp_type, ..Overrides::default() }).await;
    let mut written = record(b"x");
    written.timestamp_ms = BEGIN_MS - 5;
    let done = node.produce("t", 0, vec![written]).await.expect("it is written");
    let fetched = node.fetch("t", &[(0, 0)], AT_ONCE).await.remove(0).expect("it is read");
    assert_eq!(records(&fetched.batches)[0].1, done.append_time_ms);
    // Not the record's, and not far from the node's.
    let at = BEGIN_MS..BEGIN_MS + 60_000;
    assert!(at.contains(&done.append_time_ms), "{}", done.append_time_ms);
}

#[tokio::test]
async fn offsets_are_found_and_records_deleted() {
    let node = node().await;
    node.create("t", 1, Overrides::default()).await;
    for first in [0, 2, 4] {
        let stamped = |delta: i64| {
            let mut record = record(b"x");
            record.timestamp_ms = BEGIN_MS + (first + delta) * 10;
            record
        };
        node.produce("t", 0, vec![stamped(0), stamped(1)]).await.expect("it is written");
    }
    let find = async |at: At| {
        let query = Query { topic: "t".to_owned(), partition: 0, at };
        let mut found = node.broker.list_offsets(vec![query], Routing::Forward).await.expect("ok");
        found.remove(0).expect("found").offset
    };
    assert_eq!(find(At::Earliest).await, Some((0, None)));
    assert_eq!(find(At::Latest).await, Some((6, None)));
    let third = Some((3, Some(BEGIN_MS + 30)));
    assert_eq!(find(At::Timestamp(BEGIN_MS + 21)).await, third);
    assert_eq!(find(At::Timestamp(BEGIN_MS + 51)).await, None);

    let delete = async |before: Option<u64>| {
        let target = Target { topic: "t".to_owned(), partition: 0, before };
        node.broker.delete_records(vec![target]).await.expect("ok").remove(0)
    };
    assert_eq!(delete(Some(5)).await, Ok(5));
    assert_eq!(find(At::Earliest).await, Some((5, None)));
    assert_eq!(find(At::Timestamp(0)).await, Some((5, Some(BEGIN_MS + 50))));
    let error = delete(Some(7)).await.expect_err("it is above the high watermark");
    assert_eq!(error.kind, Kind::Invalid);
    assert_eq!(delete(None).await, Ok(6));
    let below = node.fetch("t", &[(0, 4)], AT_ONCE).await.remove(0).expect_err("it is deleted");
    assert_eq!(below.code, Code::OFFSET_OUT_OF_RANGE);
}

#[tokio::test]
async fn a_stream_reads_by_turns_within_its_credit() {
    let node = node().await;
    node.create("t", 2, Overrides::default()).await;
    let value = vec![1; 1_000];
    for _ in 0..3 {
        for partition in [0, 1] {
            node.produce("t", partition, vec![record(&value)]).await.expect("it is written");
        }
    }
    let (control, mut output) = node.broker.reader();
    control.open(at("t", 0, 0)).expect("open");
    control.open(at("t", 1, 1)).expect("open");
    assert!(tokio::time::timeout(Duration::from_millis(50), output.next()).await.is_err());
    // Less than a batch: one batch is sent, and the credit is used up.
    control.credit(10).expect("credit");
    let (first, used) = output.next().await.expect("open");
    let fetched = first.outcome.expect("read");
    assert_eq!((first.partition, fetched.batches.len(), fetched.next_offset), (0, 1, 1));
    assert!(used > 1_000);
    assert!(tokio::time::timeout(Duration::from_millis(50), output.next()).await.is_err());
    control.credit(64 << 20).expect("credit");
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let (part, _) = output.next().await.expect("open");
        seen.push((part.partition, part.outcome.expect("read").next_offset));
    }
    seen.sort_unstable();
    assert_eq!(seen, [(0, 3), (1, 3)]);
    let more = async {
        let (part, _) = output.next().await.expect("open");
        (part.partition, part.outcome.expect("read").next_offset)
    };
    let write = async {
        tokio::task::yield_now().await;
        node.produce("t", 1, vec![record(b"late")]).await.expect("it is written");
    };
    assert_eq!(tokio::join!(more, write).0, (1, 4));
    // What can't get better is told once.
    control.open(at("t", 0, 99)).expect("open");
    let (failed, _) = output.next().await.expect("open");
    assert_eq!(failed.outcome.expect_err("out of range").code, Code::OFFSET_OUT_OF_RANGE);
    control.close("t", 1);
    drop(control);
    assert!(output.next().await.is_none());
}

#[tokio::test]
async fn what_readers_hold_counts_until_they_have_let_go() {
    let mut options = Options::default();
    options.fetch.response_bytes_max = 1 << 20;
    let node = node_with(options).await;
    node.create("t", 1, Overrides::default()).await;
    let value = vec![1; 900_000];
    node.produce("t", 0, vec![record(&value)]).await.expect("it is written");
    let held = node.fetch("t", &[(0, 0)], AT_ONCE).await.remove(0).expect("it is read");
    let refused = node.fetch("t", &[(0, 0)], AT_ONCE).await.remove(0).expect_err("too much");
    assert_eq!(refused.kind, Kind::Throttled);
    drop(held);
    assert!(node.fetch("t", &[(0, 0)], AT_ONCE).await.remove(0).is_ok());
}

#[tokio::test]
async fn damaged_records_are_not_served_and_the_replica_is_condemned() {
    let mut options = Options::default();
    options.route.retry_ms = 10;
    let node = node_with(options).await;
    node.create("t", 1, Overrides::default()).await;
    node.produce("t", 0, vec![record(&vec![1; 200_000])]).await.expect("it is written");
    let place = node.broker.0.catalog.place("t", 0).expect("it exists");
    let shard = node.broker.0.raft.shard(place.shard).expect("it is here");
    damage_first(&node, &shard, place.partition);
    let answer = node.fetch("t", &[(0, 0)], AT_ONCE).await.remove(0).expect_err("it is damaged");
    assert_eq!(answer.kind, Kind::Unavailable, "{answer}");
    assert!(shard.has_failed());
}

#[tokio::test]
async fn damage_in_what_was_not_applied_before_a_crash_costs_the_replica_and_not_the_node() {
    let node = node_with(Options::default()).await;
    node.create("t", 1, Overrides::default()).await;
    node.produce("t", 0, vec![record(&vec![1; 200_000])]).await.expect("it is written");
    let place = node.broker.0.catalog.place("t", 0).expect("it exists");
    let shard = node.broker.0.raft.shard(place.shard).expect("it is here");
    damage_first(&node, &shard, place.partition);
    // The rows of what was applied are lost, the log is not: it is read again, payloads included.
    let disk = node.disk.clone();
    disk.faults().crash(Keep::SYNCED);
    let node = node_on(disk, Options::default()).await;
    let lost = || node.broker.0.raft.failed().iter().any(|(shard, _)| *shard == place.shard);
    eventually("the replica is known to be damaged", lost).await;
    let leads = || node.broker.0.raft.shard(ShardId::CATALOG).is_some_and(|it| it.role().ready);
    eventually("the other shards go on", leads).await;
    // There is no other replica: what is left of this one stays, also when the catalog has heard.
    let told = || {
        node.broker.0.catalog.look(|catalog| {
            let placement = catalog.placement(place.shard).expect("it is placed");
            !placement.lost.is_empty()
        })
    };
    eventually("the catalog knows that it is damaged", told).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(lost());
}

#[tokio::test]
async fn a_damaged_row_of_the_catalog_does_not_keep_the_node_from_starting() {
    let node = node_with(Options::default()).await;
    node.create("t", 1, Overrides::default()).await;
    let (view, space) = node.broker.0.raft.shard(ShardId::CATALOG).expect("it is here").view();
    let row = key::node(space, kontiki_storage::id::NodeId(1));
    assert!(view.get(Family::State, &row).expect("it can be read").is_some());
    let disk = node.disk.clone();
    disk.faults().crash(Keep::ALL);
    disk.faults().corrupt_row(Family::State, &row);
    let node = node_on(disk, Options::default()).await;
    let lost = || node.broker.0.raft.failed().iter().any(|(shard, _)| *shard == ShardId::CATALOG);
    eventually("the replica is known to be damaged", lost).await;
}

/// Damages the first record of a partition where it is stored.
fn damage_first(node: &TestNode, shard: &kontiki_raft::Shard, partition: PartitionId) {
    let (view, space) = shard.view();
    let range = key::batches(space, partition, Offset(0), Offset(1));
    let rows = view.scan(Family::State, range, Order::Forward, ScanLimit::rows(1)).expect("rows");
    let row = BatchRow::decode(&rows[0].1).expect("a sound row");
    let PayloadRef::Stored(location) = row.payload else { panic!("large payloads are stored") };
    assert!(node.disk.faults().corrupt_payload(location));
}
