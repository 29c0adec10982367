//! Once a second: purges logs, lets go of memory, looks at the disk, and moves live payloads out of
//! sparse segments.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use kontiki_storage::compaction::Compactor;
use kontiki_storage::id::{ReplicaId, SegmentId, ShardId};
use openraft::async_runtime::watch::WatchReceiver as _;

use crate::node::{Inner, RaftNode};
use crate::shard::Shard;

const EVERY: Duration = Duration::from_secs(1);

/// Purging less than this isn't worth a row.
const PURGE_ENTRIES_MIN: u64 = 256;

pub(crate) async fn run(node: Weak<Inner>) {
    let mut compactor: Option<Compactor> = None;
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(node) = node.upgrade().map(RaftNode) else { return };
        look_at_disk(&node);
        let shards = node.shards();
        for shard in shards.iter().filter(|shard| !shard.has_failed()) {
            purge(&node, shard).await;
        }
        report(&node, &shards);
        let compactor = compactor.get_or_insert_with(|| new_compactor(&node));
        compact(&node, &shards, compactor).await;
    }
}

fn new_compactor(node: &RaftNode) -> Compactor {
    let staging = &node.0.staging;
    Compactor::new(
        staging.engine.clone(),
        staging.payloads.clone(),
        staging.accounting.clone(),
        node.0.options.compaction.clone(),
    )
}

fn look_at_disk(node: &RaftNode) {
    let staging = &node.0.staging;
    let free = staging.engine.stats().free_bytes.min(staging.payloads.stats().free_bytes);
    node.0.intake.set_free_bytes(free);
}

fn report(node: &RaftNode, shards: &[Shard]) {
    let metrics = &node.0.metrics;
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    metrics.tail_bytes.set(count(node.0.budget.used()));
    metrics.waiting_bytes.set(count(node.0.intake.waiting()));
    metrics.replicas.set(count(shards.len()));
    metrics.leaders.set(count(shards.iter().filter(|shard| shard.role().leads).count()));
    metrics.failed.set(count(node.failed().len()));
    metrics.applied.set(shards.iter().map(|shard| shard.applied().0).sum());
}

/// Purges what is applied and beyond what followers may still need, and drops from memory what all
/// followers have.
async fn purge(node: &RaftNode, shard: &Shard) {
    let options = &node.0.options;
    let applied = shard.applied().0;
    let (snapshot, slowest) = {
        let receiver = shard.0.raft.metrics();
        let metrics = receiver.borrow_watched();
        let matched = metrics.replication.iter().flatten();
        let slowest = matched
            .filter(|(id, _)| ReplicaId(**id) != shard.replica())
            .map(|(_, at)| at.as_ref().map_or(0, |at| at.index))
            .min();
        (metrics.snapshot.map_or(0, |id| id.index), slowest)
    };
    let log = &shard.0.log;
    log.trim_tail(slowest.unwrap_or(applied).min(applied));
    let (first, _) = log.bounds();
    let target = log.purge_target(applied, options.log_entries_keep, options.log_bytes_keep);
    if target < first + PURGE_ENTRIES_MIN {
        return;
    }
    let trigger = shard.0.raft.trigger();
    let done =
        if snapshot < target { trigger.snapshot().await } else { trigger.purge_log(target).await };
    if let Err(error) = done {
        tracing::debug!(shard = %shard.id(), %error, "the replica stops");
    }
}

/// Moves on with compaction by one bounded step.
async fn compact(node: &RaftNode, shards: &[Shard], compactor: &mut Compactor) {
    // The list first: what is appended from here on is in later segments.
    let sealed = node.0.staging.payloads.segments();
    if sealed.iter().all(|segment| !segment.sealed) {
        return;
    }
    let mut floor: Option<SegmentId> = None;
    for shard in shards {
        match shard.0.log.oldest_segment() {
            Ok(Some(segment)) => {
                floor = Some(floor.map_or(segment, |floor| floor.min(segment)));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(shard = %shard.id(), %error, "a log can't be read");
                return;
            }
        }
    }
    let newest = sealed.iter().filter(|segment| segment.sealed).map(|segment| segment.id).max();
    let limit = newest.map(|newest| SegmentId(newest.0 + 1));
    let floor = match (floor, limit) {
        (Some(floor), Some(limit)) => Some(floor.min(limit)),
        (floor, limit) => floor.or(limit),
    };
    let locks: BTreeMap<ShardId, crate::replica::ApplyLock> =
        shards.iter().map(|shard| (shard.id(), shard.apply_lock())).collect();
    let with_lock = move |shard: ShardId, change: &mut dyn FnMut()| {
        let lock =
            locks.get(&shard).cloned().unwrap_or_else(|| Arc::new(std::sync::Mutex::new(())));
        let _guard = lock.lock().expect("no code panics while it holds the apply lock");
        change();
    };
    match compactor.step(floor, &with_lock).await {
        Ok(progress) => {
            node.0.metrics.compacted_bytes.inc_by(progress.moved_bytes);
            for shard in progress.damaged {
                if let Some(shard) = node.shard(shard) {
                    shard.condemn("a payload is damaged").await;
                }
            }
        }
        Err(error) if error.is_full() => {}
        Err(error) => tracing::error!(%error, "compaction failed"),
    }
}
