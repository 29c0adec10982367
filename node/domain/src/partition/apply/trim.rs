//! Removes records from the head of a log: by retention, or because a client asked.

use kontiki_storage::id::{Offset, PartitionId};

use super::{Context, Stop, at_least_one};
use crate::effect::Effect;
use crate::partition::retention::{self, Removed};
use crate::partition::{PartitionState, Partitions, Reply, Trimmed};
use crate::rejection::Rejection;

pub(super) fn retain(
    machine: &mut Partitions,
    context: Context<'_>,
    partition: PartitionId,
    limit: u32,
) -> Result<Reply, Stop> {
    at_least_one(limit)?;
    let start = not_a_queue(machine, partition)?.log_start_offset;
    let now_ms = context.stamp.time_ms;
    let at = (machine.space, partition);
    let state = machine.row_mut(partition);
    let Context { view, batch, .. } = context;
    let removed = retention::remove_head(view, batch, at, state, limit, |state, oldest| {
        retention::expendable(state, oldest, now_ms)
    })?;
    if removed.batches > 0 {
        state.log_start_offset = state.log_start_offset.max(state.first_base_offset);
        machine.put(partition, batch);
    }
    Ok(Reply::Retained(finish(machine, context.effects, partition, start, removed)))
}

pub(super) fn delete_records(
    machine: &mut Partitions,
    context: Context<'_>,
    partition: PartitionId,
    before: Option<Offset>,
    limit: u32,
) -> Result<Reply, Stop> {
    at_least_one(limit)?;
    let state = not_a_queue(machine, partition)?;
    let (start, end) = (state.log_start_offset, state.log_end_offset);
    let before = before.unwrap_or(end);
    if before > end {
        return Err(Rejection::OffsetOutOfRange { partition, offset: before, start, end }.into());
    }
    let at = (machine.space, partition);
    let state = machine.row_mut(partition);
    state.log_start_offset = start.max(before);
    let Context { view, batch, .. } = context;
    let removed = retention::remove_head(view, batch, at, state, limit, retention::below_start)?;
    if removed.batches > 0 || before > start {
        machine.put(partition, batch);
    }
    Ok(Reply::RecordsDeleted(finish(machine, context.effects, partition, start, removed)))
}

/// The messages of a queue leave when they are settled, and not otherwise.
fn not_a_queue(machine: &Partitions, partition: PartitionId) -> Result<&PartitionState, Rejection> {
    let state = machine.live(partition)?;
    if state.queue.is_some() { Err(Rejection::IsAQueue(partition)) } else { Ok(state) }
}

fn finish(
    machine: &Partitions,
    effects: &mut Vec<Effect>,
    partition: PartitionId,
    former_start: Offset,
    removed: Removed,
) -> Trimmed {
    let state = machine.get(partition).expect("looked up by the command");
    let log_start_offset = state.log_start_offset;
    assert!(log_start_offset >= former_start, "a log start went back");
    if log_start_offset != former_start {
        effects.push(Effect::LogStartMoved { partition, log_start_offset });
    }
    let Removed { batches, bytes, more } = removed;
    Trimmed { log_start_offset, batches, bytes, more }
}
