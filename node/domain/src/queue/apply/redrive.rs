//! Tasks that move messages to other queues: their begin, their steps, their end.

use kontiki_storage::Error;
use kontiki_storage::id::{Offset, PartitionId};
use kontiki_storage::key::queue as keys;

use super::{LIST_MAX, Parts, divert};
use crate::catalog::validate_name;
use crate::mutant::{self, Mutant};
use crate::partition::{Context, Partitions, Stop};
use crate::queue::redrive::limits;
use crate::queue::{
    RedriveProgress, RedriveSpec, RedriveStatus, RedriveStep, RedriveTask, Reply, Transfer,
};
use crate::rejection::{RedriveUnfinished, Rejection};

pub(super) fn start(
    machine: &mut Partitions,
    context: Context<'_>,
    id: PartitionId,
    spec: &RedriveSpec,
) -> Result<Reply, Stop> {
    spec.validate()?;
    let mut parts = Parts::of(machine, context, id)?;
    if let Some(redrive) = parts.queue.redriving {
        return Err(Rejection::RedriveUnfinished(RedriveUnfinished { queue: id, redrive }).into());
    }
    let forgotten = forgettable(&mut parts)?;
    let left = parts.queue.redrives.len() - forgotten.len();
    // More than are to be remembered: of those, the outbox still needs the headers.
    if left >= 2 * limits::ENDED_MAX {
        let redrive = *parts.queue.redrives.first().expect("there are some");
        return Err(Rejection::RedriveUnfinished(RedriveUnfinished { queue: id, redrive }).into());
    }
    for number in forgotten {
        parts.queue.redrives.remove(&number);
        parts.work.delete(keys::redrive(parts.work.space, id, number));
    }
    let now_ms = parts.work.stamp.time_ms;
    let end = parts.partition.log_end_offset;
    let empty = parts.queue.state.unsettled == 0;
    let task = RedriveTask {
        spec: spec.clone(),
        status: if empty { RedriveStatus::Completed } else { RedriveStatus::Running },
        position: Offset(0),
        end,
        progress: RedriveProgress::default(),
        started_ms: now_ms,
        changed_ms: now_ms,
        not_before_ms: now_ms,
        outbox_end: parts.queue.state.outbox_next,
        failure: None,
    };
    let number = parts.queue.redrives.last().map_or(1, |last| last + 1);
    parts.queue.redrives.insert(number);
    Ok(keep(parts, number, &task))
}

/// Ended tasks beyond those that are remembered, oldest first. One that the outbox still needs is
/// not among them, nor are those after it.
fn forgettable(parts: &mut Parts<'_>) -> Result<Vec<u64>, Error> {
    let too_many = (parts.queue.redrives.len() + 1).saturating_sub(limits::ENDED_MAX);
    let oldest: Vec<u64> = parts.queue.redrives.iter().take(too_many).copied().collect();
    let mut forgotten = Vec::new();
    for number in oldest {
        let task = read(parts, number)?;
        if task.spec.edits() && task.outbox_end > parts.queue.state.outbox_first {
            break;
        }
        forgotten.push(number);
    }
    Ok(forgotten)
}

pub(super) fn step(
    machine: &mut Partitions,
    context: Context<'_>,
    id: PartitionId,
    step: &RedriveStep,
) -> Result<Reply, Stop> {
    let RedriveStep { redrive, from, to, counted, moves, failure } = step;
    let offsets = moves.iter().map(|one| one.offsets.len()).sum::<usize>();
    if offsets > LIST_MAX {
        let expected = format!("at most {LIST_MAX} in one command");
        return Err(Rejection::invalid("the messages to move", offsets, &expected).into());
    }
    if to <= from && failure.is_none() {
        return Err(Rejection::invalid("to", to.0, "further on than from").into());
    }
    if failure.as_ref().is_some_and(|why| why.len() > limits::FAILURE_BYTES_MAX) {
        let expected = format!("at most {} bytes", limits::FAILURE_BYTES_MAX);
        return Err(Rejection::invalid("failure", "longer", &expected).into());
    }
    for one in moves {
        validate_name(&one.target)?;
    }
    let mut parts = Parts::of(machine, context, id)?;
    let mut task = known(&mut parts, *redrive)?;
    if !task.status.is_under_way() || task.position != *from {
        return Ok(told(*redrive, &task));
    }
    let now_ms = parts.work.stamp.time_ms;
    task.changed_ms = now_ms;
    if task.status == RedriveStatus::Cancelling {
        task.status = RedriveStatus::Cancelled;
        return Ok(keep(parts, *redrive, &task));
    }
    if let Some(why) = failure {
        task.status = RedriveStatus::Failed;
        task.failure = Some(why.clone());
        return Ok(keep(parts, *redrive, &task));
    }
    let mut moved = if task.spec.dry_run { counted.moved } else { 0 };
    if !task.spec.dry_run {
        for one in moves {
            for offset in &one.offsets {
                let Some(next) = divert::take(&mut parts, *offset)? else { continue };
                if mutant::is(Mutant::RedriveDrops) && offset.0 % 5 == 2 {
                    parts.discard(next)?;
                    continue;
                }
                let target = one.target.clone();
                let transfer = if task.spec.edits() {
                    Transfer::Redriven { target, redrive: *redrive }
                } else {
                    Transfer::Diverted { target }
                };
                parts.dispose(next, transfer)?;
                moved += 1;
            }
        }
    }
    task.progress.examined += counted.examined;
    task.progress.moved += moved;
    task.progress.stranded += counted.stranded;
    task.progress.filter_errors += counted.filter_errors;
    task.position = *to;
    task.outbox_end = parts.queue.state.outbox_next;
    let pause_ms = (moved * 1_000).checked_div(task.spec.per_second.into()).unwrap_or(0);
    task.not_before_ms = now_ms.saturating_add(i64::try_from(pause_ms).unwrap_or(i64::MAX));
    let enough = task.spec.max > 0 && task.progress.moved >= task.spec.max;
    if enough || task.position >= task.end {
        task.status = RedriveStatus::Completed;
    }
    Ok(keep(parts, *redrive, &task))
}

pub(super) fn cancel(
    machine: &mut Partitions,
    context: Context<'_>,
    id: PartitionId,
    number: u64,
) -> Result<Reply, Stop> {
    let mut parts = Parts::of(machine, context, id)?;
    let mut task = known(&mut parts, number)?;
    if task.status != RedriveStatus::Running {
        return Ok(told(number, &task));
    }
    task.status = RedriveStatus::Cancelling;
    task.changed_ms = parts.work.stamp.time_ms;
    Ok(keep(parts, number, &task))
}

fn known(parts: &mut Parts<'_>, number: u64) -> Result<RedriveTask, Stop> {
    if !parts.queue.redrives.contains(&number) {
        let expected = "the number of one that is remembered";
        return Err(Rejection::invalid("redrive", number, expected).into());
    }
    Ok(read(parts, number)?)
}

fn read(parts: &mut Parts<'_>, number: u64) -> Result<RedriveTask, Error> {
    let (space, id) = (parts.work.space, parts.work.id);
    let row = parts.work.get(&keys::redrive(space, id, number))?;
    let row = row.ok_or_else(|| parts.work.corrupt("redrive", format!("lacks {number}")))?;
    RedriveTask::decode(space.shard, &row)
}

/// Writes the task's row, and those of its queue.
fn keep(mut parts: Parts<'_>, number: u64, task: &RedriveTask) -> Reply {
    parts.queue.redriving = task.status.is_under_way().then_some(number);
    let (space, id) = (parts.work.space, parts.work.id);
    parts.work.put(keys::redrive(space, id, number), task.encode());
    parts.finish();
    told(number, task)
}

fn told(number: u64, task: &RedriveTask) -> Reply {
    Reply::Redriving { redrive: number, status: task.status, progress: task.progress }
}
