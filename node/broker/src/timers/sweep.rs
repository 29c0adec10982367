//! Goes round the partitions: removes what retention no longer keeps, and sees which shards have
//! producers to forget.
//!
//! A round takes at most [`ROUND`], however many partitions there are, and one look is two short
//! reads of rows. Memory: some 40 bytes for each partition that this node leads.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use kontiki_domain::partition::{self, DELETED_KEPT_MS, PartitionState, Phase, read};
use kontiki_raft::Shard;
use kontiki_storage::id::{PartitionId, ShardId};
use tokio::time::Instant;

use super::{AT_ONCE, leads, sound};
use crate::core::Core;

/// The longest time in which every partition is looked at once.
const ROUND: Duration = Duration::from_secs(60);

pub(super) async fn run(core: &Arc<Core>) {
    let options = &core.options.timers;
    let tick = Duration::from_millis(options.retention_check_ms);
    let expiry = Duration::from_millis(options.expiry_check_ms);
    let mut sweep = Sweep::default();
    let mut expire_at = Instant::now() + expiry;
    loop {
        // Where expiry is asked for more often than retention, partitions are looked at as often.
        tokio::time::sleep(tick.min(expiry)).await;
        let shards = core.led();
        sweep.producers.retain(|id, _| shards.iter().any(|shard| shard.id() == *id));
        let hosted = |shard: &Shard| core.catalog.look(|c| c.partitions_on(shard.id())) as usize;
        let all: usize = shards.iter().map(hosted).sum();
        let mut quota = quota(all, options.partitions_at_once, tick.min(expiry));
        // At most once around.
        let mut finished = 0;
        while quota > 0 && finished < shards.len() {
            let Some(shard) = sweep.current(&shards) else { break };
            let looked = sweep.look(core, shard, quota).await;
            quota -= looked.min(quota);
            finished += usize::from(sweep.at.is_some_and(|(id, _)| id != shard.id()));
        }
        if Instant::now() >= expire_at {
            expire_at = Instant::now() + expiry;
            for shard in shards.iter().filter(|shard| leads(shard)) {
                sweep.expire(core, shard).await;
            }
        }
    }
}

/// How many partitions to look at in one tick, so that a round doesn't take too long.
fn quota(partitions: usize, at_once: usize, tick: Duration) -> usize {
    let ticks = ROUND.as_millis() / tick.as_millis().max(1);
    let ticks = usize::try_from(ticks).unwrap_or(usize::MAX).max(1);
    partitions.div_ceil(ticks).max(at_once).max(1)
}

/// When a partition has something to forget at the earliest, by the settings of a version.
#[derive(Debug, Clone, Copy)]
struct Due {
    settings_version: u64,
    at_ms: i64,
}

#[derive(Debug, Default)]
struct Sweep {
    /// Where the round is: the shard, and the last partition of it that was looked at.
    at: Option<(ShardId, Option<PartitionId>)>,
    producers: HashMap<ShardId, HashMap<PartitionId, Due>>,
}

impl Sweep {
    /// The shard whose turn it is. They are in the order of their numbers.
    fn current<'a>(&mut self, shards: &'a [Shard]) -> Option<&'a Shard> {
        let (id, _) = self.at.unwrap_or_default();
        let next = shards.iter().filter(|shard| shard.id() >= id).min_by_key(|shard| shard.id());
        let shard = next.or_else(|| shards.iter().min_by_key(|shard| shard.id()))?;
        if shard.id() != id {
            self.at = Some((shard.id(), None));
        }
        Some(shard)
    }

    /// Looks at some partitions of a shard; returns how many.
    async fn look(&mut self, core: &Arc<Core>, shard: &Shard, quota: usize) -> usize {
        let page = quota.min(core.options.timers.partitions_at_once);
        let (_, after) = self.at.unwrap_or_default();
        let (view, space) = shard.view();
        let found = read::partitions(view.as_ref(), space, after, page);
        let Some(found) = sound(shard, found).await else {
            self.at = Some((ShardId(shard.id().0 + 1), None));
            return 0;
        };
        // Nothing more: the next shard.
        self.at = match found.last() {
            Some((last, _)) if found.len() == page => Some((shard.id(), Some(*last))),
            Some(_) | None => Some((ShardId(shard.id().0 + 1), None)),
        };
        let now_ms = shard.time_ms();
        let count = found.len();
        let mut due = Vec::new();
        for (id, state) in found {
            let retain = read::retention_due(view.as_ref(), space, id, &state, now_ms);
            match sound(shard, retain).await {
                None => return count,
                Some(true) => due.push(id),
                Some(false) => {}
            }
            let noted = self.note(shard, id, &state, now_ms);
            if sound(shard, noted).await.is_none() {
                return count;
            }
        }
        let retained = stream::iter(due).map(|id| retain(core, shard, id));
        retained.buffer_unordered(AT_ONCE).collect::<()>().await;
        tokio::task::yield_now().await;
        count
    }

    /// Notes when a partition has something to forget.
    fn note(
        &mut self,
        shard: &Shard,
        id: PartitionId,
        state: &PartitionState,
        now_ms: i64,
    ) -> Result<(), kontiki_storage::Error> {
        let known = self.producers.entry(shard.id()).or_default();
        let settings_version = state.settings_version;
        let at_ms = match state.phase {
            Phase::Deleting { .. } => i64::MAX,
            Phase::Deleted { since_ms } => since_ms.saturating_add(DELETED_KEPT_MS),
            Phase::Live => match known.get(&id) {
                // Who appends later is to be forgotten later.
                Some(due) if due.settings_version == settings_version && due.at_ms > now_ms => {
                    due.at_ms
                }
                Some(_) | None => {
                    let (view, space) = shard.view();
                    let limit = state.settings.producers_max as usize;
                    let producers = read::producers(view.as_ref(), space, id, limit)?;
                    let oldest = producers.iter().map(|(_, producer)| producer.last_append_ms());
                    let oldest = oldest.min().unwrap_or(now_ms);
                    oldest.saturating_add(state.settings.producer_expiry_ms)
                }
            },
        };
        known.insert(id, Due { settings_version, at_ms });
        Ok(())
    }

    /// Forgets the producers of a shard, if any are due.
    async fn expire(&mut self, core: &Arc<Core>, shard: &Shard) {
        let now_ms = shard.time_ms();
        let Some(known) = self.producers.get_mut(&shard.id()) else { return };
        let before = known.len();
        // Those that are due are looked at anew in the next round.
        known.retain(|_, due| due.at_ms > now_ms);
        if known.len() == before {
            return;
        }
        let limit = core.options.timers.expiry_producers;
        while leads(shard) {
            let command = partition::Command::Expire { limit };
            match core.ask_in_time(shard.id(), command).await {
                Ok(partition::Reply::Expired { more: true, .. }) => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::debug!(shard = %shard.id(), %error, "producers are kept for now");
                    return;
                }
            }
        }
    }
}

/// Removes what retention no longer keeps.
async fn retain(core: &Arc<Core>, shard: &Shard, partition: PartitionId) {
    let limit = core.options.timers.retention_batches;
    while leads(shard) {
        let command = partition::Command::Retain { partition, limit };
        match core.ask_in_time(shard.id(), command).await {
            Ok(partition::Reply::Retained(trimmed)) => {
                core.metrics.retained_batches.inc_by(trimmed.batches.into());
                if !trimmed.more {
                    return;
                }
            }
            Ok(other) => {
                tracing::warn!(%partition, ?other, "retention was answered with something else");
                return;
            }
            Err(error) => {
                tracing::debug!(%partition, %error, "records are kept for now");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_takes_a_minute_at_most() {
        let tick = Duration::from_secs(5);
        assert_eq!(quota(10, 256, tick), 256);
        assert_eq!(quota(120_000, 256, tick), 10_000);
        assert_eq!(quota(120_000, 256, Duration::from_secs(600)), 120_000);
        assert_eq!(quota(0, 256, Duration::ZERO), 256);
    }
}
