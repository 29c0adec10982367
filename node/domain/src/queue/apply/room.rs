//! Room for what is sent: when a full queue refuses it, and what it drops for it.
//!
//! What was there before makes room: of what waits, the oldest of the lowest priority, and where
//! nothing waits, what is scheduled for the earliest time. What consumers have can't be dropped:
//! where they have as much as there may be, what is sent is refused, whatever the queue's policy.
//! What is on its way to another queue doesn't count, and its bytes are free when it is there.

use std::collections::BTreeSet;

use kontiki_storage::Error;
use kontiki_storage::id::{Offset, PartitionId};
use kontiki_storage::key::queue as keys;

use super::{Parts, divert};
use crate::mutant::{self, Mutant};
use crate::partition::{Context, Partitions, Stop};
use crate::queue::mark::{LAST_CLASS, Mark, Waiting};
use crate::queue::ready::{self, Next, Search};
use crate::queue::{Overflow, QueueSettings, Transfer};
use crate::rejection::{QueueBytes, QueueFull, Rejection};

/// How many messages one send drops at most beyond its own number: after `length_max` was lowered,
/// one send must not pay for all of them.
const DROPPED_MORE_MAX: u64 = 64;
/// How many messages one send passes over at most to find those to drop.
const PATIENCE: u32 = 1_024;
/// Marks of a FIFO queue read in one step: the first one is nearly always the one.
const PAGE: usize = 16;

/// What a send brings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Messages that had not been sent before.
    pub messages: u64,
    /// Of the record batch.
    pub bytes: u32,
}

fn over(count: u64, limit: i64) -> bool {
    u64::try_from(limit).is_ok_and(|limit| count > limit)
}

/// Whether there is room, or can be made.
pub(super) fn check(
    machine: &Partitions,
    id: PartitionId,
    settings: &QueueSettings,
    load: Load,
) -> Result<(), Rejection> {
    let Load { messages: more, bytes: more_bytes } = load;
    // A repetition stores nothing, and is to be told that the first send did.
    if more == 0 || mutant::is(Mutant::IgnoreLength) {
        return Ok(());
    }
    let queue = machine.queues.get(id).expect("it has settings of a queue");
    let messages = queue.unsettled - queue.moving();
    let bytes = machine.get(id).map_or(0, |partition| partition.bytes);
    let large = over(bytes + u64::from(more_bytes), settings.bytes_max);
    let (long, large) = match settings.overflow {
        Overflow::Reject => (over(messages + more, settings.length_max), large),
        Overflow::DropHead | Overflow::DeadLetterHead => {
            let stays = messages == queue.leased && queue.moving() == 0;
            (over(queue.leased + 1, settings.length_max), large && stays)
        }
    };
    if long {
        let full = QueueFull { queue: id, messages, more, limit: settings.length_max };
        return Err(Rejection::QueueFull(full));
    }
    if large {
        let limit = settings.bytes_max;
        let full = QueueBytes { queue: id, bytes, more: more_bytes, limit };
        return Err(Rejection::QueueBytes(full));
    }
    Ok(())
}

/// How many messages one send drops at most.
pub(super) fn dropped_max(load: Load) -> u64 {
    load.messages + DROPPED_MORE_MAX
}

/// Makes room for what is about to be stored. `left`: how many messages may be dropped.
pub(super) fn make(
    machine: &mut Partitions,
    context: Context<'_>,
    id: PartitionId,
    load: Load,
    left: &mut u64,
) -> Result<(), Stop> {
    let full = |parts: &Parts<'_>| {
        is_longer(parts, load.messages)
            || over(parts.partition.bytes + u64::from(load.bytes), parts.settings.bytes_max)
    };
    let mut parts = Parts::of(machine, context, id)?;
    if load.messages > 0 && full(&parts) {
        drop_while(&mut parts, left, full)?;
        parts.finish();
    }
    Ok(())
}

/// Where one batch has more messages than there may be: the first ones make room for the others.
pub(super) fn cut(parts: &mut Parts<'_>, left: &mut u64) -> Result<(), Error> {
    if parts.settings.overflow == Overflow::Reject {
        return Ok(());
    }
    drop_while(parts, left, |parts| is_longer(parts, 0))
}

fn is_longer(parts: &Parts<'_>, more: u64) -> bool {
    let messages = parts.queue.state.unsettled - parts.queue.state.moving();
    over(messages + more, parts.settings.length_max)
}

/// Drops messages, or moves them to the dead-letter queue.
fn drop_while(
    parts: &mut Parts<'_>,
    left: &mut u64,
    full: impl Fn(&Parts<'_>) -> bool,
) -> Result<(), Error> {
    let mut head = Head::of(parts);
    while *left > 0 && full(parts) {
        let Some(next) = head.next(parts)? else { break };
        match parts.settings.overflow {
            Overflow::DeadLetterHead => parts.dispose(next, Transfer::MaxLength)?,
            Overflow::DropHead | Overflow::Reject => parts.discard(next)?,
        }
        *left -= 1;
    }
    Ok(())
}

/// Finds what makes room, through one command.
struct Head {
    search: Search,
    /// Where marks of a FIFO queue begin: what this command has dropped lies before.
    marks_from: Offset,
    /// How many of those may still be looked at.
    marks_left: u32,
}

impl Head {
    fn of(parts: &Parts<'_>) -> Self {
        Self {
            search: Search::new(parts.partition.log_end_offset, false, PATIENCE),
            marks_from: parts.partition.first_base_offset,
            marks_left: PATIENCE,
        }
    }

    /// Takes the next message out of its place. `None`: there is none, or too many had to be passed
    /// over.
    fn next(&mut self, parts: &mut Parts<'_>) -> Result<Option<Next>, Error> {
        let waiting =
            if parts.settings.fifo { self.in_fifo(parts)? } else { self.by_priority(parts)? };
        match waiting {
            Some(next) => Ok(Some(next)),
            None => self.scheduled(parts),
        }
    }

    /// The oldest of the lowest priority that waits.
    fn by_priority(&mut self, parts: &mut Parts<'_>) -> Result<Option<Next>, Error> {
        let mut classes: BTreeSet<u8> = parts.queue.state.ready.keys().copied().collect();
        classes.extend(ready::returned_classes(parts.queue));
        classes.insert(LAST_CLASS);
        for class in classes.into_iter().rev() {
            let returned = ready::returned_of(parts.queue, class).map(|(_, offset)| offset);
            let ready = Self::ready(parts, class)?;
            let mut oldest = returned.into_iter().chain(ready).min();
            if class == LAST_CLASS {
                let passed = parts.queue.free.keys().next().copied();
                oldest = oldest.into_iter().chain(passed).chain(Self::overdue(parts)?).min();
                let before = oldest.unwrap_or(parts.partition.log_end_offset);
                let next = self.search.in_order_before(parts.queue, &mut parts.work, before)?;
                if next.is_some() {
                    return Ok(next);
                }
            }
            if let Some(offset) = oldest {
                return self.take(parts, offset).map(Some);
            }
        }
        Ok(None)
    }

    /// The oldest of a class that waits out of order.
    fn ready(parts: &mut Parts<'_>, class: u8) -> Result<Option<Offset>, Error> {
        if !parts.queue.state.ready.contains_key(&class) {
            return Ok(None);
        }
        let from = parts.queue.begins.ready(class);
        let range = keys::ready_class(parts.work.space, parts.work.id, class, from);
        let row = parts.work.first(range)?;
        let offset = row.and_then(|(row_key, _)| keys::offset_of(&row_key));
        if let Some(offset) = offset {
            parts.queue.begins.ready_begins_at(class, offset);
        }
        Ok(offset)
    }

    /// The one whose time came first of those that were found to be due.
    fn overdue(parts: &mut Parts<'_>) -> Result<Option<Offset>, Error> {
        if parts.queue.state.overdue == 0 {
            return Ok(None);
        }
        let from = parts.queue.begins.dues.get();
        let range = keys::dues(parts.work.space, parts.work.id, from, i64::MAX - 1);
        let due = parts.work.first(range)?.and_then(|(row_key, _)| keys::time_of(&row_key));
        let due = due.ok_or_else(|| parts.work.corrupt("queue", "it lacks its times"))?;
        parts.queue.begins.dues.begin_at(due);
        Ok(Some(due.1))
    }

    /// The oldest that waits in a FIFO queue, its group's turn or not.
    fn in_fifo(&mut self, parts: &mut Parts<'_>) -> Result<Option<Next>, Error> {
        let returned = parts.queue.returned.first().map(|(_, offset)| *offset);
        let end = parts.partition.log_end_offset;
        let marked = self.marked(parts, returned.unwrap_or(end))?;
        match marked.or(returned) {
            Some(offset) => self.take(parts, offset).map(Some),
            // Much is on its way to another queue, and lies before what waits.
            None if self.marks_left == 0 => {
                self.search.in_order_before(parts.queue, &mut parts.work, end)
            }
            None => Ok(None),
        }
    }

    fn marked(&mut self, parts: &mut Parts<'_>, before: Offset) -> Result<Option<Offset>, Error> {
        let state = &parts.queue.state;
        let elsewhere = state.leased + state.returned + state.scheduled + state.moving();
        if state.unsettled == elsewhere {
            return Ok(None);
        }
        let now_ms = parts.work.stamp.time_ms;
        while self.marks_left > 0 && self.marks_from < before {
            let range = keys::marks(parts.work.space, parts.work.id, self.marks_from, before);
            let rows = parts.work.scan(range, PAGE)?;
            if rows.is_empty() {
                break;
            }
            for (row_key, value) in rows {
                let offset = keys::offset_of(&row_key);
                let offset = offset.ok_or_else(|| parts.work.corrupt("message", "a short key"))?;
                match Mark::decode(parts.work.space.shard, &value)?.waiting {
                    Waiting::InOrder { due_ms } if due_ms.is_none_or(|due| due <= now_ms) => {
                        self.marks_from = offset;
                        return Ok(Some(offset));
                    }
                    Waiting::InOrder { .. }
                    | Waiting::Due { .. }
                    | Waiting::Ready
                    | Waiting::Gone
                    | Waiting::Outbox { .. } => {}
                }
                self.marks_from = Offset(offset.0 + 1);
                self.marks_left = self.marks_left.saturating_sub(1);
            }
        }
        Ok(None)
    }

    /// The one whose time comes first.
    fn scheduled(&mut self, parts: &mut Parts<'_>) -> Result<Option<Next>, Error> {
        let mut earliest = parts.queue.paused.first().copied();
        if parts.queue.state.scheduled > 0 {
            let (space, id) = (parts.work.space, parts.work.id);
            let from = parts.queue.scheduled_from();
            let row = parts.work.first(keys::dues(space, id, from, i64::MAX - 1))?;
            let due = row.and_then(|(row_key, _)| keys::time_of(&row_key));
            let due = due.ok_or_else(|| parts.work.corrupt("queue", "it lacks its times"))?;
            parts.queue.scheduled_begins_at(due);
            earliest = earliest.into_iter().chain([due]).min();
        }
        earliest.map(|(_, offset)| self.take(parts, offset)).transpose()
    }

    fn take(&mut self, parts: &mut Parts<'_>, offset: Offset) -> Result<Next, Error> {
        self.search.look_again(parts.queue, offset);
        let next = divert::take(parts, offset)?;
        next.ok_or_else(|| parts.work.corrupt("queue", "what waits is not there"))
    }
}
