//! A fetch stream between a client and a reader that the tests play.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kontiki_broker::fetch::Fetched;
use kontiki_proto::v1::fetch_stream_request::{Close, Credit, Open};
use kontiki_records::{BatchBuilder, Compression, Limits};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Code;

use super::*;

type Read = (FetchedPartition, u32);

/// Writes down what it is told, and refuses topics called "refused".
struct Steered {
    told: Arc<Mutex<Vec<String>>>,
    /// Keeps the output going.
    _output: mpsc::Sender<Read>,
}

impl Control for Steered {
    fn open(&self, partition: FetchPartition) -> Result<(), Error> {
        let FetchPartition { topic, partition, offset, .. } = partition;
        self.told.lock().expect("sound").push(format!("open {topic}/{partition} at {offset}"));
        if topic == "refused" { Err(Error::unknown_topic(&topic)) } else { Ok(()) }
    }

    fn close(&self, topic: &str, partition: u32) {
        self.told.lock().expect("sound").push(format!("close {topic}/{partition}"));
    }

    fn credit(&self, bytes: u32) -> Result<(), Error> {
        self.told.lock().expect("sound").push(format!("credit {bytes}"));
        if bytes > 100 { Err(Error::invalid("credit", bytes, "less")) } else { Ok(()) }
    }
}

struct Source {
    reads: mpsc::Receiver<Read>,
    taken: Arc<AtomicUsize>,
}

impl Output for Source {
    async fn next(&mut self) -> Option<Read> {
        let read = self.reads.recv().await?;
        self.taken.fetch_add(1, Ordering::SeqCst);
        Some(read)
    }
}

struct Stage {
    requests: mpsc::Sender<Result<v1::FetchStreamRequest, Status>>,
    answers: mpsc::Receiver<Result<v1::FetchStreamResponse, Status>>,
    reads: mpsc::WeakSender<Read>,
    told: Arc<Mutex<Vec<String>>>,
    taken: Arc<AtomicUsize>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

fn stage() -> Stage {
    let (requests, received) = mpsc::channel(100);
    let (sender, answers) = mpsc::channel(ANSWERS);
    let (output, reads) = mpsc::channel(100);
    let (stop, stopped) = oneshot::channel();
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let taken: Arc<AtomicUsize> = Arc::default();
    let weak = output.downgrade();
    let control = Steered { told: Arc::clone(&told), _output: output };
    let source = Source { reads, taken: Arc::clone(&taken) };
    let task = tokio::spawn(async move {
        let stopped = async { stopped.await.expect("the stage is there") };
        let wire = |error| crate::grpc::error::wire(error, |_| None);
        let requests = ReceiverStream::new(received);
        serve(requests, (control, source), stopped, wire, sender).await;
    });
    Stage { requests, answers, reads: weak, told, taken, stop, task }
}

impl Stage {
    async fn ask(&self, format: i32, request: Option<Request>) {
        let request = v1::FetchStreamRequest { format, request };
        self.requests.send(Ok(request)).await.expect("the stream is read");
    }

    async fn open(&self, format: v1::RecordFormat, topic: &str, offset: u64) {
        let topic = topic.to_owned();
        let partition = Some(v1::FetchPartition { topic, partition: 1, offset, max_bytes: 0 });
        self.ask(format.into(), Some(Request::Open(Open { partition }))).await;
    }

    /// The reader reads a batch of `count` records.
    async fn read(&self, base: i64, count: i64) {
        let mut builder = BatchBuilder::new(Limits::default());
        for number in 0..count {
            builder.push(number, None, Some(b"v"), &[]).expect("small");
        }
        let batch = builder.finish(Compression::None, None).expect("some").at(base, 1);
        let batches = vec![batch.into_bytes()];
        let next_offset = (base + count).cast_unsigned();
        let outcome = Ok(Fetched { batches, next_offset, ..Fetched::default() });
        self.deliver(FetchedPartition { topic: "t".to_owned(), partition: 1, outcome }).await;
    }

    async fn deliver(&self, fetched: FetchedPartition) {
        let reads = self.reads.upgrade().expect("the control is there");
        reads.send((fetched, 10)).await.expect("somebody reads");
    }

    async fn answered(&mut self) -> v1::FetchedPartition {
        let answer = self.answers.recv().await.expect("an answer").expect("no status");
        answer.partition.expect("it is of one")
    }

    async fn ended(&mut self) -> Status {
        let end = tokio::time::timeout(Duration::from_secs(60), self.answers.recv()).await;
        end.expect("an end").expect("a status").expect_err("an end")
    }

    /// Time is paused: it passes only when nothing else can be done.
    async fn rest(&self) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    fn close_side(&mut self) {
        let (other, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.requests, other));
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().expect("sound").clone()
    }
}

fn offsets(fetched: &v1::FetchedPartition) -> Vec<u64> {
    fetched.records.iter().map(|record| record.offset).collect()
}

const RECORDS: v1::RecordFormat = v1::RecordFormat::Records;
const BATCHES: v1::RecordFormat = v1::RecordFormat::Batches;

#[tokio::test(start_paused = true)]
async fn the_reader_is_told_what_the_client_asks_for() {
    let stage = stage();
    stage.open(RECORDS, "t", 5).await;
    stage.ask(0, Some(Request::Credit(Credit { bytes: 100 }))).await;
    let close = Close { topic: "t".to_owned(), partition: 1 };
    stage.ask(0, Some(Request::Close(close))).await;
    stage.rest().await;
    assert_eq!(stage.told(), ["open t/1 at 5", "credit 100", "close t/1"]);
}

#[tokio::test(start_paused = true)]
async fn records_start_at_the_offset_that_was_opened() {
    let mut stage = stage();
    stage.open(RECORDS, "t", 7).await;
    stage.rest().await;
    stage.read(5, 4).await;
    assert_eq!(offsets(&stage.answered().await), [7, 8]);
    stage.read(9, 2).await;
    assert_eq!(offsets(&stage.answered().await), [9, 10]);
    // Back: what is still on its way is given as it is, and then everything from there on.
    stage.open(RECORDS, "t", 2).await;
    stage.rest().await;
    stage.read(11, 1).await;
    assert_eq!(offsets(&stage.answered().await), [11]);
    stage.read(0, 4).await;
    assert_eq!(offsets(&stage.answered().await), [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn the_format_of_the_first_message_stays() {
    let mut stage = stage();
    stage.ask(BATCHES.into(), None).await;
    stage.open(RECORDS, "t", 1).await;
    stage.rest().await;
    stage.read(0, 3).await;
    let answer = stage.answered().await;
    assert_eq!((answer.batches.len(), answer.records.len(), answer.next_offset), (1, 0, 3));
    stage.open(BATCHES, "t", 1).await;
    stage.rest().await;
    assert_eq!(stage.told().len(), 2, "the same format may be repeated");
}

#[tokio::test(start_paused = true)]
async fn another_format_later_ends_the_stream() {
    let mut stage = stage();
    stage.open(RECORDS, "t", 1).await;
    stage.open(BATCHES, "t", 1).await;
    let status = stage.ended().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("format is 1"), "{}", status.message());
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_ends_the_stream() {
    let nothing = None;
    let nowhere = Some(Request::Open(Open { partition: None }));
    let nameless = Some(Request::Open(Open { partition: Some(v1::FetchPartition::default()) }));
    let too_much = Some(Request::Credit(Credit { bytes: 101 }));
    for (request, field) in [
        (nothing, "request is absent"),
        (nowhere, "open.partition is absent"),
        (nameless, "open.partition.topic is empty"),
        (too_much, "credit is 101"),
    ] {
        let mut stage = stage();
        stage.open(RECORDS, "t", 0).await;
        stage.ask(0, request).await;
        let status = stage.ended().await;
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(field), "{}", status.message());
        assert!(stage.answers.recv().await.is_none());
    }
    let mut stage = stage();
    stage.ask(5, None).await;
    assert!(stage.ended().await.message().starts_with("format is 5"));
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_cannot_be_opened_does_not_end_the_stream() {
    let mut stage = stage();
    stage.open(RECORDS, "refused", 0).await;
    let answer = stage.answered().await;
    assert_eq!(answer.topic, "refused");
    assert_eq!(answer.error.expect("refused").kind(), v1::ErrorKind::NotFound);
    stage.open(RECORDS, "t", 0).await;
    stage.rest().await;
    stage.read(0, 1).await;
    assert_eq!(offsets(&stage.answered().await), [0]);
    let failed = Err(Error::unknown_topic("t"));
    let failed = FetchedPartition { topic: "t".to_owned(), partition: 1, outcome: failed };
    stage.deliver(failed).await;
    assert!(stage.answered().await.error.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_stops_the_reader() {
    let mut stage = stage();
    stage.open(RECORDS, "t", 0).await;
    stage.rest().await;
    for base in 0..50 {
        stage.read(base, 1).await;
    }
    stage.rest().await;
    assert_eq!(stage.taken.load(Ordering::SeqCst), ANSWERS);
    assert_eq!(offsets(&stage.answered().await), [0]);
    stage.rest().await;
    assert_eq!(stage.taken.load(Ordering::SeqCst), ANSWERS + 1);
}

#[tokio::test(start_paused = true)]
async fn what_has_been_read_is_sent_after_the_client_has_closed_its_side() {
    let mut stage = stage();
    stage.open(RECORDS, "t", 0).await;
    stage.rest().await;
    for base in 0..5 {
        stage.read(base, 1).await;
    }
    stage.close_side();
    for base in 0..5 {
        assert_eq!(offsets(&stage.answered().await), [base]);
    }
    assert!(stage.answers.recv().await.is_none(), "a clean end");
    stage.task.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_any_message_ends_with_the_node_or_with_its_client() {
    let mut stopped = stage();
    let (other, _) = oneshot::channel();
    std::mem::replace(&mut stopped.stop, other).send(()).expect("it listens");
    assert_eq!(stopped.ended().await.code(), Code::Unavailable);
    let mut closed = stage();
    closed.close_side();
    assert!(closed.answers.recv().await.is_none());
    let Stage { requests, answers, task, stop, .. } = stage();
    drop(answers);
    task.await.expect("no panic");
    drop((requests, stop));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_reader_is_the_end_of_the_node() {
    let (requests, received) = mpsc::channel(1);
    let (sender, mut answers) = mpsc::channel(ANSWERS);
    let (output, _) = mpsc::channel(1);
    let (_, reads) = mpsc::channel(1);
    let control = Steered { told: Arc::default(), _output: output };
    let source = Source { reads, taken: Arc::default() };
    let first = v1::FetchStreamRequest { format: 0, request: None };
    requests.send(Ok(first)).await.expect("room");
    let wire = |error| crate::grpc::error::wire(error, |_| None);
    let requests_seen = ReceiverStream::new(received);
    serve(requests_seen, (control, source), std::future::pending(), wire, sender).await;
    let end = answers.recv().await.expect("a status").expect_err("an end");
    assert_eq!(end.code(), Code::Unavailable);
    drop(requests);
}
