//! Brings the partitions of the shards that this node leads to what the catalog says: makes those
//! that are missing, tells them of changed settings, and removes those of deleted topics.
//!
//! Whoever creates or changes a topic does this too; what is done here is what was interrupted.
//! Memory: some 40 bytes for each partition that this node leads.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use kontiki_domain::catalog::{self, Catalog, CatalogVersion};
use kontiki_domain::partition::{self, read};
use kontiki_domain::queue::QueueSettings;
use kontiki_domain::settings::Settings;
use kontiki_raft::Shard;
use kontiki_storage::id::{PartitionId, ShardId, TopicId};
use tokio::time::Instant;

use super::{AT_ONCE, leads, sound};
use crate::core::Core;
use crate::error::Error;

/// How often everything is compared although nothing seems to have changed.
const ALL_AGAIN: Duration = Duration::from_secs(300);

pub(super) async fn run(core: &Arc<Core>) {
    let mut topics = Topics::default();
    loop {
        tokio::time::sleep(Duration::from_millis(core.options.timers.topics_check_ms)).await;
        topics.check(core).await;
    }
}

/// What was found to be as it should.
#[derive(Debug, Default)]
struct Topics {
    /// The catalog, and the terms in which shards are led, of the last comparison that found
    /// nothing left to do.
    settled: Option<(CatalogVersion, BTreeMap<ShardId, u64>)>,
    terms: BTreeMap<ShardId, u64>,
    /// Settings version by partition.
    known: HashMap<ShardId, HashMap<PartitionId, u64>>,
    all_again: Option<Instant>,
}

/// Something that the catalog says about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// It exists, with settings of this version.
    Live { settings_version: u64 },
    /// Nothing is left of it.
    Gone,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    topic: TopicId,
    partition: PartitionId,
    wanted: Wanted,
}

impl Topics {
    async fn check(&mut self, core: &Arc<Core>) {
        let shards = core.led();
        let term = |shard: &Shard| (shard.id(), shard.role().term);
        let terms: BTreeMap<ShardId, u64> = shards.iter().map(term).collect();
        let version = core.catalog.look(Catalog::version);
        let now = Instant::now();
        if self.all_again.is_none_or(|at| at <= now) {
            self.all_again = Some(now + ALL_AGAIN);
            self.known.clear();
            self.settled = None;
        }
        let state = (version, terms);
        if self.settled.as_ref() == Some(&state) {
            return;
        }
        // What another leader may have changed is looked at anew.
        self.known.retain(|id, _| state.1.get(id).is_some_and(|t| self.terms.get(id) == Some(t)));
        self.terms.clone_from(&state.1);
        let mut settled = true;
        for shard in &shards {
            settled &= self.bring(core, shard).await;
        }
        self.settled = settled.then_some(state);
    }

    /// Brings one shard's partitions to what they should be; returns whether they all are.
    async fn bring(&mut self, core: &Arc<Core>, shard: &Shard) -> bool {
        let known = self.known.entry(shard.id()).or_default();
        let items = core.catalog.look(|catalog| unsettled(catalog, shard.id(), known));
        let mut settled = true;
        let mut purged: BTreeMap<TopicId, Vec<PartitionId>> = BTreeMap::new();
        for some in items.chunks(core.options.timers.partitions_at_once) {
            let done = stream::iter(some.to_vec())
                .map(|item| async move { (item, bring_one(core, shard, item).await) });
            let mut done = done.buffer_unordered(AT_ONCE);
            while let Some((item, done)) = done.next().await {
                match (done, item.wanted) {
                    (true, Wanted::Live { settings_version }) => {
                        known.insert(item.partition, settings_version);
                    }
                    (true, Wanted::Gone) => {
                        known.remove(&item.partition);
                        purged.entry(item.topic).or_default().push(item.partition);
                    }
                    (false, _) => settled = false,
                }
            }
        }
        for (topic, partitions) in purged {
            let command = catalog::Command::PartitionsPurged { topic, partitions };
            if let Err(error) = core.ask_catalog(command, core.default_deadline()).await {
                tracing::debug!(%topic, %error, "a purged topic is reported later");
                settled = false;
            }
        }
        settled
    }
}

/// What the catalog says of a shard's partitions, but for what is known to be so.
fn unsettled(catalog: &Catalog, shard: ShardId, known: &HashMap<PartitionId, u64>) -> Vec<Item> {
    let mut items = Vec::new();
    for topic in catalog.topics() {
        let wanted = if topic.is_active() {
            Wanted::Live { settings_version: topic.settings_version }
        } else {
            Wanted::Gone
        };
        for place in topic.partitions.iter().filter(|place| place.shard == shard) {
            let so = match wanted {
                Wanted::Live { settings_version } => {
                    known.get(&place.partition).is_some_and(|known| *known >= settings_version)
                }
                Wanted::Gone => false,
            };
            if !so {
                items.push(Item { topic: topic.topic, partition: place.partition, wanted });
            }
        }
    }
    items
}

/// Returns whether the partition is now what it should be.
async fn bring_one(core: &Arc<Core>, shard: &Shard, item: Item) -> bool {
    let done = match item.wanted {
        Wanted::Live { settings_version } => make(core, shard, item, settings_version).await,
        Wanted::Gone => purge(core, shard, item.partition).await,
    };
    done.unwrap_or_else(|error| {
        let (shard, partition) = (shard.id(), item.partition);
        tracing::debug!(%shard, %partition, %error, "a partition is brought in order later");
        false
    })
}

async fn make(
    core: &Arc<Core>,
    shard: &Shard,
    item: Item,
    settings_version: u64,
) -> Result<bool, Error> {
    let (view, space) = shard.view();
    let found = read::partition(view.as_ref(), space, item.partition);
    drop(view);
    let Some(found) = sound(shard, found).await else { return Ok(false) };
    let Some((settings, queue)) = settings(core, item.topic, settings_version) else {
        return Ok(false);
    };
    let partition = item.partition;
    let command = match found {
        Some(state) if !state.is_live() => {
            tracing::warn!(%partition, "is deleted, but its topic isn't");
            return Ok(true);
        }
        Some(state) if state.settings_version >= settings_version => return Ok(true),
        Some(_) => {
            partition::Command::UpdateSettings { partition, settings, settings_version, queue }
        }
        None => partition::Command::CreatePartition {
            partition,
            topic: item.topic,
            settings,
            settings_version,
            queue,
        },
    };
    core.ask_in_time(shard.id(), command).await.map(|_| true)
}

/// The settings of a topic, if they still have this version.
fn settings(
    core: &Arc<Core>,
    topic: TopicId,
    version: u64,
) -> Option<(Settings, Option<QueueSettings>)> {
    core.catalog.look(|catalog| {
        let topic = catalog.topic(topic).filter(|topic| topic.is_active());
        let topic = topic.filter(|topic| topic.settings_version == version);
        topic.map(|topic| (topic.settings(), topic.queue.as_deref().cloned()))
    })
}

/// Removes a partition's rows, some at a time.
async fn purge(core: &Arc<Core>, shard: &Shard, partition: PartitionId) -> Result<bool, Error> {
    let limit = core.options.timers.purge_rows;
    while leads(shard) {
        let command = partition::Command::DeletePartition { partition, limit };
        let reply = core.ask_in_time(shard.id(), command).await?;
        let partition::Reply::PartitionDeleted { remaining } = reply else {
            return Err(Error::internal(format!("a purge was answered with {reply:?}")));
        };
        if remaining == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
