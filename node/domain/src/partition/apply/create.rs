//! Makes a partition.

use std::sync::Arc;

use kontiki_storage::id::{PartitionId, TopicId};

use super::Context;
use crate::effect::Effect;
use crate::partition::{PartitionState, Partitions, Phase, Reply};
use crate::queue::QueueSettings;
use crate::rejection::Rejection;
use crate::settings::Settings;

/// What is made.
pub(super) struct New<'a> {
    pub topic: TopicId,
    pub settings: &'a Settings,
    pub version: u64,
    pub queue: &'a Option<QueueSettings>,
}

pub(super) fn apply(
    machine: &mut Partitions,
    context: Context<'_>,
    partition: PartitionId,
    new: New<'_>,
) -> Result<Reply, Rejection> {
    let New { topic, settings, version, queue } = new;
    if let Some(known) = machine.get(partition) {
        return match known.phase {
            Phase::Live if known.topic == topic => Ok(Reply::PartitionCreated { existed: true }),
            Phase::Live => {
                let (topic, asked) = (known.topic, topic);
                Err(Rejection::PartitionExists { partition, topic, asked })
            }
            Phase::Deleting { .. } | Phase::Deleted { .. } => {
                Err(Rejection::PartitionDeleted { partition })
            }
        };
    }
    settings.validate()?;
    let now_ms = context.stamp.time_ms;
    if let Some(queue) = queue {
        queue.validate()?;
        machine.queues.create(partition, context.batch);
    }
    let state = PartitionState::new(topic, settings.clone(), version, now_ms);
    let state = PartitionState { queue: queue.clone().map(Arc::new), ..state };
    machine.rows.insert(partition, Box::new(state));
    machine.put(partition, context.batch);
    context.effects.push(Effect::PartitionCreated { partition });
    Ok(Reply::PartitionCreated { existed: false })
}
