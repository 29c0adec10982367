//! The stream of a subscription, over one that does as it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kontiki_broker::Kind;
use kontiki_records::{Batch, BatchBuilder, Compression, Header, Limits};
use tokio::task::JoinHandle;

use super::*;

/// What a client has said.
type Told = Arc<Mutex<Vec<String>>>;

struct Script {
    told: Told,
    says: mpsc::Receiver<Result<Option<Output>, Error>>,
}

impl Source for Script {
    fn credit(&mut self, messages: u32) -> Result<(), Error> {
        if messages > 100 {
            return Err(Error::invalid("credit", messages, "at most 100"));
        }
        self.told.lock().expect("sound").push(format!("credit {messages}"));
        Ok(())
    }

    fn acknowledge(&mut self, position: &PositionAt) {
        let PositionAt { topic, partition, offset } = position;
        self.told.lock().expect("sound").push(format!("done {topic}/{partition} {offset}"));
    }

    async fn next(&mut self) -> Result<Option<Output>, Error> {
        match self.says.recv().await {
            Some(said) => said,
            None => std::future::pending().await,
        }
    }
}

struct Stage {
    requests: mpsc::Sender<Result<v1::SubscribeRequest, Status>>,
    answers: mpsc::Receiver<Result<v1::SubscribeResponse, Status>>,
    says: mpsc::Sender<Result<Option<Output>, Error>>,
    told: Told,
    task: JoinHandle<Result<(), Error>>,
}

fn stage() -> Stage {
    let (requests, received) = mpsc::channel(8);
    let (sender, answers) = mpsc::channel(ANSWERS_MAX);
    let (says, script) = mpsc::channel(64);
    let told = Told::default();
    let mut source = Script { told: Arc::clone(&told), says: script };
    let task = tokio::spawn(async move {
        let first = v1::SubscribeRequest { credit: 5, ..Default::default() };
        follow(&mut source, first, ReceiverStream::new(received), &sender).await
    });
    Stage { requests, answers, says, told, task }
}

impl Stage {
    async fn ask(&self, request: v1::SubscribeRequest) {
        self.requests.send(Ok(request)).await.expect("the stream is read");
    }

    /// Time is paused: it passes only when nothing else can be done.
    async fn rest(&self) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    async fn ended(self) -> Result<(), Error> {
        self.task.await.expect("no panic")
    }
}

fn at(offset: u64) -> PositionAt {
    PositionAt { topic: "t".into(), partition: 3, offset }
}

fn records() -> Output {
    let mut builder = BatchBuilder::new(Limits::default());
    let headers = [Header::new("color", "red")];
    builder.push(77, Some(b"k"), Some(b"v"), &headers).expect("small");
    builder.push(78, None, None, &[]).expect("small");
    let bytes = builder.finish(Compression::None, None).expect("some").into_bytes();
    let batch = Batch::parse(bytes, &Limits::default()).expect("sound");
    let decoded = batch.records(&Limits::default()).expect("sound");
    let decoded = decoded.map(|record| record.expect("sound"));
    Output::Records { position: at(12), records: [5, 9].into_iter().zip(decoded).collect() }
}

#[tokio::test(start_paused = true)]
async fn what_the_client_says_is_told_and_what_is_said_is_sent() {
    let mut stage = stage();
    let acknowledged = vec![texts::shown_position(at(7)), texts::shown_position(at(8))];
    stage.ask(v1::SubscribeRequest { credit: 2, acknowledged, ..Default::default() }).await;
    stage.says.send(Ok(Some(Output::Positions(vec![at(4)])))).await.expect("it listens");
    stage.says.send(Ok(Some(records()))).await.expect("it listens");
    let first = stage.answers.recv().await.expect("an answer").expect("no status");
    assert_eq!(first.positions, [texts::shown_position(at(4))]);
    assert!(first.records.is_empty() && first.topic.is_empty());
    let second = stage.answers.recv().await.expect("an answer").expect("no status");
    assert_eq!((second.topic.as_str(), second.partition), ("t", 3));
    assert_eq!(second.positions, [texts::shown_position(at(12))]);
    let [one, other] = &second.records[..] else { panic!("{second:?}") };
    assert_eq!((one.offset, one.timestamp_ms, one.headers.len()), (5, 77, 1));
    assert_eq!((one.key.as_deref(), one.value.as_deref()), (Some(&b"k"[..]), Some(&b"v"[..])));
    assert_eq!((other.offset, other.value.as_deref()), (9, None));
    stage.rest().await;
    let told = stage.told.lock().expect("sound").clone();
    assert_eq!(told, ["credit 5", "done t/3 7", "done t/3 8", "credit 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_stops_the_subscription() {
    let mut stage = stage();
    for _ in 0..20 {
        stage.says.send(Ok(Some(records()))).await.expect("room");
    }
    stage.rest().await;
    let left = stage.says.max_capacity() - stage.says.capacity();
    assert_eq!(left, 20 - ANSWERS_MAX);
    stage.answers.recv().await.expect("an answer").expect("no status");
    stage.rest().await;
    let left = stage.says.max_capacity() - stage.says.capacity();
    assert_eq!(left, 20 - ANSWERS_MAX - 1);
    // What it says is heard nevertheless.
    let acknowledged = vec![texts::shown_position(at(7))];
    stage.ask(v1::SubscribeRequest { acknowledged, ..Default::default() }).await;
    stage.rest().await;
    assert!(stage.told.lock().expect("sound").contains(&"done t/3 7".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_its_client_its_node_and_its_subscription() {
    let closed = stage();
    let (other, _) = mpsc::channel(1);
    let mut closed = closed;
    drop(std::mem::replace(&mut closed.requests, other));
    assert_eq!(closed.ended().await, Ok(()));

    let gone = stage();
    let Stage { answers, task, requests, says, .. } = gone;
    drop(answers);
    assert_eq!(task.await.expect("no panic"), Ok(()));
    drop((requests, says));

    let stopping = stage();
    stopping.says.send(Ok(None)).await.expect("it listens");
    assert_eq!(stopping.ended().await.expect_err("it stops").kind, Kind::Unavailable);

    let taken = stage();
    let error = Error::unknown_topic("t");
    taken.says.send(Err(error.clone())).await.expect("it listens");
    assert_eq!(taken.ended().await, Err(error));
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_ends_the_stream() {
    let again = v1::SubscribeRequest { subscribe: Some(Default::default()), ..Default::default() };
    let too_much = v1::SubscribeRequest { credit: 101, ..Default::default() };
    let position = texts::shown_position(at(1));
    let acknowledged = vec![position; POSITIONS_MAX + 1];
    let too_many = v1::SubscribeRequest { acknowledged, ..Default::default() };
    for (request, field) in
        [(again, "subscribe is set"), (too_much, "credit is 101"), (too_many, "the number of")]
    {
        let stage = stage();
        stage.ask(request).await;
        let error = stage.ended().await.expect_err("it is refused");
        assert_eq!(error.kind, Kind::Invalid);
        assert!(error.detail.starts_with(field), "{error}");
    }
}

#[test]
fn a_subscription_needs_a_pattern_or_a_name() {
    let wanted = v1::subscribe_request::Subscription::default();
    let error = asked(wanted.clone()).expect_err("neither");
    assert!(error.detail.starts_with("pattern is empty"), "{error}");
    let named = v1::subscribe_request::Subscription { subscription: "d".to_owned(), ..wanted };
    assert_eq!(asked(named).expect("it has a name").name, "d");
}
