//! Sends to one queue over one stream to its leader, many requests at a time.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kontiki_proto::v1;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};
use v1::queue_client::QueueClient;
use v1::send_response::Result as Sent;

use crate::backoff::Backoff;
use crate::client::Repeat;
use crate::link::{self, Call, Link};
use crate::options::in_range;
use crate::{Client, Error};

/// How old what is known of the queue's leader may be.
const LEADER_AGE: Duration = Duration::from_secs(10);
/// What a message takes beside its body, key and headers, roughly.
const MESSAGE_BYTES: usize = 64;

/// How a sender sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SenderOptions {
    /// Messages without an answer, in bytes: `send` waits for room. A request that is larger goes
    /// alone. 64 KiB ..= 1 GiB; default 32 MiB.
    pub in_flight_bytes_max: usize,
    /// How long a node may take to store the messages of one call. At most the client's
    /// `request_timeout_ms`, which is what 0 means; default 0.
    pub timeout_ms: u32,
    /// Gives each message that has none a deduplication id, and sends again what may not have been
    /// stored, for up to `retry_timeout_ms` of the client's: each message is stored once, whatever
    /// broke on the way, as long as that is shorter than its `deduplication_window_ms`. What is
    /// sent again may come behind what was sent later; it is sent while somebody waits for it.
    /// Default false: then nothing is sent again, and [`Error::surely_not_done`] says whether it
    /// may have been stored.
    pub deduplicate: bool,
}

impl Default for SenderOptions {
    fn default() -> Self {
        Self { in_flight_bytes_max: 32 << 20, timeout_ms: 0, deduplicate: false }
    }
}

impl SenderOptions {
    /// Checks every field against its range.
    ///
    /// # Errors
    /// INVALID, naming the first field that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        in_range("in_flight_bytes_max", self.in_flight_bytes_max as u64, 64 << 10, 1 << 30)
    }
}

/// `SendStream`.
struct Send;

type Job = link::Job<Send>;

impl Call for Send {
    type Request = v1::SendRequest;
    type Answer = v1::SendStreamResponse;
    type Outcome = Vec<Sent>;
    type Share = OwnedSemaphorePermit;

    async fn open(
        client: &Client,
        channel: Channel,
        requests: ReceiverStream<v1::SendRequest>,
    ) -> Result<Response<Streaming<v1::SendStreamResponse>>, Status> {
        service(client, channel).send_stream(requests).await
    }

    fn number(request: &mut v1::SendRequest, correlation_id: u64) {
        request.correlation_id = correlation_id;
    }

    fn read(answer: v1::SendStreamResponse) -> (u64, Option<Result<Vec<Sent>, Error>>) {
        let v1::SendStreamResponse { correlation_id, error, results } = answer;
        (correlation_id, Some(error.map_or(Ok(results), |error| Err(error.into()))))
    }
}

fn service(client: &Client, channel: Channel) -> QueueClient<Channel> {
    let bytes_max = client.options().message_bytes_max;
    QueueClient::new(channel)
        .max_decoding_message_size(bytes_max)
        .max_encoding_message_size(bytes_max)
}

/// Sends to one queue. Clones are cheap, and share the stream.
///
/// Messages are stored in the order of the calls, unless one is refused or the stream breaks.
#[derive(Debug, Clone)]
pub struct Sender {
    client: Client,
    queue: Arc<str>,
    options: SenderOptions,
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    /// What the deduplication ids of this sender begin with, and the next one's number.
    ids: Arc<(u64, AtomicU64)>,
}

impl Client {
    /// A sender to a queue.
    ///
    /// # Errors
    /// INVALID, if an option is out of range; NOT_FOUND, if there is no such queue; UNAVAILABLE or
    /// UNKNOWN, if no node answers.
    pub async fn sender(&self, queue: &str, options: SenderOptions) -> Result<Sender, Error> {
        options.validate()?;
        let most = self.options().request_timeout_ms;
        in_range("timeout_ms", options.timeout_ms.into(), 0, most)?;
        self.refresh(queue).await?;
        let queue: Arc<str> = queue.into();
        let (sender, jobs) = mpsc::channel(link::QUEUE_MAX);
        tokio::spawn(run(self.clone(), Arc::clone(&queue), jobs));
        let nonce = RandomState::new().build_hasher().finish();
        Ok(Sender {
            client: self.clone(),
            queue,
            room: Arc::new(Semaphore::new(options.in_flight_bytes_max)),
            options,
            jobs: sender,
            ids: Arc::new((nonce, AtomicU64::new(0))),
        })
    }
}

impl Sender {
    /// Sends messages, 1 to 1,000: all of them are stored, or none. Waits for room; what comes back
    /// ends when they are stored, and may be dropped by who doesn't care.
    ///
    /// # Errors
    /// INVALID, if there are none or too many of them.
    pub async fn send(&self, mut messages: Vec<v1::OutgoingMessage>) -> Result<Sending, Error> {
        in_range("the number of messages", messages.len() as u64, 1, 1_000)?;
        let bytes = messages.iter().map(bytes_of).sum::<usize>();
        let share = bytes.min(self.options.in_flight_bytes_max);
        let share = u32::try_from(share).expect("at most 1 GiB");
        let room = Arc::clone(&self.room).acquire_many_owned(share).await;
        let share = room.expect("it is never closed");
        let again = self.options.deduplicate.then(|| {
            messages.iter_mut().for_each(|message| self.identify(message));
            (self.client.clone(), self.request(messages.clone()))
        });
        let (answer, answered) = oneshot::channel();
        let request = self.request(messages);
        // A runtime that ends takes the stream with it, and then nothing was sent.
        let _ = self.jobs.send(Job { request, answer, share }).await;
        Ok(Sending { answered, again, repeated: None })
    }

    fn request(&self, messages: Vec<v1::OutgoingMessage>) -> v1::SendRequest {
        let timeout_ms = match self.options.timeout_ms {
            0 => u32::try_from(self.client.options().request_timeout_ms).unwrap_or(0),
            timeout_ms => timeout_ms,
        };
        let queue = (*self.queue).to_owned();
        v1::SendRequest { queue, messages, timeout_ms, correlation_id: 0 }
    }

    fn identify(&self, message: &mut v1::OutgoingMessage) {
        if message.deduplication_id.is_empty() {
            let number = self.ids.1.fetch_add(1, Ordering::Relaxed);
            message.deduplication_id = format!("{:016x}.{number}", self.ids.0);
        }
    }
}

/// What a message takes, roughly.
pub(crate) fn bytes_of(message: &v1::OutgoingMessage) -> usize {
    let headers = message.headers.iter();
    let headers = headers.map(|one| one.name.len() + one.value.as_ref().map_or(0, |it| it.len()));
    let key = message.key.as_ref().map_or(0, |key| key.len());
    MESSAGE_BYTES + key + message.body.len() + headers.sum::<usize>()
}

/// Messages that are being sent.
#[must_use = "whether they are stored is known when it has ended"]
pub struct Sending {
    answered: oneshot::Receiver<Result<Vec<Sent>, Error>>,
    /// What is sent again, where it may be.
    again: Option<(Client, v1::SendRequest)>,
    repeated: Option<BoxFuture<'static, Result<Vec<Sent>, Error>>>,
}

impl std::fmt::Debug for Sending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sending").finish_non_exhaustive()
    }
}

/// One result for each message, in order; or what the node has refused, UNAVAILABLE or UNKNOWN.
impl Future for Sending {
    type Output = Result<Vec<Sent>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            if let Some(repeated) = &mut self.repeated {
                return repeated.poll_unpin(context);
            }
            let gone = || Error::new(v1::ErrorKind::Unknown, "the sender has ended");
            let outcome = ready!(self.answered.poll_unpin(context)).unwrap_or_else(|_| Err(gone()));
            match (outcome, self.again.take()) {
                (Err(error), Some((client, request))) if error.is_retriable() => {
                    self.repeated = Some(repeat(client, request).boxed());
                }
                (outcome, _) => return Poll::Ready(outcome),
            }
        }
    }
}

/// Sends what has deduplication ids until somebody knows what became of it.
async fn repeat(client: Client, request: v1::SendRequest) -> Result<Vec<Sent>, Error> {
    let queue = request.queue.clone();
    let sent = client.call_near(&queue, Repeat::Always, request, |channel, request| {
        let mut service = service(&client, channel);
        async move { service.send(request).await }
    });
    sent.await.map(|answer| answer.results)
}

/// The sender's side of its stream. It ends when all senders are gone and all is answered.
async fn run(client: Client, queue: Arc<str>, mut jobs: mpsc::Receiver<Job>) {
    let mut next = jobs.recv().await;
    while let Some(first) = next {
        let (address, channel) = match reach(&client, Some(&*queue)).await {
            Ok(reached) => reached,
            Err(error) => {
                // Nothing was sent. Whoever waits has waited as long.
                let _ = first.answer.send(Err(error.clone()));
                while let Ok(job) = jobs.try_recv() {
                    let _ = job.answer.send(Err(error.clone()));
                }
                next = jobs.recv().await;
                continue;
            }
        };
        let elsewhere = || {
            let cache = client.cache();
            if cache.is_older(&queue, LEADER_AGE) {
                client.refresh_soon(&queue);
            }
            cache.near(&queue).is_some_and(|leader| leader != address)
        };
        let mut link = Link::<Send>::new(&client, &address);
        next = match link.serve(&client, channel, first, &mut jobs, elsewhere).await {
            Ok(next) => next,
            Err(error) => {
                tracing::debug!(%address, %error, "a send stream broke");
                client.pool().discard(&address);
                client.cache().avoid(&address);
                client.refresh_soon(&queue);
                link.fail(&error);
                jobs.recv().await
            }
        };
    }
}

/// A connection to the leader of the queue, or to another node, which passes on what it gets.
pub(crate) async fn reach(
    client: &Client,
    queue: Option<&str>,
) -> Result<(Arc<str>, Channel), Error> {
    let options = client.options();
    let end = Instant::now() + Duration::from_millis(options.retry_timeout_ms);
    let mut backoff = Backoff::new(options);
    loop {
        let mut last = None;
        for address in client.cache().candidates_near(queue) {
            match client.pool().get(&address).await {
                Ok(channel) => return Ok((address, channel)),
                Err(error) => {
                    client.cache().avoid(&address);
                    last = Some(error);
                }
            }
        }
        let last = last.expect("there is at least one bootstrap address");
        let pause = backoff.next(last.retry_after_ms);
        if Instant::now() + pause >= end {
            return Err(last);
        }
        tokio::time::sleep(pause).await;
    }
}
