//! What leaders do for durable subscriptions: forget the positions of those that are deleted, and
//! know since when they lead the catalog, which decides who may attach.

use std::sync::Arc;
use std::time::Duration;

use kontiki_storage::id::ShardId;
use tokio::time::Instant;

use super::leads;
use crate::core::Core;

/// How often a node looks whether it leads the catalog.
const LOOK: Duration = Duration::from_millis(500);

pub(super) async fn run(core: &Arc<Core>) {
    let every = Duration::from_millis(core.options.timers.expiry_check_ms);
    let mut forget_at = Instant::now() + every;
    loop {
        tokio::time::sleep(LOOK.min(every)).await;
        if let Some(catalog) = core.raft.shard(ShardId::CATALOG).filter(leads) {
            core.attachments.lead(catalog.role().term, Instant::now());
        }
        if Instant::now() < forget_at {
            continue;
        }
        for shard in core.led() {
            let mut after = None;
            while leads(&shard) {
                match core.forget_positions(&shard, after).await {
                    Ok(Some(last)) => after = Some(last),
                    Ok(None) => break,
                    Err(error) => {
                        tracing::debug!(shard = %shard.id(), %error, "positions are kept for now");
                        break;
                    }
                }
            }
        }
        forget_at = Instant::now() + every;
    }
}
