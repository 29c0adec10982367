//! Brings a topic's changed settings to one of its partitions.

use std::sync::Arc;

use kontiki_storage::id::PartitionId;

use super::Context;
use crate::effect::Effect;
use crate::partition::{Partitions, Reply};
use crate::queue::QueueSettings;
use crate::rejection::Rejection;
use crate::settings::Settings;

pub(super) fn apply(
    machine: &mut Partitions,
    context: Context<'_>,
    partition: PartitionId,
    settings: &Settings,
    settings_version: u64,
    queue: Option<&QueueSettings>,
) -> Result<Reply, Rejection> {
    let known = machine.live(partition)?;
    if settings_version <= known.settings_version {
        // Two changes may overtake each other on their way here.
        return Ok(Reply::SettingsUpdated { settings_version: known.settings_version });
    }
    settings.validate()?;
    match (&known.queue, queue) {
        (Some(known), Some(queue)) => known.validate_change(queue)?,
        (None, Some(_)) => return Err(Rejection::NotAQueue(partition)),
        (_, None) => {}
    }
    let state = machine.row_mut(partition);
    state.settings = settings.clone();
    if let Some(queue) = queue {
        state.queue = Some(Arc::new(queue.clone()));
    }
    state.settings_version = settings_version;
    machine.put(partition, context.batch);
    if queue.is_some() {
        // A shorter time, or no dead-letter queue any more, may concern what is there.
        machine.queues.wake(partition, context.stamp.time_ms, context.batch);
        context.effects.push(Effect::QueueChanged { queue: partition });
    }
    Ok(Reply::SettingsUpdated { settings_version })
}
