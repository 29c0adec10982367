//! Batches from an offset on, as a fetch wants them.

use kontiki_storage::engine::{Order, ScanLimit};
use kontiki_storage::id::{Offset, PartitionId};
use kontiki_storage::key::{self, Space};
use kontiki_storage::{Error, Family, View};

use super::{Batch, batch_before, partition};
use crate::partition::retention;
use crate::partition::state::PartitionState;

/// Most bytes of rows that one step brings into memory. One row is read whatever its size.
const STEP_BYTES: usize = 1 << 20;

/// How much a fetch wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Sum of the payloads. The first batch is returned whatever its size.
    pub bytes_max: u64,
    /// Batches; at least one is returned.
    pub rows_max: usize,
}

/// What there is from an offset on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// These batches, the first of which contains the offset. None: the offset is the log's end.
    Batches(Vec<Batch>),
    /// The offset is below the log start.
    BelowStart,
    /// The offset is after the log end.
    AboveEnd,
}

/// Batches from `from` on. `state` must not be newer than what `view` shows; nothing at or after
/// its log end is returned. Where retention has removed batches since `state` was read, the answer
/// is that of the newer state.
///
/// # Errors
/// Of storage; a batch that is missing from the middle of the log is corruption.
pub fn batches_from(
    view: &dyn View,
    space: Space,
    id: PartitionId,
    state: &PartitionState,
    from: Offset,
    limit: Limit,
) -> Result<Plan, Error> {
    if from < state.log_start_offset {
        return Ok(Plan::BelowStart);
    }
    if from > state.log_end_offset {
        return Ok(Plan::AboveEnd);
    }
    if from == state.log_end_offset {
        return Ok(Plan::Batches(Vec::new()));
    }
    let mut taken = Taken { batches: Vec::new(), bytes: 0, limit };
    let mut next = from;
    while next < state.log_end_offset {
        let step = step_rows(state, &taken);
        let range = key::batches(space, id, next, state.log_end_offset);
        let step = ScanLimit { rows: step, bytes: STEP_BYTES };
        let rows = view.scan(Family::State, range, Order::Forward, step)?;
        let mut found = rows.iter().map(|row| retention::decode(space.shard, row)).peekable();
        // A reader that goes through the log stands at the beginning of a batch. Others don't.
        let begins = matches!(found.peek(), Some(Ok(batch)) if batch.base_offset == next);
        if !begins {
            let containing = (taken.batches.is_empty())
                .then(|| batch_before(view, space, id, next))
                .transpose()?
                .flatten()
                .filter(|batch| batch.next_offset() > next);
            let Some(first) = containing else {
                return missing(view, space, id, next);
            };
            next = first.next_offset();
            if !taken.take(first) {
                break;
            }
        }
        let mut full = false;
        for batch in found {
            let batch = batch?;
            if batch.base_offset != next {
                return missing(view, space, id, next);
            }
            next = batch.next_offset();
            if !taken.take(batch) {
                full = true;
                break;
            }
        }
        if full {
            break;
        }
    }
    Ok(Plan::Batches(taken.batches))
}

struct Taken {
    batches: Vec<Batch>,
    bytes: u64,
    limit: Limit,
}

impl Taken {
    /// Takes a batch if there is room; returns whether there may be room for another one.
    fn take(&mut self, batch: Batch) -> bool {
        let bytes = self.bytes + retention::length(&batch.row);
        if !self.batches.is_empty() && bytes > self.limit.bytes_max {
            return false;
        }
        self.bytes = bytes;
        self.batches.push(batch);
        bytes < self.limit.bytes_max && self.batches.len() < self.limit.rows_max
    }
}

/// How many rows to read next: as many as probably fit.
fn step_rows(state: &PartitionState, taken: &Taken) -> usize {
    let average = (state.bytes / state.batches.max(1)).max(1);
    let room = taken.limit.bytes_max.saturating_sub(taken.bytes) / average;
    let rows_left = taken.limit.rows_max.saturating_sub(taken.batches.len()).max(1);
    usize::try_from(room.saturating_add(2)).unwrap_or(usize::MAX).min(rows_left)
}

/// No batch has `offset`: it was removed since the state was read, or it is lost.
fn missing(view: &dyn View, space: Space, id: PartitionId, offset: Offset) -> Result<Plan, Error> {
    let now = partition(view, space, id)?;
    match now {
        Some(state) if offset >= state.log_start_offset && state.is_live() => {
            let why = format!("partition {id} lacks the one with offset {offset}");
            Err(Error::corrupt_row(space.shard, "batch", why))
        }
        Some(_) | None => Ok(Plan::BelowStart),
    }
}
