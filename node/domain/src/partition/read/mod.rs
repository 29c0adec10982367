//! What readers need of a partition, from its rows alone: use it with an engine or a snapshot,
//! concurrently with the machine. What is in the rows is applied, hence committed.

mod batches;
mod timestamp;

use kontiki_storage::engine::{Order, Row, ScanLimit};
use kontiki_storage::id::{Offset, PartitionId, ProducerId, SubscriptionId};
use kontiki_storage::key::{self, Space};
use kontiki_storage::row::BatchRow;
use kontiki_storage::{Error, Family, View};

pub use self::batches::{Limit, Plan, batches_from};
pub use self::timestamp::{Search, batch_at_timestamp, batch_of_max_timestamp};
use super::command::PositionOf;
use super::position::Position;
use super::retention;
use super::sequence::ProducerState;
use super::state::PartitionState;

/// A record batch of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// Its row.
    pub row: BatchRow,
}

impl Batch {
    /// The offset of its last record.
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0 + u64::from(self.row.last_offset_delta))
    }

    /// The offset after its last record.
    pub fn next_offset(&self) -> Offset {
        retention::next(self.base_offset, self.row.last_offset_delta)
    }
}

/// The state of a partition, in any phase.
///
/// # Errors
/// Of storage.
pub fn partition(
    view: &dyn View,
    space: Space,
    partition: PartitionId,
) -> Result<Option<PartitionState>, Error> {
    let row = view.get(Family::State, &key::partition(space, partition))?;
    row.map(|row| PartitionState::decode(space.shard, &row)).transpose()
}

/// The partitions with ids after `after`, at most `limit`, deleted ones included: look at the
/// phase.
///
/// # Errors
/// Of storage.
pub fn partitions(
    view: &dyn View,
    space: Space,
    after: Option<PartitionId>,
    limit: usize,
) -> Result<Vec<(PartitionId, PartitionState)>, Error> {
    let mut range = key::partitions(space);
    if let Some(after) = after {
        range = range.after(&key::partition(space, after));
    }
    let rows = view.scan(Family::State, range, Order::Forward, ScanLimit::rows(limit))?;
    let short = || Error::corrupt_row(space.shard, "partition", "its key is too short");
    let decode = |(row_key, value): &Row| {
        let id = key::partition_of(row_key).ok_or_else(short)?;
        Ok((id, PartitionState::decode(space.shard, value)?))
    };
    rows.iter().map(decode).collect()
}

/// The producers that a partition remembers, by id, at most `limit`.
///
/// # Errors
/// Of storage.
pub fn producers(
    view: &dyn View,
    space: Space,
    partition: PartitionId,
    limit: usize,
) -> Result<Vec<(ProducerId, ProducerState)>, Error> {
    let range = key::producers(space, partition);
    let rows = view.scan(Family::State, range, Order::Forward, ScanLimit::rows(limit))?;
    let short = || Error::corrupt_row(space.shard, "producer", "its key is too short");
    let decode = |(row_key, value): &Row| {
        let (_, id) = key::producer_of(row_key).ok_or_else(short)?;
        Ok((id, ProducerState::decode(space.shard, value)?))
    };
    rows.iter().map(decode).collect()
}

/// How far a durable subscription has come in a partition; `None`: nothing is noted.
///
/// # Errors
/// Of storage.
pub fn position(
    view: &dyn View,
    space: Space,
    partition: PartitionId,
    subscription: SubscriptionId,
) -> Result<Option<Position>, Error> {
    let row = view.get(Family::State, &key::position(space, partition, subscription))?;
    row.map(|row| Position::decode(space.shard, &row)).transpose()
}

/// Which positions a shard has after `after`, at most `limit`.
///
/// # Errors
/// Of storage.
pub fn positions(
    view: &dyn View,
    space: Space,
    after: Option<PositionOf>,
    limit: usize,
) -> Result<Vec<PositionOf>, Error> {
    let mut range = key::all_positions(space);
    if let Some(PositionOf { partition, subscription }) = after {
        range = range.after(&key::position(space, partition, subscription));
    }
    let rows = view.scan(Family::State, range, Order::Forward, ScanLimit::rows(limit))?;
    let short = || Error::corrupt_row(space.shard, "position", "its key is too short");
    let of = |(row_key, _): &Row| {
        let (partition, subscription) = key::position_of(row_key).ok_or_else(short)?;
        Ok(PositionOf { partition, subscription })
    };
    rows.iter().map(of).collect()
}

/// Whether a command to retain would remove anything at `now_ms`.
///
/// # Errors
/// Of storage.
pub fn retention_due(
    view: &dyn View,
    space: Space,
    partition: PartitionId,
    state: &PartitionState,
    now_ms: i64,
) -> Result<bool, Error> {
    if !state.is_live() || state.batches == 0 || state.queue.is_some() {
        return Ok(false);
    }
    let from = state.first_base_offset;
    let oldest = first_batch(view, space, partition, from, state.log_end_offset)?;
    Ok(oldest.is_some_and(|oldest| retention::expendable(state, &oldest, now_ms)))
}

/// The first batch that begins at `from` or later, but below `to`.
fn first_batch(
    view: &dyn View,
    space: Space,
    partition: PartitionId,
    from: Offset,
    to: Offset,
) -> Result<Option<Batch>, Error> {
    let range = key::batches(space, partition, from, to);
    let rows = view.scan(Family::State, range, Order::Forward, ScanLimit::rows(1))?;
    rows.first().map(|row| retention::decode(space.shard, row)).transpose()
}

/// The last batch that begins at or before `offset`.
fn batch_before(
    view: &dyn View,
    space: Space,
    partition: PartitionId,
    offset: Offset,
) -> Result<Option<Batch>, Error> {
    let range = key::batches(space, partition, Offset(0), Offset(offset.0 + 1));
    let rows = view.scan(Family::State, range, Order::Reverse, ScanLimit::rows(1))?;
    rows.first().map(|row| retention::decode(space.shard, row)).transpose()
}
