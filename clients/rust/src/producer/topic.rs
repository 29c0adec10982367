//! A topic that is written to: how many partitions it has, and those that have a task.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use kontiki_proto::v1;

use super::Core;
use super::lane::{Lane, LaneShared};
use super::partitioner::{self, Sticky};
use crate::{Client, Error, NewRecord};

/// See the module.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    count: AtomicU32,
    sticky: Sticky,
    lanes: RwLock<Vec<Option<Arc<LaneShared>>>>,
}

impl Topic {
    pub(crate) fn new(name: Arc<str>, count: u32, seed: u32) -> Self {
        let (count, sticky) = (AtomicU32::new(count), Sticky::new(seed));
        Self { name, count, sticky, lanes: RwLock::default() }
    }

    /// The partition of a record.
    ///
    /// # Errors
    /// NOT_FOUND, if there is no such partition.
    pub(crate) async fn partition(
        &self,
        record: &NewRecord,
        client: &Client,
    ) -> Result<u32, Error> {
        let choose = |count: u32| {
            let key = record.key.as_deref();
            (count > 0).then(|| partitioner::choose(record.partition, key, &self.sticky, count))?
        };
        if let Some(partition) = choose(self.count.load(Ordering::Relaxed)) {
            return Ok(partition);
        }
        // It may have been added in the meantime.
        let count = client.refresh(&self.name).await?;
        self.count.store(count, Ordering::Relaxed);
        choose(count).ok_or_else(|| {
            let asked = record.partition.unwrap_or(0);
            let message = format!("{} has no partition {asked}: it has {count}, from 0", self.name);
            Error::new(v1::ErrorKind::NotFound, message)
        })
    }

    /// The batch of a partition is on its way: records without a key go to the next one.
    pub(crate) fn closed_batch(&self, partition: u32, client: &Client) {
        if let Some((count, _)) = client.cache().partitions(&self.name) {
            self.count.store(count, Ordering::Relaxed);
        }
        self.sticky.closed(partition, self.count.load(Ordering::Relaxed));
    }

    /// The lane of a partition; its task is started with it.
    ///
    /// # Errors
    /// THROTTLED, if the producer writes to too many partitions.
    pub(crate) fn lane(
        self: &Arc<Self>,
        partition: u32,
        core: &Arc<Core>,
    ) -> Result<Arc<LaneShared>, Error> {
        let index = partition as usize;
        {
            let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(Some(lane)) = lanes.get(index) {
                return Ok(lane.clone());
            }
        }
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() <= index {
            lanes.resize(index + 1, None);
        }
        if let Some(lane) = &lanes[index] {
            return Ok(lane.clone());
        }
        core.count_partition()?;
        let shared = Arc::new(LaneShared::new(partition, core));
        lanes[index] = Some(shared.clone());
        let (core, topic, lane) = (core.clone(), self.clone(), shared.clone());
        tokio::spawn(async move { Lane::new(core, topic, lane).await.run().await });
        Ok(shared)
    }

    /// All lanes.
    pub(crate) fn lanes(&self) -> Vec<Arc<LaneShared>> {
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        lanes.iter().flatten().cloned().collect()
    }
}
