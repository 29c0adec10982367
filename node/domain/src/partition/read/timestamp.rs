//! The batch that a timestamp leads to.
//!
//! The newest timestamp up to each batch never falls along the log, so it can be bisected. It may
//! stem from a batch that was removed, hence the steps from there on.

use kontiki_storage::engine::{Order, ScanLimit};
use kontiki_storage::id::{Offset, PartitionId};
use kontiki_storage::key::{self, Space};
use kontiki_storage::{Error, Family, View};

use super::{Batch, batch_before};
use crate::partition::retention;
use crate::partition::state::PartitionState;

/// Rows read in one step, and the most bytes of them.
const STEP: ScanLimit = ScanLimit { rows: 256, bytes: 1 << 20 };

/// Where a search by timestamp has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Search {
    /// This batch has a record that is new enough. Which one, only its payload tells.
    Found(Batch),
    /// No record is that new.
    None,
    /// Not found within the limit: call again with this offset as `from`.
    Continue(Offset),
}

/// The first batch, at `from` or later, whose own newest timestamp is at least `timestamp`. Looks
/// at `rows_max` batches (at least one) and some 40 more to find where to begin.
///
/// # Errors
/// Of storage.
pub fn batch_at_timestamp(
    view: &dyn View,
    space: Space,
    id: PartitionId,
    state: &PartitionState,
    timestamp: i64,
    from: Option<Offset>,
    rows_max: usize,
) -> Result<Search, Error> {
    if state.running_max_timestamp < timestamp || state.records() == 0 {
        return Ok(Search::None);
    }
    let begin = match from {
        Some(from) => from.max(state.log_start_offset),
        None => bisect(view, space, id, state, timestamp)?,
    };
    let mut next = containing(view, space, id, begin)?;
    let mut left = rows_max.max(1);
    while next < state.log_end_offset {
        let range = key::batches(space, id, next, state.log_end_offset);
        let step = ScanLimit { rows: STEP.rows.min(left), ..STEP };
        let rows = view.scan(Family::State, range, Order::Forward, step)?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            let batch = retention::decode(space.shard, row)?;
            next = batch.next_offset();
            if batch.row.max_timestamp >= timestamp {
                return Ok(Search::Found(batch));
            }
        }
        left -= rows.len().min(left);
        if left == 0 && next < state.log_end_offset {
            return Ok(Search::Continue(next));
        }
    }
    Ok(Search::None)
}

/// The batch with the newest timestamp, the first if there are several. When the newest ever was
/// in a batch that is removed: the best among the last `rows_max` batches (at least one). `None`
/// for a log without timestamps.
///
/// # Errors
/// Of storage.
pub fn batch_of_max_timestamp(
    view: &dyn View,
    space: Space,
    id: PartitionId,
    state: &PartitionState,
    rows_max: usize,
) -> Result<Option<Batch>, Error> {
    if state.running_max_timestamp < 0 || state.records() == 0 {
        return Ok(None);
    }
    let newest = state.running_max_timestamp;
    let begin = bisect(view, space, id, state, newest)?;
    if let Some(batch) = batch_before(view, space, id, begin)?
        && batch.row.max_timestamp == newest
    {
        return Ok(Some(batch));
    }
    let first = containing(view, space, id, state.log_start_offset)?;
    let mut range = key::batches(space, id, first, state.log_end_offset);
    let mut best: Option<Batch> = None;
    let mut left = rows_max.max(1);
    while left > 0 {
        let step = ScanLimit { rows: STEP.rows.min(left), ..STEP };
        let rows = view.scan(Family::State, range.clone(), Order::Reverse, step)?;
        let Some((last, _)) = rows.last() else { break };
        range = range.before(last);
        left -= rows.len().min(left);
        for row in &rows {
            let batch = retention::decode(space.shard, row)?;
            let better = |best: &Batch| batch.row.max_timestamp >= best.row.max_timestamp;
            if batch.row.max_timestamp >= 0 && best.as_ref().is_none_or(better) {
                best = Some(batch);
            }
        }
    }
    Ok(best)
}

/// An offset in the first readable batch up to which the newest timestamp is at least `timestamp`.
fn bisect(
    view: &dyn View,
    space: Space,
    id: PartitionId,
    state: &PartitionState,
    timestamp: i64,
) -> Result<Offset, Error> {
    // In a batch that ends below `low` it is too old; in the one that contains `high` it isn't.
    let (mut low, mut high) = (state.log_start_offset.0, state.log_end_offset.0 - 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match batch_before(view, space, id, Offset(middle))? {
            Some(batch) if batch.row.running_max_timestamp >= timestamp => {
                high = batch.base_offset.0.clamp(low, middle);
            }
            Some(batch) => low = batch.next_offset().0.clamp(middle + 1, high),
            None => low = middle + 1,
        }
    }
    Ok(Offset(high))
}

/// Where the batch that contains an offset begins; the offset itself, where none does.
fn containing(
    view: &dyn View,
    space: Space,
    id: PartitionId,
    offset: Offset,
) -> Result<Offset, Error> {
    let batch = batch_before(view, space, id, offset)?;
    let batch = batch.filter(|batch| batch.next_offset() > offset);
    Ok(batch.map_or(offset, |batch| batch.base_offset))
}
