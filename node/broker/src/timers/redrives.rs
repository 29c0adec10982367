//! Redrives of the queues that this node leads go on, each at its rate. One that can't go on for
//! now holds up nobody else.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use kontiki_storage::id::PartitionId;
use tokio::time::Instant;

use super::AT_ONCE;
use crate::core::Core;
use crate::queues::go_on;

/// The longest pause between two looks, at a redrive that waits too: so soon a cancellation is
/// noticed.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// The pause after a step that was not done.
const AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn run(core: &Arc<Core>) {
    let mut not_before: HashMap<PartitionId, Instant> = HashMap::new();
    let mut busy: HashSet<PartitionId> = HashSet::new();
    let mut under_way = FuturesUnordered::new();
    loop {
        let now = Instant::now();
        not_before.retain(|_, at| *at > now);
        for shard in core.led() {
            let room = AT_ONCE.saturating_sub(under_way.len());
            let free =
                |queue: &PartitionId| !busy.contains(queue) && !not_before.contains_key(queue);
            for queue in core.dues.redriving(shard.id(), room, free) {
                busy.insert(queue);
                let shard = shard.clone();
                under_way.push(async move { (queue, Box::pin(go_on(core, &shard, queue)).await) });
            }
        }
        let look_again = now + PAUSE_MAX;
        let until = not_before.values().copied().fold(look_again, Instant::min);
        tokio::select! {
            Some((queue, done)) = under_way.next(), if !under_way.is_empty() => {
                busy.remove(&queue);
                let pause = match done {
                    Ok(pause) => pause.unwrap_or(PAUSE_MAX).min(PAUSE_MAX),
                    Err(error) => {
                        tracing::warn!(%queue, %error, "a redrive goes on later");
                        AGAIN
                    }
                };
                if !pause.is_zero() {
                    not_before.insert(queue, Instant::now() + pause);
                }
            }
            () = core.dues.redrives() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}
