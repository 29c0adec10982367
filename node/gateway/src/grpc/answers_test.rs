//! Order, bounds and ends of a stream, without a broker.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::*;

/// A request: its number, and how many parts it has; each part has ten bytes.
type Request = (u64, usize);

/// A stream whose requests end when the test says so.
struct Stage {
    requests: mpsc::Sender<Result<Request, Status>>,
    answers: mpsc::Receiver<Result<u64, Status>>,
    started: mpsc::Receiver<u64>,
    ends: Ends,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

type Ends = Arc<Mutex<HashMap<u64, oneshot::Sender<()>>>>;

const MANY: Bounds = Bounds { requests: 1_024, parts: 16_384, bytes: usize::MAX };

/// Its side of the node.
struct Node {
    ends: Ends,
    starting: mpsc::Sender<u64>,
}

impl Serve<Request, u64> for Node {
    fn parts(&self, request: &Request) -> usize {
        request.1
    }

    fn bytes(&self, request: &Request) -> usize {
        10 * request.1
    }

    fn start(&self, (id, _): Request) -> BoxFuture<'static, u64> {
        let (end, ended) = oneshot::channel();
        self.ends.lock().expect("unpoisoned").insert(id, end);
        self.starting.try_send(id).expect("room for all");
        async move {
            ended.await.expect("the test ends it");
            id
        }
        .boxed()
    }
}

fn stage(bounds: Bounds, room: usize) -> Stage {
    stage_of(Order::AsFinished, bounds, room)
}

fn stage_of(order: Order, bounds: Bounds, room: usize) -> Stage {
    let (requests, received) = mpsc::channel(4_096);
    let (sender, answers) = mpsc::channel(room);
    let (starting, started) = mpsc::channel(4_096);
    let (stop, stopped) = oneshot::channel();
    let ends: Ends = Arc::default();
    let node = Node { ends: Arc::clone(&ends), starting };
    let task = tokio::spawn(async move {
        let stopped = async { stopped.await.expect("the stage is there") };
        serve(ReceiverStream::new(received), node, stopped, bounds, order, sender).await;
    });
    Stage { requests, answers, started, ends, stop, task }
}

impl Stage {
    async fn ask(&self, id: u64, parts: usize) {
        self.requests.send(Ok((id, parts))).await.expect("the stream is read");
    }

    fn end(&self, id: u64) {
        let end = self.ends.lock().expect("unpoisoned").remove(&id).expect("it was started");
        end.send(()).expect("somebody waits");
    }

    async fn answered(&mut self) -> u64 {
        self.answers.recv().await.expect("an answer").expect("no status")
    }

    /// What has been started once everything has come to rest (time is paused: it passes only when
    /// nothing else can be done).
    async fn at_rest(&mut self) -> Vec<u64> {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        std::iter::from_fn(|| self.started.try_recv().ok()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn requests_start_in_order_and_are_answered_as_they_finish() {
    let mut stage = stage(MANY, 16);
    for id in 0..100 {
        stage.ask(id, 1).await;
    }
    assert_eq!(stage.at_rest().await, (0..100).collect::<Vec<_>>());
    stage.end(40);
    assert_eq!(stage.answered().await, 40);
    stage.end(7);
    assert_eq!(stage.answered().await, 7);
}

#[tokio::test(start_paused = true)]
async fn reading_stops_at_the_number_of_unanswered_requests() {
    let mut stage = stage(Bounds { requests: 3, ..MANY }, 1);
    for id in 0..10 {
        stage.ask(id, 1).await;
    }
    assert_eq!(stage.at_rest().await, [0, 1, 2]);
    // Answers that nobody reads are unanswered still, but for the one in the channel.
    for id in 0..3 {
        stage.end(id);
    }
    assert_eq!(stage.at_rest().await, [3]);
    stage.answered().await;
    assert_eq!(stage.at_rest().await, [4]);
}

#[tokio::test(start_paused = true)]
async fn reading_stops_at_the_number_of_unanswered_parts() {
    let mut stage = stage(Bounds { parts: 1_000, ..MANY }, 16);
    for id in 0..4 {
        stage.ask(id, 600).await;
    }
    assert_eq!(stage.at_rest().await, [0, 1]);
    stage.end(1);
    assert_eq!(stage.answered().await, 1);
    assert_eq!(stage.at_rest().await, [2]);
}

#[tokio::test(start_paused = true)]
async fn reading_stops_at_the_bytes_of_unanswered_requests() {
    let mut stage = stage_of(Order::AsAsked, Bounds { bytes: 10_000, ..MANY }, 1);
    for (id, parts) in [(0, 5_000), (1, 900), (2, 100), (3, 1)] {
        stage.ask(id, parts).await;
    }
    assert_eq!(stage.at_rest().await, [0], "one of any size");
    stage.end(0);
    assert_eq!(stage.at_rest().await, [1, 2], "up to the limit");
    stage.end(2);
    assert_eq!(stage.answered().await, 0);
    assert_eq!(stage.at_rest().await, [0; 0], "the second has finished, and is not answered");
    stage.end(1);
    assert_eq!(stage.answered().await, 1);
    assert_eq!(stage.at_rest().await, [3]);
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_in_order_where_that_is_promised() {
    let mut stage = stage_of(Order::AsAsked, MANY, 16);
    for id in 0..100 {
        stage.ask(id, 1).await;
    }
    assert_eq!(stage.at_rest().await, (0..100).collect::<Vec<_>>(), "all are under way");
    for id in (1..100).rev() {
        stage.end(id);
    }
    assert_eq!(stage.at_rest().await, [0; 0]);
    assert!(stage.answers.try_recv().is_err(), "the first has not finished");
    stage.end(0);
    for id in 0..100 {
        assert_eq!(stage.answered().await, id);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_is_answered_after_the_client_has_closed_its_side() {
    let mut stage = stage(MANY, 16);
    stage.ask(1, 1).await;
    stage.ask(2, 1).await;
    assert_eq!(stage.at_rest().await, [1, 2]);
    let (other, _) = mpsc::channel(1);
    drop(std::mem::replace(&mut stage.requests, other));
    stage.end(2);
    assert_eq!(stage.answered().await, 2);
    stage.end(1);
    assert_eq!(stage.answered().await, 1);
    assert!(stage.answers.recv().await.is_none(), "a clean end");
    stage.task.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_read_ends_the_stream_after_the_answers() {
    let mut stage = stage(MANY, 16);
    stage.ask(1, 1).await;
    stage.requests.send(Err(Status::out_of_range("too large"))).await.expect("read");
    stage.ask(2, 1).await;
    assert_eq!(stage.at_rest().await, [1]);
    stage.end(1);
    assert_eq!(stage.answered().await, 1);
    let status = stage.answers.recv().await.expect("an end").expect_err("a status");
    assert_eq!(status.code(), Code::OutOfRange);
    assert!(stage.answers.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_finishes_what_it_has_begun() {
    let mut stage = stage(MANY, 16);
    stage.ask(1, 1).await;
    assert_eq!(stage.at_rest().await, [1]);
    let (other, _) = oneshot::channel();
    std::mem::replace(&mut stage.stop, other).send(()).expect("it listens");
    assert_eq!(stage.at_rest().await, [0; 0]);
    stage.ask(2, 1).await;
    stage.end(1);
    assert_eq!(stage.answered().await, 1);
    let status = stage.answers.recv().await.expect("an end").expect_err("a status");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(stage.at_rest().await, [0; 0], "the second is not begun");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_gone_ends_the_task() {
    let Stage { requests, answers, task, started, ends, stop } = stage(MANY, 16);
    drop(answers);
    task.await.expect("no panic");
    drop((requests, started, ends, stop));
}
