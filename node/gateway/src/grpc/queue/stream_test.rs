//! A stream, over a queue that does as it is told.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::grpc::error;

const BEGIN_MS: i64 = 1_000_000;

/// What the stream asked, and what it is told.
#[derive(Default)]
struct Told {
    says: VecDeque<Result<Vec<Message>, Error>>,
    wanted: Vec<u32>,
    /// The numbers of receipts of each call, with the last of its actions.
    settled: Vec<(usize, Action)>,
    settling_fails: Option<Error>,
    attended: Vec<Instant>,
    attending_fails: Option<Error>,
    detached: u32,
    time_ms: i64,
}

#[derive(Clone, Default)]
struct Script {
    told: Arc<Mutex<Told>>,
    said: Arc<Notify>,
}

impl Script {
    fn look<T>(&self, look: impl FnOnce(&mut Told) -> T) -> T {
        look(&mut self.told.lock().expect("sound"))
    }

    fn say(&self, says: Result<Vec<Message>, Error>) {
        self.look(|told| told.says.push_back(says));
        self.said.notify_one();
    }
}

impl Queues for Script {
    fn receive(&self, receive: Receive) -> Receiving {
        let own = self.clone();
        Box::pin(async move {
            own.look(|told| told.wanted.push(receive.max));
            loop {
                if let Some(said) = own.look(|told| told.says.pop_front()) {
                    return said;
                }
                own.said.notified().await;
            }
        })
    }

    fn settle(&self, _: &str, settlements: Vec<Settle>) -> BoxFuture<'static, Outcomes> {
        let last = settlements.last().expect("some").action;
        let failure = self.look(|told| {
            told.settled.push((settlements.len(), last));
            told.settling_fails.clone()
        });
        let lease_until_ms = match last {
            Action::Extend { lease_ms } => Some(BEGIN_MS + lease_ms),
            Action::Acknowledge | Action::Delete | Action::Release { .. } | Action::Reject => None,
        };
        let outcomes = vec![Ok(Settled { lease_until_ms }); settlements.len()];
        Box::pin(future::ready(failure.map_or(Ok(outcomes), Err)))
    }

    fn attend(&self, _: &str, _: &str) -> Telling {
        let failure = self.look(|told| {
            told.attended.push(Instant::now());
            told.attending_fails.clone()
        });
        Box::pin(future::ready(failure.map_or(Ok(()), Err)))
    }

    fn attend_every(&self, _: &str) -> Duration {
        Duration::from_millis(666)
    }

    fn detach(&self, _: &str, _: &str) -> Telling {
        self.look(|told| told.detached += 1);
        Box::pin(future::ready(Ok(())))
    }

    fn consumer_id(&self) -> String {
        "c".to_owned()
    }

    fn time_ms(&self) -> i64 {
        self.look(|told| told.time_ms)
    }

    fn error(&self, error: Error) -> v1::Error {
        error::wire(error, |_| None)
    }

    fn status(&self, error: Error) -> Status {
        error::plain_status(error)
    }
}

struct Stage {
    requests: mpsc::Sender<Result<v1::StreamingReceiveRequest, Status>>,
    answers: mpsc::Receiver<Result<v1::StreamingReceiveResponse, Status>>,
    script: Script,
    stop: oneshot::Sender<()>,
    /// Dropped when what the stream had is given back.
    in_order: oneshot::Receiver<()>,
    task: JoinHandle<()>,
}

async fn stage(credit: u32) -> Stage {
    let (requests, received) = mpsc::channel(8);
    let (sender, answers) = mpsc::channel(ANSWERS_MAX);
    let script = Script::default();
    script.look(|told| told.time_ms = BEGIN_MS);
    let open = Open::new(script.clone(), sender);
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async move {
        if stopped.await.is_err() {
            future::pending::<()>().await;
        }
    };
    let (guard, in_order) = oneshot::channel::<()>();
    let task = tokio::spawn(open.run(ReceiverStream::new(received), stopped, guard));
    let queue = "q".to_owned();
    let first = v1::StreamingReceiveRequest { queue, credit, ..Default::default() };
    requests.send(Ok(first)).await.expect("the stream is read");
    Stage { requests, answers, script, stop, in_order, task }
}

impl Stage {
    async fn ask(&self, request: v1::StreamingReceiveRequest) {
        self.requests.send(Ok(request)).await.expect("the stream is read");
    }

    async fn settle(&self, receipts: impl Iterator<Item = usize>, action: Wire) {
        let settlement =
            |number| v1::Settlement { receipt: receipt(number), action: Some(action.clone()) };
        let settlements = receipts.map(settlement).collect();
        self.ask(v1::StreamingReceiveRequest { settlements, ..Default::default() }).await;
    }

    async fn next(&mut self) -> v1::StreamingReceiveResponse {
        self.answers.recv().await.expect("an answer").expect("no status")
    }

    /// The status in the end, if there is one.
    async fn ended(mut self) -> (Script, Option<Status>) {
        let mut status = None;
        while let Some(answer) = self.answers.recv().await {
            status = answer.err();
        }
        self.in_order.await.expect_err("it is dropped");
        self.task.await.expect("no panic");
        (self.script, status)
    }

    /// Time is paused: it passes only when nothing else can be done.
    async fn rest(&self) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

use v1::settlement::{Acknowledged, Action as Wire, Extended};

fn acknowledge() -> Wire {
    Wire::Acknowledge(Acknowledged { even_if_ended: false })
}

fn receipt(number: usize) -> String {
    format!("r{number}")
}

fn message(number: usize, bytes: usize) -> Message {
    Message {
        message_id: number.to_string(),
        receipt: receipt(number),
        key: None,
        body: Bytes::from(vec![b'x'; bytes]),
        headers: Vec::new(),
        sent_ms: 0,
        acquired: 1,
        failed: 0,
        lease_until_ms: BEGIN_MS + 30_000,
        group: String::new(),
        priority: 0,
    }
}

fn messages(numbers: std::ops::Range<usize>) -> Vec<Message> {
    numbers.map(|number| message(number, 1)).collect()
}

fn given_back(failed: bool) -> Action {
    Action::Release { delay_ms: None, failed }
}

#[tokio::test(start_paused = true)]
async fn answers_are_no_larger_than_clients_take() {
    let mut stage = stage(100).await;
    let large: Vec<Message> =
        [400, 400, 400, 3_000, 10].map(|kib| message(kib, kib << 10)).to_vec();
    stage.script.say(Ok(large));
    let mut counts = Vec::new();
    while counts.iter().sum::<usize>() < 5 {
        counts.push(stage.next().await.messages.len());
    }
    assert_eq!(counts, [2, 1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_fails_is_a_result_and_the_stream_goes_on() {
    let mut stage = stage(3_000).await;
    stage.script.say(Ok(messages(0..2)));
    stage.next().await;
    let failure = Error::throttled("broker.queues.waiting_max", 1, 100);
    stage.script.look(|told| told.settling_fails = Some(failure));
    stage.settle(0..1_500, acknowledge()).await;
    for count in [1_000, 500] {
        let results = stage.next().await.results;
        assert_eq!(results.len(), count);
        let failed = |one: &v1::settle_response::Result| {
            one.error.as_ref().is_some_and(|error| error.kind() == v1::ErrorKind::Throttled)
        };
        assert!(results.iter().all(failed));
    }
    stage.script.look(|told| told.settling_fails = None);
    stage.settle(0..1, acknowledge()).await;
    assert_eq!(stage.next().await.results[0].error, None);
    stage.script.say(Ok(messages(2..3)));
    assert_eq!(stage.next().await.messages.len(), 1);
    let (closed, _) = mpsc::channel(1);
    stage.requests = closed;
    let (script, status) = stage.ended().await;
    assert!(status.is_none());
    let settled = script.look(|told| told.settled.clone());
    let expected = [(1_000, Action::Acknowledge), (500, Action::Acknowledge)];
    assert_eq!(settled[..2], expected);
    // The client has left two, and what failed was not settled.
    assert_eq!(settled[2..], [(1, Action::Acknowledge), (2, given_back(true))]);
}

#[tokio::test(start_paused = true)]
async fn what_a_node_that_stops_takes_back_has_not_failed() {
    let mut stage = stage(10).await;
    stage.script.say(Ok(messages(0..3)));
    stage.next().await;
    stage.settle(0..1, acknowledge()).await;
    stage.next().await;
    let (other, _) = oneshot::channel();
    std::mem::replace(&mut stage.stop, other).send(()).expect("it listens");
    let (script, status) = stage.ended().await;
    let status = status.expect("it says why");
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert!(status.message().contains("stopping"), "{status}");
    let (settled, detached) = script.look(|told| (told.settled.clone(), told.detached));
    assert_eq!(settled, [(1, Action::Acknowledge), (2, given_back(false))]);
    assert_eq!(detached, 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_does_not_wait_for_a_client_that_does_not_read() {
    let mut stage = stage(1_000).await;
    for number in 0..20 {
        stage.script.say(Ok(messages(number..number + 1)));
    }
    stage.rest().await;
    let (other, _) = oneshot::channel();
    std::mem::replace(&mut stage.stop, other).send(()).expect("it listens");
    (&mut stage.in_order).await.expect_err("it is dropped");
    let settled = stage.script.look(|told| told.settled.clone());
    assert_eq!(settled, [(ANSWERS_MAX + 1, given_back(false))]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_its_node_can_not_serve_gives_back_what_has_not_failed() {
    let mut stage = stage(10).await;
    stage.script.say(Ok(messages(0..3)));
    stage.next().await;
    stage.script.say(Err(Error::not_done_in_time("shard 1")));
    let (script, status) = stage.ended().await;
    assert_eq!(status.expect("it says why").code(), tonic::Code::Unavailable);
    assert_eq!(script.look(|told| told.settled.clone()), [(3, given_back(false))]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_is_not_the_end() {
    let mut stage = stage(10).await;
    let lost = || Err(Error::outcome_unknown("the leader"));
    for _ in 0..LOST_MAX {
        stage.script.say(lost());
    }
    stage.script.say(Ok(messages(0..1)));
    assert_eq!(stage.next().await.messages.len(), 1);
    for _ in 0..=LOST_MAX {
        stage.script.say(lost());
    }
    let (_, status) = stage.ended().await;
    assert_eq!(status.expect("it says why").code(), tonic::Code::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_credit_is_there_whatever_else_happens() {
    let mut stage = stage(0).await;
    let passing = Error::not_done_in_time("shard 1");
    stage.script.look(|told| told.attending_fails = Some(passing));
    for number in 0..10 {
        stage.settle(number..number + 1, acknowledge()).await;
        stage.next().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let attended = stage.script.look(|told| told.attended.clone());
    assert!(attended.len() >= 7, "{attended:?}");
    let pauses = attended.windows(2).map(|two| two[1] - two[0]);
    assert!(pauses.max().expect("some") < Duration::from_secs(1));
    // Another one's.
    let detail = "it is another consumer's";
    let conflict = Error::new(Kind::Conflict, Code::QUEUE_EXCLUSIVE, detail);
    stage.script.look(|told| told.attending_fails = Some(conflict));
    let (_, status) = stage.ended().await;
    assert_eq!(status.expect("it says why").code(), tonic::Code::FailedPrecondition);
}

#[tokio::test(start_paused = true)]
async fn what_was_settled_elsewhere_makes_room_when_its_lease_is_over() {
    let mut stage = stage(CREDIT_MAX).await;
    let full = CREDIT_MAX as usize;
    let mut got = 0;
    while got < full {
        let some = (full - got).min(AT_ONCE as usize);
        stage.script.say(Ok(messages(got..got + some)));
        got += stage.next().await.messages.len();
    }
    // One of them is kept for longer.
    stage.settle(5..6, Wire::Extend(Extended { lease_ms: 100_000 })).await;
    stage.next().await;
    stage.ask(v1::StreamingReceiveRequest { credit: 3, ..Default::default() }).await;
    let asked = stage.script.look(|told| told.wanted.len());
    stage.rest().await;
    assert_eq!(stage.script.look(|told| told.wanted.len()), asked, "there is no room");
    stage.script.look(|told| told.time_ms += 30_001);
    stage.rest().await;
    assert_eq!(stage.script.look(|told| told.wanted[asked..].to_vec()), [3]);
    let (closed, _) = mpsc::channel(1);
    stage.requests = closed;
    let (script, _) = stage.ended().await;
    let settled = script.look(|told| told.settled.clone());
    assert_eq!(settled.last(), Some(&(1, given_back(true))));
}
