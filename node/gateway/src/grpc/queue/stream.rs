//! `StreamingReceive`: messages as long as there is credit, settlements on the same stream.
//!
//! Deliveries don't wait for settlements, nor these for one another; their results come in order.
//!
//! Memory: the receipts of what the client has and hasn't settled, at most [`CREDIT_MAX`], and the
//! settlements of [`SETTLING_MAX`] requests.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesOrdered, StreamExt as _};
use kontiki_broker::Error;
use kontiki_broker::queues::{Action, Message, Receive, Said, Settle};
use kontiki_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::messages::{extended, incoming, lease, released, said};
use crate::grpc::{Service, fields};

/// Messages that may be with one stream, or be allowed to it.
const CREDIT_MAX: u32 = 10_000;
/// Messages in one answer.
const AT_ONCE: u32 = 256;
/// How long one receive waits; then it waits again.
const WAIT_MS: u32 = 20_000;
/// How often a stream without credit says that it is still there, to queues that want to know.
const THERE: Duration = Duration::from_secs(5);
/// Requests with settlements that are under way; no more are read meanwhile.
const SETTLING_MAX: usize = 256;
/// Answers that wait for the client to read them.
const ANSWERS_MAX: usize = 4;

type Receiving = Pin<Box<dyn Future<Output = Result<Vec<Message>, Error>> + Send>>;
type Settling = Pin<Box<dyn Future<Output = Result<Done, Error>> + Send>>;
type Answers = mpsc::Sender<Result<v1::StreamingReceiveResponse, Status>>;

/// What was settled.
struct Done {
    /// Receipts of leases that have ended.
    ended: Vec<String>,
    results: Vec<v1::settle_response::Result>,
}

pub(super) fn serve(
    service: Service,
    requests: Streaming<v1::StreamingReceiveRequest>,
) -> ReceiverStream<Result<v1::StreamingReceiveResponse, Status>> {
    let (answers, receiver) = mpsc::channel(ANSWERS_MAX);
    tokio::spawn(async move {
        let stopped = service.broker.clone();
        let open = Open {
            service,
            queue: String::new(),
            lease_ms: None,
            consumer: String::new(),
            priority: 0,
            credit: 0,
            held: BTreeSet::new(),
            answers,
        };
        let run = open.run(requests);
        tokio::select! {
            () = run => {}
            () = stopped.stopped() => {}
        }
    });
    ReceiverStream::new(receiver)
}

struct Open {
    service: Service,
    queue: String,
    lease_ms: Option<i64>,
    consumer: String,
    priority: i32,
    credit: u32,
    /// Receipts of what the client has and hasn't settled here.
    held: BTreeSet<String>,
    answers: Answers,
}

impl Open {
    async fn run(mut self, mut requests: Streaming<v1::StreamingReceiveRequest>) {
        let done = self.serve(&mut requests).await;
        if let Err(error) = done {
            let status = self.service.status(error);
            // Whoever asked may have gone.
            let _ = self.answers.send(Err(status)).await;
        }
        self.give_back().await;
        self.go().await;
    }

    async fn serve(
        &mut self,
        requests: &mut Streaming<v1::StreamingReceiveRequest>,
    ) -> Result<(), Error> {
        let Ok(Some(first)) = requests.message().await else { return Ok(()) };
        fields::present("queue", &first.queue)?;
        self.queue.clone_from(&first.queue);
        self.lease_ms = lease(first.lease_ms)?;
        self.priority = first.priority;
        self.consumer.clone_from(&first.consumer);
        if self.consumer.is_empty() {
            self.consumer = self.service.broker.consumer_id();
        }
        let mut settling = FuturesOrdered::new();
        settling.extend(self.take(first)?);
        // Kept over other events: who drops it may drop messages that are on their way.
        let mut receiving: Option<Receiving> = None;
        loop {
            let room = CREDIT_MAX.saturating_sub(u32::try_from(self.held.len()).unwrap_or(0));
            let max = self.credit.min(AT_ONCE).min(room);
            if receiving.is_none() && max > 0 {
                let (queue, lease_ms) = (self.queue.clone(), self.lease_ms);
                let (consumer, priority) = (self.consumer.clone(), self.priority);
                let receive =
                    Receive { queue, max, lease_ms, wait_ms: WAIT_MS, consumer, priority };
                let broker = self.service.broker.clone();
                receiving = Some(Box::pin(async move { broker.receive(receive).await }));
            }
            let idle = receiving.is_none();
            let received = async {
                match receiving.as_mut() {
                    Some(receiving) => receiving.await,
                    None => std::future::pending().await,
                }
            };
            let may_ask = settling.len() < SETTLING_MAX;
            tokio::select! {
                request = requests.message(), if may_ask => match request {
                    Ok(Some(request)) => settling.extend(self.take(request)?),
                    Ok(None) | Err(_) => break,
                },
                Some(settled) = settling.next(), if !settling.is_empty() => {
                    self.settled(settled).await?;
                }
                received = received => {
                    receiving = None;
                    if !self.deliver(received?).await {
                        break;
                    }
                }
                () = self.answers.closed() => break,
                () = tokio::time::sleep(THERE), if idle => {
                    self.service.broker.attend(&self.queue, &self.consumer).await?;
                }
            }
        }
        // What it has asked for is done before the rest is given back, also where it has gone.
        while let Some(settled) = settling.next().await {
            self.settled(settled).await?;
        }
        Ok(())
    }

    /// Returns whether the client is still there.
    async fn deliver(&mut self, received: Vec<Message>) -> bool {
        if received.is_empty() {
            return true;
        }
        let count = u32::try_from(received.len()).unwrap_or(u32::MAX);
        self.credit = self.credit.saturating_sub(count);
        self.held.extend(received.iter().map(|message| message.receipt.clone()));
        let messages = received.into_iter().map(incoming).collect();
        let answer = v1::StreamingReceiveResponse { messages, results: Vec::new() };
        self.answers.send(Ok(answer)).await.is_ok()
    }

    /// More credit, and what is to be settled.
    fn take(&mut self, request: v1::StreamingReceiveRequest) -> Result<Option<Settling>, Error> {
        let v1::StreamingReceiveRequest { credit, settlements, .. } = request;
        let all = self.credit.saturating_add(credit);
        if all > CREDIT_MAX {
            let expected = format!("at most {CREDIT_MAX} in all");
            return Err(Error::invalid("credit", all, &expected));
        }
        self.credit = all;
        if settlements.is_empty() {
            return Ok(None);
        }
        let mut actions = Vec::with_capacity(settlements.len());
        for settlement in settlements {
            let v1::Settlement { receipt, action } = settlement;
            let (action, said) = self::action(action)?;
            actions.push(Settle { receipt, action, said });
        }
        let ends = |one: &&Settle| !matches!(one.action, Action::Extend { .. });
        let ended = actions.iter().filter(ends).map(|one| one.receipt.clone()).collect();
        let (service, queue) = (self.service.clone(), self.queue.clone());
        Ok(Some(Box::pin(async move {
            let results = service.settle_each(&queue, actions).await?;
            Ok(Done { ended, results })
        })))
    }

    async fn settled(&mut self, settled: Result<Done, Error>) -> Result<(), Error> {
        let Done { ended, results } = settled?;
        for receipt in &ended {
            self.held.remove(receipt);
        }
        let answer = v1::StreamingReceiveResponse { messages: Vec::new(), results };
        // Whoever asked may have gone: the next receive will notice.
        let _ = self.answers.send(Ok(answer)).await;
        Ok(())
    }

    /// Another consumer may take its place. Who has said nothing yet has nothing to say.
    async fn go(&self) {
        if self.consumer.is_empty() {
            return;
        }
        if let Err(error) = self.service.broker.detach(&self.queue, &self.consumer).await {
            tracing::debug!(%error, "a consumer that has gone is noticed later");
        }
    }

    /// What the client has and hasn't settled is for others.
    async fn give_back(&mut self) {
        let action = Action::Release { delay_ms: None, failed: true };
        let held = std::mem::take(&mut self.held);
        let settle = |receipt| Settle { receipt, action, said: None };
        let held: Vec<Settle> = held.into_iter().map(settle).collect();
        for some in held.chunks(kontiki_broker::queues::MESSAGES_MAX) {
            let done = self.service.broker.settle(&self.queue, some.to_vec()).await;
            if let Err(error) = done {
                tracing::debug!(%error, "messages come back after their lease");
            }
        }
    }
}

type Saying = (Action, Option<Arc<Said>>);

fn action(action: Option<v1::settlement::Action>) -> Result<Saying, Error> {
    use v1::settlement::Action as Wire;
    use v1::settlement::{Extended, Rejected, Released};
    match action {
        Some(Wire::Acknowledge(_)) => Ok((Action::Acknowledge, None)),
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
