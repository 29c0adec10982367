//! One produce stream to one node, which all partitions that the node leads share.
//!
//! Requests leave in the order in which they come. What is not answered when the stream breaks has
//! an unknown fate; what was not written to it surely did nothing. The stream is opened with the
//! next request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kontiki_proto::v1;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use crate::{Client, Error};

/// Requests on a stream that have no answer yet: the contract's limit.
const UNANSWERED_MAX: usize = 1_024;
/// Requests that wait until the stream has room.
pub(crate) const QUEUE_MAX: usize = 64;
/// What a node may take longer than it was told to, before its stream counts as broken.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// A request for one partition, and where its answer goes.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) request: v1::ProduceRequest,
    pub(crate) answer: oneshot::Sender<Result<v1::ProduceResult, Error>>,
}

#[derive(Debug)]
struct Unanswered {
    since: Instant,
    answer: oneshot::Sender<Result<v1::ProduceResult, Error>>,
}

/// See the module. It ends when all senders of `jobs` are gone and all is answered.
pub(crate) async fn run(client: Client, address: Arc<str>, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.recv().await {
        let error = match client.pool().get(&address).await {
            Ok(channel) => {
                let mut stream = Stream::new(&client, &address);
                let Err(error) = stream.serve(client.log(channel), first, &mut jobs).await else {
                    return;
                };
                client.pool().discard(&address);
                stream.fail(&error);
                error
            }
            Err(error) => {
                // Nothing was sent.
                let _ = first.answer.send(Err(error.clone()));
                error
            }
        };
        tracing::debug!(%address, %error, "a produce stream broke");
    }
}

struct Stream<'a> {
    address: &'a str,
    patience: Duration,
    next_id: u64,
    unanswered: BTreeMap<u64, Unanswered>,
}

impl<'a> Stream<'a> {
    fn new(client: &Client, address: &'a str) -> Self {
        let patience = Duration::from_millis(client.options().request_timeout_ms) + GRACE;
        Self { address, patience, next_id: 1, unanswered: BTreeMap::new() }
    }

    /// Serves until the stream breaks, or all that was asked for is done.
    async fn serve(
        &mut self,
        mut log: v1::log_client::LogClient<tonic::transport::Channel>,
        first: Job,
        jobs: &mut mpsc::Receiver<Job>,
    ) -> Result<(), Error> {
        let (requests, outgoing) = mpsc::channel(UNANSWERED_MAX);
        self.write(first, &requests);
        let opening = log.produce_stream(ReceiverStream::new(outgoing));
        let mut answers = match tokio::time::timeout(self.patience, opening).await {
            Ok(Ok(answers)) => answers.into_inner(),
            Ok(Err(status)) => return Err(Error::from_status(&status, self.address)),
            Err(_) => return Err(self.silent()),
        };
        let mut open = true;
        while open || !self.unanswered.is_empty() {
            let room = self.unanswered.len() < UNANSWERED_MAX;
            let oldest = self.unanswered.first_key_value().map(|(_, oldest)| oldest.since);
            let silent_at = oldest.unwrap_or_else(Instant::now) + self.patience;
            tokio::select! {
                answer = answers.message() => self.take(answer)?,
                job = jobs.recv(), if open && room => match job {
                    Some(job) => self.write(job, &requests),
                    None => open = false,
                },
                () = tokio::time::sleep_until(silent_at), if oldest.is_some() => {
                    return Err(self.silent());
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, job: Job, requests: &mpsc::Sender<v1::ProduceRequest>) {
        let Job { mut request, answer } = job;
        let id = self.next_id;
        self.next_id += 1;
        request.correlation_id = id;
        // There is room for as many as may be unanswered. If the other end is gone, the answers
        // end too, and with them this one.
        let _ = requests.try_send(request);
        self.unanswered.insert(id, Unanswered { since: Instant::now(), answer });
    }

    fn take(
        &mut self,
        answer: Result<Option<v1::ProduceResponse>, tonic::Status>,
    ) -> Result<(), Error> {
        let answer = match answer {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                let message = format!("{} closed the produce stream", self.address);
                return Err(Error::new(v1::ErrorKind::Unknown, message));
            }
            Err(status) => return Err(Error::from_status(&status, self.address)),
        };
        let Some(unanswered) = self.unanswered.remove(&answer.correlation_id) else {
            let id = answer.correlation_id;
            let message = format!("{} answered request {id}, which is not open", self.address);
            return Err(Error::new(v1::ErrorKind::Unknown, message));
        };
        let result = answer.results.into_iter().next().ok_or_else(|| {
            let message = format!("{} answered without a result", self.address);
            Error::new(v1::ErrorKind::Unknown, message)
        });
        // Whoever asked may have stopped waiting.
        let _ = unanswered.answer.send(result);
        Ok(())
    }

    fn silent(&self) -> Error {
        let ms = self.patience.as_millis();
        let message = format!("{} did not answer within {ms} ms", self.address);
        Error::new(v1::ErrorKind::Unknown, message)
    }

    /// Everything without an answer may have been done, whatever ended the stream.
    fn fail(&mut self, error: &Error) {
        for (_, unanswered) in std::mem::take(&mut self.unanswered) {
            let unknown = Error { kind: v1::ErrorKind::Unknown, ..error.clone() };
            let _ = unanswered.answer.send(Err(unknown));
        }
    }
}
