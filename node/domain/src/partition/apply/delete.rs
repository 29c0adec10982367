//! Deletes a partition: gone for clients at once, its rows leave over several commands.

use kontiki_storage::id::PartitionId;
use kontiki_storage::{Family, key};

use super::{Context, Stop, at_least_one};
use crate::effect::Effect;
use crate::partition::{Partitions, Phase, Reply, retention};

pub(super) fn apply(
    machine: &mut Partitions,
    context: Context<'_>,
    partition: PartitionId,
    limit: u32,
) -> Result<Reply, Stop> {
    at_least_one(limit)?;
    let Context { view, stamp, batch, effects, .. } = context;
    let now_ms = stamp.time_ms;
    let Some(state) = machine.rows.get_mut(&partition) else {
        // A command to create it may still be under way: this trace refuses it.
        machine.rows.insert(partition, Box::new(Partitions::never_created(now_ms)));
        machine.put(partition, batch);
        return Ok(Reply::PartitionDeleted { remaining: 0 });
    };
    match state.phase {
        Phase::Deleted { .. } => return Ok(Reply::PartitionDeleted { remaining: 0 }),
        Phase::Deleting { .. } => {}
        Phase::Live => {
            state.phase = Phase::Deleting { since_ms: now_ms };
            batch.delete_range(Family::State, key::positions(machine.space, partition));
            if machine.queues.get(partition).is_some() {
                machine.queues.delete(partition, batch);
                effects.push(Effect::QueueChanged { queue: partition });
            }
            effects.push(Effect::PartitionDeleted { partition });
        }
    }

    let at = (machine.space, partition);
    let removed = retention::remove_head(view, batch, at, state, limit, |_, _| true)?;
    state.log_start_offset = state.log_start_offset.max(state.first_base_offset);
    let mut left = limit - removed.batches;
    while left > 0 && machine.producers.oldest(partition).is_some() {
        machine.producers.remove_oldest(batch, partition);
        left -= 1;
    }
    let producers = u64::try_from(machine.producers.count_in(partition));
    let remaining = state.batches + producers.expect("a count in memory fits 64 bits");
    if remaining == 0 {
        state.phase = Phase::Deleted { since_ms: now_ms };
        state.epochs.clear();
    }
    machine.put(partition, batch);
    Ok(Reply::PartitionDeleted { remaining })
}
