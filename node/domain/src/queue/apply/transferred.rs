//! Lets messages go that have arrived in another queue.

use kontiki_storage::Error;
use kontiki_storage::id::PartitionId;
use kontiki_storage::key::queue as keys;

use super::{LIST_MAX, Parts};
use crate::partition::{Context, Partitions, Stop};
use crate::queue::mark::Outgoing;
use crate::queue::ready;
use crate::queue::{Dropped, Reply};

pub(super) fn apply(
    machine: &mut Partitions,
    context: Context<'_>,
    id: PartitionId,
    through: u64,
    dropped: Option<Dropped>,
) -> Result<Reply, Stop> {
    let mut parts = Parts::of(machine, context, id)?;
    let removed = let_go(&mut parts, through, dropped)?;
    parts.finish();
    Ok(Reply::Transferred { removed })
}

/// Settles what is in the outbox up to a sequence.
pub(super) fn let_go(
    parts: &mut Parts<'_>,
    through: u64,
    dropped: Option<Dropped>,
) -> Result<u64, Error> {
    let (space, id) = (parts.work.space, parts.work.id);
    let (first, next) = (parts.queue.state.outbox_first, parts.queue.state.outbox_next);
    let end = through.saturating_add(1).min(next).min(first + LIST_MAX as u64);
    for sequence in first..end {
        let row_key = keys::outbox(space, id, sequence);
        let row = parts.work.get(&row_key)?;
        let row = row.ok_or_else(|| parts.work.corrupt("outbox", format!("lacks {sequence}")))?;
        let offset = Outgoing::decode(space.shard, &row)?.offset;
        parts.work.delete(row_key);
        let mark = ready::mark_of(&mut parts.work, offset)?;
        let mark = mark.ok_or_else(|| parts.work.corrupt("outbox", "a message without a mark"))?;
        ready::leave(parts.queue, &mut parts.work, offset, &mark);
        parts.queue.state.outbox_first = sequence + 1;
        parts.settle(offset, None)?;
        match dropped {
            None => parts.queue.state.totals.moved += 1,
            Some(Dropped::Unroutable) => parts.queue.state.totals.dropped += 1,
        }
    }
    Ok(end.saturating_sub(first))
}
