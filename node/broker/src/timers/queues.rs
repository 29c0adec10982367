//! What leaders do for their queues when its time has come: leases that end, delays that are over,
//! messages that expire; and messages that are on their way to another queue.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use kontiki_domain::queue::Command;
use kontiki_domain::queue::read as queues;
use kontiki_raft::Shard;
use kontiki_storage::id::PartitionId;
use tokio::time::Instant;

use super::{AT_ONCE, outbox};
use crate::core::Core;

/// Queues that are looked at in one round.
const QUEUES_AT_ONCE: usize = 256;
/// What one tick does at most.
const TICK_MAX: u32 = 4_096;
/// How long one queue is waited for: the others wait as well.
pub(super) const ASKED: Duration = Duration::from_secs(3);
/// The longest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// The pause after a hand-over that was not taken.
const MOVE_AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn run(core: &Arc<Core>) {
    tokio::join!(tick(core), hand_over(core));
}

async fn tick(core: &Arc<Core>) {
    loop {
        let mut next: Option<i64> = None;
        let mut due = Vec::new();
        for shard in core.led() {
            // The shard's time, which may differ from that of this node's clock.
            let now_ms = shard.time_ms();
            let (some, later) = core.dues.due(shard.id(), now_ms, QUEUES_AT_ONCE);
            due.extend(some.into_iter().map(|queue| (shard.clone(), queue)));
            let later = later.map(|at| at.saturating_sub(now_ms));
            next = next.into_iter().chain(later).min();
        }
        if due.is_empty() {
            let pause = next.map_or(PAUSE_MAX, |at| {
                let left = u64::try_from(at).unwrap_or(0).max(1);
                Duration::from_millis(left).min(PAUSE_MAX)
            });
            tokio::select! {
                () = core.dues.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
            continue;
        }
        let ticks = stream::iter(due).map(|(shard, queue)| async move {
            let command = Command::Tick { queue, limit: TICK_MAX };
            let deadline = Instant::now() + ASKED;
            let before = leases_ended(&shard, queue);
            let done = core.ask_queue(shard.id(), command, Vec::new(), deadline).await;
            let ended = leases_ended(&shard, queue).saturating_sub(before);
            core.metrics.queue.leases_ended.inc_by(ended);
            if let Err(error) = done {
                tracing::debug!(%queue, %error, "what is due in a queue is done later");
                // Not at once, and not for ever the same one.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        ticks.buffer_unordered(AT_ONCE).collect::<()>().await;
    }
}

/// Leases of a queue that have ended by themselves; only ticks end them.
fn leases_ended(shard: &Shard, queue: PartitionId) -> u64 {
    let (view, space) = shard.view();
    let state = queues::queue(view.as_ref(), space, queue).ok().flatten();
    state.map_or(0, |state| state.totals.leases_ended)
}

async fn hand_over(core: &Arc<Core>) {
    let mut not_before: HashMap<PartitionId, Instant> = HashMap::new();
    loop {
        let now = Instant::now();
        not_before.retain(|_, at| *at > now);
        let mut moving = Vec::new();
        for shard in core.led() {
            let free = |queue: &PartitionId| !not_before.contains_key(queue);
            let some = core.dues.moving(shard.id(), QUEUES_AT_ONCE, free);
            moving.extend(some.into_iter().map(|queue| (shard.clone(), queue)));
        }
        if moving.is_empty() {
            tokio::select! {
                () = core.dues.moved() => {}
                () = tokio::time::sleep(PAUSE_MAX) => {}
            }
            continue;
        }
        let moves = stream::iter(moving).map(|(shard, queue)| async move {
            (queue, Box::pin(outbox::one(core, &shard, queue)).await)
        });
        let mut moves = moves.buffer_unordered(AT_ONCE);
        while let Some((queue, done)) = moves.next().await {
            match done {
                Ok(true) => {}
                // It is led elsewhere by now, or this node's catalog doesn't know it (yet).
                Ok(false) => {
                    not_before.insert(queue, now + MOVE_AGAIN);
                }
                Err(error) => {
                    tracing::warn!(
                        %queue, %error,
                        "messages can't be moved to another queue yet; they are kept, and tried \
                         again"
                    );
                    not_before.insert(queue, now + MOVE_AGAIN);
                }
            }
        }
    }
}
