//! Looks after the consumers of queues that are led here: forgets those that have gone, and deletes
//! queues that go by themselves (`exclusive`, `auto_delete`, `expires_ms`).
//!
//! Only queues with such settings are looked at. They are found in the catalog when it or a
//! leadership has changed, at most once in [`FIND_AGAIN`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use kontiki_domain::catalog::{Catalog, CatalogVersion, Topic};
use kontiki_domain::queue::read as queues;
use kontiki_raft::Shard;
use kontiki_storage::id::{PartitionId, ShardId};
use tokio::time::Instant;

use super::AT_ONCE;
use crate::core::Core;
use crate::queues::{OfQueue, Why};

/// How often consumers are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often queues are looked for at most.
const FIND_AGAIN: Duration = Duration::from_secs(2);
/// How long the catalog is waited for: other queues wait as well.
const ASKED: Duration = Duration::from_secs(3);
/// How often what is of no use any more is forgotten.
const TIDY: Duration = Duration::from_secs(10);

pub(super) async fn run(core: &Arc<Core>) {
    let mut found: Option<(CatalogVersion, BTreeMap<ShardId, u64>)> = None;
    let (mut find_at, mut tidy_at) = (Instant::now(), Instant::now() + TIDY);
    loop {
        tokio::time::sleep(LOOK).await;
        let shards: BTreeMap<ShardId, Shard> =
            core.led().into_iter().map(|shard| (shard.id(), shard)).collect();
        let now = Instant::now();
        if now >= find_at {
            let terms = shards.iter().map(|(id, shard)| (*id, shard.role().term)).collect();
            let state = (core.catalog.look(Catalog::version), terms);
            if found.as_ref() != Some(&state) {
                find(core, &state.1);
                found = Some(state);
                find_at = now + FIND_AGAIN;
            }
        }
        let going = core.consumers.watched().into_iter().filter_map(|(queue, known)| {
            let shard = shards.get(&known.shard)?;
            Some((queue, look(shard, queue, &known)?, known))
        });
        // Collected first: the others are to be looked at in time.
        let going: Vec<_> = going.collect();
        let going = stream::iter(going);
        let deleted = going.map(|(queue, why, known)| delete(core, queue, why, known));
        deleted.buffer_unordered(AT_ONCE).collect::<()>().await;
        if now >= tidy_at {
            core.consumers.tidy(|shard| shards.contains_key(&shard));
            tidy_at = now + TIDY;
        }
    }
}

/// Notes the queues that may go by themselves, and forgets those that are gone.
fn find(core: &Arc<Core>, terms: &BTreeMap<ShardId, u64>) {
    let transient: Vec<_> = core.catalog.look(|catalog| {
        let topics = catalog.active_topics();
        let some = topics.filter_map(|topic| {
            let settings = topic.queue.as_ref().filter(|settings| settings.is_transient())?;
            let at = topic.partitions.first()?;
            terms.get(&at.shard).map(|term| (at.partition, at.shard, *term, settings.clone()))
        });
        some.collect()
    });
    for (queue, shard, term, settings) in transient {
        let known = core.consumers.of(queue, shard, term);
        known.set(&mut known.of_term(term), &settings);
    }
    for (queue, known) in core.consumers.watched() {
        match core.queue_settings(queue) {
            Some(settings) => known.set(&mut known.look(), &settings),
            None => core.consumers.forget(queue),
        }
    }
}

/// Whether a queue is to be deleted.
fn look(shard: &Shard, queue: PartitionId, known: &OfQueue) -> Option<Why> {
    let (view, space) = shard.view();
    let mut attached = known.of_term(shard.role().term);
    // Rows that can't be read delete nothing.
    let is_live = |offset, lease| {
        queues::lease(view.as_ref(), space, queue, offset).map_or(true, |held| held == Some(lease))
    };
    let acquired = attached.asks_whether_acquired()
        && queues::queue(view.as_ref(), space, queue)
            .is_ok_and(|state| state.is_some_and(|state| state.totals.acquired > 0));
    attached.sweep(Instant::now(), acquired, &is_live)
}

async fn delete(core: &Arc<Core>, queue: PartitionId, why: Why, known: Arc<OfQueue>) {
    let found = core.catalog.look(|catalog| {
        let topic = catalog.partition(queue).and_then(|found| catalog.topic(found.topic));
        let stays = |topic: &Topic| topic.queue.as_ref().is_some_and(|q| !q.is_transient());
        topic.map(|topic| (topic.topic, topic.name.clone(), stays(topic)))
    });
    let (topic, name) = match found {
        Some((topic, name, false)) => (topic, name),
        // Its settings were changed a moment ago.
        Some((_, _, true)) => return known.look().stays(),
        None => return core.consumers.forget(queue),
    };
    match core.delete_of(topic, &name, Instant::now() + ASKED).await {
        Ok(()) => {
            tracing::info!(queue = name, why = why.text(), "a queue is deleted");
            core.metrics.queues_gone.inc();
            core.consumers.forget(queue);
        }
        Err(error) => {
            tracing::warn!(queue = name, %error, "a queue that is to go is deleted later");
            known.look().stays();
        }
    }
}
