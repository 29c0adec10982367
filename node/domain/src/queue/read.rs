//! What a broker needs to know of queues, from their rows alone: use it with an engine or a
//! snapshot, concurrently with the machine.

use kontiki_storage::engine::{Order, ScanLimit};
use kontiki_storage::id::{Offset, PartitionId};
use kontiki_storage::key::{self, Space, queue as keys};
use kontiki_storage::{Error, Family, View};

pub use super::mark::Outgoing;
use super::mark::{Mark, Waiting};
use super::redrive::RedriveTask;
use super::state::QueueState;
use crate::partition::decode_batch;
use crate::partition::read::Batch;

/// The state of a queue.
///
/// # Errors
/// Of storage.
pub fn queue(
    view: &dyn View,
    space: Space,
    queue: PartitionId,
) -> Result<Option<QueueState>, Error> {
    let row = view.get(Family::State, &keys::queue(space, queue))?;
    row.map(|row| QueueState::decode(space.shard, &row)).transpose()
}

/// The queues with ids after `after`, at most `limit`.
///
/// # Errors
/// Of storage.
pub fn queues(
    view: &dyn View,
    space: Space,
    after: Option<PartitionId>,
    limit: usize,
) -> Result<Vec<(PartitionId, QueueState)>, Error> {
    let mut range = keys::queues(space);
    if let Some(after) = after {
        range = range.after(&keys::queue(space, after));
    }
    let rows = view.scan(Family::State, range, Order::Forward, ScanLimit::rows(limit))?;
    let short = || Error::corrupt_row(space.shard, "queue", "its key is too short");
    rows.iter()
        .map(|(row_key, value)| {
            let id = key::partition_of(row_key).ok_or_else(short)?;
            Ok((id, QueueState::decode(space.shard, value)?))
        })
        .collect()
}

/// The batch that has a message; `None`: it is settled, and its batch is gone.
///
/// # Errors
/// Of storage.
pub fn batch_of(
    view: &dyn View,
    space: Space,
    queue: PartitionId,
    offset: Offset,
) -> Result<Option<Batch>, Error> {
    let range = key::batches(space, queue, Offset(0), Offset(offset.0.saturating_add(1)));
    let rows = view.scan(Family::State, range, Order::Reverse, ScanLimit::rows(1))?;
    let batch = rows.first().map(|row| decode_batch(space.shard, row)).transpose()?;
    Ok(batch.filter(|batch| batch.next_offset() > offset))
}

/// The oldest batches from an offset on, at most `rows`.
///
/// # Errors
/// Of storage.
pub fn batches(
    view: &dyn View,
    space: Space,
    queue: PartitionId,
    from: Offset,
    rows: usize,
) -> Result<Vec<Batch>, Error> {
    let range = key::batches(space, queue, from, Offset(u64::MAX));
    let rows = view.scan(Family::State, range, Order::Forward, ScanLimit::rows(rows))?;
    rows.iter().map(|row| decode_batch(space.shard, row)).collect()
}

/// What is in a queue's outbox, oldest first, at most `limit`, with the sequences.
///
/// # Errors
/// Of storage.
pub fn outbox(
    view: &dyn View,
    space: Space,
    queue: PartitionId,
    state: &QueueState,
    limit: usize,
) -> Result<Vec<(u64, Outgoing)>, Error> {
    let range = keys::outboxes(space, queue, state.outbox_first, state.outbox_next);
    let rows = view.scan(Family::State, range, Order::Forward, ScanLimit::rows(limit))?;
    let short = || Error::corrupt_row(space.shard, "outbox", "its key is too short");
    rows.iter()
        .map(|(row_key, value)| {
            let sequence = keys::offset_of(row_key).ok_or_else(short)?.0;
            Ok((sequence, Outgoing::decode(space.shard, value)?))
        })
        .collect()
}

/// How the deliveries of a message failed, where that was written down.
///
/// # Errors
/// Of storage.
pub fn history(
    view: &dyn View,
    space: Space,
    queue: PartitionId,
    offset: Offset,
) -> Result<Option<super::History>, Error> {
    let row = view.get(Family::State, &keys::history(space, queue, offset))?;
    row.map(|row| super::History::decode(space.shard, &row)).transpose()
}

/// The lease that a message is held under, if it is leased.
///
/// # Errors
/// Of storage.
pub fn lease(
    view: &dyn View,
    space: Space,
    queue: PartitionId,
    offset: Offset,
) -> Result<Option<u64>, Error> {
    let Some(row) = view.get(Family::State, &keys::held(space, queue, offset))? else {
        return Ok(None);
    };
    match super::held::Held::decode(space.shard, &row)?.place {
        super::Place::Leased { lease, .. } => Ok(Some(lease)),
        super::Place::Returned { .. } => Ok(None),
    }
}

/// How a message stands that is not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It can be delivered, now or as soon as its group is free.
    Available,
    /// It is leased until then, in milliseconds since 1970.
    Leased(i64),
    /// It waits until then, in milliseconds since 1970.
    Scheduled(i64),
    /// It is on its way to another queue.
    Moving,
}

/// How a message stands; `None`: it is settled.
///
/// # Errors
/// Of storage.
pub fn standing(
    view: &dyn View,
    space: Space,
    queue: PartitionId,
    state: &QueueState,
    offset: Offset,
) -> Result<Option<(Standing, super::Message)>, Error> {
    if let Some(row) = view.get(Family::State, &keys::held(space, queue, offset))? {
        let held = super::held::Held::decode(space.shard, &row)?;
        let standing = match held.place {
            super::Place::Leased { until_ms, .. } => Standing::Leased(until_ms),
            super::Place::Returned { due_ms: None } => Standing::Available,
            super::Place::Returned { due_ms: Some(due) } => Standing::Scheduled(due),
        };
        return Ok(Some((standing, held.message)));
    }
    if state.marks > 0
        && let Some(row) = view.get(Family::State, &keys::mark(space, queue, offset))?
    {
        let mark = Mark::decode(space.shard, &row)?;
        let standing = match mark.waiting {
            Waiting::Gone => return Ok(None),
            Waiting::InOrder { due_ms: Some(due) } => Standing::Scheduled(due),
            Waiting::InOrder { due_ms: None } | Waiting::Ready => Standing::Available,
            Waiting::Due { due_ms } if state.is_overdue(due_ms, offset) => Standing::Available,
            Waiting::Due { due_ms } => Standing::Scheduled(due_ms),
            Waiting::Outbox { .. } => Standing::Moving,
        };
        return Ok(Some((standing, mark.message)));
    }
    let waits = offset >= state.cursor;
    Ok(waits.then(|| (Standing::Available, super::Message::plain())))
}

/// One task of a queue that moves messages.
///
/// # Errors
/// Of storage.
pub fn redrive(
    view: &dyn View,
    space: Space,
    queue: PartitionId,
    number: u64,
) -> Result<Option<RedriveTask>, Error> {
    let row = view.get(Family::State, &keys::redrive(space, queue, number))?;
    row.map(|row| RedriveTask::decode(space.shard, &row)).transpose()
}

/// The tasks of a queue that move messages, oldest first.
///
/// # Errors
/// Of storage.
pub fn redrives(
    view: &dyn View,
    space: Space,
    queue: PartitionId,
) -> Result<Vec<(u64, RedriveTask)>, Error> {
    let rows = ScanLimit::rows(2 * super::redrive::limits::ENDED_MAX + 1);
    let rows = view.scan(Family::State, keys::redrives(space, queue), Order::Forward, rows)?;
    let short = || Error::corrupt_row(space.shard, "redrive", "its key is too short");
    rows.iter()
        .map(|(row_key, value)| {
            let number = keys::offset_of(row_key).ok_or_else(short)?.0;
            Ok((number, RedriveTask::decode(space.shard, value)?))
        })
        .collect()
}
