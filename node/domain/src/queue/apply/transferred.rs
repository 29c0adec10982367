//! Lets messages go that have arrived in another queue.

use kontiki_storage::Error;
use kontiki_storage::id::{Offset, PartitionId};
use kontiki_storage::key::queue as keys;

use super::{LIST_MAX, Parts};
use crate::partition::{Context, Partitions, Stop};
use crate::queue::mark::Outgoing;
use crate::queue::ready::{self, Next};
use crate::queue::{Dropped, Reply, Transfer};

pub(super) fn apply(
    machine: &mut Partitions,
    context: Context<'_>,
    id: PartitionId,
    through: u64,
    dropped: Option<Dropped>,
) -> Result<Reply, Stop> {
    let mut parts = Parts::of(machine, context, id)?;
    let removed = let_go(&mut parts, through, dropped)?;
    abandon(&mut parts, &mut abandoned_max())?;
    parts.finish();
    Ok(Reply::Transferred { removed })
}

/// Settles what is in the outbox up to a sequence.
pub(super) fn let_go(
    parts: &mut Parts<'_>,
    through: u64,
    dropped: Option<Dropped>,
) -> Result<u64, Error> {
    let (first, next) = (parts.queue.state.outbox_first, parts.queue.state.outbox_next);
    let end = through.saturating_add(1).min(next).min(first + LIST_MAX as u64);
    for sequence in first..end {
        let outgoing = outgoing(parts, sequence)?;
        leave(parts, sequence, outgoing.offset)?;
        match dropped {
            None => parts.queue.state.totals.moved += 1,
            Some(Dropped::Unroutable) => parts.queue.state.totals.dropped += 1,
        }
    }
    Ok(end.saturating_sub(first))
}

/// What one command drops at most.
pub(super) fn abandoned_max() -> u32 {
    u32::try_from(LIST_MAX).expect("small")
}

/// Drops what is on its way to a dead-letter queue or exchange, where the queue has neither any
/// more: as all that can't be delivered is dropped from then on. Returns whether there is more of
/// it.
pub(super) fn abandon(parts: &mut Parts<'_>, left: &mut u32) -> Result<bool, Error> {
    if parts.settings.has_dead_letter() {
        return Ok(false);
    }
    while *left > 0 && parts.queue.state.moving() > 0 {
        let sequence = parts.queue.state.outbox_first;
        let outgoing = outgoing(parts, sequence)?;
        match outgoing.transfer {
            // It has a queue to go to; what is behind it is looked at when it has left.
            Transfer::Diverted { .. } | Transfer::Redriven { .. } => return Ok(false),
            Transfer::Rejected
            | Transfer::Expired
            | Transfer::MaxLength
            | Transfer::AttemptsExhausted => {}
        }
        leave(parts, sequence, outgoing.offset)?;
        parts.queue.state.totals.dropped += 1;
        *left -= 1;
    }
    Ok(parts.queue.state.moving() > 0)
}

fn outgoing(parts: &mut Parts<'_>, sequence: u64) -> Result<Outgoing, Error> {
    let row = parts.work.get(&keys::outbox(parts.work.space, parts.work.id, sequence))?;
    let row = row.ok_or_else(|| parts.work.corrupt("outbox", format!("lacks {sequence}")))?;
    Outgoing::decode(parts.work.space.shard, &row)
}

/// The oldest message of the outbox leaves the queue.
fn leave(parts: &mut Parts<'_>, sequence: u64, offset: Offset) -> Result<(), Error> {
    parts.work.delete(keys::outbox(parts.work.space, parts.work.id, sequence));
    let mark = ready::mark_of(&mut parts.work, offset)?;
    let mark = mark.ok_or_else(|| parts.work.corrupt("outbox", "a message without a mark"))?;
    ready::leave(parts.queue, &mut parts.work, offset, &mark);
    parts.queue.state.outbox_first = sequence + 1;
    parts.settle(&Next { offset, message: mark.message, base: None })
}
