//! One topic as it is: settings, partitions, sizes.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::{StreamExt as _, iter};
use kontiki_domain::catalog::PartitionPlacement;
use kontiki_storage::id::{PartitionId, ShardId};
use tokio::time::Instant;

use super::sizes::sizes;
use super::{Description, PartitionDescription, PartitionSize, settings};
use crate::core::{Broker, Core};
use crate::error::Error;

impl Broker {
    /// Settings, partitions, sizes.
    ///
    /// # Errors
    /// No such topic.
    pub async fn describe_topic(&self, topic: &str) -> Result<Description, Error> {
        let core = &self.0;
        let deadline = core.default_deadline();
        let look = |topic: &kontiki_domain::catalog::Topic| {
            (topic.topic, settings::show(&topic.settings()), topic.partitions.clone())
        };
        let (id, settings, placed) = core.known_topic(topic, deadline, look).await?;
        let known = core.all_sizes(&placed, deadline).await;
        let infos = core.shard_infos().partitions(&placed);
        let partitions = infos.into_iter().zip(&placed);
        let partitions = partitions
            .map(|(info, at)| PartitionDescription {
                info,
                known: known.get(&at.partition).copied(),
            })
            .collect();
        Ok(Description { topic_id: id.0, settings, partitions })
    }
}

impl Core {
    /// What is known of the sizes: shards whose leader doesn't answer are left out.
    async fn all_sizes(
        self: &Arc<Self>,
        placed: &[PartitionPlacement],
        deadline: Instant,
    ) -> BTreeMap<PartitionId, PartitionSize> {
        let mut by_shard: BTreeMap<ShardId, Vec<PartitionId>> = BTreeMap::new();
        for at in placed {
            by_shard.entry(at.shard).or_default().push(at.partition);
        }
        let asked = by_shard.into_iter().map(|(shard, partitions)| async move {
            match sizes(self, shard, &partitions, deadline).await {
                Ok(sizes) => partitions.into_iter().zip(sizes).collect(),
                Err(error) => {
                    tracing::debug!(%shard, %error, "the sizes of its partitions are not known");
                    Vec::new()
                }
            }
        });
        let asked = iter(asked).buffer_unordered(self.options.topics.partitions_at_once);
        let answers: Vec<Vec<(PartitionId, Option<PartitionSize>)>> = asked.collect().await;
        let known = answers.into_iter().flatten();
        known.filter_map(|(partition, size)| size.map(|size| (partition, size))).collect()
    }
}
