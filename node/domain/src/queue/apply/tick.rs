//! Does what has become due. Nothing happens by itself: the leader proposes this when the time has
//! come, and the time is the stamp's.

use kontiki_storage::Error;
use kontiki_storage::Family;
use kontiki_storage::id::{Offset, PartitionId};
use kontiki_storage::key::{self, queue as keys};

use super::settle::Failure;
use super::{Parts, retain, transferred};
use crate::partition::{Context, Partitions, Stop};
use crate::queue::held::{Held, Place};
use crate::queue::mark::{LAST_CLASS, Mark, Waiting};
use crate::queue::ready::{self, Search};
use crate::queue::{How, Message, Reply};
use crate::rejection::Rejection;
use crate::settings::UNLIMITED;

pub(super) fn apply(
    machine: &mut Partitions,
    context: Context<'_>,
    id: PartitionId,
    limit: u32,
) -> Result<Reply, Stop> {
    if limit == 0 {
        return Err(Rejection::invalid("limit", limit, "at least 1").into());
    }
    let mut parts = Parts::of(machine, context, id)?;
    let mut left = limit;
    end_leases(&mut parts, &mut left)?;
    deliver_due(&mut parts, &mut left)?;
    expire_marked(&mut parts, &mut left)?;
    expire_in_order(&mut parts, &mut left)?;
    retain::apply(&mut parts, &mut left)?;
    let more_abandoned = transferred::abandon(&mut parts, &mut left)?;
    forget_seen(&mut parts, &mut left)?;
    let due = match next_due(&mut parts)? {
        _ if more_abandoned => Some(parts.work.stamp.time_ms),
        due => due,
    };
    parts.queue.state.due_ms = due;
    let more = due.is_some_and(|due| due <= parts.work.stamp.time_ms);
    parts.finish();
    Ok(Reply::Ticked { done: limit - left, more })
}

fn end_leases(parts: &mut Parts<'_>, left: &mut u32) -> Result<(), Error> {
    let now_ms = parts.work.stamp.time_ms;
    while *left > 0 {
        let Some((_, offset)) = parts.queue.deadlines.first().filter(|(at, _)| *at <= now_ms)
        else {
            break;
        };
        let offset = *offset;
        *left -= 1;
        let held = *parts.queue.held.get(&offset).expect("deadlines are of held messages");
        match held.place {
            Place::Leased { .. } => {
                let next = parts.let_go(offset);
                parts.queue.state.totals.leases_ended += 1;
                let failure = Failure { how: How::LeaseEnded, said: None };
                parts.return_or_dispose(next, Some(failure), None)?;
            }
            Place::Returned { .. }
                if held.message.expires_ms.is_some_and(|expires| expires <= now_ms) =>
            {
                let next = parts.let_go(offset);
                parts.expire(next)?;
            }
            Place::Returned { .. } => {
                parts.queue.let_go(offset);
                let place = Place::Returned { due_ms: None };
                parts.queue.hold(&mut parts.work, offset, Held { place, ..held });
            }
        }
    }
    Ok(())
}

fn corrupt_key(parts: &Parts<'_>) -> Error {
    parts.work.corrupt("queue", "a key of a time is too short")
}

fn marked(parts: &mut Parts<'_>, offset: Offset) -> Result<Mark, Error> {
    let mark = ready::mark_of(&mut parts.work, offset)?;
    mark.ok_or_else(|| parts.work.corrupt("message", "it has a time, and no mark"))
}

fn deliver_due(parts: &mut Parts<'_>, left: &mut u32) -> Result<(), Error> {
    if parts.queue.state.scheduled == 0 || *left == 0 {
        return Ok(());
    }
    let now_ms = parts.work.stamp.time_ms;
    let from = parts.queue.scheduled_from();
    let range = keys::dues(parts.work.space, parts.work.id, from, now_ms);
    let rows = parts.work.scan(range, *left as usize)?;
    for (row_key, value) in rows {
        let (due_ms, offset) = keys::time_of(&row_key).ok_or_else(|| corrupt_key(parts))?;
        parts.queue.scheduled_begins_at((due_ms, offset));
        *left -= 1;
        let mark = ready::mark_in(&mut parts.work, offset, &value)?;
        let Message { class, group, .. } = mark.message;
        if !parts.settings.fifo && class == LAST_CLASS && group.is_none() {
            // It stays where it is.
            let state = &mut parts.queue.state;
            state.scheduled -= 1;
            state.overdue += 1;
            state.due_through = Some((due_ms, offset.0));
            continue;
        }
        ready::leave(parts.queue, &mut parts.work, offset, &mark);
        match mark.waiting {
            // In a FIFO queue it stays where it is.
            Waiting::InOrder { .. } => {
                let mark = Mark { waiting: Waiting::InOrder { due_ms: None }, ..mark };
                ready::wait(parts.queue, &mut parts.work, offset, &mark);
            }
            Waiting::Due { .. } | Waiting::Ready | Waiting::Gone | Waiting::Outbox { .. } => {
                make_ready(parts, offset, mark);
            }
        }
    }
    Ok(())
}

fn make_ready(parts: &mut Parts<'_>, offset: Offset, mark: Mark) {
    let shares = parts.settings.fair_groups && mark.message.class == LAST_CLASS;
    match mark.message.group.filter(|_| shares) {
        Some(group) if parts.queue.can_pass_over(group, offset) => {
            let mark = Mark { waiting: Waiting::InOrder { due_ms: None }, ..mark };
            ready::wait(parts.queue, &mut parts.work, offset, &mark);
            let met = offset < parts.queue.state.cursor;
            if met && !parts.queue.free_groups.contains_key(&group) {
                parts.queue.pass_over(&mut parts.work, group, offset);
            }
        }
        Some(_) | None => {
            let mark = Mark { waiting: Waiting::Ready, ..mark };
            ready::wait(parts.queue, &mut parts.work, offset, &mark);
        }
    }
}

fn expire_marked(parts: &mut Parts<'_>, left: &mut u32) -> Result<(), Error> {
    if parts.queue.state.marks == 0 || *left == 0 {
        return Ok(());
    }
    let from = parts.queue.begins.expiries.get();
    let now_ms = parts.work.stamp.time_ms;
    let range = keys::expiries(parts.work.space, parts.work.id, from, now_ms);
    let rows = parts.work.scan(range, *left as usize)?;
    for (row_key, _) in rows {
        let (expires_ms, offset) = keys::time_of(&row_key).ok_or_else(|| corrupt_key(parts))?;
        parts.queue.begins.expiries.begin_at((expires_ms, offset));
        let mark = marked(parts, offset)?;
        let next = parts.withdraw(offset, &mark)?;
        parts.expire(next)?;
        *left -= 1;
    }
    Ok(())
}

/// What the cursor would meet next, where the queue's time to live is over.
fn expire_in_order(parts: &mut Parts<'_>, left: &mut u32) -> Result<(), Error> {
    let time_to_live_ms = parts.settings.time_to_live_ms;
    if time_to_live_ms == UNLIMITED {
        return Ok(());
    }
    let oldest_ms = parts.work.stamp.time_ms.saturating_sub(time_to_live_ms);
    while *left > 0 {
        let Some((base, to, append_time)) = batch_ahead(parts)? else { break };
        if append_time > oldest_ms {
            break;
        }
        // In a FIFO queue, also what waits for a time or for its group.
        let mut search = Search::everything(to, *left);
        let before = parts.queue.state.cursor;
        while *left > 0
            && let Some(mut next) = search.in_order(parts.queue, &mut parts.work)?
        {
            next.base = Some(base);
            parts.expire(next)?;
            *left -= 1;
        }
        let moved = parts.queue.state.cursor > before;
        debug_assert!(moved, "a tick would be asked for without end");
        if !moved {
            break;
        }
        *left = left.saturating_sub(1);
    }
    Ok(())
}

/// The batch that the cursor is in, or comes to next: where it begins and ends, and its age.
fn batch_ahead(parts: &mut Parts<'_>) -> Result<Option<(Offset, Offset, i64)>, Error> {
    let (space, id) = (parts.work.space, parts.work.id);
    let (cursor, end) = (parts.queue.state.cursor, parts.partition.log_end_offset);
    if cursor >= end {
        return Ok(None);
    }
    let before = key::batches(space, id, Offset(0), Offset(cursor.0 + 1));
    let decode = |row| crate::partition::decode_batch(space.shard, &row);
    let found = parts.work.last(&before)?.map(decode).transpose()?;
    let found = found.filter(|batch| batch.next_offset() > cursor);
    let found = match found {
        Some(batch) => Some(batch),
        None => parts.work.first(key::batches(space, id, cursor, end))?.map(decode).transpose()?,
    };
    Ok(found.map(|batch| (batch.base_offset, batch.next_offset(), batch.row.append_time)))
}

fn forget_seen(parts: &mut Parts<'_>, left: &mut u32) -> Result<(), Error> {
    if parts.queue.state.seen == 0 || *left == 0 {
        return Ok(());
    }
    let (space, id) = (parts.work.space, parts.work.id);
    let (from, now_ms) = (parts.queue.begins.seen.get(), parts.work.stamp.time_ms);
    let range = keys::seen_through(space, id, from, now_ms);
    for (row_key, _) in parts.work.scan(range, *left as usize)? {
        let (until_ms, seen) = keys::seen_until_of(&row_key).ok_or_else(|| corrupt_key(parts))?;
        parts.queue.begins.seen.begin_at(until_ms);
        parts.work.batch.delete(Family::State, row_key);
        parts.work.delete(keys::seen(space, id, seen));
        parts.queue.state.seen -= 1;
        *left -= 1;
    }
    Ok(())
}

/// When the next tick finds something to do.
fn next_due(parts: &mut Parts<'_>) -> Result<Option<i64>, Error> {
    let (space, id) = (parts.work.space, parts.work.id);
    let mut due = parts.queue.deadlines.first().map(|(at, _)| *at);
    let mut earlier = |at: i64| due = Some(due.map_or(at, |known: i64| known.min(at)));
    let far = i64::MAX - 1;
    if parts.queue.state.scheduled > 0
        && let from = parts.queue.scheduled_from()
        && let Some((row_key, _)) = parts.work.first(keys::dues(space, id, from, far))?
    {
        let first = keys::time_of(&row_key).ok_or_else(|| corrupt_key(parts))?;
        parts.queue.scheduled_begins_at(first);
        earlier(first.0);
    }
    if parts.queue.state.marks > 0
        && let from = parts.queue.begins.expiries.get()
        && let Some((row_key, _)) = parts.work.first(keys::expiries(space, id, from, far))?
    {
        let first = keys::time_of(&row_key).ok_or_else(|| corrupt_key(parts))?;
        parts.queue.begins.expiries.begin_at(first);
        earlier(first.0);
    }
    if parts.queue.state.seen > 0
        && let from = parts.queue.begins.seen.get()
        && let Some((row_key, _)) = parts.work.first(keys::seen_through(space, id, from, far))?
    {
        let (first, _) = keys::seen_until_of(&row_key).ok_or_else(|| corrupt_key(parts))?;
        parts.queue.begins.seen.begin_at(first);
        earlier(first);
    }
    let time_to_live_ms = parts.settings.time_to_live_ms;
    if time_to_live_ms != UNLIMITED
        && let Some((_, _, append_time)) = batch_ahead(parts)?
    {
        earlier(append_time.saturating_add(time_to_live_ms));
    }
    if let Some(at) = retain::next_due(parts)? {
        earlier(at);
    }
    Ok(due)
}
