//! Topics: create, change, look at, delete.
//!
//! A change is decided by the catalog, brought to the partitions by whoever asked for it, and then
//! waited for on all nodes. Where the asker fails in between, the background work of the leaders
//! finishes it.
//!
//! * `create`, `alter`, `delete`: the changes; `describe`, `list`: what there is
//! * `settings`: settings as texts
//! * `repeat`: asking again after an unknown outcome
//! * `spread`: waiting for the copies of the catalog on all nodes
//! * `sizes`: what is in partitions

mod alter;
mod create;
mod delete;
mod describe;
mod list;
mod repeat;
pub(crate) mod settings;
mod sizes;
mod spread;

use std::collections::BTreeMap;

use futures_util::stream::{StreamExt as _, TryStreamExt as _, iter};
use kontiki_domain::catalog::{Catalog, PartitionPlacement, Topic};
use kontiki_domain::queue::QueueSettings;
use kontiki_domain::{Rejection, partition};
use tokio::time::Instant;

use crate::core::Core;
use crate::error::{Code, Error, Kind};
use crate::metadata::PartitionInfo;

pub(crate) use self::create::unexpected;
pub(crate) use self::repeat::{Asked, Repeat};

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// Its name.
    pub topic: String,
    /// How many partitions; 0 is 1.
    pub partitions: u32,
    /// Settings by name.
    pub settings: BTreeMap<String, String>,
    /// Only check.
    pub validate_only: bool,
    /// Succeed where it exists with as many partitions.
    pub if_not_exists: bool,
    /// Set where it is to be a queue.
    pub queue: Option<QueueSettings>,
}

/// A partition and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Where it is.
    pub info: PartitionInfo,
    /// Offsets and size, where its leader answers.
    pub known: Option<PartitionSize>,
}

/// What is in a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartitionSize {
    /// The oldest offset.
    pub log_start_offset: u64,
    /// The offset after the newest record.
    pub high_watermark: u64,
    /// Bytes of the stored batches.
    pub bytes: u64,
}

/// A topic, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its id.
    pub topic_id: u64,
    /// All settings by name.
    pub settings: BTreeMap<String, String>,
    /// Its partitions.
    pub partitions: Vec<PartitionDescription>,
}

/// A name in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub topic: String,
    /// Its id.
    pub topic_id: u64,
    /// How many partitions it has.
    pub partitions: u32,
    /// Whether it is a queue.
    pub is_queue: bool,
}

impl Core {
    /// Looks at an active topic, in a copy of the catalog that is brought up to date first.
    pub(crate) async fn known_topic<T>(
        &self,
        name: &str,
        deadline: Instant,
        look: impl Fn(&Topic) -> T,
    ) -> Result<T, Error> {
        let find = |catalog: &Catalog| match catalog.cluster() {
            None => Err(Error::not_ready()),
            Some(_) => Ok(catalog.topic_named(name).map(&look)),
        };
        self.catalog.look(|catalog| find(catalog).map(drop))?;
        self.catalog_barrier(deadline).await?;
        self.catalog.look(find)?.ok_or_else(|| Error::unknown_topic(name))
    }

    /// Brings a command to each of a topic's partitions, some at a time; ends with the first that
    /// fails.
    pub(crate) async fn tell_partitions(
        &self,
        topic: &str,
        partitions: Vec<PartitionPlacement>,
        deadline: Instant,
        command: impl Fn(PartitionPlacement) -> partition::Command,
    ) -> Result<(), Error> {
        let told = partitions.into_iter().map(|at| {
            let command = command(at);
            async move {
                let told = self.persuade_partition(at.shard, command, deadline).await;
                told.map(drop).map_err(|error| of_topic(topic, error))
            }
        });
        let mut told = iter(told).buffer_unordered(self.options.topics.partitions_at_once);
        while told.try_next().await?.is_some() {}
        Ok(())
    }
}

/// A failure in words of the caller, who knows topics by name.
pub(crate) fn of_topic(name: &str, error: Error) -> Error {
    let gone = [
        Rejection::UnknownTopic { topic: kontiki_storage::id::TopicId(0) }.code(),
        Rejection::PartitionDeleted { partition: kontiki_storage::id::PartitionId(0) }.code(),
    ];
    if error.kind == Kind::NotFound && gone.iter().any(|code| error.code == Code((*code).into())) {
        return Error::unknown_topic(name);
    }
    error.about(format_args!("topic {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Broker;

    fn sendable(_: &impl Send) {}

    /// A gateway runs calls on any thread. Nothing is run here: it has to compile.
    #[expect(dead_code)]
    fn calls_can_move_between_threads(broker: &Broker, create: Create) {
        sendable(&broker.create_topic(create));
        sendable(&broker.alter_topic("a", BTreeMap::new(), Vec::new(), true));
        sendable(&broker.describe_topic("a"));
        sendable(&broker.delete_topic("a"));
        sendable(&broker.add_partitions("a", 2));
        sendable(&broker.init_producer(None));
    }

    #[test]
    fn what_is_gone_is_told_by_its_name() {
        let topic = kontiki_storage::id::TopicId(4);
        let gone = of_topic("a", Rejection::UnknownTopic { topic }.into());
        assert_eq!(gone, Error::unknown_topic("a"));
        let partition = kontiki_storage::id::PartitionId(4);
        let gone = of_topic("a", Rejection::PartitionDeleted { partition }.into());
        assert_eq!(gone, Error::unknown_topic("a"));
        let falls = Rejection::PartitionsFall { topic, partitions: 2, asked: 1 };
        let error = of_topic("a", falls.into());
        assert_eq!(error.kind, Kind::Invalid);
        assert!(error.detail.starts_with("topic a: "), "{error}");
    }
}
