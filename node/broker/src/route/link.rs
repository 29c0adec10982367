//! Proposals to one other node: one stream, answered as they finish.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use kontiki_domain::queue::Brings;
use kontiki_proto::node::{ProposeRequest, ProposeResponse, propose_request};
use kontiki_storage::id::{NodeId, ShardId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Ack, Request, Router};
use crate::error::Error;

type Answer = oneshot::Sender<Result<Bytes, Error>>;

/// The stream to one node; opened when there is something to send.
#[derive(Debug)]
pub(super) struct Link {
    node: NodeId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    address: String,
    queue: Option<mpsc::Sender<ProposeRequest>>,
    /// Which stream it is; a task of an earlier one has no say.
    stream: u64,
    next: u64,
    /// Bytes of what is not answered.
    bytes: usize,
    open: HashMap<u64, Open>,
}

/// A proposal without an answer.
#[derive(Debug)]
struct Open {
    stream: u64,
    shard: ShardId,
    bytes: usize,
    /// It may have reached the other node.
    sent: bool,
    answer: Answer,
}

impl Link {
    pub(super) fn new(node: NodeId) -> Self {
        Self { node, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }

    pub(super) fn set_address(&self, address: String) {
        let mut state = self.lock();
        if state.address != address {
            state.address = address;
            state.queue = None;
        }
    }

    /// Queues a proposal; they arrive in the order of the calls.
    pub(super) fn send(
        self: &Arc<Self>,
        router: &Router,
        shard: ShardId,
        request: &Request,
    ) -> Result<oneshot::Receiver<Result<Bytes, Error>>, Error> {
        let options = &router.0.options;
        let retry_ms = u32::try_from(options.retry_ms).unwrap_or(u32::MAX);
        let mut state = self.lock();
        let bytes = request.bytes();
        if state.bytes > 0 && state.bytes + bytes > options.forward_bytes_max {
            let limit = options.forward_bytes_max;
            return Err(Error::throttled("broker.route.forward_bytes_max", limit, retry_ms));
        }
        let limit = options.forward_requests_max;
        if state.open.len() >= limit {
            return Err(Error::throttled("broker.route.forward_requests_max", limit, retry_ms));
        }
        if state.queue.as_ref().is_none_or(mpsc::Sender::is_closed) {
            let (sender, receiver) = mpsc::channel(limit);
            state.stream += 1;
            state.queue = Some(sender);
            let stream = Stream { link: Arc::clone(self), number: state.stream };
            tokio::spawn(stream.run(router.clone(), state.address.clone(), receiver));
        }
        let number = state.next;
        state.next += 1;
        let left = request.how.deadline.saturating_duration_since(Instant::now());
        let message = ProposeRequest {
            correlation_id: number,
            shard: shard.0,
            command: request.command.clone(),
            payloads: request.payloads.clone(),
            timeout_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1),
            ack: match request.how.ack {
                Ack::Applied => 0,
                Ack::Accepted => 1,
            },
            brings: request.how.brings.map(wire),
        };
        let queue = state.queue.as_ref().expect("made above");
        if queue.try_send(message).is_err() {
            return Err(Error::throttled("broker.route.forward_requests_max", limit, retry_ms));
        }
        let (answer, receiver) = oneshot::channel();
        let stream = state.stream;
        state.bytes += bytes;
        state.open.insert(number, Open { stream, shard, bytes, sent: false, answer });
        Ok(receiver)
    }

    /// The node leads the shard no more and doesn't answer: nobody can say what became of these.
    pub(super) fn give_up(&self, shard: ShardId) {
        let thing = format!("node {}", self.node);
        self.end(|open| open.shard == shard, |_| Error::outcome_unknown(&thing));
    }

    fn end(&self, which: impl Fn(&Open) -> bool, why: impl Fn(&Open) -> Error) {
        let ended: Vec<Open> = {
            let mut state = self.lock();
            let ended: Vec<Open> =
                state.open.extract_if(|_, open| which(open)).map(|(_, open)| open).collect();
            state.bytes -= ended.iter().map(|open| open.bytes).sum::<usize>();
            ended
        };
        for open in ended {
            let error = why(&open);
            // Whoever asked may have gone.
            let _ = open.answer.send(Err(error));
        }
    }

    fn mark_sent(&self, number: u64) {
        if let Some(open) = self.lock().open.get_mut(&number) {
            open.sent = true;
        }
    }

    fn answered(&self, response: ProposeResponse) {
        let open = {
            let mut state = self.lock();
            let Some(open) = state.open.remove(&response.correlation_id) else { return };
            state.bytes -= open.bytes;
            open
        };
        let answer = match response.failure {
            None => Ok(response.reply),
            Some(failure) => Err(failure.into()),
        };
        // Whoever asked may have gone.
        let _ = open.answer.send(answer);
    }
}

fn wire(brings: Brings) -> propose_request::Brings {
    match brings {
        Brings::Messages(queue) => propose_request::Brings::Messages(queue.0),
        Brings::Turns(queue) => propose_request::Brings::Turns(queue.0),
    }
}

/// One stream, from its opening to its end.
struct Stream {
    link: Arc<Link>,
    number: u64,
}

impl Stream {
    async fn run(self, router: Router, address: String, mut queue: mpsc::Receiver<ProposeRequest>) {
        let why = match self.open(&router, &address).await {
            Ok((sender, answers)) => self.carry(&mut queue, sender, answers).await,
            Err(why) => why,
        };
        // From here on the queue takes nothing more, and a new stream is opened.
        queue.close();
        let node = self.link.node;
        tracing::debug!(%node, why = why.message(), "the stream of proposals has ended");
        self.link.end(
            |open| open.stream == self.number,
            |open| match open.sent {
                true => Error::outcome_unknown(&format!("node {node}")),
                false => Error::unreachable(node, why.message()),
            },
        );
    }

    /// Nothing is sent before the other side has answered: until then, nothing can be done there.
    async fn open(
        &self,
        router: &Router,
        address: &str,
    ) -> Result<(mpsc::Sender<ProposeRequest>, Streaming<ProposeResponse>), Status> {
        let (sender, receiver) = mpsc::channel(64);
        let mut client = router.client(address);
        let opened = client.propose_stream(ReceiverStream::new(receiver));
        let within = std::time::Duration::from_millis(router.0.options.open_timeout_ms);
        let opened = tokio::time::timeout(within, opened).await;
        let answers = opened.map_err(|_| Status::unavailable("no connection in time"))??;
        Ok((sender, answers.into_inner()))
    }

    async fn carry(
        &self,
        queue: &mut mpsc::Receiver<ProposeRequest>,
        sender: mpsc::Sender<ProposeRequest>,
        mut answers: Streaming<ProposeResponse>,
    ) -> Status {
        loop {
            tokio::select! {
                biased;
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => self.link.answered(answer),
                    Ok(None) => return Status::unavailable("the other node ended the stream"),
                    Err(why) => return why,
                },
                permit = sender.reserve() => {
                    let Ok(permit) = permit else {
                        return Status::unavailable("the connection is gone");
                    };
                    tokio::select! {
                        biased;
                        request = queue.recv() => {
                            let Some(request) = request else {
                                return Status::cancelled("not needed any more");
                            };
                            self.link.mark_sent(request.correlation_id);
                            permit.send(request);
                        }
                        answer = answers.message() => match answer {
                            Ok(Some(answer)) => self.link.answered(answer),
                            Ok(None) => {
                                return Status::unavailable("the other node ended the stream");
                            }
                            Err(why) => return why,
                        },
                    }
                }
            }
        }
    }
}
