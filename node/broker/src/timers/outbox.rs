//! Hands over what is in a queue's outbox: to a queue, or to all queues to which an exchange leads
//! it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};
use kontiki_domain::queue::read::{self as queues, Outgoing};
use kontiki_domain::queue::{
    Attributes, Command, Dropped, Enqueue, History, Origin, QueueSettings, RedriveSpec, Reply,
    Shared, Transfer,
};
use kontiki_raft::Shard;
use kontiki_records::{BatchBuilder, Header};
use kontiki_storage::id::{PartitionId, TopicId};
use tokio::time::Instant;

use super::queues::ASKED;
use super::{AT_ONCE, leads};
use crate::catalog::Place;
use crate::core::Core;
use crate::error::{Error, Kind};
use crate::exchanges::{Content, EXCHANGE, ROUTING_KEY, keys};
use crate::filters::Turn;
use crate::produce::Record;
use crate::queues::send::{asked, may_be_one};
use crate::queues::{Path, bare, envelope, misunderstood, records_of, unchanged, unknown};
use crate::read::wire::Delivered;

/// Messages that are handed over in one command.
const MOVED_AT_ONCE: usize = 256;
/// Bytes of them.
const MOVED_BYTES: usize = 1 << 20;
/// What a record batch has besides its records, and more.
const BATCH_BYTES: usize = 128;
/// How a message was published before it was moved for the first time.
const ORIGINAL_EXCHANGE: &str = "kontiki.dlq.original-exchange";
const ORIGINAL_ROUTING_KEY: &str = "kontiki.dlq.original-routing-key";
/// CC keys that counted until the message got another routing key.
const ORIGINAL_CC: &str = "kontiki.dlq.original-cc";

/// The queue whose outbox it is.
struct Source<'a> {
    shard: &'a Shard,
    queue: PartitionId,
    topic: TopicId,
    name: String,
    settings: Arc<QueueSettings>,
}

/// Where messages are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Goal {
    Queue(String),
    Exchange {
        name: String,
        key: Option<String>,
    },
    /// The queue that it is in: it can go nowhere else.
    Back,
}

/// What messages are told about their move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Everything,
    Nothing,
}

/// A queue that gets messages.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    name: String,
    place: Place,
    /// Whether it has groups.
    grouped: bool,
    bytes_max: usize,
}

/// Messages that go to the same queues, one after the other.
struct Run {
    first: u64,
    messages: Vec<(Outgoing, Record)>,
    /// None: they are dropped.
    targets: Vec<Target>,
    /// They would have targets, but have come from there by themselves.
    goes_round: bool,
}

/// A message of an outbox, and how its deliveries failed where that is written down.
type Leaving = (Outgoing, Option<History>);

/// The way that messages of an outbox take, from a sequence on.
struct Way {
    goal: Goal,
    first: u64,
    /// What redrives change, by their numbers.
    edits: BTreeMap<u64, RedriveSpec>,
}

/// Hands over what is at the head of a queue's outbox. False: there was nothing to be done.
pub(super) async fn one(
    core: &Arc<Core>,
    shard: &Shard,
    queue: PartitionId,
) -> Result<bool, Error> {
    if !leads(shard) {
        return Ok(false);
    }
    let found = core.catalog.look(|catalog| {
        let topic = catalog.partition(queue).and_then(|found| catalog.topic(found.topic));
        topic.map(|topic| (topic.topic, topic.name.clone(), topic.queue.clone()))
    });
    let Some((topic, name, Some(settings))) = found else { return Ok(false) };
    let source = Source { shard, queue, topic, name, settings };
    let Some((way, messages)) = source.head()? else { return Ok(false) };
    let head = messages[0].clone();
    let Err(error) = bring(core, &source, &way, messages.clone(), Told::Everything).await else {
        return Ok(true);
    };
    match &way.goal {
        Goal::Queue(name) if head.0.transfer.wanted().is_some() => {
            let left = if is_gone(core, name, &error).await? {
                messages
            } else if error.kind == Kind::Invalid {
                vec![head]
            } else {
                return Err(error);
            };
            tracing::warn!(
                queue = source.name, target = name, offset = %left[0].0.offset, %error,
                "what was on its way to another queue can't get there, and is put back"
            );
            let way = Way { goal: Goal::Back, ..way };
            bring(core, &source, &way, left, Told::Nothing).await?;
        }
        // Better without what is told about it than not at all: then it is no larger than what has
        // been taken once.
        _ if error.kind == Kind::Invalid => {
            bring(core, &source, &way, vec![head], Told::Nothing).await?;
        }
        Goal::Queue(_) | Goal::Exchange { .. } | Goal::Back => return Err(error),
    }
    Ok(true)
}

/// Whether the queue that a redrive moves to is none any more.
async fn is_gone(core: &Core, name: &str, error: &Error) -> Result<bool, Error> {
    if !matches!(error.kind, Kind::NotFound | Kind::Invalid) {
        return Ok(false);
    }
    // This node's copy of the catalog may be old.
    match core.known_topic(name, Instant::now() + ASKED, |topic| topic.queue.is_some()).await {
        Ok(is_queue) => Ok(!is_queue),
        Err(gone) if gone.kind == Kind::NotFound => Ok(true),
        Err(other) => Err(other),
    }
}

impl Source<'_> {
    /// The messages at the head of the outbox that go the same way.
    fn head(&self) -> Result<Option<(Way, Vec<Leaving>)>, Error> {
        let (queue, (view, space)) = (self.queue, self.shard.view());
        let Some(state) = queues::queue(view.as_ref(), space, queue)? else { return Ok(None) };
        let outbox = queues::outbox(view.as_ref(), space, queue, &state, MOVED_AT_ONCE)?;
        let Some(&(first, ref head)) = outbox.first() else { return Ok(None) };
        // Where there is nowhere to go any more, a tick drops them.
        let Some(goal) = self.goal(head) else { return Ok(None) };
        let same = outbox.iter().take_while(|(_, one)| self.goal(one).as_ref() == Some(&goal));
        let (mut messages, mut edits) = (Vec::new(), BTreeMap::new());
        for (_, outgoing) in same {
            let history = match outgoing.message.history {
                true => queues::history(view.as_ref(), space, queue, outgoing.offset)?,
                false => None,
            };
            if let Transfer::Redriven { redrive, .. } = outgoing.transfer
                && let Entry::Vacant(place) = edits.entry(redrive)
            {
                let task = queues::redrive(view.as_ref(), space, queue, redrive)?;
                let lost = || Error::internal(format!("the headers of redrive {redrive} are lost"));
                place.insert(task.ok_or_else(lost)?.spec);
            }
            messages.push((outgoing.clone(), history));
        }
        Ok(Some((Way { goal, first, edits }, messages)))
    }

    fn goal(&self, outgoing: &Outgoing) -> Option<Goal> {
        if let Some(target) = outgoing.transfer.wanted() {
            return Some(Goal::Queue(target.to_owned()));
        }
        let QueueSettings { dead_letter, dead_letter_exchange, .. } = self.settings.as_ref();
        let exchange = || {
            let key = self.settings.dead_letter_routing_key.clone();
            dead_letter_exchange.clone().map(|name| Goal::Exchange { name, key })
        };
        dead_letter.clone().map(Goal::Queue).or_else(exchange)
    }
}

/// Hands over as many of the messages as go together.
async fn bring(
    core: &Arc<Core>,
    source: &Source<'_>,
    way: &Way,
    messages: Vec<Leaving>,
    told: Told,
) -> Result<(), Error> {
    let loaded = load(core, source, way, messages, told).await?;
    let mut run = plan(core, source, way, loaded.clone()).await?;
    if run.targets.is_empty() && !run.goes_round {
        // Before anything is dropped: this node's copy of the catalog may be old.
        core.catalog_barrier(Instant::now() + ASKED).await?;
        run = plan(core, source, way, loaded).await?;
    }
    match give(core, source, way, &run).await {
        // Some of them have arrived before: one by one, those are passed over. Or there is no room
        // for so many, or only one of them is refused.
        Err(error) if may_be_one(&error) && run.messages.len() > 1 => {
            run.messages.truncate(1);
            give(core, source, way, &run).await
        }
        done => done,
    }
}

/// The messages with their records.
async fn load(
    core: &Arc<Core>,
    source: &Source<'_>,
    way: &Way,
    messages: Vec<Leaving>,
    told: Told,
) -> Result<Vec<(Outgoing, Record)>, Error> {
    let delivered: Vec<Delivered> = messages
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
    let (deadline, queue) = (Instant::now() + ASKED, source.queue);
    let loaded = crate::read::load_here(core, source.shard, deadline, queue, delivered).await;
    let (found, payloads) = loaded?;
    if found.len() != messages.len() {
        return Err(Error::internal("the outbox has messages whose records are not there"));
    }
    let records = records_of(&found, &payloads)?;
    let wrapped = messages.into_iter().zip(records).map(|((outgoing, history), record)| {
        let edits = match outgoing.transfer {
            Transfer::Redriven { redrive, .. } => way.edits.get(&redrive),
            Transfer::Rejected
            | Transfer::Expired
            | Transfer::MaxLength
            | Transfer::AttemptsExhausted
            | Transfer::Diverted { .. } => None,
        };
        let record = match (told, &way.goal) {
            (_, Goal::Back) => unchanged(record),
            (Told::Nothing, _) => bare(record),
            (Told::Everything, _) => {
                envelope(&source.name, queue, &outgoing, history.as_ref(), edits, record)
            }
        };
        (outgoing, record)
    });
    Ok(wrapped.collect())
}

/// The first of the messages, as many as go to the same queues and fit into one batch.
async fn plan(
    core: &Core,
    source: &Source<'_>,
    way: &Way,
    loaded: Vec<(Outgoing, Record)>,
) -> Result<Run, Error> {
    let mut run =
        Run { first: way.first, messages: Vec::new(), targets: Vec::new(), goes_round: false };
    let mut sum = BATCH_BYTES;
    let mut turn = Turn::default();
    // One queue for all of them, unless an exchange says where they go.
    let fixed = match &way.goal {
        Goal::Queue(name) => Some((core.queue(name)?.0.topic, name)),
        Goal::Back => Some((source.topic, &source.name)),
        Goal::Exchange { .. } => None,
    };
    let fixed = fixed.map(|(topic, name)| target(core, topic).ok_or_else(|| unknown(name)));
    let fixed = fixed.transpose()?;
    for (outgoing, mut record) in loaded {
        let is_first = run.messages.is_empty();
        let mut targets: Vec<Target> = fixed.iter().cloned().collect();
        if let Goal::Exchange { name, key } = &way.goal {
            let key = key.as_deref();
            targets = routed(core, source, (name, key), &mut record, &mut turn).await?;
        }
        let led = targets.len();
        if outgoing.transfer.wanted().is_none() {
            let path = Path::of(&record.headers);
            targets.retain(|target| !path.goes_round(&target.name));
        }
        let goes_round = targets.is_empty() && led > 0;
        if !is_first && (targets != run.targets || goes_round != run.goes_round) {
            break;
        }
        (run.targets, run.goes_round) = (targets, goes_round);
        let limit = run.targets.iter().map(|target| target.bytes_max).min();
        let limit = limit.map_or(MOVED_BYTES, |limit| limit.min(MOVED_BYTES));
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        sum += BatchBuilder::record_bytes_max(key, value, &record.headers);
        if !is_first && sum > limit {
            break;
        }
        run.messages.push((outgoing, record));
    }
    Ok(run)
}

fn target(core: &Core, topic: TopicId) -> Option<Target> {
    let (name, place, settings, bytes_max) = core.queue_by_id(topic)?;
    let grouped = settings.fifo || settings.fair_groups;
    Some(Target { name, place, grouped, bytes_max })
}

/// The queues to which an exchange leads a message; the record is told which way it took.
async fn routed(
    core: &Core,
    source: &Source<'_>,
    (exchange, key): (&str, Option<&str>),
    record: &mut Record,
    turn: &mut Turn,
) -> Result<Vec<Target>, Error> {
    let published = record.headers.iter().rev().find(|one| one.name == ROUTING_KEY.as_bytes());
    let published = published.and_then(|header| header.value.as_deref());
    let published = published.map(|key| String::from_utf8_lossy(key).into_owned());
    if key.is_some() {
        retire_cc(&mut record.headers);
    }
    let cc = keys::kept(&record.headers);
    let key = key.map(str::to_owned).or(published).unwrap_or_else(|| source.name.clone());
    for (name, original) in [(EXCHANGE, ORIGINAL_EXCHANGE), (ROUTING_KEY, ORIGINAL_ROUTING_KEY)] {
        let is = |header: &Header, name: &str| header.name == name.as_bytes();
        let before = record.headers.iter().position(|header| is(header, name));
        let before = before.map(|at| record.headers.remove(at));
        if !record.headers.iter().any(|header| is(header, original)) {
            let value = before.and_then(|header| header.value).unwrap_or_default();
            record.headers.push(Header::new(original, value));
        }
    }
    record.headers.push(Header::new(EXCHANGE, exchange.to_owned()));
    record.headers.push(Header::new(ROUTING_KEY, key.clone()));
    let content = Content {
        headers: &record.headers,
        key: record.key.as_deref(),
        body: record.value.as_deref().unwrap_or_default(),
        timestamp_ms: record.timestamp_ms,
        priority: asked(&record.headers).0.unwrap_or(0),
    };
    let all: Vec<&str> = std::iter::once(&key).chain(&cc).map(String::as_str).collect();
    let ways = core.exchanges.route(exchange, &all, content, turn).await?;
    core.metrics.binding_filter_errors.inc_by(ways.filter_errors);
    // Not where it comes from: it would go round for ever.
    let others = ways.queues.into_iter().filter(|queue| *queue != source.topic);
    Ok(others.filter_map(|queue| target(core, queue)).collect())
}

/// With another routing key, the CC keys don't count any more. They stay as what they were.
fn retire_cc(headers: &mut [Header]) {
    for header in headers.iter_mut().filter(|header| header.name == keys::CC.as_bytes()) {
        header.name = Bytes::from_static(ORIGINAL_CC.as_bytes());
    }
}

/// Brings messages to all of their queues, and then lets them go.
async fn give(core: &Arc<Core>, source: &Source<'_>, way: &Way, run: &Run) -> Result<(), Error> {
    let deadline = Instant::now() + ASKED;
    let shared = (run.targets.len() > 1).then_some(Shared::Yes);
    let mut given: Vec<BoxFuture<'_, Result<(), Error>>> = Vec::with_capacity(run.targets.len());
    for target in &run.targets {
        given.push(Box::pin(give_one(core, source, run, target, shared, deadline)));
    }
    let mut given = stream::iter(given).buffer_unordered(AT_ONCE);
    let mut failed = None;
    while let Some(done) = given.next().await {
        // All of them are tried: what has arrived need not be brought again.
        failed = failed.or(done.err());
    }
    if let Some(error) = failed {
        return Err(error);
    }
    let dropped = run.targets.is_empty().then_some(Dropped::Unroutable);
    let count = run.messages.len() as u64;
    if way.goal == Goal::Back {
        core.metrics.queue.came_back.inc_by(count);
    } else if dropped.is_none() {
        let wanted = run.messages.iter().filter(|(one, _)| one.transfer.wanted().is_some());
        let redriven = wanted.count() as u64;
        core.metrics.queue.redriven.inc_by(redriven);
        core.metrics.queue.dead_lettered.inc_by(count - redriven);
    }
    let here = run.targets.first().map(|target| target.place.shard) == Some(source.shard.id());
    // On the same shard, where it goes to one queue, both have happened in one command.
    if here && shared.is_none() {
        return Ok(());
    }
    let (queue, through) = (source.queue, run.first + count - 1);
    let command = Command::Transferred { queue, through, dropped };
    let reply = core.ask_queue(source.shard.id(), command, Vec::new(), deadline).await?;
    let Reply::Transferred { removed } = reply else { return Err(misunderstood(&reply)) };
    if run.goes_round {
        core.metrics.queue.went_round.inc_by(removed);
        tracing::warn!(
            queue = source.name, offset = %run.messages[0].0.offset, count = removed,
            "dead letters that went round between queues by themselves are dropped"
        );
    } else if dropped.is_some() {
        core.metrics.unroutable_dead_letters.inc_by(removed);
    }
    Ok(())
}

async fn give_one(
    core: &Arc<Core>,
    source: &Source<'_>,
    run: &Run,
    target: &Target,
    shared: Option<Shared>,
    deadline: Instant,
) -> Result<(), Error> {
    let mut attributes = Vec::new();
    let Place { partition, shard, .. } = target.place;
    for (number, (outgoing, record)) in (0..).zip(&run.messages) {
        // This queue may have had no use for what the other one has.
        let (priority, group) = asked(&record.headers);
        let priority = priority.unwrap_or(u8::MAX - outgoing.message.class);
        let group = group.or(outgoing.message.group).filter(|_| target.grouped);
        // Only what comes back doesn't begin anew.
        let expires_at_ms = outgoing.message.expires_ms.filter(|_| partition == source.queue);
        let own = Attributes { number, priority, group, expires_at_ms, ..Attributes::default() };
        if own != (Attributes { number, ..Attributes::default() }) {
            attributes.push(own);
        }
    }
    let records = run.messages.iter().map(|(_, record)| record);
    let (header, batch): (_, Bytes) = Core::encode_moved(records)?;
    let origin = Some(Origin { queue: source.queue, first_sequence: run.first, shared });
    let enqueue = Enqueue { queue: partition, payload: 0, header, attributes, origin };
    let asked = core.ask_queue(shard, Command::Enqueue(enqueue), vec![batch], deadline);
    asked.await.map(drop).map_err(|error| error.about(format_args!("queue {}", target.name)))
}
