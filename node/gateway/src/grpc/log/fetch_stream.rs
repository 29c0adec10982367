//! `FetchStream`: reads continuously, as far as the client gives credit.
//!
//! One task for each stream, of two halves: one follows what the client asks for, the other sends
//! what the reader reads. The reader is asked for more only when there is room in the channel to
//! the connection, so a client that doesn't read costs no memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use futures_util::{Stream, StreamExt};
use kontiki_broker::Error;
use kontiki_broker::fetch::{FetchPartition, FetchedPartition, ReaderControl, ReaderOutput};
use kontiki_proto::v1;
use kontiki_proto::v1::fetch_stream_request::Request;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::decode::Decoder;
use super::fetch;
use crate::grpc::Service;

/// Answers between the task and the connection: one of what is read, and one that refuses to open
/// a partition.
const ANSWERS: usize = 2;

type Answers = mpsc::Sender<Result<v1::FetchStreamResponse, Status>>;

/// What a client steers.
trait Control: Send {
    fn open(&self, partition: FetchPartition) -> Result<(), Error>;
    fn close(&self, topic: &str, partition: u32);
    fn credit(&self, bytes: u32) -> Result<(), Error>;
}

impl Control for ReaderControl {
    fn open(&self, partition: FetchPartition) -> Result<(), Error> {
        Self::open(self, partition)
    }

    fn close(&self, topic: &str, partition: u32) {
        Self::close(self, topic, partition);
    }

    fn credit(&self, bytes: u32) -> Result<(), Error> {
        Self::credit(self, bytes)
    }
}

/// What is read; `None` when the control is gone, or when the node stops.
trait Output: Send {
    fn next(&mut self) -> impl Future<Output = Option<(FetchedPartition, u32)>> + Send;
}

impl Output for ReaderOutput {
    fn next(&mut self) -> impl Future<Output = Option<(FetchedPartition, u32)>> + Send {
        Self::next(self)
    }
}

impl Service {
    /// Reads until the client closes its side, or the node stops.
    pub(super) fn read_stream(
        &self,
        requests: Streaming<v1::FetchStreamRequest>,
    ) -> ReceiverStream<Result<v1::FetchStreamResponse, Status>> {
        let (answers, receiver) = mpsc::channel(ANSWERS);
        let (control, output) = self.broker.reader();
        let service = self.clone();
        tokio::spawn(async move {
            let wire = |error| service.error(error);
            let stopped = service.broker.stopped();
            serve(requests, (control, output), stopped, wire, answers).await;
        });
        ReceiverStream::new(receiver)
    }
}

/// Where the client wants to read each partition from: what comes before it in a batch is left
/// out. It is set when a partition is opened and not moved by what is read, because what is read
/// may be of an earlier position, from before the client moved it.
#[derive(Debug, Default)]
struct Wanted(Mutex<HashMap<(String, u32), u64>>);

impl Wanted {
    fn set(&self, partition: &FetchPartition) {
        let key = (partition.topic.clone(), partition.partition);
        self.lock().insert(key, partition.offset);
    }

    fn forget(&self, topic: String, partition: u32) {
        self.lock().remove(&(topic, partition));
    }

    fn from(&self, topic: &str, partition: u32) -> u64 {
        self.lock().get(&(topic.to_owned(), partition)).copied().unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, u32), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the two halves have in common.
struct Reading<W> {
    format: v1::RecordFormat,
    wanted: Wanted,
    wire: W,
    answers: Answers,
}

async fn serve(
    requests: impl Stream<Item = Result<v1::FetchStreamRequest, Status>> + Send,
    (control, output): (impl Control, impl Output),
    stopped: impl Future<Output = ()>,
    wire: impl Fn(Error) -> v1::Error,
    answers: Answers,
) {
    tokio::pin!(requests);
    let first = tokio::select! {
        () = answers.closed() => return,
        () = stopped => Err(refused(Error::stopping(), &wire)),
        first = requests.next() => match first {
            None => return,
            Some(first) => first,
        },
    };
    let format = first.and_then(|first| {
        let format = fetch::format(first.format).map_err(|error| refused(error, &wire))?;
        Ok((format, first.request))
    });
    let (format, first) = match format {
        Ok(begun) => begun,
        Err(status) => {
            let _ = answers.send(Err(status)).await;
            return;
        }
    };
    let reading = Reading { format, wanted: Wanted::default(), wire, answers };
    let end = reading.run(first, requests, control, output).await;
    if let Err(status) = end {
        // Nobody to tell is no failure.
        let _ = reading.answers.send(Err(status)).await;
    }
}

impl<W: Fn(Error) -> v1::Error> Reading<W> {
    async fn run(
        &self,
        first: Option<Request>,
        requests: impl Stream<Item = Result<v1::FetchStreamRequest, Status>> + Send,
        control: impl Control,
        output: impl Output,
    ) -> Result<(), Status> {
        let steered = self.steer(first, requests, control);
        let sent = self.send(output);
        tokio::pin!(steered, sent);
        tokio::select! {
            () = self.answers.closed() => Ok(()),
            // The reader has ended although the client hasn't: the node stops.
            () = &mut sent => Err(refused(Error::stopping(), &self.wire)),
            steered = &mut steered => {
                steered?;
                // The control is gone: what has been read is still sent.
                tokio::select! {
                    () = self.answers.closed() => {}
                    () = sent => {}
                }
                Ok(())
            }
        }
    }

    /// Follows the client until it closes its side.
    async fn steer(
        &self,
        first: Option<Request>,
        requests: impl Stream<Item = Result<v1::FetchStreamRequest, Status>> + Send,
        control: impl Control,
    ) -> Result<(), Status> {
        // A first message may say nothing but the format.
        if let Some(first) = first {
            self.follow(first, &control).await?;
        }
        tokio::pin!(requests);
        while let Some(request) = requests.next().await {
            let v1::FetchStreamRequest { format, request } = request?;
            if format != 0 && format != i32::from(self.format) {
                let expected = "the format of the first message, or nothing";
                return Err(self.refused(Error::invalid("format", format, expected)));
            }
            let Some(request) = request else {
                let expected = "open, close or credit";
                return Err(self.refused(Error::invalid("request", "absent", expected)));
            };
            self.follow(request, &control).await?;
        }
        Ok(())
    }

    async fn follow(&self, request: Request, control: &impl Control) -> Result<(), Status> {
        match request {
            Request::Open(open) => {
                let Some(asked) = open.partition else {
                    let error = Error::invalid("open.partition", "absent", "a partition");
                    return Err(self.refused(error));
                };
                let wanted = fetch::wanted("open.partition.topic", asked)
                    .map_err(|error| self.refused(error))?;
                let named = (wanted.topic.clone(), wanted.partition);
                // Known before anything of it can be read.
                self.wanted.set(&wanted);
                if let Err(error) = control.open(wanted) {
                    self.refuse_partition(named, error).await;
                }
            }
            Request::Close(close) => {
                control.close(&close.topic, close.partition);
                self.wanted.forget(close.topic, close.partition);
            }
            Request::Credit(credit) => {
                control.credit(credit.bytes).map_err(|error| self.refused(error))?;
            }
        }
        Ok(())
    }

    async fn refuse_partition(&self, (topic, partition): (String, u32), error: Error) {
        self.wanted.forget(topic.clone(), partition);
        let error = Some((self.wire)(error));
        let refused = v1::FetchedPartition { topic, partition, error, ..Default::default() };
        let answer = v1::FetchStreamResponse { partition: Some(refused), credit_used: 0 };
        // Where nobody listens any more, the stream ends by that.
        let _ = self.answers.send(Ok(answer)).await;
    }

    /// Sends what is read until there is no more.
    async fn send(&self, mut output: impl Output) {
        while let Ok(permit) = self.answers.reserve().await {
            let Some((fetched, credit_used)) = output.next().await else { return };
            permit.send(Ok(self.answer(fetched, credit_used)));
        }
    }

    fn answer(&self, fetched: FetchedPartition, credit_used: u32) -> v1::FetchStreamResponse {
        let from = self.wanted.from(&fetched.topic, fetched.partition);
        if fetched.outcome.is_err() {
            // It isn't read any more.
            self.wanted.forget(fetched.topic.clone(), fetched.partition);
        }
        // The reader has moved on: nothing can be left for later.
        let mut decoder = Decoder::new(usize::MAX);
        let wire = |error| (self.wire)(error);
        let partition = fetch::partition(fetched, from, self.format, &mut decoder, wire);
        v1::FetchStreamResponse { partition: Some(partition), credit_used }
    }

    fn refused(&self, error: Error) -> Status {
        refused(error, &self.wire)
    }
}

/// The end of the stream for a reason.
fn refused(error: Error, wire: impl Fn(Error) -> v1::Error) -> Status {
    let code = crate::grpc::error::codes(error.kind).0;
    kontiki_proto::details::status(code, &wire(error))
}

#[cfg(test)]
#[path = "fetch_stream_test.rs"]
mod tests;
