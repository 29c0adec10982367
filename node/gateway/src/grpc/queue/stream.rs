//! `StreamingReceive`: messages as long as there is credit, settlements on the same stream.
//!
//! Deliveries don't wait for settlements, nor these for one another; their results come in order.
//! A settlement that fails is a result like any other: the stream goes on.
//!
//! Memory: the receipts of what the client has and hasn't settled, at most [`CREDIT_MAX`], the
//! settlements of some [`SETTLING_MAX`] calls, and what one receive has brought.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, Stream, StreamExt as _};
use futures_util::{FutureExt as _, future};
use kontiki_broker::queues::{Action, MESSAGES_MAX, Message, Receive, Said, Settle, Settled};
use kontiki_broker::{Code, Error, Kind};
use kontiki_proto::v1;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::messages::{acknowledged, extended, incoming, lease, released, said, settled_one};
use crate::grpc::{Service, fields};

/// Messages that may be with one stream, or be allowed to it.
const CREDIT_MAX: u32 = 10_000;
/// Messages in one answer.
const AT_ONCE: u32 = 256;
/// Bytes of one answer, but at least one message: clients take 4 MiB if they are not told
/// otherwise.
const ANSWER_BYTES: usize = 1 << 20;
/// How long one receive waits; then it waits again.
const WAIT_MS: u32 = 20_000;
/// Settlement calls that are under way; no more requests are read meanwhile.
const SETTLING_MAX: usize = 256;
/// Answers that wait for the client to read them.
const ANSWERS_MAX: usize = 4;
/// Answers to receives that may be lost, one after the other; each time messages may come back
/// only after their lease.
const LOST_MAX: u32 = 3;
/// The pause after such a one.
const LOST_PAUSE: Duration = Duration::from_millis(500);

type Receiving = BoxFuture<'static, Result<Vec<Message>, Error>>;
type Outcomes = Result<Vec<Result<Settled, Error>>, Error>;
type Settling = BoxFuture<'static, Done>;
type Telling = BoxFuture<'static, Result<(), Error>>;
type Answers = mpsc::Sender<Result<v1::StreamingReceiveResponse, Status>>;

/// What a stream asks of its queue, by name.
trait Queues: Send + Sync + 'static {
    fn receive(&self, receive: Receive) -> Receiving;
    fn settle(&self, queue: &str, settlements: Vec<Settle>) -> BoxFuture<'static, Outcomes>;
    fn attend(&self, queue: &str, consumer: &str) -> Telling;
    fn attend_every(&self, queue: &str) -> Duration;
    fn detach(&self, queue: &str, consumer: &str) -> Telling;
    fn consumer_id(&self) -> String;
    fn time_ms(&self) -> i64;
    fn error(&self, error: Error) -> v1::Error;
    fn status(&self, error: Error) -> Status;
}

impl Queues for Service {
    fn receive(&self, receive: Receive) -> Receiving {
        let broker = self.broker.clone();
        Box::pin(async move { broker.receive(receive).await })
    }

    fn settle(&self, queue: &str, settlements: Vec<Settle>) -> BoxFuture<'static, Outcomes> {
        let (broker, queue) = (self.broker.clone(), queue.to_owned());
        Box::pin(async move { broker.settle(&queue, settlements).await })
    }

    fn attend(&self, queue: &str, consumer: &str) -> Telling {
        let (broker, queue, consumer) =
            (self.broker.clone(), queue.to_owned(), consumer.to_owned());
        Box::pin(async move { broker.attend(&queue, &consumer).await })
    }

    fn attend_every(&self, queue: &str) -> Duration {
        self.broker.attend_every(queue)
    }

    fn detach(&self, queue: &str, consumer: &str) -> Telling {
        let (broker, queue, consumer) =
            (self.broker.clone(), queue.to_owned(), consumer.to_owned());
        Box::pin(async move { broker.detach(&queue, &consumer).await })
    }

    fn consumer_id(&self) -> String {
        self.broker.consumer_id()
    }

    fn time_ms(&self) -> i64 {
        self.broker.time_ms()
    }

    fn error(&self, error: Error) -> v1::Error {
        Self::error(self, error)
    }

    fn status(&self, error: Error) -> Status {
        Self::status(self, error)
    }
}

/// Settlements of one call.
struct Done {
    /// The receipts, and whether what was asked ends their leases.
    asked: Vec<(String, bool)>,
    outcomes: Vec<Result<Settled, Error>>,
}

pub(super) fn serve(
    service: Service,
    requests: Streaming<v1::StreamingReceiveRequest>,
) -> ReceiverStream<Result<v1::StreamingReceiveResponse, Status>> {
    let (answers, receiver) = mpsc::channel(ANSWERS_MAX);
    tokio::spawn(async move {
        let broker = service.broker.clone();
        // A node that stops waits until what it has is given back.
        let in_order = broker.open();
        let open = Open::new(service, answers);
        open.run(requests, broker.stopped(), in_order).await;
    });
    ReceiverStream::new(receiver)
}

struct Open<Q> {
    queues: Q,
    queue: String,
    lease_ms: Option<i64>,
    consumer: String,
    priority: i32,
    credit: u32,
    /// Receipts of what the client has and hasn't settled here, and until when the leases last, in
    /// milliseconds since 1970.
    held: BTreeMap<String, i64>,
    /// Receives whose answers are lost, since the last one that was not.
    lost: u32,
    answers: Answers,
}

impl<Q: Queues> Open<Q> {
    fn new(queues: Q, answers: Answers) -> Self {
        Self {
            queues,
            queue: String::new(),
            lease_ms: None,
            consumer: String::new(),
            priority: 0,
            credit: 0,
            held: BTreeMap::new(),
            lost: 0,
            answers,
        }
    }

    /// Until the client closes its side or is gone, or the node stops. `in_order` is dropped when
    /// what is left has been given back.
    async fn run(
        mut self,
        requests: impl Stream<Item = Result<v1::StreamingReceiveRequest, Status>> + Send,
        stopped: impl Future<Output = ()> + Send,
        in_order: impl Send,
    ) {
        let done = tokio::select! {
            done = self.serve(requests) => done,
            () = stopped => Err(Error::stopping()),
        };
        // What the client is to blame for has failed.
        let failed = done.as_ref().map_or_else(|error| error.kind == Kind::Invalid, |()| true);
        let held = std::mem::take(&mut self.held);
        let tell = async {
            if let Err(error) = done {
                // Whoever asked may have gone, or may not read.
                let _ = self.answers.send(Err(self.queues.status(error))).await;
            }
        };
        let leave = async {
            self.give_back(held.into_keys(), failed).await;
            drop(in_order);
            self.go().await;
        };
        future::join(tell, leave).await;
    }

    async fn serve(
        &mut self,
        requests: impl Stream<Item = Result<v1::StreamingReceiveRequest, Status>> + Send,
    ) -> Result<(), Error> {
        tokio::pin!(requests);
        let Some(Ok(first)) = requests.next().await else { return Ok(()) };
        let mut settling = FuturesOrdered::new();
        settling.extend(self.begin(first)?);
        // Kept over other events: who drops it may drop messages that are on their way.
        let mut receiving: Option<Receiving> = None;
        let mut attending: Option<Telling> = None;
        let mut next_look = Instant::now();
        loop {
            if receiving.is_none() {
                receiving = self.ask();
            }
            let idle = receiving.is_none();
            let may_ask = settling.len() < SETTLING_MAX;
            tokio::select! {
                request = requests.next(), if may_ask => match request {
                    Some(Ok(request)) => settling.extend(self.take(request)?),
                    Some(Err(_)) | None => break,
                },
                Some(done) = settling.next(), if !settling.is_empty() => self.settled(done).await,
                received = under_way(&mut receiving) => {
                    receiving = None;
                    if !self.received(received).await? {
                        break;
                    }
                }
                attended = under_way(&mut attending) => {
                    attending = None;
                    refused(attended)?;
                }
                () = self.answers.closed() => break,
                // Other events don't put it off.
                () = tokio::time::sleep_until(next_look) => {
                    next_look = Instant::now() + self.queues.attend_every(&self.queue);
                    if idle && attending.is_none() {
                        attending = Some(self.queues.attend(&self.queue, &self.consumer));
                    }
                    self.forget_ended();
                }
            }
        }
        // What it has asked for is done before the rest is given back, also where it has gone.
        while let Some(done) = settling.next().await {
            self.settled(done).await;
        }
        Ok(())
    }

    /// The first request says what the stream is about.
    fn begin(&mut self, first: v1::StreamingReceiveRequest) -> Result<Vec<Settling>, Error> {
        fields::present("queue", &first.queue)?;
        self.lease_ms = lease(first.lease_ms)?;
        self.queue.clone_from(&first.queue);
        self.priority = first.priority;
        self.consumer.clone_from(&first.consumer);
        if self.consumer.is_empty() {
            self.consumer = self.queues.consumer_id();
        }
        self.take(first)
    }

    /// Asks for messages, if there is credit and room for some.
    fn ask(&self) -> Option<Receiving> {
        let max = self.credit.min(AT_ONCE).min(self.room());
        if max == 0 {
            return None;
        }
        let receive = Receive {
            queue: self.queue.clone(),
            max,
            lease_ms: self.lease_ms,
            wait_ms: WAIT_MS,
            consumer: self.consumer.clone(),
            priority: self.priority,
        };
        let receiving = self.queues.receive(receive);
        if self.lost == 0 {
            return Some(receiving);
        }
        Some(tokio::time::sleep(LOST_PAUSE).then(|()| receiving).boxed())
    }

    fn room(&self) -> u32 {
        CREDIT_MAX.saturating_sub(u32::try_from(self.held.len()).unwrap_or(u32::MAX))
    }

    /// Where room is short: what has been settled elsewhere, or was not settled in time, is not
    /// with the client any more. By this node's clock, which may differ from the leader's.
    fn forget_ended(&mut self) {
        if self.room() < AT_ONCE {
            let now_ms = self.queues.time_ms();
            self.held.retain(|_, until_ms| *until_ms > now_ms);
        }
    }

    /// Returns whether the client is still there.
    async fn received(&mut self, received: Result<Vec<Message>, Error>) -> Result<bool, Error> {
        match received {
            Ok(messages) => {
                self.lost = 0;
                Ok(self.deliver(messages).await)
            }
            Err(error) if error.kind == Kind::Unknown && self.lost < LOST_MAX => {
                self.lost += 1;
                tracing::debug!(%error, "a stream asks again");
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns whether the client is still there.
    async fn deliver(&mut self, received: Vec<Message>) -> bool {
        let count = u32::try_from(received.len()).unwrap_or(u32::MAX);
        self.credit = self.credit.saturating_sub(count);
        let receipt = |message: &Message| (message.receipt.clone(), message.lease_until_ms);
        self.held.extend(received.iter().map(receipt));
        let (mut messages, mut bytes) = (Vec::new(), 0);
        for message in received {
            let message = incoming(message);
            let more = message.encoded_len();
            if !messages.is_empty() && bytes + more > ANSWER_BYTES {
                if !self.answer(std::mem::take(&mut messages), Vec::new()).await {
                    return false;
                }
                bytes = 0;
            }
            bytes += more;
            messages.push(message);
        }
        messages.is_empty() || self.answer(messages, Vec::new()).await
    }

    /// Returns whether the client is still there.
    async fn answer(
        &self,
        messages: Vec<v1::IncomingMessage>,
        results: Vec<v1::settle_response::Result>,
    ) -> bool {
        let answer = v1::StreamingReceiveResponse { messages, results };
        self.answers.send(Ok(answer)).await.is_ok()
    }

    /// More credit, and what is to be settled, in as many calls as it takes.
    fn take(&mut self, request: v1::StreamingReceiveRequest) -> Result<Vec<Settling>, Error> {
        let v1::StreamingReceiveRequest { credit, settlements, .. } = request;
        let all = self.credit.saturating_add(credit);
        if all > CREDIT_MAX {
            let expected = format!("at most {CREDIT_MAX} in all");
            return Err(Error::invalid("credit", all, &expected));
        }
        self.credit = all;
        let mut actions = Vec::with_capacity(settlements.len());
        for settlement in settlements {
            let v1::Settlement { receipt, action } = settlement;
            let (action, said) = self::action(action)?;
            actions.push(Settle { receipt, action, said });
        }
        let mut calls = Vec::new();
        while !actions.is_empty() {
            let rest = actions.split_off(actions.len().min(MESSAGES_MAX));
            calls.push(self.settle(std::mem::replace(&mut actions, rest)));
        }
        Ok(calls)
    }

    fn settle(&self, settlements: Vec<Settle>) -> Settling {
        let ends = |one: &Settle| !matches!(one.action, Action::Extend { .. });
        let asked: Vec<(String, bool)> =
            settlements.iter().map(|one| (one.receipt.clone(), ends(one))).collect();
        let settled = self.queues.settle(&self.queue, settlements);
        Box::pin(async move {
            // A call that fails has failed for each of them.
            let outcomes = settled.await.unwrap_or_else(|error| vec![Err(error); asked.len()]);
            Done { asked, outcomes }
        })
    }

    async fn settled(&mut self, done: Done) {
        let Done { asked, outcomes } = done;
        let mut results = Vec::with_capacity(asked.len());
        for ((receipt, ends), outcome) in asked.into_iter().zip(outcomes) {
            match &outcome {
                Ok(_) if ends => drop(self.held.remove(&receipt)),
                Ok(Settled { lease_until_ms }) => {
                    if let (Some(known), Some(until_ms)) =
                        (self.held.get_mut(&receipt), lease_until_ms)
                    {
                        *known = *until_ms;
                    }
                }
                Err(error) if error.code == Code::LEASE_ENDED => drop(self.held.remove(&receipt)),
                // It may be settled again, and is given back with the others in the end.
                Err(_) => {}
            }
            results.push(settled_one(receipt, outcome, |error| self.queues.error(error)));
        }
        // Whoever asked may have gone: the next receive will notice.
        self.answer(Vec::new(), results).await;
    }

    /// Another consumer may take its place. Who has said nothing yet has nothing to say.
    async fn go(&self) {
        if self.consumer.is_empty() {
            return;
        }
        if let Err(error) = self.queues.detach(&self.queue, &self.consumer).await {
            tracing::debug!(%error, "a consumer that has gone is noticed later");
        }
    }

    /// What the client has and hasn't settled is for others.
    async fn give_back(&self, held: impl Iterator<Item = String>, failed: bool) {
        let action = Action::Release { delay_ms: None, failed };
        let settle = |receipt| Settle { receipt, action, said: None };
        let held: Vec<Settle> = held.map(settle).collect();
        for some in held.chunks(MESSAGES_MAX) {
            let done = self.queues.settle(&self.queue, some.to_vec()).await;
            if let Err(error) = done {
                tracing::debug!(%error, "messages come back after their lease");
            }
        }
    }
}

/// What is under way, if anything is.
async fn under_way<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future.as_mut() {
        Some(future) => future.await,
        None => future::pending().await,
    }
}

/// A consumer that isn't wanted here, or whose queue is gone. What may pass is said again later.
fn refused(attended: Result<(), Error>) -> Result<(), Error> {
    match attended {
        Err(error) if matches!(error.kind, Kind::Invalid | Kind::NotFound | Kind::Conflict) => {
            Err(error)
        }
        Err(error) => {
            tracing::debug!(%error, "a consumer that is there can't say so");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

type Saying = (Action, Option<Arc<Said>>);

fn action(action: Option<v1::settlement::Action>) -> Result<Saying, Error> {
    use v1::settlement::Action as Wire;
    use v1::settlement::{Acknowledged, Extended, Rejected, Released};
    match action {
        Some(Wire::Acknowledge(Acknowledged { even_if_ended })) => {
            Ok((acknowledged(even_if_ended), None))
        }
        Some(Wire::Release(Released { delay_ms, failed, error_class, error })) => {
            Ok((released(delay_ms, failed)?, said(error_class, error)))
        }
        Some(Wire::Reject(Rejected { error, error_class })) => {
            Ok((Action::Reject, said(error_class, error)))
        }
        Some(Wire::Extend(Extended { lease_ms })) => Ok((extended(lease_ms)?, None)),
        None => {
            let expected = "one of acknowledge, release, reject, extend";
            Err(Error::invalid("settlements.action", "empty", expected))
        }
    }
}

#[cfg(test)]
#[path = "stream_test.rs"]
mod tests;
