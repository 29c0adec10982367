//! Removes waiting messages.

use std::ops::Range;

use kontiki_storage::Error;
use kontiki_storage::id::{Offset, PartitionId};
use kontiki_storage::key::queue as keys;

use super::Parts;
use crate::partition::{Context, Partitions, Stop};
use crate::queue::Reply;
use crate::queue::held::Place;
use crate::queue::mark::{Mark, Waiting};
use crate::queue::ready::{Next, Search};
use crate::rejection::Rejection;

pub(super) fn apply(
    machine: &mut Partitions,
    context: Context<'_>,
    id: PartitionId,
    before: Offset,
    limit: u32,
) -> Result<Reply, Stop> {
    if limit == 0 {
        return Err(Rejection::invalid("limit", limit, "at least 1").into());
    }
    let mut parts = Parts::of(machine, context, id)?;
    let mut left = limit;
    let removed = sweep(&mut parts, Offset(0)..before, &mut left, Why::Purged)?;
    parts.finish();
    Ok(Reply::Purged { removed, more: left == 0 })
}

/// Why messages are removed.
#[derive(Clone, Copy)]
pub(super) enum Why {
    Purged,
    TooOld,
}

/// Removes what waits in a range, in which the cursor is, or after which. When it is done, `left`
/// is more than 0.
pub(super) fn sweep(
    parts: &mut Parts<'_>,
    range: Range<Offset>,
    left: &mut u32,
    why: Why,
) -> Result<u64, Error> {
    let mut removed = returned(parts, range.clone(), left, why)?;
    removed += in_order(parts, range.end, left, why)?;
    removed += marked(parts, range, left, why)?;
    Ok(removed)
}

fn remove(parts: &mut Parts<'_>, next: Next, why: Why) -> Result<(), Error> {
    match why {
        Why::Purged => {
            parts.settle(&next)?;
            parts.queue.state.totals.purged += 1;
            parts.unblock(next.message.group)
        }
        Why::TooOld => parts.expire(next),
    }
}

fn returned(
    parts: &mut Parts<'_>,
    range: Range<Offset>,
    left: &mut u32,
    why: Why,
) -> Result<u64, Error> {
    let waiting = parts.queue.held.range(range).filter(|(_, held)| match held.place {
        Place::Returned { .. } => true,
        Place::Leased { .. } => false,
    });
    let offsets: Vec<Offset> = waiting.map(|(offset, _)| *offset).take(*left as usize).collect();
    for offset in &offsets {
        let next = parts.let_go(*offset);
        remove(parts, next, why)?;
        *left -= 1;
    }
    Ok(offsets.len() as u64)
}

fn in_order(parts: &mut Parts<'_>, before: Offset, left: &mut u32, why: Why) -> Result<u64, Error> {
    let end = parts.partition.log_end_offset.min(before);
    let mut search = Search::everything(end, *left);
    let mut removed = 0;
    let from = parts.queue.state.cursor;
    let mut base = None;
    while *left > 0
        && let Some(mut next) = search.in_order(parts.queue, &mut parts.work)?
    {
        let (first, to) = match base {
            Some((first, to)) if next.offset < to => (first, to),
            Some(_) | None => {
                let batch = crate::queue::batches::containing(&mut parts.work, next.offset)?;
                (batch.base_offset, batch.next_offset())
            }
        };
        base = Some((first, to));
        next.base = Some(first);
        remove(parts, next, why)?;
        removed += 1;
        *left -= 1;
    }
    // What was passed over costs as well.
    let passed = parts.queue.state.cursor.0 - from.0 - removed;
    *left = left.saturating_sub(u32::try_from(passed).unwrap_or(u32::MAX));
    if parts.queue.state.cursor < end {
        *left = 0;
    }
    Ok(removed)
}

/// Waiting messages that the cursor has passed.
fn marked(
    parts: &mut Parts<'_>,
    range: Range<Offset>,
    left: &mut u32,
    why: Why,
) -> Result<u64, Error> {
    let mut removed = 0;
    let Range { start, end: before } = range;
    let begin = parts.queue.begins.waiting.get();
    let mut from = start.max(begin);
    while *left > 0 && parts.queue.state.marks > 0 {
        let range = keys::marks(parts.work.space, parts.work.id, from, before);
        let rows = parts.work.scan(range, *left as usize)?;
        if rows.is_empty() {
            break;
        }
        for (row_key, value) in rows {
            let offset = keys::offset_of(&row_key);
            let offset = offset.ok_or_else(|| parts.work.corrupt("message", "a short key"))?;
            from = Offset(offset.0 + 1);
            let mark = Mark::decode(parts.work.space.shard, &value)?;
            match mark.waiting {
                Waiting::Gone | Waiting::Outbox { .. } => continue,
                Waiting::InOrder { .. } | Waiting::Due { .. } | Waiting::Ready => {}
            }
            let next = parts.withdraw(offset, &mark)?;
            remove(parts, next, why)?;
            removed += 1;
            *left -= 1;
        }
    }
    if start <= begin && begin < from {
        parts.queue.begins.waiting.begin_at(from);
    }
    Ok(removed)
}
