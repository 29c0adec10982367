//! `ProduceStream`: requests are started in the order in which they come, and answered as they
//! finish.
//!
//! One task for each stream. What it holds is bounded: it reads no further request while too many
//! are unanswered, whether they are under way or their answers wait for a client that doesn't
//! read. Answers that wait keep nothing of the node's budget for writes.

use std::collections::VecDeque;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, Stream, StreamExt};
use kontiki_broker::Error;
use kontiki_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::produce::{names, refusal, request, response};
use crate::grpc::Service;
use crate::grpc::deadline::Deadline;

/// Answers between the task and the connection.
const ANSWERS: usize = 16;

/// How a request ends.
type Outcome = BoxFuture<'static, v1::ProduceResponse>;

/// What may be unanswered.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    requests: usize,
    partitions: usize,
}

impl Service {
    /// Writes until the client closes its side, or the node stops.
    pub(super) fn write_stream(
        &self,
        requests: Streaming<v1::ProduceRequest>,
        deadline: Deadline,
    ) -> ReceiverStream<Result<v1::ProduceResponse, Status>> {
        let (sender, receiver) = mpsc::channel(ANSWERS);
        let bounds = Bounds {
            requests: self.options.stream_unanswered_max,
            partitions: self.options.stream_unanswered_partitions_max,
        };
        let service = self.clone();
        tokio::spawn(async move {
            let stopped = service.broker.stopped();
            let start = |request| service.start(request, deadline);
            serve(requests, start, stopped, bounds, sender).await;
        });
        ReceiverStream::new(receiver)
    }

    /// Gives a write its place in the order of its partitions.
    fn start(&self, request: v1::ProduceRequest, deadline: Deadline) -> Outcome {
        let correlation_id = request.correlation_id;
        let names = names(&request);
        let begun = self::request(request, deadline).and_then(|it| self.broker.produce(it));
        let service = self.clone();
        match begun {
            Err(error) => {
                let refusal = refusal(correlation_id, names, &self.error(error));
                std::future::ready(refusal).boxed()
            }
            Ok(outcomes) => async move {
                let outcomes = outcomes.await;
                response(correlation_id, names, outcomes, |error| service.error(error))
            }
            .boxed(),
        }
    }
}

/// Why no further request is read.
enum Closed {
    /// The client said so.
    ByClient,
    /// The stream can't go on.
    Because(Status),
}

async fn serve(
    requests: impl Stream<Item = Result<v1::ProduceRequest, Status>>,
    start: impl Fn(v1::ProduceRequest) -> Outcome,
    stopped: impl Future<Output = ()>,
    bounds: Bounds,
    answers: mpsc::Sender<Result<v1::ProduceResponse, Status>>,
) {
    tokio::pin!(requests, stopped);
    let mut under_way = FuturesUnordered::new();
    let mut finished: VecDeque<(usize, v1::ProduceResponse)> = VecDeque::new();
    let mut partitions = 0;
    let mut closed = None;
    loop {
        let unanswered = under_way.len() + finished.len();
        if closed.is_some() && unanswered == 0 {
            break;
        }
        let room = unanswered < bounds.requests && partitions < bounds.partitions;
        tokio::select! {
            () = answers.closed() => return,
            () = &mut stopped, if closed.is_none() => {
                let status = crate::grpc::error::plain_status(Error::stopping());
                closed = Some(Closed::Because(status));
            }
            request = requests.next(), if closed.is_none() && room => match request {
                Some(Ok(request)) => {
                    let named = request.partitions.len().max(1);
                    partitions += named;
                    under_way.push(start(request).map(move |answer| (named, answer)));
                }
                Some(Err(status)) => closed = Some(Closed::Because(status)),
                None => closed = Some(Closed::ByClient),
            },
            Some(answer) = under_way.next(), if !under_way.is_empty() => {
                finished.push_back(answer);
            }
            permit = answers.reserve(), if !finished.is_empty() => {
                let Ok(permit) = permit else { return };
                let (named, answer) = finished.pop_front().expect("one was there");
                partitions -= named;
                permit.send(Ok(answer));
            }
        }
    }
    if let Some(Closed::Because(status)) = closed {
        // Nobody to tell is no failure.
        let _ = answers.send(Err(status)).await;
    }
}

#[cfg(test)]
#[path = "produce_stream_test.rs"]
mod tests;
