//! Messages of queues, and how many there are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kontiki_domain::partition::read::{self as partitions, Batch};
use kontiki_domain::queue::read::{self as queues, Standing};
use kontiki_domain::queue::{Grant, Totals};
use kontiki_raft::Shard;
use kontiki_records::BatchBuilder;
use kontiki_storage::View;
use kontiki_storage::id::{Offset, PartitionId};
use kontiki_storage::key::Space;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::records::{ANY, batch_of};
use super::wire::{
    Consumer, Delivered, Peek, QueueConsumers, QueueCounts, Receive, Response, Says,
};
use super::{Looked, Reading, gone};
use crate::core::Core;
use crate::error::Error;
use crate::queues::{self as broker, Shown, Wish};
use crate::route::Answer;

/// Offsets that one peek looks at.
const LOOKED_AT_MAX: u64 = 20_000;
/// Batches that one peek reads.
const PEEKED_BATCHES: usize = 256;
/// What a client is told of a message beside its record, in bytes.
const MESSAGE_BYTES: u64 = 128;

pub(super) async fn receive(reading: &Reading<'_>, receive: Receive) -> Result<Answer, Error> {
    let core = reading.core;
    let _ticket = core.fetch.wait()?;
    let queue = PartitionId(receive.queue);
    let waits = Duration::from_millis(receive.wait_ms.into());
    let until = (reading.begun + waits).min(reading.deadline);
    let (answer, granted) = oneshot::channel();
    let Receive { max, lease_ms, consumer, priority, .. } = receive;
    let consumer = Arc::from(consumer.unwrap_or_default());
    let priority = priority.unwrap_or(0);
    core.wish(reading.replica, queue, Wish { max, lease_ms, until, consumer, priority, answer })?;
    let granted = tokio::time::timeout_at(reading.deadline, granted).await;
    let shard = reading.replica.id();
    let late = |_| Error::outcome_unknown(&format!("the leader of shard {shard}"));
    // Dropped, it is given back: whatever goes wrong from here on.
    let leased = granted.map_err(late)?.unwrap_or_else(|_| Err(Error::stopping()))?;
    let asked = leased.grants().iter().map(asked).collect();
    let most = core.options.queues.receive_bytes_max as u64;
    let Loaded { messages, payloads, .. } = load(reading, queue, asked, Some(most)).await?;
    if messages.len() == leased.grants().len() {
        leased.given(|_| true);
    } else {
        let given: BTreeSet<u64> = messages.iter().map(|message| message.offset).collect();
        leased.given(|grant| given.contains(&grant.offset.0));
    }
    Ok(Answer { response: Response::Received(messages).encode(), payloads })
}

fn asked(grant: &Grant) -> Delivered {
    Delivered {
        offset: grant.offset.0,
        lease: grant.lease,
        until_ms: grant.until_ms,
        acquired: grant.acquired,
        failed: grant.failed,
        append_time_ms: 0,
        standing: 0,
        payload: 0,
        number: 0,
    }
}

/// Reads the records of messages of a queue whose replica is here.
pub(crate) async fn load_here(
    core: &Arc<Core>,
    replica: &Shard,
    deadline: Instant,
    queue: PartitionId,
    messages: Vec<Delivered>,
) -> Result<(Vec<Delivered>, Vec<Bytes>), Error> {
    let reading = Reading { core, replica, deadline, begun: Instant::now() };
    let Loaded { messages, payloads, .. } = load(&reading, queue, messages, None).await?;
    Ok((messages, payloads))
}

/// Messages with their records.
struct Loaded {
    messages: Vec<Delivered>,
    payloads: Vec<Bytes>,
    /// The first of those that there was no room for.
    left: Option<u64>,
}

/// A batch, and which of its records are wanted: their numbers, and places in a list.
type Wanted = (Batch, Vec<(u32, usize)>);

/// Reads the records of messages. Those whose batch is gone (their queue was deleted) are left out.
/// With a limit also those that would make it more than that, the first one excepted; and what the
/// node has no room for.
async fn load(
    reading: &Reading<'_>,
    queue: PartitionId,
    messages: Vec<Delivered>,
    most: Option<u64>,
) -> Result<Loaded, Error> {
    // Payloads may be moved and segments removed while they are read.
    let _pin = reading.core.payloads.pin();
    let parts = find(reading, queue, &messages).await?;
    let fetch = &reading.core.fetch;
    let sum = parts.iter().map(|(batch, _)| batch.row.payload.len() as u64).sum();
    let all = if most.is_none() { Some(fetch.take(sum)?) } else { None };
    let mut room = most.unwrap_or(u64::MAX);
    let mut left = None;
    let mut payloads: Vec<Bytes> = Vec::with_capacity(parts.len());
    let mut placed: Vec<Option<Delivered>> = vec![None; messages.len()];
    for (batch, mut wanted) in parts {
        let share = match &all {
            Some(share) => share.clone(),
            None => match fetch.take(batch.row.payload.len() as u64) {
                Ok(share) => share,
                Err(error) if payloads.is_empty() => return Err(error),
                Err(_) => {
                    left = wanted.first().map(|(_, at)| messages[*at].offset);
                    break;
                }
            },
        };
        let append_time_ms = batch.row.append_time;
        let count = batch.next_offset().0 - batch.base_offset.0;
        let stored = batch_of(reading, batch).await?;
        let bytes = stored.bytes().len() as u64 + wanted.len() as u64 * MESSAGE_BYTES;
        // How large compressed ones are is not known before.
        let plain = stored.header().compression == kontiki_records::Compression::None;
        let fits = most.is_none() || plain && bytes <= room;
        let whole = fits && wanted.len() as u64 * 2 >= count;
        let bytes = if whole {
            stored.into_bytes()
        } else {
            let (taken, bytes) = some(&stored, &wanted, room, payloads.is_empty())?;
            left = wanted.get(taken).map(|(_, at)| messages[*at].offset);
            wanted.truncate(taken);
            bytes
        };
        if !wanted.is_empty() {
            room = room.saturating_sub(bytes.len() as u64 + wanted.len() as u64 * MESSAGE_BYTES);
            let payload = u32::try_from(payloads.len()).expect("bounded by the messages");
            payloads.push(share.hold(bytes));
            for (place, (number, at)) in (0..).zip(wanted) {
                let number = if whole { number } else { place };
                placed[at] = Some(Delivered { append_time_ms, payload, number, ..messages[at] });
            }
        }
        if left.is_some() {
            break;
        }
    }
    Ok(Loaded { messages: placed.into_iter().flatten().collect(), payloads, left })
}

/// The batches in which the messages are, that of the first one first; of a FIFO queue in their
/// order.
async fn find(
    reading: &Reading<'_>,
    queue: PartitionId,
    messages: &[Delivered],
) -> Result<Vec<Wanted>, Error> {
    let offsets: Vec<u64> = messages.iter().map(|message| message.offset).collect();
    let find = |view: &dyn View, space: Space| {
        let mut batches: Vec<Batch> = Vec::new();
        for offset in &offsets {
            let here =
                |batch: &&Batch| (batch.base_offset.0..batch.next_offset().0).contains(offset);
            if batches.iter().rev().take(4).find(here).is_none() {
                batches.extend(queues::batch_of(view, space, queue, Offset(*offset))?);
            }
        }
        Ok(batches)
    };
    let mut batches = reading.sound(reading.look(find)).await?;
    batches.sort_by_key(|batch| batch.base_offset);
    batches.dedup_by_key(|batch| batch.base_offset);
    let wanted = |batch: Batch| {
        let (base, next) = (batch.base_offset.0, batch.next_offset().0);
        let mut wanted: Vec<(u32, usize)> = (offsets.iter().enumerate())
            .filter(|(_, offset)| (base..next).contains(offset))
            .map(|(at, offset)| (u32::try_from(offset - base).expect("in a batch"), at))
            .collect();
        wanted.sort_unstable();
        (batch, wanted)
    };
    let mut parts: Vec<Wanted> = batches.into_iter().map(wanted).collect();
    // Nobody is given a message of a FIFO group and not one before it.
    let settings = reading.core.queue_settings(queue);
    if settings.is_some_and(|settings| !settings.fifo) {
        parts.sort_by_key(|(_, wanted)| wanted.iter().map(|(_, at)| *at).min());
    }
    Ok(parts)
}

/// A batch of only some records of another one, and how many they are: as many of the wanted as
/// there is room for. `first`: there is room for one of any size.
fn some(
    batch: &kontiki_records::Batch,
    wanted: &[(u32, usize)],
    room: u64,
    first: bool,
) -> Result<(usize, Bytes), Error> {
    let mut wanted = wanted.iter().map(|(number, _)| *number).peekable();
    let mut builder = BatchBuilder::new(ANY);
    let (mut taken, mut bytes) = (0, 0);
    for (number, record) in (0..).zip(batch.records(&ANY)?) {
        let record = record?;
        if wanted.next_if_eq(&number).is_none() {
            continue;
        }
        let headers: Vec<kontiki_records::Header> = record.headers.iter().collect();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        bytes += BatchBuilder::record_bytes_max(key, value, &headers) as u64 + MESSAGE_BYTES;
        if bytes > room && !(first && taken == 0) {
            break;
        }
        builder.push(record.timestamp.max(0), key, value, &headers)?;
        taken += 1;
        if wanted.peek().is_none() {
            break;
        }
    }
    if taken == 0 {
        return Ok((0, Bytes::new()));
    }
    let built = builder.finish(kontiki_records::Compression::None, None)?;
    Ok((taken, built.into_bytes()))
}

pub(super) async fn peek(reading: &Reading<'_>, peek: Peek) -> Result<Answer, Error> {
    let queue = PartitionId(peek.queue);
    let states = reading.states(&[peek.queue]).await?;
    let state = states.into_iter().next().ok_or_else(gone)??;
    if state.queue.is_none() {
        return Err(kontiki_domain::Rejection::NotAQueue(queue).into());
    }
    let look = |view: &dyn View, space: Space| look(view, space, queue, peek);
    let (messages, next) = reading.current(look).await?;
    let most = reading.core.options.queues.receive_bytes_max as u64;
    let Loaded { messages, payloads, left } = load(reading, queue, messages, Some(most)).await?;
    let next = left.or(next);
    Ok(Answer { response: Response::Peeked { messages, next }.encode(), payloads })
}

fn look(
    view: &dyn View,
    space: Space,
    queue: PartitionId,
    peek: Peek,
) -> Looked<(Vec<Delivered>, Option<u64>)> {
    let Some(state) = queues::queue(view, space, queue)? else { return Ok((Vec::new(), None)) };
    let mut found = Vec::new();
    let mut left = LOOKED_AT_MAX;
    let first = queues::batch_of(view, space, queue, Offset(peek.from))?;
    let from = first.map_or(Offset(peek.from), |batch| batch.base_offset);
    let batches = queues::batches(view, space, queue, from, PEEKED_BATCHES)?;
    let more = batches.len() == PEEKED_BATCHES;
    let mut next = None;
    for batch in batches {
        for offset in batch.base_offset.0.max(peek.from)..batch.next_offset().0 {
            if left == 0 || found.len() >= peek.max as usize {
                return Ok((found, Some(offset)));
            }
            left -= 1;
            let standing = queues::standing(view, space, queue, &state, Offset(offset))?;
            let Some((standing, message)) = standing else { continue };
            let (standing, until_ms) = match standing {
                Standing::Available => (broker::Standing::Available, 0),
                Standing::Leased(until) => (broker::Standing::Leased, until),
                Standing::Scheduled(until) => (broker::Standing::Scheduled, until),
                Standing::Moving => (broker::Standing::Moving, 0),
            };
            found.push(Delivered {
                offset,
                lease: 0,
                until_ms,
                acquired: message.acquired,
                failed: message.failed,
                append_time_ms: batch.row.append_time,
                standing: standing.number(),
                payload: 0,
                number: 0,
            });
        }
        next = more.then(|| batch.next_offset().0);
    }
    Ok((found, next))
}

pub(super) async fn redrives(reading: &Reading<'_>, queue: PartitionId) -> Result<Answer, Error> {
    let states = reading.states(&[queue.0]).await?;
    states.into_iter().next().ok_or_else(gone)??;
    let look = |view: &dyn View, space: Space| queues::redrives(view, space, queue);
    let tasks = reading.current(look).await?;
    Ok(Answer { response: Response::Redrives(tasks).encode(), payloads: Vec::new() })
}

pub(super) async fn counts(reading: &Reading<'_>, ids: &[u64]) -> Result<Answer, Error> {
    let states = reading.states(ids).await?;
    let look = |view: &dyn View, space: Space| {
        ids.iter().map(|id| one(view, space, PartitionId(*id))).collect::<Looked<Vec<_>>>()
    };
    let found = reading.current(look).await?;
    let (now, term) = (Instant::now(), reading.replica.role().term);
    let parts = states.into_iter().zip(found).zip(ids).map(|((state, counts), id)| {
        let counts = state.and_then(|_| counts.ok_or_else(gone));
        let consumers = reading.core.consumers.known(PartitionId(*id)).map(|known| {
            let Shown { consumers, active, breaker } = known.of_term(term).show(now);
            let (active, breaker) = (active.map(|id| id.to_string()), breaker.number());
            QueueConsumers { count: consumers, active, breaker }
        });
        counts.map(|counts| QueueCounts { consumers, ..counts }).into()
    });
    Ok(Answer { response: Response::Queues(parts.collect()).encode(), payloads: Vec::new() })
}

fn one(view: &dyn View, space: Space, queue: PartitionId) -> Looked<Option<QueueCounts>> {
    let Some(partition) = partitions::partition(view, space, queue)? else { return Ok(None) };
    let Some(state) = queues::queue(view, space, queue)? else { return Ok(None) };
    let oldest = queues::batches(view, space, queue, partition.first_base_offset, 1)?;
    let counts = state.counts();
    let Totals { enqueued, acquired, acknowledged, leases_ended, dropped, .. } = state.totals;
    let Totals { moved, purged, duplicates, .. } = state.totals;
    Ok(Some(QueueCounts {
        available: counts.available,
        leased: counts.leased,
        scheduled: counts.scheduled,
        moving: counts.moving,
        bytes: partition.bytes,
        oldest_ms: oldest.first().map_or(0, |batch| batch.row.append_time),
        end_offset: partition.log_end_offset.0,
        totals: [
            enqueued,
            acquired,
            acknowledged,
            leases_ended,
            dropped,
            moved,
            purged,
            duplicates,
        ],
        consumers: None,
    }))
}

/// Notes what is said of a consumer, if this replica leads.
pub(super) fn consumer(reading: &Reading<'_>, consumer: Consumer) -> Result<Answer, Error> {
    let Consumer { queue, consumer, says } = consumer;
    let (core, shard, queue) = (reading.core, reading.replica.id(), PartitionId(queue));
    let role = reading.replica.role();
    if !role.leads {
        let leader = role.leader.map(|replica| replica.node());
        return Err(Error::not_leader(&format!("shard {shard}"), leader));
    }
    let settings = core.queue_settings(queue).ok_or_else(gone)?;
    let known = core.consumers.of(queue, shard, role.term);
    let mut attached = known.of_term(role.term);
    known.set(&mut attached, &settings);
    let now = Instant::now();
    match says {
        Says::There => attached.attend(now, &Arc::from(consumer), 0, false)?,
        Says::Gone => attached.detach(now, &consumer),
        Says::Declared => attached.declared(now),
    }
    drop(attached);
    core.hub.changed(queue);
    Ok(Answer { response: Response::Noted.encode(), payloads: Vec::new() })
}
