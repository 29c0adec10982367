//! Puts waiting messages into the outbox, because an operator wants them in another queue.

use kontiki_storage::Error;
use kontiki_storage::id::{Offset, PartitionId};

use super::Parts;
use crate::catalog::validate_name;
use crate::partition::{Context, Partitions, Stop};
use crate::queue::held::Place;
use crate::queue::mark::{Mark, Waiting};
use crate::queue::ready::{self, Next};
use crate::queue::{Message, Reply, Transfer};

pub(super) fn apply(
    machine: &mut Partitions,
    context: Context<'_>,
    id: PartitionId,
    offsets: &[Offset],
    target: &str,
) -> Result<Reply, Stop> {
    validate_name(target)?;
    let mut parts = Parts::of(machine, context, id)?;
    let mut messages = 0;
    for offset in offsets {
        if let Some(next) = take(&mut parts, *offset)? {
            parts.dispose(next, Transfer::Diverted { target: target.to_owned() })?;
            messages += 1;
        }
    }
    parts.finish();
    Ok(Reply::Diverted { messages })
}

/// Takes a message out of its place, if it waits.
pub(super) fn take(parts: &mut Parts<'_>, offset: Offset) -> Result<Option<Next>, Error> {
    if let Some(held) = parts.queue.held.get(&offset) {
        return Ok(match held.place {
            Place::Returned { .. } => Some(parts.let_go(offset)),
            Place::Leased { .. } => None,
        });
    }
    match ready::mark_of(&mut parts.work, offset)? {
        Some(Mark { waiting: Waiting::Gone | Waiting::Outbox { .. }, .. }) => Ok(None),
        Some(mark) => parts.withdraw(offset, &mark).map(Some),
        None => {
            let waits =
                (parts.queue.state.cursor..parts.partition.log_end_offset).contains(&offset);
            Ok(waits.then(|| Next { offset, message: Message::plain(), base: None }))
        }
    }
}
