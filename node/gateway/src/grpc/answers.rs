//! Streams of requests: they are started in the order in which they come, and answered as they
//! finish.
//!
//! One task for each stream. What it holds is bounded: it reads no further request while too many
//! are unanswered, whether they are under way or their answers wait for a client that doesn't
//! read. Answers that wait keep nothing of the node's budget for writes.

use std::collections::VecDeque;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use kontiki_broker::Error;
use tokio::sync::mpsc;
use tonic::Status;

/// Answers between a task and its connection.
pub(super) const ANSWERS: usize = 16;

/// What may be unanswered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) requests: usize,
    /// Partitions or messages, in all of these requests; one request is always read.
    pub(super) parts: usize,
}

/// What a stream does with its requests.
pub(super) trait Serve<Q, A> {
    /// How many partitions or messages a request is about.
    fn parts(&self, request: &Q) -> usize;

    /// Gives a request its place in the order; the answer comes when it has finished.
    fn start(&self, request: Q) -> BoxFuture<'static, A>;
}

/// Why no further request is read.
enum Closed {
    /// The client said so.
    ByClient,
    /// The stream can't go on.
    Because(Status),
}

/// Until the client closes its side, or the node stops.
pub(super) async fn serve<Q, A>(
    requests: impl Stream<Item = Result<Q, Status>>,
    service: impl Serve<Q, A>,
    stopped: impl Future<Output = ()>,
    bounds: Bounds,
    answers: mpsc::Sender<Result<A, Status>>,
) {
    tokio::pin!(requests, stopped);
    let mut under_way = FuturesUnordered::new();
    let mut finished: VecDeque<(usize, A)> = VecDeque::new();
    let mut parts = 0;
    let mut closed = None;
    loop {
        let unanswered = under_way.len() + finished.len();
        if closed.is_some() && unanswered == 0 {
            break;
        }
        let room = unanswered < bounds.requests && parts < bounds.parts;
        tokio::select! {
            () = answers.closed() => return,
            () = &mut stopped, if closed.is_none() => {
                let status = super::error::plain_status(Error::stopping());
                closed = Some(Closed::Because(status));
            }
            request = requests.next(), if closed.is_none() && room => match request {
                Some(Ok(request)) => {
                    let size = service.parts(&request).max(1);
                    parts += size;
                    under_way.push(service.start(request).map(move |answer| (size, answer)));
                }
                Some(Err(status)) => closed = Some(Closed::Because(status)),
                None => closed = Some(Closed::ByClient),
            },
            Some(answer) = under_way.next(), if !under_way.is_empty() => {
                finished.push_back(answer);
            }
            permit = answers.reserve(), if !finished.is_empty() => {
                let Ok(permit) = permit else { return };
                let (size, answer) = finished.pop_front().expect("one was there");
                parts -= size;
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
#[path = "answers_test.rs"]
mod tests;
