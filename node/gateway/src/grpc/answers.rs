//! Streams of requests: they are started in the order in which they come, and answered as they
//! finish, or in order.
//!
//! One task for each stream. What it holds is bounded: it reads no further request while too many
//! are unanswered, whether they are under way or their answers wait for a client that doesn't
//! read. Answers that wait keep nothing of the node's budget for writes.

use std::collections::VecDeque;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
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
    /// Bytes of these requests; one is always read.
    pub(super) bytes: usize,
}

/// When a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// When it has finished.
    AsFinished,
    /// When it and all requests before it have finished.
    AsAsked,
}

/// What a stream does with its requests.
pub(super) trait Serve<Q, A> {
    /// How many partitions or messages a request is about.
    fn parts(&self, request: &Q) -> usize;

    /// How many bytes it has, where nothing else bounds what waits.
    fn bytes(&self, _: &Q) -> usize {
        0
    }

    /// Gives a request its place in the order; the answer comes when it has finished.
    fn start(&self, request: Q) -> BoxFuture<'static, A>;
}

/// Requests that have begun.
enum UnderWay<F: Future> {
    AsFinished(FuturesUnordered<F>),
    AsAsked(FuturesOrdered<F>),
}

impl<F: Future> UnderWay<F> {
    fn new(order: Order) -> Self {
        match order {
            Order::AsFinished => Self::AsFinished(FuturesUnordered::new()),
            Order::AsAsked => Self::AsAsked(FuturesOrdered::new()),
        }
    }

    /// Those that nobody has taken from here yet.
    fn len(&self) -> usize {
        match self {
            Self::AsFinished(all) => all.len(),
            Self::AsAsked(all) => all.len(),
        }
    }

    fn push(&mut self, request: F) {
        match self {
            Self::AsFinished(all) => all.push(request),
            Self::AsAsked(all) => all.push_back(request),
        }
    }

    async fn next(&mut self) -> Option<F::Output> {
        match self {
            Self::AsFinished(all) => all.next().await,
            Self::AsAsked(all) => all.next().await,
        }
    }
}

/// What unanswered requests have.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    parts: usize,
    bytes: usize,
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
    order: Order,
    answers: mpsc::Sender<Result<A, Status>>,
) {
    tokio::pin!(requests, stopped);
    let mut under_way = UnderWay::new(order);
    let mut finished: VecDeque<(Size, A)> = VecDeque::new();
    let mut size = Size::default();
    let mut closed = None;
    loop {
        let unanswered = under_way.len() + finished.len();
        if closed.is_some() && unanswered == 0 {
            break;
        }
        let has_room = size.parts < bounds.parts && size.bytes < bounds.bytes;
        let room = unanswered < bounds.requests && has_room;
        tokio::select! {
            () = answers.closed() => return,
            () = &mut stopped, if closed.is_none() => {
                let status = super::error::plain_status(Error::stopping());
                closed = Some(Closed::Because(status));
            }
            request = requests.next(), if closed.is_none() && room => match request {
                Some(Ok(request)) => {
                    let (parts, bytes) = (service.parts(&request).max(1), service.bytes(&request));
                    size.parts += parts;
                    size.bytes += bytes;
                    let own = Size { parts, bytes };
                    under_way.push(service.start(request).map(move |answer| (own, answer)));
                }
                Some(Err(status)) => closed = Some(Closed::Because(status)),
                None => closed = Some(Closed::ByClient),
            },
            Some(answer) = under_way.next(), if unanswered > finished.len() => {
                finished.push_back(answer);
            }
            permit = answers.reserve(), if !finished.is_empty() => {
                let Ok(permit) = permit else { return };
                let (own, answer) = finished.pop_front().expect("one was there");
                size.parts -= own.parts;
                size.bytes -= own.bytes;
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
