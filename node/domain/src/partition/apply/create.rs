//! Makes a partition.

use kontiki_storage::id::{PartitionId, TopicId};

use super::Context;
use crate::effect::Effect;
use crate::partition::{PartitionState, Partitions, Phase, Reply};
use crate::rejection::Rejection;
use crate::settings::Settings;

pub(super) fn apply(
    machine: &mut Partitions,
    context: Context<'_>,
    partition: PartitionId,
    topic: TopicId,
    settings: &Settings,
    settings_version: u64,
) -> Result<Reply, Rejection> {
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
    let state = PartitionState::new(topic, settings.clone(), settings_version, now_ms);
    machine.rows.insert(partition, state);
    machine.put(partition, context.batch);
    context.effects.push(Effect::PartitionCreated { partition });
    Ok(Reply::PartitionCreated { existed: false })
}
