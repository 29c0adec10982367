//! One stream of requests to one node, each of which is answered on it.
//!
//! Requests leave in the order in which they come. What is not answered when the stream breaks has
//! an unknown fate; what was not written to it surely did nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_proto::v1;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use crate::{Client, Error};

/// Requests on a stream that have no answer yet: the contract's limit.
const UNANSWERED_MAX: usize = 1_024;
/// Requests that wait until the stream has room.
pub(crate) const QUEUE_MAX: usize = 64;
/// What a node may take longer than it was told to, before its stream counts as broken.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// A call of the contract whose requests share a stream.
pub(crate) trait Call {
    type Request: Send + 'static;
    type Answer;
    /// What whoever has asked gets to know.
    type Outcome;
    /// What is held until a request is answered.
    type Share;

    /// Opens a stream.
    fn open(
        client: &Client,
        channel: Channel,
        requests: ReceiverStream<Self::Request>,
    ) -> impl Future<Output = Result<Response<Streaming<Self::Answer>>, Status>> + Send;

    fn number(request: &mut Self::Request, correlation_id: u64);

    /// Which request it answers, and how; `None`: it says nothing.
    fn read(answer: Self::Answer) -> (u64, Option<Result<Self::Outcome, Error>>);
}

/// A request, and where its answer goes.
pub(crate) struct Job<C: Call> {
    pub(crate) request: C::Request,
    pub(crate) answer: Asker<C>,
    pub(crate) share: C::Share,
}

type Asker<C> = oneshot::Sender<Result<<C as Call>::Outcome, Error>>;

struct Unanswered<C: Call> {
    since: Instant,
    answer: Asker<C>,
    _share: C::Share,
}

/// A stream, from its opening to its end.
pub(crate) struct Link<'a, C: Call> {
    address: &'a str,
    patience: Duration,
    next_id: u64,
    unanswered: BTreeMap<u64, Unanswered<C>>,
}

impl<'a, C: Call> Link<'a, C> {
    pub(crate) fn new(client: &Client, address: &'a str) -> Self {
        let patience = Duration::from_millis(client.options().request_timeout_ms) + GRACE;
        Self { address, patience, next_id: 1, unanswered: BTreeMap::new() }
    }

    /// Serves until all that was asked for is done, or another node is to be asked: then the
    /// request that is for that one is returned, and everything before it is answered.
    ///
    /// # Errors
    /// The stream broke. What is not answered then is still to be [failed](Self::fail).
    pub(crate) async fn serve(
        &mut self,
        client: &Client,
        channel: Channel,
        first: Job<C>,
        jobs: &mut mpsc::Receiver<Job<C>>,
        elsewhere: impl Fn() -> bool,
    ) -> Result<Option<Job<C>>, Error> {
        let (requests, outgoing) = mpsc::channel(UNANSWERED_MAX);
        self.write(first, &requests);
        let opening = C::open(client, channel, ReceiverStream::new(outgoing));
        let mut answers = match tokio::time::timeout(self.patience, opening).await {
            Ok(Ok(answers)) => answers.into_inner(),
            Ok(Err(status)) => return Err(Error::from_status(&status, self.address)),
            Err(_) => return Err(self.silent()),
        };
        let (mut open, mut kept) = (true, None);
        while (open && kept.is_none()) || !self.unanswered.is_empty() {
            let reads = open && kept.is_none() && self.unanswered.len() < UNANSWERED_MAX;
            let oldest = self.unanswered.first_key_value().map(|(_, oldest)| oldest.since);
            let silent_at = oldest.unwrap_or_else(Instant::now) + self.patience;
            tokio::select! {
                answer = answers.message() => self.take(answer)?,
                job = jobs.recv(), if reads => match job {
                    Some(job) if elsewhere() => kept = Some(job),
                    Some(job) => self.write(job, &requests),
                    None => open = false,
                },
                () = tokio::time::sleep_until(silent_at), if oldest.is_some() => {
                    return Err(self.silent());
                }
            }
        }
        Ok(kept)
    }

    fn write(&mut self, job: Job<C>, requests: &mpsc::Sender<C::Request>) {
        let Job { mut request, answer, share } = job;
        let id = self.next_id;
        self.next_id += 1;
        C::number(&mut request, id);
        // There is room for as many as may be unanswered. If the other end is gone, the answers
        // end too, and with them this one.
        let _ = requests.try_send(request);
        self.unanswered.insert(id, Unanswered { since: Instant::now(), answer, _share: share });
    }

    fn take(&mut self, answer: Result<Option<C::Answer>, Status>) -> Result<(), Error> {
        let answer = match answer {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                let message = format!("{} closed the stream", self.address);
                return Err(Error::new(v1::ErrorKind::Unknown, message));
            }
            Err(status) => return Err(Error::from_status(&status, self.address)),
        };
        let (id, outcome) = C::read(answer);
        let Some(unanswered) = self.unanswered.remove(&id) else {
            let message = format!("{} answered request {id}, which is not open", self.address);
            return Err(Error::new(v1::ErrorKind::Unknown, message));
        };
        let outcome = outcome.unwrap_or_else(|| {
            let message = format!("{} answered without a result", self.address);
            Err(Error::new(v1::ErrorKind::Unknown, message))
        });
        // Whoever asked may have stopped waiting.
        let _ = unanswered.answer.send(outcome);
        Ok(())
    }

    fn silent(&self) -> Error {
        let ms = self.patience.as_millis();
        let message = format!("{} did not answer within {ms} ms", self.address);
        Error::new(v1::ErrorKind::Unknown, message)
    }

    /// Everything without an answer may have been done, unless the node itself ended the stream: it
    /// answers what it has begun before it does.
    pub(crate) fn fail(&mut self, error: &Error) {
        let kind = if error.code == 0 { v1::ErrorKind::Unknown } else { error.kind };
        for (_, unanswered) in std::mem::take(&mut self.unanswered) {
            let _ = unanswered.answer.send(Err(Error { kind, ..error.clone() }));
        }
    }
}
