//! Stores messages.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kontiki_storage::Error;
use kontiki_storage::id::Offset;
use kontiki_storage::key::queue as keys;

use super::room::{self, Load};
use super::{Parts, transferred};
use crate::mutant::{self, Mutant};
use crate::partition::{Append, Checked, Context, Giver, Partitions, Stop, append};
use crate::queue::mark::{LAST_CLASS, Mark, Waiting};
use crate::queue::ready;
use crate::queue::settings::HORIZON_MS_MAX;
use crate::queue::{
    Attributes, Enqueue, Enqueued, Message, Origin, Overflow, QueueSettings, Reply, batches,
};
use crate::rejection::{Rejection, TransferOverlap};
use crate::settings::UNLIMITED;

/// Deduplication ids are forgotten in steps of this, so that forgetting them takes few commands.
const FORGOTTEN_IN_MS: i64 = 10_000;

pub(super) fn apply(
    machine: &mut Partitions,
    mut context: Context<'_>,
    enqueue: &Enqueue,
) -> Result<Reply, Stop> {
    let id = enqueue.queue;
    let state = machine.live(id)?;
    let settings = state.queue.clone().ok_or(Rejection::NotAQueue(id))?;
    check_attributes(&settings, enqueue, context.stamp.time_ms)?;
    let append = Append {
        partition: id,
        payload: enqueue.payload,
        header: enqueue.header,
        leader_term: None,
    };
    let giver = if enqueue.origin.is_some() { Giver::Queue } else { Giver::Sender };
    let checked = append::check(machine, &mut context, &append, giver)?;
    if let Some(origin) = enqueue.origin
        && arrived(machine, &mut context, enqueue, origin)?
    {
        depart_here(machine, context.again(), enqueue, origin)?;
        return Ok(stored(Offset(0), context.stamp.time_ms, &BTreeMap::new()));
    }
    let mut duplicates = duplicates(machine, &mut context, enqueue)?;
    let new = match checked {
        Checked::Duplicate(original) => {
            // Those that were duplicates then; the others found themselves.
            duplicates
                .retain(|number, offset| offset.0 != original.base_offset.0 + u64::from(*number));
            return Ok(stored(original.base_offset, original.append_time_ms, &duplicates));
        }
        Checked::New(new) => new,
    };
    let fresh = u64::from(enqueue.header.record_count) - duplicates.len() as u64;
    let load = Load { messages: fresh, bytes: enqueue.header.bytes };
    // What comes back from its own outbox never left.
    if enqueue.origin.is_none_or(|origin| origin.queue != id) {
        room::check(machine, id, &settings, load)?;
    }

    let mut dropped_left = room::dropped_max(load);
    if settings.overflow != Overflow::Reject {
        room::make(machine, context.again(), id, load, &mut dropped_left)?;
    }
    let appended = append::perform(machine, context.again(), &append, new);
    let mut parts = Parts { appended: true, ..Parts::of(machine, context.again(), id)? };
    place(&mut parts, enqueue, &duplicates, appended.base_offset)?;
    count(&mut parts, fresh, duplicates.len() as u64);
    if !duplicates.is_empty() {
        let settled = u32::try_from(duplicates.len()).expect("at most the batch");
        batches::settle(&mut parts.work, parts.partition, appended.base_offset, settled)?;
    }
    room::cut(&mut parts, &mut dropped_left)?;
    if let Some(origin) = enqueue.origin {
        let next = origin.first_sequence + u64::from(enqueue.header.record_count);
        let row = keys::origin(parts.work.space, id, origin.queue);
        parts.work.put(row, Bytes::copy_from_slice(&next.to_be_bytes()));
    }
    parts.finish();
    if let Some(origin) = enqueue.origin {
        depart_here(machine, context.again(), enqueue, origin)?;
    }
    Ok(stored(appended.base_offset, appended.append_time_ms, &duplicates))
}

fn stored(base_offset: Offset, append_time_ms: i64, duplicates: &BTreeMap<u32, Offset>) -> Reply {
    let duplicates = duplicates.iter().map(|(number, offset)| (*number, offset.0)).collect();
    Reply::Enqueued(Enqueued { base_offset, append_time_ms, duplicates })
}

fn check_attributes(
    settings: &QueueSettings,
    enqueue: &Enqueue,
    now_ms: i64,
) -> Result<(), Rejection> {
    let mut expected = 0;
    for attributes in &enqueue.attributes {
        let number = attributes.number;
        if number < expected || number >= enqueue.header.record_count {
            let allowed = format!("{expected} to {}", enqueue.header.record_count - 1);
            return Err(Rejection::invalid("attributes.number", number, &allowed));
        }
        expected = number + 1;
        let spans =
            [("delay_ms", attributes.delay_ms), ("time_to_live_ms", attributes.time_to_live_ms)];
        for (field, span) in spans {
            if let Some(span) = span.filter(|span| !(0..=HORIZON_MS_MAX).contains(span)) {
                let allowed = format!("0 to {HORIZON_MS_MAX} (10 years)");
                return Err(Rejection::invalid(field, span, &allowed));
            }
        }
        if let Some(delay) = attributes.delay_ms.filter(|_| settings.fifo) {
            let allowed = "nothing: in a FIFO queue only the whole queue can have a delay";
            return Err(Rejection::invalid("delay_ms", delay, allowed));
        }
        if let Some(at) = attributes.deliver_at_ms {
            if settings.fifo {
                let allowed = "nothing: in a FIFO queue only the whole queue can have a delay";
                return Err(Rejection::invalid("deliver_at_ms", at, allowed));
            }
            if at > now_ms.saturating_add(HORIZON_MS_MAX) {
                return Err(Rejection::invalid("deliver_at_ms", at, "at most 10 years from now"));
            }
        }
        check_delay(settings, attributes, now_ms)?;
    }
    Ok(())
}

/// Whether a message lives for longer than it waits. What the queue says counts as well.
fn check_delay(
    settings: &QueueSettings,
    attributes: &Attributes,
    now_ms: i64,
) -> Result<(), Rejection> {
    let waits_ms = attributes.deliver_at_ms.map(|at| at.saturating_sub(now_ms));
    let waits_ms = waits_ms.or(attributes.delay_ms).unwrap_or(settings.delay_ms);
    if waits_ms <= 0 {
        return Ok(());
    }
    let limited = |span_ms| (span_ms != UNLIMITED).then_some(span_ms);
    if let Some(kept_ms) = limited(settings.retention_ms).filter(|kept_ms| waits_ms >= *kept_ms) {
        let allowed = format!(
            "less than {kept_ms}: it would be dropped before, for the queue's retention_ms"
        );
        return Err(Rejection::invalid("the delay of a message", waits_ms, &allowed));
    }
    let expires_in = attributes.expires_at_ms.map(|at| at.saturating_sub(now_ms).max(0));
    let lives_ms = limited(settings.time_to_live_ms);
    let lives_ms = lives_ms.into_iter().chain(attributes.time_to_live_ms).chain(expires_in).min();
    if let Some(lives_ms) = lives_ms.filter(|lives_ms| waits_ms >= *lives_ms) {
        let allowed = format!("less than {lives_ms}: it would expire before it is delivered");
        return Err(Rejection::invalid("the delay of a message", waits_ms, &allowed));
    }
    Ok(())
}

/// Whether what another queue hands over is here already.
fn arrived(
    machine: &mut Partitions,
    context: &mut Context<'_>,
    enqueue: &Enqueue,
    origin: Origin,
) -> Result<bool, Stop> {
    let mut parts = Parts::of(machine, context.again(), enqueue.queue)?;
    let row_key = keys::origin(parts.work.space, enqueue.queue, origin.queue);
    let Some(row) = parts.work.get(&row_key)? else { return Ok(false) };
    let next = <[u8; 8]>::try_from(row.as_ref());
    let next = next.map_err(|_| parts.work.corrupt("origin", "its length"))?;
    let next = u64::from_be_bytes(next);
    let first = origin.first_sequence;
    if first >= next {
        return Ok(false);
    }
    if first + u64::from(enqueue.header.record_count) <= next {
        return Ok(true);
    }
    let (queue, from) = (enqueue.queue, origin.queue);
    Err(Rejection::TransferOverlaps(TransferOverlap { queue, from, first, next }).into())
}

/// Where the other queue is on the same shard, it lets go of what has arrived in the same command.
fn depart_here(
    machine: &mut Partitions,
    context: Context<'_>,
    enqueue: &Enqueue,
    origin: Origin,
) -> Result<(), Stop> {
    if origin.shared.is_some() || machine.live(origin.queue).is_err() {
        return Ok(());
    }
    let mut parts = Parts::of(machine, context, origin.queue)?;
    let through = origin.first_sequence + u64::from(enqueue.header.record_count) - 1;
    if origin.first_sequence == parts.queue.state.outbox_first {
        transferred::let_go(&mut parts, through, None)?;
        transferred::abandon(&mut parts, &mut transferred::abandoned_max())?;
    }
    parts.finish();
    Ok(())
}

/// Messages that were sent before, by their number, and the offset of the first send.
fn duplicates(
    machine: &mut Partitions,
    context: &mut Context<'_>,
    enqueue: &Enqueue,
) -> Result<BTreeMap<u32, Offset>, Stop> {
    let mut found = BTreeMap::new();
    let asked = enqueue.attributes.iter().any(|attributes| attributes.deduplication.is_some());
    if !asked || mutant::is(Mutant::ForgetDeduplication) {
        return Ok(found);
    }
    let mut parts = Parts::of(machine, context.again(), enqueue.queue)?;
    let base = parts.partition.log_end_offset;
    let mut here = BTreeMap::new();
    for attributes in &enqueue.attributes {
        let Some(id) = attributes.deduplication else { continue };
        let row = parts.work.get(&keys::seen(parts.work.space, enqueue.queue, id))?;
        let known = row.map(|row| decode_seen(&parts, &row)).transpose()?;
        let known = known.filter(|(_, until_ms)| *until_ms > parts.work.stamp.time_ms);
        let number = attributes.number;
        match known.map(|(offset, _)| offset).or_else(|| here.get(&id).copied()) {
            Some(offset) => {
                found.insert(number, offset);
            }
            None => {
                here.insert(id, Offset(base.0 + u64::from(number)));
            }
        }
    }
    Ok(found)
}

fn encode_seen(offset: Offset, until_ms: i64) -> Bytes {
    let mut row = BytesMut::with_capacity(17);
    row.put_u8(1);
    row.put_u64(offset.0);
    row.put_i64(until_ms);
    row.freeze()
}

fn decode_seen(parts: &Parts<'_>, mut row: &[u8]) -> Result<(Offset, i64), Error> {
    if row.len() == 17 && row.get_u8() == 1 {
        Ok((Offset(row.get_u64()), row.get_i64()))
    } else {
        Err(parts.work.corrupt("deduplication id", "its length"))
    }
}

/// Gives marks to the messages of a batch that need one.
fn place(
    parts: &mut Parts<'_>,
    enqueue: &Enqueue,
    duplicates: &BTreeMap<u32, Offset>,
    base: Offset,
) -> Result<(), Error> {
    let settings = &parts.settings;
    let all = settings.delay_ms > 0 || settings.fifo;
    if !all && enqueue.attributes.is_empty() {
        return Ok(());
    }
    let mut attributes = enqueue.attributes.iter().copied().peekable();
    for number in 0..enqueue.header.record_count {
        let own = attributes.next_if(|attributes| attributes.number == number);
        if !all && own.is_none() {
            continue;
        }
        let own = own.unwrap_or(Attributes { number, ..Attributes::default() });
        let offset = Offset(base.0 + u64::from(number));
        if duplicates.contains_key(&number) {
            let mark = Mark { message: Message::plain(), waiting: Waiting::Gone };
            ready::wait(parts.queue, &mut parts.work, offset, &mark);
            continue;
        }
        if let Some(id) = own.deduplication {
            see(parts, offset, id)?;
        }
        if let Some(mark) = mark(parts, &own) {
            ready::wait(parts.queue, &mut parts.work, offset, &mark);
        }
    }
    Ok(())
}

/// When an id is forgotten that counts until `until_ms`.
fn forgotten_ms(until_ms: i64) -> i64 {
    (until_ms / FORGOTTEN_IN_MS).saturating_add(1).saturating_mul(FORGOTTEN_IN_MS)
}

fn see(parts: &mut Parts<'_>, offset: Offset, id: [u8; 16]) -> Result<(), Error> {
    let now_ms = parts.work.stamp.time_ms;
    let until_ms = now_ms.saturating_add(parts.settings.deduplication_window_ms);
    let forgotten_ms = forgotten_ms(until_ms);
    let (space, queue) = (parts.work.space, parts.work.id);
    if let Some(row) = parts.work.get(&keys::seen(space, queue, id))? {
        // Its window is over, and it isn't forgotten yet.
        let (_, former_ms) = decode_seen(parts, &row)?;
        let former_ms = self::forgotten_ms(former_ms);
        parts.work.delete(keys::seen_until(space, queue, former_ms, id));
        parts.queue.state.seen -= 1;
    }
    parts.work.put(keys::seen(space, queue, id), encode_seen(offset, until_ms));
    parts.work.put(keys::seen_until(space, queue, forgotten_ms, id), Bytes::new());
    parts.queue.begins.seen.put(forgotten_ms);
    parts.queue.state.seen += 1;
    parts.queue.state.wake_at(forgotten_ms);
    Ok(())
}

fn mark(parts: &Parts<'_>, own: &Attributes) -> Option<Mark> {
    let settings = &parts.settings;
    let now_ms = parts.work.stamp.time_ms;
    let class = LAST_CLASS - own.priority.min(settings.priority_max);
    let delay_ms = own.delay_ms.unwrap_or(settings.delay_ms);
    let due_ms = own.deliver_at_ms.unwrap_or_else(|| now_ms.saturating_add(delay_ms));
    let due_ms = (due_ms > now_ms && !mutant::is(Mutant::DeliverEarly)).then_some(due_ms);
    let group = if settings.fifo { Some(own.group.unwrap_or(0)) } else { own.group };
    let group = group.filter(|_| settings.fifo || settings.fair_groups);
    let expires_in = own.time_to_live_ms.map(|time| now_ms.saturating_add(time));
    let mut expires_ms = own.expires_at_ms.into_iter().chain(expires_in).min();
    let in_order = settings.fifo || (due_ms.is_none() && class == LAST_CLASS);
    if in_order && group.is_none() && expires_ms.is_none() {
        return None;
    }
    let passed_over = !in_order || settings.fifo || settings.fair_groups;
    if passed_over && settings.time_to_live_ms != UNLIMITED {
        // The cursor won't see its age, or not in time.
        let at = now_ms.saturating_add(settings.time_to_live_ms);
        expires_ms = Some(expires_ms.map_or(at, |own| own.min(at)));
    }
    let waiting = match due_ms {
        due_ms if in_order => Waiting::InOrder { due_ms },
        Some(due_ms) => Waiting::Due { due_ms },
        None => Waiting::Ready,
    };
    Some(Mark { message: Message { class, group, expires_ms, ..Message::plain() }, waiting })
}

fn count(parts: &mut Parts<'_>, fresh: u64, duplicates: u64) {
    let state = &mut parts.queue.state;
    state.unsettled += fresh;
    state.totals.enqueued += fresh;
    state.totals.duplicates += duplicates;
    for span in [parts.settings.time_to_live_ms, parts.settings.retention_ms] {
        if span != UNLIMITED {
            state.wake_at(parts.work.stamp.time_ms.saturating_add(span));
        }
    }
}
