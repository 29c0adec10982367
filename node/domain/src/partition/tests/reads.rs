//! Readers: every shortcut leads where a walk through all batches leads, and what is missing is
//! never passed over in silence.

use kontiki_storage::id::{Offset, PartitionId};
use kontiki_storage::{Family, WriteBatch, key};

use crate::partition::read::{self, Batch, Limit, Plan, Search};
use crate::partition::{Command, PartitionState};
use crate::tests::{Shard, Words, step};

/// Compares the readers with `all`, the readable batches of a partition.
pub(super) fn check(shard: &Shard, id: PartitionId, state: &PartitionState, all: &[Batch]) {
    let (view, space) = (&shard.rows, shard.space);
    for offset in state.log_start_offset.0..state.log_end_offset.0 {
        let limit = Limit { bytes_max: 90, rows_max: 2 };
        let plan = read::batches_from(view, space, id, state, Offset(offset), limit).unwrap();
        let Plan::Batches(found) = plan else { panic!("{plan:?}") };
        let first = all.iter().position(|batch| batch.last_offset() >= Offset(offset)).unwrap();
        let two = &all[first..all.len().min(first + 2)];
        let bytes: usize = two.iter().map(|batch| batch.row.payload.len()).sum();
        let fitting = if bytes <= 90 { two } else { &two[..1] };
        assert_eq!(found, fitting, "from {offset}");
    }
    let mut timestamps: Vec<i64> = all.iter().map(|batch| batch.row.max_timestamp).collect();
    timestamps.extend(timestamps.clone().iter().map(|timestamp| timestamp + 1));
    for timestamp in timestamps {
        let wanted = all.iter().find(|batch| batch.row.max_timestamp >= timestamp);
        let found = search(shard, id, state, timestamp);
        assert_eq!(found.as_ref(), wanted, "at {timestamp}");
    }
    let newest = read::batch_of_max_timestamp(view, space, id, state, 1_000).unwrap();
    let wanted = all.iter().map(|batch| batch.row.max_timestamp).max().unwrap_or(-1);
    assert_eq!(newest.map_or(-1, |batch| batch.row.max_timestamp), wanted);
}

fn search(shard: &Shard, id: PartitionId, state: &PartitionState, timestamp: i64) -> Option<Batch> {
    let mut from = None;
    loop {
        let (view, space) = (&shard.rows, shard.space);
        match read::batch_at_timestamp(view, space, id, state, timestamp, from, 1).unwrap() {
            Search::Found(batch) => return Some(batch),
            Search::None => return None,
            Search::Continue(next) => {
                assert!(from.is_none_or(|from| from < next), "a search that never ends");
                from = Some(next);
            }
        }
    }
}

fn three_batches() -> (Shard, PartitionState) {
    let mut shard = Shard::new(1);
    for line in ["create 1 retention_ms=0", "append 1 n=2", "append 1 n=2", "append 1 n=2"] {
        step(&mut shard, &Words::parse(line));
    }
    shard.write();
    let state = read::partition(&shard.rows, shard.space, PartitionId(1)).unwrap().unwrap();
    (shard, state)
}

fn fetch(shard: &Shard, state: &PartitionState, from: u64) -> Result<Plan, kontiki_storage::Error> {
    let limit = Limit { bytes_max: 1_000, rows_max: 10 };
    read::batches_from(&shard.rows, shard.space, PartitionId(1), state, Offset(from), limit)
}

#[test]
fn a_lost_batch_is_corruption() {
    for (lost, from) in [(0, 0), (0, 1), (2, 0), (2, 2), (2, 3), (4, 0), (4, 5)] {
        let (mut shard, state) = three_batches();
        let mut batch = WriteBatch::new();
        batch.delete(Family::State, key::batch(shard.space, PartitionId(1), Offset(lost)));
        shard.rows.write(batch);
        let found = fetch(&shard, &state, from);
        let error = found.expect_err("a batch was passed over");
        assert!(error.is_corrupt(), "{error}");
    }
}

#[test]
fn what_retention_took_meanwhile_is_below_the_start() {
    let (mut shard, stale) = three_batches();
    shard.stamp.time_ms += 1_000;
    let retain = Command::Retain { partition: PartitionId(1), limit: 2 };
    shard.apply(retain, &[]).unwrap();
    shard.write();
    for from in 0..4 {
        assert_eq!(fetch(&shard, &stale, from).unwrap(), Plan::BelowStart, "from {from}");
    }
    assert!(matches!(fetch(&shard, &stale, 5).unwrap(), Plan::Batches(found) if found.len() == 1));
}

#[test]
fn a_partition_whose_batches_are_lost_is_not_trimmed() {
    let (mut shard, _) = three_batches();
    let mut batch = WriteBatch::new();
    batch.delete(Family::State, key::batch(shard.space, PartitionId(1), Offset(2)));
    shard.rows.write(batch);
    shard.stamp.time_ms += 1_000;
    let command = Command::Retain { partition: PartitionId(1), limit: 9 };
    let command = crate::shard::Command::from(command).encode();
    let Shard { machine, rows, batch, effects, stamp, .. } = &mut shard;
    let applied = machine.apply(rows, *stamp, &command, &[], batch, effects);
    assert!(applied.expect_err("a gap was passed over").is_corrupt());
}
