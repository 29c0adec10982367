//! This node's copy of the catalog, for whoever wants to look at it.

use std::sync::{Arc, RwLock};

use kontiki_domain::catalog::{Catalog, CatalogVersion};
use kontiki_domain::shard::ShardMachine;
use kontiki_storage::id::{PartitionId, ShardId, TopicId};
use kontiki_storage::key::Space;
use kontiki_storage::{Error, View};
use tokio::sync::watch;

use crate::error;

/// The catalog as far as it has been applied here. It may be a moment old: what depends on it is
/// checked again by the leader of the shard.
pub(crate) struct CatalogCopy {
    machine: RwLock<ShardMachine>,
    version: watch::Sender<CatalogVersion>,
}

/// Where a partition of a topic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) topic: TopicId,
    pub(crate) partition: PartitionId,
    pub(crate) shard: ShardId,
}

impl CatalogCopy {
    /// An empty copy: the replica of shard 0 fills it when it is opened. Nothing is read before, so
    /// that damage in a row costs that replica and not the node.
    ///
    /// # Errors
    /// Of storage.
    pub(crate) fn new(view: &dyn View) -> Result<Arc<Self>, Error> {
        // States begin with generation 1.
        let nothing = Space { shard: ShardId::CATALOG, generation: 0 };
        let machine = ShardMachine::load(view, nothing)?;
        let version = watch::channel(CatalogVersion(0)).0;
        Ok(Arc::new(Self { machine: RwLock::new(machine), version }))
    }

    /// Looks at it. Not to be called from within itself.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Catalog) -> T) -> T {
        let machine = self.machine.read().expect("nothing panics under this lock");
        look(machine.catalog().expect("shard 0 holds the catalog"))
    }

    /// Changes it: for the state machine of shard 0 alone.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut ShardMachine) -> T) -> T {
        change(&mut self.machine.write().expect("an invariant of the catalog is broken"))
    }

    /// What has been applied is in the engine.
    pub(crate) fn publish(&self) {
        let version = self.look(Catalog::version);
        self.version.send_if_modified(|known| std::mem::replace(known, version) != version);
    }

    /// Changes with the copy.
    pub(crate) fn watch(&self) -> watch::Receiver<CatalogVersion> {
        self.version.subscribe()
    }

    /// Where a partition is.
    ///
    /// # Errors
    /// No such topic or partition, or no catalog yet.
    pub(crate) fn place(&self, topic: &str, partition: u32) -> Result<Place, error::Error> {
        self.look(|catalog| {
            if catalog.cluster().is_none() {
                return Err(error::Error::not_ready());
            }
            let found = catalog.topic_named(topic);
            let found = found.ok_or_else(|| error::Error::unknown_topic(topic))?;
            let at = found.partitions.get(partition as usize).ok_or_else(|| {
                error::Error::unknown_partition(topic, partition, found.partitions.len())
            })?;
            Ok(Place { topic: found.topic, partition: at.partition, shard: at.shard })
        })
    }
}
