//! Makes queues, changes them, looks at them, empties them.

use std::collections::BTreeMap;
use std::sync::Arc;

use kontiki_domain::catalog::{self, AlterTopic, Topic};
use kontiki_domain::partition;
use kontiki_domain::queue::{Command, QueueSettings, Reply};
use kontiki_domain::settings::Overrides;
use kontiki_storage::id::{Offset, PartitionId, ShardId};

use super::{BreakerState, misunderstood, of_queue, settings, unknown};
use crate::core::{Broker, Core};
use crate::error::{Code, Error, Kind};
use crate::read::wire::{QueueCounts, Request, Response};
use crate::topics::{self, Repeat, of_topic, unexpected};

/// Messages that one command of a purge removes.
const PURGED_AT_ONCE: u32 = 4_096;

/// A queue to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// Its name; empty: the node makes one.
    pub queue: String,
    /// Settings by name: those of queues, and `message_bytes_max` and `durability`.
    pub settings: BTreeMap<String, String>,
    /// Only check.
    pub validate_only: bool,
    /// Succeed where it exists with the same settings.
    pub if_not_exists: bool,
}

/// How many messages came and went since a queue was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Stored.
    pub sent: u64,
    /// Delivered.
    pub delivered: u64,
    /// Acknowledged.
    pub acknowledged: u64,
    /// Leases that ended by themselves.
    pub leases_ended: u64,
    /// Dropped.
    pub dropped: u64,
    /// Moved to another queue.
    pub moved: u64,
    /// Purged.
    pub purged: u64,
    /// Sends that were repetitions.
    pub duplicates: u64,
}

/// A queue, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its id.
    pub queue_id: u64,
    /// All settings by name.
    pub settings: BTreeMap<String, String>,
    /// How often they were changed, from 1.
    pub settings_version: u64,
    /// When it was created, in milliseconds since 1970.
    pub created_ms: i64,
    /// Messages that can be received now.
    pub available: u64,
    /// Messages that consumers have.
    pub leased: u64,
    /// Messages that wait for a time.
    pub scheduled: u64,
    /// Messages on their way to another queue.
    pub moving: u64,
    /// Bytes of the stored batches.
    pub bytes: u64,
    /// When the oldest message was stored, in milliseconds since 1970, if there is one.
    pub oldest_ms: Option<i64>,
    /// What came and went.
    pub totals: Totals,
    /// Consumers that are there, as the leader knows: those that wait, or did lately.
    pub consumers: u32,
    /// The one that gets messages, where the settings want only one.
    pub active_consumer: Option<String>,
    /// Whether the queue delivers.
    pub breaker: BreakerState,
}

/// A name in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub queue: String,
    /// Its id.
    pub queue_id: u64,
}

/// What is in the catalog of a queue.
struct Known {
    topic: Topic,
    queue: Arc<QueueSettings>,
}

impl Broker {
    /// Creates a queue; when it returns, any node can be asked to send to it. Returns its id (0
    /// where it was only checked) and its name: one that nobody else has, where none was given.
    ///
    /// # Errors
    /// It exists, a name or setting that can't be, a limit, or the catalog can't be asked.
    pub async fn create_queue(&self, mut create: Create) -> Result<(u64, String), Error> {
        if create.queue.is_empty() {
            create.queue = format!("kontiki.gen-{}", self.0.random_name());
        }
        let name = create.queue.clone();
        let mut queue = QueueSettings::default();
        let mut others = BTreeMap::new();
        for (name, value) in create.settings {
            if is_of_topic(&name) {
                others.insert(name, value);
            } else {
                settings::set(&mut queue, &name, Some(&value))?;
            }
        }
        check(&create.queue, &queue)?;
        let create = topics::Create {
            topic: create.queue,
            partitions: 1,
            settings: others,
            validate_only: create.validate_only,
            if_not_exists: create.if_not_exists,
            queue: Some(queue),
        };
        let (again, checked) = (create.if_not_exists, create.validate_only);
        let (id, _) = self.create_topic(create).await?;
        if again && !checked {
            self.0.declared(&name).await;
        }
        Ok((id, name))
    }

    /// Changes settings; returns all of them. One that is both reset and set is set.
    ///
    /// # Errors
    /// No such queue, a setting that can't be, somebody else changed it meanwhile, or the catalog
    /// can't be asked.
    pub async fn alter_queue(
        &self,
        name: &str,
        set: BTreeMap<String, String>,
        reset: Vec<String>,
        validate_only: bool,
    ) -> Result<BTreeMap<String, String>, Error> {
        let core = &self.0;
        let deadline = core.default_deadline();
        let Known { topic, queue } = self.known_queue(name).await?;
        let mut changed = QueueSettings::clone(&queue);
        let (mut others, mut reset_others) = (BTreeMap::new(), Vec::new());
        for name in reset {
            if is_of_topic(&name) {
                reset_others.push(name);
            } else {
                settings::set(&mut changed, &name, None)?;
            }
        }
        for (name, value) in set {
            if is_of_topic(&name) {
                others.insert(name, value);
            } else {
                settings::set(&mut changed, &name, Some(&value))?;
            }
        }
        check(name, &changed)?;
        let command = catalog::Command::AlterTopic(AlterTopic {
            topic: topic.topic,
            set: topics::settings::parse(&others)?,
            reset: topics::settings::parse_names(&reset_others)?,
            // What is set is all of the queue's settings: those that this was computed from.
            settings_version: Some(topic.settings_version),
            validate_only,
            queue: Some(changed.clone()),
        });
        let asked = core.persuade_catalog(command, Repeat::IfNotDone, deadline).await;
        let reply = asked.done().map_err(|error| of_topic(name, error))?;
        if reply == catalog::Reply::Valid {
            return Ok(shown(&topic.overrides, &changed));
        }
        let catalog::Reply::TopicAltered { settings_version, settings, partitions } = reply else {
            return Err(unexpected(name));
        };
        let told = core.tell_partitions(name, partitions, deadline, |at| {
            let (partition, settings) = (at.partition, settings.clone());
            let queue = Some(changed.clone());
            partition::Command::UpdateSettings { partition, settings, settings_version, queue }
        });
        let (told, ()) = tokio::join!(told, core.catalog_everywhere());
        told.map_err(|error| {
            let detail = format!(
                "queue {name} is changed in the catalog, and doesn't know it yet; it is told in \
                 the background: {}",
                error.detail
            );
            Error::new(Kind::Unknown, Code::OUTCOME_UNKNOWN, detail)
        })?;
        let mut all = settings::show(&changed);
        all.extend(topics::settings::show(&settings).into_iter().filter(|(n, _)| is_of_topic(n)));
        Ok(all)
    }

    /// Settings and counts.
    ///
    /// # Errors
    /// No such queue, or its leader doesn't answer in time.
    pub async fn describe_queue(&self, name: &str) -> Result<Description, Error> {
        let core = &self.0;
        let Known { topic, queue } = self.known_queue(name).await?;
        let at = topic.partitions.first().ok_or_else(|| unknown(name))?;
        let counts = core.queue_counts(name, at.partition, at.shard).await?;
        let [sent, delivered, acknowledged, leases_ended, dropped, moved, purged, duplicates] =
            counts.totals;
        let known = counts.consumers;
        let number = known.as_ref().map_or(0, |known| known.breaker);
        let mut breaker = BreakerState::from_number(number);
        if breaker == BreakerState::Off && queue.breaker().is_some() {
            // Nobody has received since the leader leads.
            breaker = BreakerState::Closed;
        }
        Ok(Description {
            consumers: known.as_ref().map_or(0, |known| known.count),
            active_consumer: known.and_then(|known| known.active),
            breaker,
            queue_id: topic.topic.0,
            settings: shown(&topic.overrides, &queue),
            settings_version: topic.settings_version,
            created_ms: topic.created_ms,
            available: counts.available,
            leased: counts.leased,
            scheduled: counts.scheduled,
            moving: counts.moving,
            bytes: counts.bytes,
            oldest_ms: (counts.oldest_ms > 0).then_some(counts.oldest_ms),
            totals: Totals {
                sent,
                delivered,
                acknowledged,
                leases_ended,
                dropped,
                moved,
                purged,
                duplicates,
            },
        })
    }

    /// Names of queues with a prefix, after a name, at most `limit` (0 is the default); and whether
    /// more follow.
    ///
    /// # Errors
    /// A limit out of bounds, or no catalog yet.
    pub fn list_queues(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<(Vec<Listed>, bool), Error> {
        self.0.list(prefix, after, limit, |topic| {
            topic.queue.as_ref()?;
            Some(Listed { queue: topic.name.clone(), queue_id: topic.topic.0 })
        })
    }

    /// Deletes a queue with its messages; when it returns, its name is free.
    ///
    /// # Errors
    /// No such queue, or the catalog can't be asked.
    pub async fn delete_queue(&self, name: &str) -> Result<(), Error> {
        self.known_queue(name).await?;
        self.delete_topic(name).await.map_err(|error| of_queue(name, error))
    }

    /// Removes the messages that wait in a queue now, scheduled ones included; those in flight
    /// stay. Returns how many were removed.
    ///
    /// # Errors
    /// No such queue, or its leader doesn't answer in time: then some may have been removed.
    pub async fn purge_queue(&self, name: &str) -> Result<u64, Error> {
        let core = &self.0;
        let (place, _) = core.queue(name)?;
        let counts = core.queue_counts(name, place.partition, place.shard).await?;
        let before = Offset(counts.end_offset);
        let mut all = 0;
        loop {
            let queue = place.partition;
            let command = Command::Purge { queue, before, limit: PURGED_AT_ONCE };
            let deadline = core.default_deadline();
            let reply = core.ask_queue(place.shard, command, Vec::new(), deadline).await;
            let reply = reply.map_err(|error| of_queue(name, error))?;
            let Reply::Purged { removed, more } = reply else { return Err(misunderstood(&reply)) };
            all += removed;
            if !more {
                return Ok(all);
            }
        }
    }

    async fn known_queue(&self, name: &str) -> Result<Known, Error> {
        let core = &self.0;
        let known = core.known_topic(name, core.default_deadline(), Topic::clone).await;
        let topic = known.map_err(|error| of_queue(name, error))?;
        match topic.queue.clone() {
            Some(queue) => Ok(Known { topic, queue }),
            // Says that it is no queue.
            None => Err(core.queue(name).err().unwrap_or_else(|| unknown(name))),
        }
    }
}

impl Core {
    /// How many messages of a queue are where, as its leader says.
    pub(super) async fn queue_counts(
        self: &Arc<Self>,
        name: &str,
        queue: PartitionId,
        shard: ShardId,
    ) -> Result<QueueCounts, Error> {
        let request = Request::Queues(vec![queue.0]);
        let answer = self.read_shard(shard, &request, self.default_deadline()).await;
        let (response, _) = answer.map_err(|error| of_queue(name, error))?;
        let Response::Queues(mut parts) = response else {
            return Err(Error::internal("a count was answered with something else"));
        };
        let part = parts.pop().ok_or_else(|| Error::internal("a count is missing"))?;
        let counts: Result<QueueCounts, Error> = part.into();
        counts.map_err(|error| of_queue(name, error))
    }
}

/// Settings that topics have, and queues as well.
fn is_of_topic(name: &str) -> bool {
    matches!(name, "message_bytes_max" | "durability") && !settings::is_known(name)
}

fn check(name: &str, queue: &QueueSettings) -> Result<(), Error> {
    queue.validate()?;
    if queue.dead_letter.as_deref() == Some(name) {
        let expected = "the name of another queue: what can't be delivered would come back";
        return Err(Error::invalid("setting dead_letter", name, expected));
    }
    Ok(())
}

fn shown(overrides: &Overrides, queue: &QueueSettings) -> BTreeMap<String, String> {
    let mut all = settings::show(queue);
    let others = topics::settings::show(&overrides.effective());
    all.extend(others.into_iter().filter(|(name, _)| is_of_topic(name)));
    all
}
