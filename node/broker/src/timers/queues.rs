//! What leaders do for their queues when its time has come: leases that end, delays that are over,
//! messages that expire; and messages that are on their way to another queue.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use kontiki_domain::queue::read::{self as queues, Outgoing};
use kontiki_domain::queue::{
    Attributes, Command, Enqueue, History, Origin, RedriveSpec, Reply, Transfer,
};
use kontiki_raft::Shard;
use kontiki_storage::id::PartitionId;
use tokio::time::Instant;

use super::{AT_ONCE, leads};
use crate::core::Core;
use crate::error::{Code, Error};
use crate::produce::Record;
use crate::queues::{envelope, misunderstood, records_of};
use crate::read::wire::Delivered;

/// Queues that are looked at in one round.
const QUEUES_AT_ONCE: usize = 256;
/// What one tick does at most.
const TICK_MAX: u32 = 4_096;
/// Messages that are handed over in one command.
const MOVED_AT_ONCE: usize = 256;
/// Bytes of them, where the target takes so many.
const MOVED_BYTES: usize = 1 << 20;
/// The refusal of messages of which some are there already.
const OVERLAPS: Code = Code(154);
/// How long one queue is waited for: the others wait as well.
const ASKED: Duration = Duration::from_secs(3);
/// The longest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// The pause after a hand-over that was not taken.
const MOVE_AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn run(core: &Arc<Core>) {
    tokio::join!(tick(core), hand_over(core));
}

async fn tick(core: &Arc<Core>) {
    loop {
        let mut next: Option<i64> = None;
        let mut due = Vec::new();
        for shard in core.led() {
            // The shard's time, which may differ from that of this node's clock.
            let now_ms = shard.time_ms();
            let (some, later) = core.dues.due(shard.id(), now_ms, QUEUES_AT_ONCE);
            due.extend(some.into_iter().map(|queue| (shard.clone(), queue)));
            let later = later.map(|at| at.saturating_sub(now_ms));
            next = next.into_iter().chain(later).min();
        }
        if due.is_empty() {
            let pause = next.map_or(PAUSE_MAX, |at| {
                let left = u64::try_from(at).unwrap_or(0).max(1);
                Duration::from_millis(left).min(PAUSE_MAX)
            });
            tokio::select! {
                () = core.dues.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
            continue;
        }
        let ticks = stream::iter(due).map(|(shard, queue)| async move {
            let command = Command::Tick { queue, limit: TICK_MAX };
            let deadline = Instant::now() + ASKED;
            let before = leases_ended(&shard, queue);
            let done = core.ask_queue(shard.id(), command, Vec::new(), deadline).await;
            let ended = leases_ended(&shard, queue).saturating_sub(before);
            core.metrics.queue.leases_ended.inc_by(ended);
            if let Err(error) = done {
                tracing::debug!(%queue, %error, "what is due in a queue is done later");
                // Not at once, and not for ever the same one.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        ticks.buffer_unordered(AT_ONCE).collect::<()>().await;
    }
}

/// Leases of a queue that have ended by themselves; only ticks end them.
fn leases_ended(shard: &Shard, queue: PartitionId) -> u64 {
    let (view, space) = shard.view();
    let state = queues::queue(view.as_ref(), space, queue).ok().flatten();
    state.map_or(0, |state| state.totals.leases_ended)
}

async fn hand_over(core: &Arc<Core>) {
    let mut not_before: HashMap<PartitionId, Instant> = HashMap::new();
    loop {
        let now = Instant::now();
        not_before.retain(|_, at| *at > now);
        let mut moving = Vec::new();
        for shard in core.led() {
            let free = |queue: &PartitionId| !not_before.contains_key(queue);
            let some = core.dues.moving(shard.id(), QUEUES_AT_ONCE, free);
            moving.extend(some.into_iter().map(|queue| (shard.clone(), queue)));
        }
        if moving.is_empty() {
            tokio::select! {
                () = core.dues.moved() => {}
                () = tokio::time::sleep(PAUSE_MAX) => {}
            }
            continue;
        }
        let moves = stream::iter(moving)
            .map(|(shard, queue)| async move { (queue, Box::pin(one(core, &shard, queue)).await) });
        let mut moves = moves.buffer_unordered(AT_ONCE);
        while let Some((queue, done)) = moves.next().await {
            match done {
                Ok(true) => {}
                // It is led elsewhere by now, or this node's catalog doesn't know it (yet).
                Ok(false) => {
                    not_before.insert(queue, now + MOVE_AGAIN);
                }
                Err(error) => {
                    tracing::warn!(
                        %queue, %error,
                        "messages can't be moved to another queue yet; they are kept, and tried \
                         again"
                    );
                    not_before.insert(queue, now + MOVE_AGAIN);
                }
            }
        }
    }
}

/// Messages of an outbox that go to one queue, one after the other.
struct Run<'a> {
    target: String,
    first: u64,
    messages: Vec<(Outgoing, Option<History>)>,
    /// What redrives change, by their numbers.
    edits: &'a BTreeMap<u64, RedriveSpec>,
}

/// Hands over what is at the head of a queue's outbox. False: there was nothing to be done.
async fn one(core: &Arc<Core>, shard: &Shard, queue: PartitionId) -> Result<bool, Error> {
    if !leads(shard) {
        return Ok(false);
    }
    let found = core.catalog.look(|catalog| {
        let topic = catalog.partition(queue).and_then(|found| catalog.topic(found.topic));
        topic.map(|topic| (topic.name.clone(), topic.queue.clone()))
    });
    let Some((name, Some(settings))) = found else { return Ok(false) };
    let (view, space) = shard.view();
    let Some(state) = queues::queue(view.as_ref(), space, queue)? else { return Ok(false) };
    let outbox = queues::outbox(view.as_ref(), space, queue, &state, MOVED_AT_ONCE)?;
    let mut edits = BTreeMap::new();
    for (_, outgoing) in &outbox {
        if let Transfer::Redriven { redrive, .. } = outgoing.transfer
            && let Entry::Vacant(place) = edits.entry(redrive)
        {
            let task = queues::redrive(view.as_ref(), space, queue, redrive)?;
            let lost = || Error::internal(format!("the headers of redrive {redrive} are lost"));
            place.insert(task.ok_or_else(lost)?.spec);
        }
    }
    let target = |outgoing: &Outgoing| match outgoing.transfer.wanted() {
        Some(target) => Some(target.to_owned()),
        None => settings.dead_letter.clone(),
    };
    let Some((first, head)) = outbox.first() else { return Ok(false) };
    // Without a dead-letter queue any more, a tick drops them.
    let Some(to) = target(head) else { return Ok(false) };
    let same = outbox.iter().take_while(|(_, outgoing)| target(outgoing).as_ref() == Some(&to));
    let with_history = |(_, outgoing): &(u64, Outgoing)| {
        let history = match outgoing.message.history {
            true => queues::history(view.as_ref(), space, queue, outgoing.offset)?,
            false => None,
        };
        Ok((outgoing.clone(), history))
    };
    let messages: Vec<(Outgoing, Option<History>)> =
        same.map(with_history).collect::<Result<_, Error>>()?;
    drop(view);
    let alone = messages[..1].to_vec();
    let of = |messages| Run { target: to.clone(), first: *first, messages, edits: &edits };
    let done = match give(core, shard, (queue, &name), of(messages)).await {
        // Some of them have arrived before: one by one, those are passed over. Or together they are
        // too large.
        Err(error) if matches!(error.code, OVERLAPS | Code::BATCH_TOO_LARGE) => {
            give(core, shard, (queue, &name), of(alone.clone())).await
        }
        done => done,
    };
    match done {
        // With what is told about it; better without than not at all.
        Err(error) if error.code == Code::BATCH_TOO_LARGE && alone[0].1.is_some() => {
            let alone = alone.into_iter().map(|(outgoing, _)| (outgoing, None)).collect();
            give(core, shard, (queue, &name), of(alone)).await
        }
        done => done,
    }
    .map(|()| true)
}

async fn give(
    core: &Arc<Core>,
    shard: &Shard,
    (queue, name): (PartitionId, &str),
    run: Run<'_>,
) -> Result<(), Error> {
    let (place, target) = core.queue(&run.target)?;
    let deadline = Instant::now() + ASKED;
    let delivered: Vec<Delivered> = run
        .messages
        .iter()
        .map(|(outgoing, _)| Delivered {
            offset: outgoing.offset.0,
            lease: 0,
            until_ms: 0,
            acquired: outgoing.message.acquired,
            failed: outgoing.message.failed,
            append_time_ms: 0,
            standing: 0,
            payload: 0,
            number: 0,
        })
        .collect();
    let (found, payloads) = crate::read::load_here(core, shard, deadline, queue, delivered).await?;
    if found.len() != run.messages.len() {
        return Err(Error::internal("the outbox has messages whose records are not there"));
    }
    let records = records_of(&found, &payloads)?;
    // The target has to take all of them as one batch.
    let bytes_max = core.settings_of(place.topic).message_bytes_max as usize / 2;
    let bytes_max = bytes_max.min(MOVED_BYTES);
    let mut bytes = 0;
    let mut moved = Vec::new();
    let mut attributes = Vec::new();
    for (number, ((outgoing, history), record)) in (0..).zip(run.messages.iter().zip(records)) {
        let edits = match outgoing.transfer {
            Transfer::Redriven { redrive, .. } => run.edits.get(&redrive),
            Transfer::Rejected
            | Transfer::Expired
            | Transfer::MaxLength
            | Transfer::AttemptsExhausted
            | Transfer::Diverted { .. } => None,
        };
        let record = envelope(name, queue, outgoing, history.as_ref(), edits, record);
        bytes += bytes_of(&record);
        if number > 0 && bytes > bytes_max {
            break;
        }
        moved.push(record);
        let priority = u8::MAX - outgoing.message.class;
        let group = outgoing.message.group.filter(|_| target.fifo || target.fair_groups);
        if priority > 0 || group.is_some() {
            attributes.push(Attributes { number, priority, group, ..Attributes::default() });
        }
    }
    let count = moved.len() as u64;
    let (header, batch) = core.encode_messages(place.topic, moved)?;
    let origin = Some(Origin { queue, first_sequence: run.first });
    let enqueue = Enqueue { queue: place.partition, payload: 0, header, attributes, origin };
    let command = Command::Enqueue(enqueue);
    core.ask_queue(place.shard, command, vec![batch], deadline).await?;
    let diverted = |(one, _): &&(Outgoing, Option<History>)| {
        matches!(one.transfer, Transfer::Diverted { .. } | Transfer::Redriven { .. })
    };
    let sent = run.messages.iter().take(usize::try_from(count).unwrap_or(usize::MAX));
    let redriven = sent.filter(diverted).count() as u64;
    core.metrics.queue.redriven.inc_by(redriven);
    core.metrics.queue.dead_lettered.inc_by(count - redriven);
    // On the same shard, both have happened in one command.
    if place.shard != shard.id() {
        let command = Command::Transferred { queue, through: run.first + count - 1 };
        let reply = core.ask_queue(shard.id(), command, Vec::new(), deadline).await?;
        let Reply::Transferred { .. } = reply else { return Err(misunderstood(&reply)) };
    }
    Ok(())
}

/// About what a record needs in a batch.
fn bytes_of(record: &Record) -> usize {
    let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let headers = record.headers.iter().map(|one| one.name.len() + length(&one.value) + 4);
    length(&record.key) + length(&record.value) + headers.sum::<usize>() + 32
}
