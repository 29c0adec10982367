//! Drops what is older than the queue's retention. Batches are stored in the order of their age, so
//! it is enough to look at the oldest ones.

use kontiki_storage::Error;
use kontiki_storage::id::Offset;
use kontiki_storage::key;

use super::Parts;
use super::purge::{Why, sweep};
use crate::partition::decode_batch;
use crate::settings::UNLIMITED;

/// Batches whose age is looked at in one command.
const BATCHES_AT_ONCE: usize = 64;

pub(super) fn apply(parts: &mut Parts<'_>, left: &mut u32) -> Result<(), Error> {
    if parts.settings.retention_ms == UNLIMITED || *left == 0 {
        return Ok(());
    }
    let newest_ms = parts.work.stamp.time_ms.saturating_sub(parts.settings.retention_ms);
    let from = Offset(parts.queue.state.retained_to);
    let (space, id, end) = (parts.work.space, parts.work.id, parts.partition.log_end_offset);
    let mut to = from;
    for row in parts.work.scan(key::batches(space, id, from, end), BATCHES_AT_ONCE)? {
        let batch = decode_batch(space.shard, &row)?;
        if batch.row.append_time > newest_ms {
            break;
        }
        to = batch.next_offset();
    }
    if to > from {
        sweep(parts, from..to, left, Why::TooOld)?;
        if *left > 0 {
            parts.queue.state.retained_to = to.0;
            *left -= 1;
        }
    }
    Ok(())
}

/// When the oldest batch that was not looked at yet is too old.
pub(super) fn next_due(parts: &mut Parts<'_>) -> Result<Option<i64>, Error> {
    let retention_ms = parts.settings.retention_ms;
    let from = Offset(parts.queue.state.retained_to);
    let end = parts.partition.log_end_offset;
    if retention_ms == UNLIMITED || from >= end {
        return Ok(None);
    }
    let (space, id) = (parts.work.space, parts.work.id);
    let row = parts.work.first(key::batches(space, id, from, end))?;
    let batch = row.map(|row| decode_batch(space.shard, &row)).transpose()?;
    Ok(batch.map(|batch| batch.row.append_time.saturating_add(retention_ms)))
}
