//! The client: what producer, consumer and administration share. It asks one node after the other
//! until one answers, and repeats what may be repeated.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kontiki_proto::v1;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use v1::log_client::LogClient;

use crate::backoff::Backoff;
use crate::metadata::Metadata;
use crate::pool::{Connect, Pool, Tcp};
use crate::{Admin, Consumer, ConsumerOptions, Error, Options, Producer, ProducerOptions};

/// A handle to a cluster. Clones are cheap and share connections and metadata.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: Arc<Options>,
    pool: Pool,
    metadata: Metadata,
    refreshing: AtomicBool,
}

/// How long a node may take to say what it has in memory; then the next one is asked.
const METADATA_MAX: Duration = Duration::from_secs(2);

/// Whether a call may be sent again when nobody knows what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It only reads, or does the same when it is done twice.
    Always,
    /// Only if the attempt was surely not carried out.
    IfNotDone,
}

impl Client {
    /// A client with these options. It connects when it is first used.
    ///
    /// # Errors
    /// INVALID, if an option is out of range.
    pub fn new(options: Options) -> Result<Self, Error> {
        Self::with_connect(options, Arc::new(Tcp))
    }

    /// A client whose connections are made by somebody else than TCP.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn with_connect(options: Options, connect: Arc<dyn Connect>) -> Result<Self, Error> {
        options.validate()?;
        let metadata = Metadata::new(&options);
        let options = Arc::new(options);
        let pool = Pool::new(options.clone(), connect);
        let refreshing = AtomicBool::new(false);
        Ok(Self { shared: Arc::new(Shared { options, pool, metadata, refreshing }) })
    }

    /// Nodes, topics (at most 10,000 names), and who leads their partitions. A topic that doesn't
    /// exist has an error in its place.
    ///
    /// # Errors
    /// UNAVAILABLE or UNKNOWN, if no node answers within `retry_timeout_ms`.
    pub async fn metadata(&self, topics: &[&str]) -> Result<v1::MetadataResponse, Error> {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        self.ask_metadata(v1::MetadataRequest { topics, all_topics: false }).await
    }

    /// As [`Client::metadata`], of all topics.
    ///
    /// # Errors
    /// As [`Client::metadata`].
    pub async fn metadata_of_all(&self) -> Result<v1::MetadataResponse, Error> {
        self.ask_metadata(v1::MetadataRequest { topics: Vec::new(), all_topics: true }).await
    }

    /// Topics and the cluster.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }

    /// A producer with these options. An idempotent one asks for its id here.
    ///
    /// # Errors
    /// INVALID, if an option is out of range; UNAVAILABLE or UNKNOWN, if no node answers.
    pub async fn producer(&self, options: ProducerOptions) -> Result<Producer, Error> {
        Producer::new(self.clone(), options).await
    }

    /// A consumer with these options. It reads nothing before partitions are assigned to it.
    ///
    /// # Errors
    /// INVALID, if an option is out of range.
    pub fn consumer(&self, options: ConsumerOptions) -> Result<Consumer, Error> {
        Consumer::new(self.clone(), options)
    }

    /// The options that it was made with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    pub(crate) fn cache(&self) -> &Metadata {
        &self.shared.metadata
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    /// The log service over a connection, with the limits of this client.
    pub(crate) fn log(&self, channel: Channel) -> LogClient<Channel> {
        let bytes_max = self.shared.options.message_bytes_max;
        LogClient::new(channel)
            .max_decoding_message_size(bytes_max)
            .max_encoding_message_size(bytes_max)
    }

    async fn ask_metadata(
        &self,
        request: v1::MetadataRequest,
    ) -> Result<v1::MetadataResponse, Error> {
        let answer = self
            .call_within(
                None,
                self.patience().min(METADATA_MAX),
                Repeat::Always,
                request,
                |channel, request| async move { self.log(channel).metadata(request).await },
            )
            .await?;
        self.cache().learn(&answer);
        Ok(answer)
    }

    /// Asks about one topic now.
    ///
    /// # Errors
    /// NOT_FOUND, if there is no such topic; as [`Client::metadata`].
    pub(crate) async fn refresh(&self, topic: &str) -> Result<u32, Error> {
        let answer = self.metadata(&[topic]).await?;
        let about = answer.topics.into_iter().find(|about| about.topic == topic);
        match about {
            Some(v1::TopicMetadata { error: Some(error), .. }) => Err(error.into()),
            Some(about) => Ok(u32::try_from(about.partitions.len()).unwrap_or(u32::MAX)),
            None => {
                let message = format!("the node that was asked didn't say anything of {topic}");
                Err(Error::new(v1::ErrorKind::Internal, message))
            }
        }
    }

    /// Asks about one topic in the background, unless that is under way already.
    pub(crate) fn refresh_soon(&self, topic: &Arc<str>) {
        if self.shared.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (client, topic) = (self.clone(), topic.clone());
        tokio::spawn(async move {
            if let Err(error) = client.refresh(&topic).await {
                tracing::debug!(%topic, %error, "metadata could not be refreshed");
            }
            client.shared.refreshing.store(false, Ordering::Release);
        });
    }

    /// One call, at one node after the other and again after pauses, until one answers.
    pub(crate) async fn call<Q, A, F, Fut>(
        &self,
        repeat: Repeat,
        request: Q,
        send: F,
    ) -> Result<A, Error>
    where
        Q: Clone,
        F: Fn(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        self.call_within(None, self.patience(), repeat, request, send).await
    }

    /// How long a node may take for one attempt.
    fn patience(&self) -> Duration {
        Duration::from_millis(self.options().request_timeout_ms)
    }

    /// [`Client::call`] about a queue, whose leader is asked first where it is known: another node
    /// would pass the call on.
    pub(crate) async fn call_near<Q, A, F, Fut>(
        &self,
        queue: &str,
        repeat: Repeat,
        request: Q,
        send: F,
    ) -> Result<A, Error>
    where
        Q: Clone,
        F: Fn(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        self.call_near_within(queue, self.patience(), repeat, request, send).await
    }

    /// [`Client::call_near`], in which each node has as long as `timeout` says.
    pub(crate) async fn call_near_within<Q, A, F, Fut>(
        &self,
        queue: &str,
        timeout: Duration,
        repeat: Repeat,
        request: Q,
        send: F,
    ) -> Result<A, Error>
    where
        Q: Clone,
        F: Fn(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        if self.cache().is_stale(queue) {
            self.refresh_soon(&Arc::from(queue));
        }
        self.call_within(Some(queue), timeout, repeat, request, send).await
    }

    /// [`Client::call`], in which each node has as long as `timeout` says.
    async fn call_within<Q, A, F, Fut>(
        &self,
        near: Option<&str>,
        timeout: Duration,
        repeat: Repeat,
        request: Q,
        send: F,
    ) -> Result<A, Error>
    where
        Q: Clone,
        F: Fn(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        let options = self.options();
        let end = Instant::now() + Duration::from_millis(options.retry_timeout_ms);
        let mut backoff = Backoff::new(options);
        // What a later attempt says is no news of an earlier one.
        let mut unknown = false;
        let told = |unknown: bool, failure: Error| {
            if unknown { failure.after_unknown() } else { failure }
        };
        loop {
            let mut last = None;
            for address in self.cache().candidates_near(near) {
                let failure = match self.attempt(&address, timeout, request.clone(), &send).await {
                    Ok(answer) => {
                        // That a queue's leader answers doesn't make it the first for all else.
                        if near.is_none() {
                            self.cache().prefer(&address);
                        }
                        return Ok(answer);
                    }
                    Err(failure) => failure,
                };
                self.cache().avoid(&address);
                let may = failure.surely_not_done() || repeat == Repeat::Always;
                if !(may && failure.is_retriable()) {
                    return Err(told(unknown, failure));
                }
                unknown |= !failure.surely_not_done();
                tracing::debug!(%address, error = %failure, "a call failed; trying on");
                last = Some(failure);
                if Instant::now() >= end {
                    break;
                }
            }
            let last = last.expect("there is at least one bootstrap address");
            let pause = backoff.next(last.retry_after_ms);
            if Instant::now() + pause >= end {
                return Err(told(unknown, last));
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt<Q, A, F, Fut>(
        &self,
        address: &Arc<str>,
        timeout: Duration,
        request: Q,
        send: &F,
    ) -> Result<A, Error>
    where
        F: Fn(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        let channel = self.pool().get(address).await?;
        let mut request = Request::new(request);
        request.set_timeout(timeout);
        let failure = match tokio::time::timeout(timeout, send(channel, request)).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(status)) => Error::from_status(&status, address),
            Err(_) => {
                let ms = timeout.as_millis();
                let message = format!("{address} did not answer within {ms} ms");
                Error::new(v1::ErrorKind::Unknown, message)
            }
        };
        if failure.kind == v1::ErrorKind::Unknown && failure.code == 0 {
            self.pool().discard(address);
        }
        Err(failure)
    }
}
