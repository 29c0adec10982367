//! Publishes messages: routes them, and sends each queue all that it gets in as few batches as can
//! be. What a queue refuses, other queues may have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _};
use kontiki_domain::mutant::{self, Mutant};
use kontiki_domain::queue::QueueSettings;
use kontiki_records::Header;
use kontiki_storage::id::TopicId;
use tokio::time::{Instant, timeout_at};

use super::compiled::Ways;
use super::publisher::Line;
use super::{Content, EXCHANGE, ROUTING_KEY, keys, unknown};
use crate::catalog::Place;
use crate::core::{Broker, Core};
use crate::error::{Code, Error, Kind};
use crate::filters::Turn;
use crate::options::bounds;
use crate::produce::Share;
use crate::queues::{Outgoing, Sent, of_queue, send, within};

/// Queues that one call sends to at a time.
const QUEUES_AT_ONCE: usize = 64;
/// Copies of messages that one call may store: each message once for each of its queues.
const COPIES_MAX: usize = 100_000;

/// A message to be published.
#[derive(Debug, Clone, Default)]
pub struct Publication {
    /// The routing key; at most 255 bytes. With the default exchange, the name of the queue.
    pub routing_key: String,
    /// Further keys (AMQP's CC header): it goes wherever one of its keys leads, once to each queue.
    /// Receivers see them.
    pub cc: Vec<String>,
    /// The same for keys that nobody sees (BCC); with CC at most [`bounds::FURTHER_KEYS_MAX`].
    pub bcc: Vec<String>,
    /// A failure where no queue gets it; otherwise it is dropped, and counted.
    pub mandatory: bool,
    /// The message.
    pub message: Outgoing,
}

/// Messages for one exchange.
#[derive(Debug, Clone)]
pub struct Publish {
    /// The exchange; empty is the default one.
    pub exchange: String,
    /// 1 to [`crate::queues::MESSAGES_MAX`].
    pub messages: Vec<Publication>,
    /// How long it may take.
    pub timeout: Duration,
}

/// A message that is stored in every queue that it was led to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// What it is in each of them. Empty: no queue gets it.
    pub copies: Vec<Sent>,
}

/// What became of a call: one for each message, in order; or why it was refused as a whole.
pub(super) type Outcome = Result<Vec<Result<Published, Error>>, Error>;

/// A queue, and the messages that go there, by their place in the call.
struct Delivery {
    name: String,
    place: Place,
    settings: Arc<QueueSettings>,
    bytes_max: usize,
    messages: Vec<usize>,
}

/// What became of a message, by its place in the call, in one queue.
type Delivered = (usize, Result<Sent, Error>);

impl Broker {
    /// Publishes messages to an exchange; answers when a quorum of each queue that a message is led
    /// to has it on disk, one answer for each message. A failure of one message names the queue
    /// that did not take it; others may have it.
    ///
    /// # Errors
    /// No such exchange, one that is internal, a number of messages out of bounds, or a limit of
    /// the node: nothing was stored then.
    pub async fn publish(&self, publish: Publish) -> Result<Vec<Result<Published, Error>>, Error> {
        let deadline = publish.deadline();
        self.0.publish(publish, deadline, Line::alone()).await
    }
}

impl Publish {
    /// When it is to be answered, if it has come now.
    pub(super) fn deadline(&self) -> Instant {
        let timeout_max = Duration::from_millis(bounds::TIMEOUT_MS_MAX.into());
        Instant::now() + self.timeout.min(timeout_max)
    }
}

impl Core {
    /// Publishes what it is the turn of. The next one in the line may begin when all of these
    /// messages have their places in their queues.
    pub(super) async fn publish(
        self: &Arc<Self>,
        publish: Publish,
        deadline: Instant,
        mut line: Line,
    ) -> Outcome {
        let core = self;
        let Publish { exchange, mut messages, timeout: _ } = publish;
        within("messages", messages.len())?;
        core.may_publish(&exchange)?;
        core.metrics.published_messages.inc_by(messages.len() as u64);
        let now_ms = (core.clock)();
        let late = || Error::not_done_in_time(&format!("exchange {exchange:?}"));
        let mut results: Vec<Result<Published, Error>> = Vec::with_capacity(messages.len());
        let mut deliveries: BTreeMap<TopicId, Delivery> = BTreeMap::new();
        let mut copies = 0;
        let mut turn = Turn::default();
        for (at, publication) in messages.iter_mut().enumerate() {
            mark(publication, &exchange);
            let checked = publication.check_keys();
            let checked = checked.map_err(|error| error.about(format_args!("messages[{at}]")));
            let ways = match checked {
                Ok(()) if Instant::now() >= deadline => Err(late()),
                // Filters may take their time.
                Ok(()) => {
                    let ways = core.ways(&exchange, publication, now_ms, &mut turn);
                    timeout_at(deadline, ways).await.unwrap_or_else(|_| Err(late()))
                }
                Err(error) => Err(error),
            };
            match ways.and_then(|ways| few(ways, &mut copies)) {
                Ok(ways) => {
                    core.group(at, ways.queues, &mut deliveries);
                    results.push(Ok(Published::default()));
                    core.metrics.binding_filter_errors.inc_by(ways.filter_errors);
                }
                Err(error) => results.push(Err(error)),
            }
        }
        let (at_once, share) = line.room(core, &messages, deliveries.len(), deadline).await?;
        let share = Arc::new(share);
        // It is asked for the next one where less than the limit are under way.
        let begun = std::iter::from_fn(|| {
            let (_, delivery) = deliveries.pop_first()?;
            let sent = core.deliver(delivery, &messages, deadline, &share).boxed();
            if deliveries.is_empty() {
                line.pass();
            }
            Some(sent)
        });
        let mut sent = stream::iter(begun).buffer_unordered(at_once);
        while let Some(sent) = sent.next().await {
            for (at, outcome) in sent {
                match (outcome, &mut results[at]) {
                    (Ok(sent), Ok(published)) => published.copies.push(sent),
                    // The queue was deleted meanwhile: it is not routed there.
                    (Err(error), _) if error.kind == Kind::NotFound => {}
                    (Err(error), result @ Ok(_)) => *result = Err(error),
                    (Ok(_) | Err(_), Err(_)) => {}
                }
            }
        }
        drop(sent);
        let ends = messages.iter().zip(results);
        Ok(ends.map(|(message, result)| core.end(&exchange, message, result)).collect())
    }
}

/// Tells a message how it is published.
fn mark(publication: &mut Publication, exchange: &str) {
    let Publication { routing_key, cc, message, .. } = publication;
    let mut own = |name: &'static str, text: &str| {
        message.headers.push(Header::new(name, text.to_owned()));
    };
    own(EXCHANGE, exchange);
    own(ROUTING_KEY, routing_key);
    cc.iter().for_each(|key| own(keys::CC, key));
}

/// The catalog has this queue, and its shard has not opened it.
fn being_made(queue: &str) -> Error {
    let detail = format!("queue {queue} is being created: try again");
    Error { retry_after_ms: 100, ..Error::new(Kind::Unavailable, Code::NOT_READY, detail) }
}

/// Keeps the number of copies within its limit.
fn few(ways: Ways, copies: &mut usize) -> Result<Ways, Error> {
    let all = *copies + ways.queues.len();
    if all > COPIES_MAX {
        let detail = format!(
            "the messages of this call would go to {all} queues in all, at most {COPIES_MAX} are \
             allowed: publish fewer at a time"
        );
        return Err(Error::new(Kind::Throttled, Code::THROTTLED, detail));
    }
    *copies = all;
    Ok(ways)
}

impl Core {
    fn may_publish(&self, exchange: &str) -> Result<(), Error> {
        self.catalog.look(|catalog| {
            if catalog.cluster().is_none() {
                return Err(Error::not_ready());
            }
            if exchange.is_empty() {
                return Ok(());
            }
            let known = catalog.routes().exchange(exchange).ok_or_else(|| unknown(exchange))?;
            if known.internal {
                let detail = format!(
                    "exchange {exchange:?} is internal: publish to one that leads to it instead"
                );
                return Err(Error::new(Kind::Denied, Code::INTERNAL_EXCHANGE, detail));
            }
            Ok(())
        })
    }

    /// Where a message goes.
    async fn ways(
        &self,
        exchange: &str,
        publication: &Publication,
        now_ms: i64,
        turn: &mut Turn,
    ) -> Result<Ways, Error> {
        let keys = publication.keys();
        if exchange.is_empty() {
            let named: BTreeSet<TopicId> = self.catalog.look(|catalog| {
                let named = keys.iter().filter_map(|key| catalog.topic_named(key));
                named.filter(|topic| topic.queue.is_some()).map(|topic| topic.topic).collect()
            });
            return Ok(Ways { queues: named.into_iter().collect(), filter_errors: 0 });
        }
        let message = &publication.message;
        let content = Content {
            headers: &message.headers,
            key: message.key.as_deref(),
            body: &message.body,
            timestamp_ms: now_ms,
            priority: message.priority,
        };
        self.exchanges.route(exchange, &keys, content, turn).await
    }

    /// Adds a message to what its queues get. Queues that are gone get nothing.
    fn group(&self, at: usize, queues: Vec<TopicId>, all: &mut BTreeMap<TopicId, Delivery>) {
        let most = if mutant::is(Mutant::PublishToOne) { 1 } else { usize::MAX };
        for queue in queues.into_iter().take(most) {
            if let Some(delivery) = all.get_mut(&queue) {
                delivery.messages.push(at);
                continue;
            }
            let found = self.queue_by_id(queue);
            let Some((name, place, settings, bytes_max)) = found else { continue };
            all.insert(queue, Delivery { name, place, settings, bytes_max, messages: vec![at] });
        }
    }

    /// Name, place, settings and the largest batch of a queue, if it is there.
    pub(crate) fn queue_by_id(
        &self,
        topic: TopicId,
    ) -> Option<(String, Place, Arc<QueueSettings>, usize)> {
        self.catalog.look(|catalog| {
            let found = catalog.topic(topic).filter(|found| found.is_active())?;
            let at = found.partitions.first()?;
            let place = Place { topic, partition: at.partition, shard: at.shard };
            let bytes_max = found.settings().message_bytes_max as usize;
            Some((found.name.clone(), place, found.queue.clone()?, bytes_max))
        })
    }

    /// How many queues are sent to at a time, and the memory for that.
    pub(super) fn share(
        &self,
        messages: &[Publication],
        queues: usize,
    ) -> Result<(usize, Share), Error> {
        let bytes = |publication: &Publication| send::bytes_of(&publication.message);
        let bytes: usize = messages.iter().map(bytes).sum();
        let mut at_once = queues.clamp(1, QUEUES_AT_ONCE);
        loop {
            let share = self.produce_budget.take(bytes.saturating_mul(at_once));
            if let Some(share) = share {
                return Ok((at_once, share));
            }
            if at_once == 1 {
                let options = &self.options.produce;
                let name = "broker.produce.in_flight_bytes_max";
                let (limit, retry) = (options.in_flight_bytes_max, options.retry_after_ms);
                return Err(Error::throttled(name, limit, retry));
            }
            at_once /= 2;
        }
    }

    /// Sends a queue what it gets. All of it has its place in the queue when this returns.
    fn deliver(
        self: &Arc<Self>,
        delivery: Delivery,
        all: &[Publication],
        deadline: Instant,
        share: &Arc<Share>,
    ) -> impl Future<Output = Vec<Delivered>> + Send + use<> {
        let core = Arc::clone(self);
        let Delivery { name, place, settings, bytes_max, messages } = delivery;
        let mut outcomes = Vec::with_capacity(messages.len());
        let mut batches: Vec<(usize, Vec<usize>)> = Vec::new();
        for at in messages {
            let message = &all[at].message;
            // One that this queue can't have must not keep others from it.
            if let Err(error) = send::check(message, &settings) {
                outcomes.push((at, Err(error.about(format_args!("queue {name}")))));
                continue;
            }
            let bytes = send::bytes_of(message);
            match batches.last_mut() {
                Some((sum, batch)) if *sum + bytes <= bytes_max => {
                    *sum += bytes;
                    batch.push(at);
                }
                _ => batches.push((send::BATCH_BYTES + bytes, vec![at])),
            }
        }
        let begun = batches.into_iter().map(|(_, batch)| {
            let messages = batch.iter().map(|at| all[*at].message.clone()).collect();
            let sent = self.enqueue(place, &settings, messages, deadline, Arc::clone(share));
            (batch, sent)
        });
        let begun: Vec<_> = begun.collect();
        async move {
            for (batch, sent) in begun {
                match sent.await {
                    Ok(sent) => outcomes.extend(batch.into_iter().zip(sent.into_iter().map(Ok))),
                    Err(error) => {
                        let is_there = || core.queue_by_id(place.topic).is_some();
                        let error = if error.kind == Kind::NotFound && is_there() {
                            being_made(&name)
                        } else {
                            of_queue(&name, error)
                        };
                        outcomes.extend(batch.into_iter().map(|at| (at, Err(error.clone()))));
                    }
                }
            }
            outcomes
        }
    }

    /// What a message's publisher is told.
    fn end(
        &self,
        exchange: &str,
        publication: &Publication,
        result: Result<Published, Error>,
    ) -> Result<Published, Error> {
        match &result {
            Err(_) => {
                self.metrics.publish_failures.inc();
            }
            Ok(published) if published.copies.is_empty() => {
                self.metrics.unroutable_messages.inc();
                if publication.mandatory {
                    let key = &publication.routing_key;
                    let further = match publication.cc.len() + publication.bcc.len() {
                        0 => String::new(),
                        count => format!(" (and {count} further keys)"),
                    };
                    let detail = format!(
                        "exchange {exchange:?} leads a message with routing key {key:?}{further} \
                         to no queue; it is not stored: bind a queue, or publish without mandatory"
                    );
                    return Err(Error::new(Kind::NotFound, Code::RETURNED, detail));
                }
            }
            Ok(_) => {}
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sendable(_: &impl Send) {}

    /// A gateway runs calls on any thread. Nothing is run here: it has to compile.
    #[expect(dead_code)]
    fn calls_can_move_between_threads(broker: &Broker, publish: Publish) {
        sendable(&broker.publish(publish.clone()));
        sendable(&broker.publisher().publish(publish));
        sendable(&broker.describe_exchange("a"));
        sendable(&broker.delete_exchange("a", true));
    }
}
