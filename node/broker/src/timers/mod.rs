//! What leaders do in the background, each for the shards that it leads: retention and forgetting
//! producers ([`sweep`]), and bringing the partitions of its shards to what the catalog says
//! ([`topics`]); what becomes due in queues ([`queues`]), their redrives ([`redrives`]), and queues
//! that go by themselves ([`consumers`]); and positions of subscriptions that are gone
//! ([`subscriptions`]).
//!
//! Nothing here is urgent, and an idle cluster costs next to nothing: partitions are looked at by
//! turns, and nothing is proposed that would change nothing.

mod consumers;
mod outbox;
mod queues;
mod redrives;
mod subscriptions;
mod sweep;
mod topics;

use std::sync::Arc;

use kontiki_domain::partition;
use kontiki_raft::Shard;
use kontiki_storage::id::ShardId;

use crate::core::Core;
use crate::error::Error;

/// Proposals under way at a time.
const AT_ONCE: usize = 16;

/// Runs until the node stops.
pub(crate) async fn run(core: Arc<Core>) {
    tokio::select! {
        () = sweep::run(&core) => {}
        () = topics::run(&core) => {}
        () = queues::run(&core) => {}
        () = subscriptions::run(&core) => {}
        () = redrives::run(&core) => {}
        () = consumers::run(&core) => {}
        () = core.stopped() => {}
    }
}

impl Core {
    /// The shards with partitions that this node leads.
    pub(crate) fn led_shards(&self) -> impl Iterator<Item = Shard> {
        let shards = self.raft.shards().into_iter();
        shards.filter(|shard| shard.id() != ShardId::CATALOG && leads(shard))
    }

    fn led(&self) -> Vec<Shard> {
        self.led_shards().collect()
    }

    async fn ask_in_time(
        &self,
        shard: ShardId,
        command: partition::Command,
    ) -> Result<partition::Reply, Error> {
        self.ask_partitions(shard, command, self.default_deadline()).await
    }
}

fn leads(shard: &Shard) -> bool {
    shard.role().ready && !shard.has_failed()
}

/// What the rows say. A replica with damaged rows is taken out of service.
async fn sound<T>(shard: &Shard, found: Result<T, kontiki_storage::Error>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(error) if error.is_corrupt() => {
            shard.condemn(&error.to_string()).await;
            None
        }
        Err(error) => {
            tracing::warn!(shard = %shard.id(), %error, "rows can't be read");
            None
        }
    }
}
