//! Publishes over one stream to one node, many requests at a time and in order.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt as _;
use kontiki_proto::v1;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};
use v1::exchanges_client::ExchangesClient;
use v1::publish_response::Result as Published;

use crate::link::{self, Call, Link};
use crate::options::in_range;
use crate::sender::{bytes_of, reach};
use crate::{Client, Error};

/// How a publisher publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PublisherOptions {
    /// Messages without an answer, in bytes: `publish` waits for room. A request that is larger
    /// goes alone. More than a node reads of one stream (`grpc.stream_unanswered_bytes_max`, 16 MiB
    /// by default) waits on its way there. 64 KiB ..= 1 GiB; default 16 MiB.
    pub in_flight_bytes_max: usize,
    /// How long a node may take to store the messages of one call. At most the client's
    /// `request_timeout_ms`, which is what 0 means; default 0.
    pub timeout_ms: u32,
}

impl Default for PublisherOptions {
    fn default() -> Self {
        Self { in_flight_bytes_max: 16 << 20, timeout_ms: 0 }
    }
}

impl PublisherOptions {
    /// Checks every field against its range.
    ///
    /// # Errors
    /// INVALID, naming the first field that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        in_range("in_flight_bytes_max", self.in_flight_bytes_max as u64, 64 << 10, 1 << 30)
    }
}

/// `PublishStream`.
struct Publish;

type Job = link::Job<Publish>;

impl Call for Publish {
    type Request = v1::PublishRequest;
    type Answer = v1::PublishStreamResponse;
    type Outcome = Vec<Published>;
    type Share = OwnedSemaphorePermit;

    async fn open(
        client: &Client,
        channel: Channel,
        requests: ReceiverStream<v1::PublishRequest>,
    ) -> Result<Response<Streaming<v1::PublishStreamResponse>>, Status> {
        let bytes_max = client.options().message_bytes_max;
        let mut service = ExchangesClient::new(channel)
            .max_decoding_message_size(bytes_max)
            .max_encoding_message_size(bytes_max);
        service.publish_stream(requests).await
    }

    fn number(request: &mut v1::PublishRequest, correlation_id: u64) {
        request.correlation_id = correlation_id;
    }

    fn read(answer: v1::PublishStreamResponse) -> (u64, Option<Result<Vec<Published>, Error>>) {
        let v1::PublishStreamResponse { correlation_id, error, results } = answer;
        (correlation_id, Some(error.map_or(Ok(results), |error| Err(error.into()))))
    }
}

/// Publishes to exchanges. Clones are cheap, and share the stream.
///
/// In each queue, messages are stored in the order of the calls, whatever exchanges they are for,
/// unless one is refused or the stream breaks. Nothing is published again: give messages a
/// deduplication id, and publish them again yourself after UNKNOWN.
#[derive(Debug, Clone)]
pub struct Publisher {
    options: PublisherOptions,
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
}

impl Client {
    /// A publisher. Nodes are reached when it has something to publish.
    ///
    /// # Errors
    /// INVALID, if an option is out of range.
    pub fn publisher(&self, mut options: PublisherOptions) -> Result<Publisher, Error> {
        options.validate()?;
        let most = self.options().request_timeout_ms;
        in_range("timeout_ms", options.timeout_ms.into(), 0, most)?;
        if options.timeout_ms == 0 {
            options.timeout_ms = u32::try_from(most).unwrap_or(0);
        }
        let (sender, jobs) = mpsc::channel(link::QUEUE_MAX);
        tokio::spawn(run(self.clone(), jobs));
        let room = Arc::new(Semaphore::new(options.in_flight_bytes_max));
        Ok(Publisher { options, jobs: sender, room })
    }
}

impl Publisher {
    /// Publishes messages, 1 to 1,000, to an exchange. Waits for room; what comes back ends when
    /// they are stored, and may be dropped by who doesn't care.
    ///
    /// # Errors
    /// INVALID, if there are none or too many of them.
    pub async fn publish(
        &self,
        exchange: &str,
        messages: Vec<v1::Publication>,
    ) -> Result<Publishing, Error> {
        in_range("the number of messages", messages.len() as u64, 1, 1_000)?;
        let bytes = messages.iter().map(bytes_of_publication).sum::<usize>();
        let share = bytes.min(self.options.in_flight_bytes_max);
        let share = u32::try_from(share).expect("at most 1 GiB");
        let room = Arc::clone(&self.room).acquire_many_owned(share).await;
        let share = room.expect("it is never closed");
        let (exchange, timeout_ms) = (exchange.to_owned(), self.options.timeout_ms);
        let request = v1::PublishRequest { exchange, messages, timeout_ms, correlation_id: 0 };
        let (answer, answered) = oneshot::channel();
        // A runtime that ends takes the stream with it, and then nothing was published.
        let _ = self.jobs.send(Job { request, answer, share }).await;
        Ok(Publishing { answered })
    }
}

fn bytes_of_publication(publication: &v1::Publication) -> usize {
    let v1::Publication { routing_key, message, cc, bcc, mandatory: _ } = publication;
    let keys = cc.iter().chain(bcc).map(String::len);
    routing_key.len() + keys.sum::<usize>() + message.as_ref().map_or(0, bytes_of)
}

/// Messages that are being published.
#[must_use = "whether they are stored is known when it has ended"]
pub struct Publishing {
    answered: oneshot::Receiver<Result<Vec<Published>, Error>>,
}

impl std::fmt::Debug for Publishing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publishing").finish_non_exhaustive()
    }
}

/// One result for each message, in order: look at all of them. Or what the node has refused,
/// UNAVAILABLE or UNKNOWN.
impl Future for Publishing {
    type Output = Result<Vec<Published>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let gone = || Error::new(v1::ErrorKind::Unknown, "the publisher has ended");
        let outcome = ready!(self.answered.poll_unpin(context));
        Poll::Ready(outcome.unwrap_or_else(|_| Err(gone())))
    }
}

/// The publisher's side of its stream. It ends when all publishers are gone and all is answered.
async fn run(client: Client, mut jobs: mpsc::Receiver<Job>) {
    let mut next = jobs.recv().await;
    while let Some(first) = next {
        let (address, channel) = match reach(&client, None).await {
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
        let mut link = Link::<Publish>::new(&client, &address);
        next = match link.serve(&client, channel, first, &mut jobs, || false).await {
            Ok(next) => next,
            Err(error) => {
                tracing::debug!(%address, %error, "a publish stream broke");
                client.pool().discard(&address);
                client.cache().avoid(&address);
                link.fail(&error);
                jobs.recv().await
            }
        };
    }
}
