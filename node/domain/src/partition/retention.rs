//! Which batches at the head of a log may go, and their removal.

use kontiki_storage::engine::Row;
use kontiki_storage::id::{Offset, PartitionId, ShardId};
use kontiki_storage::key::{self, Space};
use kontiki_storage::payload::PayloadRef;
use kontiki_storage::row::BatchRow;
use kontiki_storage::{Error, Family, View, WriteBatch};

use super::overlay;
use super::read::Batch;
use super::state::PartitionState;
use crate::settings::UNLIMITED;

/// Rows looked at in one step.
const STEP_ROWS: usize = 256;

/// Whether the oldest batch of a partition may be removed at `now_ms`.
pub(super) fn expendable(state: &PartitionState, oldest: &Batch, now_ms: i64) -> bool {
    let row = &oldest.row;
    if below_start(state, oldest) {
        return true;
    }
    let settings = &state.settings;
    let newest = if row.max_timestamp >= 0 { row.max_timestamp } else { row.append_time };
    if settings.retention_ms != UNLIMITED && newest < now_ms.saturating_sub(settings.retention_ms) {
        return true;
    }
    let Ok(kept) = u64::try_from(settings.retention_bytes) else { return false };
    let rest = state.bytes.saturating_sub(length(row));
    rest >= kept
}

/// Whether no record of a batch can be read any more.
pub(super) fn below_start(state: &PartitionState, batch: &Batch) -> bool {
    batch.next_offset() <= state.log_start_offset
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Removed {
    /// Batches.
    pub batches: u32,
    /// Their payloads.
    pub bytes: u64,
    /// The next one could go as well.
    pub more: bool,
}

/// Removes batches from the head of a log, at most `limit`, while `goes` says so. The caller puts
/// the partition's row.
pub(super) fn remove_head(
    view: &dyn View,
    batch: &mut WriteBatch,
    (space, id): (Space, PartitionId),
    state: &mut PartitionState,
    limit: u32,
    goes: impl Fn(&PartitionState, &Batch) -> bool,
) -> Result<Removed, Error> {
    let mut removed = Removed::default();
    while state.batches > 0 {
        let range = key::batches(space, id, state.first_base_offset, state.log_end_offset);
        let page = overlay::scan(view, batch, range, STEP_ROWS)?;
        if page.is_empty() {
            return Err(Error::corrupt_row(space.shard, "batch", format!("{id} lacks some")));
        }
        for stored in page {
            let oldest = decode(space.shard, &stored)?;
            // Batches leave a queue when they are settled, not in their order.
            if oldest.base_offset != state.first_base_offset && state.queue.is_none() {
                let why = format!("{id} has a gap at {}", state.first_base_offset);
                return Err(Error::corrupt_row(space.shard, "batch", why));
            }
            if !goes(state, &oldest) {
                return Ok(removed);
            }
            if removed.batches == limit {
                removed.more = true;
                return Ok(removed);
            }
            remove(batch, state, &oldest, stored, &mut removed);
        }
    }
    Ok(removed)
}

fn remove(
    batch: &mut WriteBatch,
    state: &mut PartitionState,
    oldest: &Batch,
    (row_key, _): Row,
    removed: &mut Removed,
) {
    batch.delete(Family::State, row_key);
    match oldest.row.payload {
        PayloadRef::Stored(location) => batch.release(location),
        PayloadRef::Inline(_) => {}
    }
    let bytes = length(&oldest.row);
    assert!(bytes <= state.bytes, "a partition's sum of bytes is too small");
    state.bytes -= bytes;
    state.batches -= 1;
    state.first_base_offset = oldest.next_offset();
    assert!(state.first_base_offset <= state.log_end_offset, "a batch beyond the log's end");
    removed.batches += 1;
    removed.bytes += bytes;
}

pub(crate) fn decode(shard: ShardId, (row_key, value): &Row) -> Result<Batch, Error> {
    let base_offset = key::batch_offset(row_key)
        .ok_or_else(|| Error::corrupt_row(shard, "batch", "its key is too short"))?;
    Ok(Batch { base_offset, row: BatchRow::decode(value)? })
}

/// Length of a batch's payload.
pub(super) fn length(row: &BatchRow) -> u64 {
    u64::try_from(row.payload.len()).expect("a length in memory fits 64 bits")
}

/// The offset after `offset + delta`.
pub(super) fn next(offset: Offset, last_offset_delta: u32) -> Offset {
    Offset(offset.0 + u64::from(last_offset_delta) + 1)
}
