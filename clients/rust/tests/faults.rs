//! The client against nodes that fail as a script says: what is acknowledged is stored once, and in
//! order; what is read comes once, and in order.

#![allow(clippy::unwrap_used)]

mod fake;

use fake::{Cluster, Fault};
use kontiki_client::v1::ErrorKind;
use kontiki_client::{
    Client, Compression, ConsumerOptions, Delivery, Error, NewRecord, Options, OutOfRange,
    Position, Producer, ProducerOptions,
};

fn client(cluster: &Cluster) -> Client {
    let bootstrap = cluster.bootstrap();
    let options = Options {
        bootstrap,
        retry_backoff_ms_min: 1,
        retry_backoff_ms_max: 10,
        retry_timeout_ms: 20_000,
        ..Options::default()
    };
    Client::new(options).unwrap()
}

/// One record in each batch.
fn options() -> ProducerOptions {
    ProducerOptions { batch_bytes: 1_024, linger_ms: 0, ..ProducerOptions::default() }
}

fn value(number: usize) -> String {
    format!("{number:05}-{}", "x".repeat(950))
}

async fn send(producer: &Producer, numbers: std::ops::Range<usize>) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for number in numbers {
        deliveries.push(producer.send(NewRecord::new("t", value(number))).await.unwrap());
    }
    deliveries
}

async fn outcomes(deliveries: Vec<Delivery>) -> Vec<Result<u64, Error>> {
    let mut outcomes = Vec::new();
    for delivery in deliveries {
        outcomes.push(delivery.await.map(|delivered| delivered.offset.unwrap()));
    }
    outcomes
}

/// Sends `count` records while `faults` happen: each has to be stored once, in order.
async fn all_stored_once(faults: &[Fault], count: usize) -> Cluster {
    let cluster = Cluster::start().await;
    cluster.script(faults);
    let producer = client(&cluster).producer(options()).await.unwrap();
    let outcomes = outcomes(send(&producer, 0..count).await).await;
    let offsets: Vec<u64> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(offsets, (0..count as u64).collect::<Vec<_>>());
    producer.close().await.unwrap();
    let world = cluster.world.lock().unwrap();
    assert_eq!(world.values(), (0..count).map(value).collect::<Vec<_>>());
    assert!(world.script.is_empty(), "not every fault has happened");
    drop(world);
    cluster
}

#[tokio::test]
async fn without_faults() {
    let cluster = all_stored_once(&[], 100).await;
    let world = cluster.world.lock().unwrap();
    assert_eq!((world.duplicates, world.forwarded, world.epoch), (0, 0, 0));
}

#[tokio::test]
async fn a_stream_that_breaks_after_the_batch_was_stored() {
    let cluster = all_stored_once(&[Fault::None, Fault::BreakAfterStoring], 30).await;
    let world = cluster.world.lock().unwrap();
    assert!(world.duplicates > 0, "the batch was sent again and recognized");
    assert_eq!(world.epoch, 0, "nothing was given up");
}

#[tokio::test]
async fn a_stream_that_breaks_again_and_again() {
    use Fault::{BreakAfterStoring, BreakBefore, None};
    let faults = [BreakBefore, BreakAfterStoring, None, None, None, BreakAfterStoring, BreakBefore];
    all_stored_once(&faults, 40).await;
}

#[tokio::test]
async fn a_leader_that_moves_with_and_without_a_hint() {
    use Fault::{LeaderMoves, LeaderMovesSilently, None};
    let faults = [None, LeaderMoves, None, None, LeaderMovesSilently, None, LeaderMoves];
    all_stored_once(&faults, 40).await;
}

#[tokio::test]
async fn limits_that_are_reached_and_a_quorum_that_is_missing() {
    let faults = [
        Fault::Refuse(ErrorKind::Throttled, 1020),
        Fault::None,
        Fault::Refuse(ErrorKind::Unavailable, 1031),
        Fault::Refuse(ErrorKind::Unknown, 1040),
        Fault::Refuse(ErrorKind::Conflict, 108),
    ];
    all_stored_once(&faults, 40).await;
}

#[tokio::test]
async fn a_refused_batch_fails_alone_and_begins_a_new_epoch() {
    let cluster = Cluster::start().await;
    cluster.script(&[Fault::None, Fault::Refuse(ErrorKind::Invalid, 103)]);
    let producer = client(&cluster).producer(options()).await.unwrap();
    let outcomes = outcomes(send(&producer, 0..20).await).await;
    let error = outcomes[1].as_ref().unwrap_err();
    assert_eq!((error.kind, error.code), (ErrorKind::Invalid, 103));
    assert!(error.surely_not_done());
    let stored = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(stored, 19, "{outcomes:?}");
    assert_eq!(producer.identity().await, Some((7, 1)));
    let expected: Vec<String> = (0..20).filter(|number| *number != 1).map(value).collect();
    assert_eq!(cluster.world.lock().unwrap().values(), expected);
}

#[tokio::test]
async fn a_fenced_producer_stops() {
    let cluster = Cluster::start().await;
    cluster.script(&[Fault::None, Fault::Refuse(ErrorKind::Fenced, 105)]);
    let producer = client(&cluster).producer(options()).await.unwrap();
    send(&producer, 0..1).await.pop().unwrap().await.unwrap();
    let error = send(&producer, 1..2).await.pop().unwrap().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced);
    let again = producer.send(NewRecord::new("t", "x")).await;
    assert_eq!(again.unwrap_err().kind, ErrorKind::Fenced);
}

#[tokio::test]
async fn what_cant_be_delivered_is_given_up_and_says_what_is_known() {
    let cluster = Cluster::start().await;
    let refusals = vec![Fault::Refuse(ErrorKind::Unavailable, 1031); 1_000_000];
    cluster.script(&refusals);
    let impatient = ProducerOptions { delivery_timeout_ms: 200, ..options() };
    let producer = client(&cluster).producer(impatient).await.unwrap();
    let error = send(&producer, 0..1).await.pop().unwrap().await.unwrap_err();
    assert_eq!((error.kind, error.code), (ErrorKind::Unavailable, 1031));
    assert!(error.surely_not_done());
    cluster.world.lock().unwrap().script.clear();
    cluster.script(&[Fault::BreakAfterStoring]);
    cluster.script(&refusals);
    let error = send(&producer, 1..2).await.pop().unwrap().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unknown);
    assert!(!error.surely_not_done());
    cluster.world.lock().unwrap().script.clear();
    send(&producer, 2..3).await.pop().unwrap().await.unwrap();
    assert_eq!(cluster.world.lock().unwrap().values(), [value(1), value(2)]);
}

#[tokio::test]
async fn without_idempotence_an_unknown_outcome_is_told() {
    let cluster = Cluster::start().await;
    cluster.script(&[Fault::None, Fault::BreakAfterStoring]);
    let careless = ProducerOptions { idempotent: false, in_flight_max: 1, ..options() };
    let producer = client(&cluster).producer(careless).await.unwrap();
    let outcomes = outcomes(send(&producer, 0..10).await).await;
    assert_eq!(outcomes[1].as_ref().unwrap_err().kind, ErrorKind::Unknown);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 9);
    assert_eq!(cluster.world.lock().unwrap().values().len(), 10);
}

#[tokio::test]
async fn a_small_buffer_makes_senders_wait_and_a_large_record_is_refused() {
    let cluster = Cluster::start().await;
    let small = ProducerOptions { buffer_bytes_max: 64 << 10, ..options() };
    let producer = client(&cluster).producer(small).await.unwrap();
    // Many times the buffer: it only ends if the room comes back.
    let outcomes = outcomes(send(&producer, 0..1_000).await).await;
    assert!(outcomes.iter().all(Result::is_ok));
    let large = producer.send(NewRecord::new("t", vec![0; 65 << 10])).await.unwrap_err();
    assert!(large.message.contains("buffer_bytes_max"), "{large}");
    let nowhere = producer.send(NewRecord::new("nowhere", "x")).await.unwrap_err();
    assert_eq!((nowhere.kind, nowhere.code), (ErrorKind::NotFound, 1010));
    let beyond = producer.send(NewRecord::new("t", "x").partition(9)).await.unwrap_err();
    assert_eq!(beyond.kind, ErrorKind::NotFound);
    let clone = producer.clone();
    producer.close().await.unwrap();
    assert!(clone.send(NewRecord::new("t", "x")).await.is_err(), "it is closed");
}

#[tokio::test]
async fn a_dropped_producer_still_sends_what_it_was_given() {
    let cluster = Cluster::start().await;
    let mut changed = cluster.changed.subscribe();
    let lingering = ProducerOptions { linger_ms: 60_000, ..ProducerOptions::default() };
    let producer = client(&cluster).producer(lingering).await.unwrap();
    let deliveries = send(&producer, 0..3).await;
    drop(producer);
    assert!(outcomes(deliveries).await.iter().all(Result::is_ok));
    assert!(changed.has_changed().unwrap());
    changed.mark_unchanged();
    assert_eq!(cluster.world.lock().unwrap().log.len(), 1, "they were one batch");
}

#[tokio::test]
async fn a_consumer_reads_everything_once_while_streams_break() {
    let cluster = Cluster::start().await;
    cluster.world.lock().unwrap().fetch_breaks.extend([2, 0, 1, 5]);
    let client = client(&cluster);
    let batched = ProducerOptions {
        compression: Compression::Lz4,
        batch_bytes: 8_000,
        ..ProducerOptions::default()
    };
    let producer = client.producer(batched).await.unwrap();
    let deliveries = send(&producer, 0..200).await;
    producer.flush().await.unwrap();
    assert!(outcomes(deliveries).await.iter().all(Result::is_ok));
    let little = ConsumerOptions { credit_bytes: 1_024, ..ConsumerOptions::default() };
    let mut consumer = client.consumer(little).unwrap();
    consumer.assign("t", 0, Position::Offset(5)).await.unwrap();
    let mut read = Vec::new();
    while read.len() < 195 {
        for record in consumer.next().await.unwrap().records {
            assert_eq!(record.offset, 5 + read.len() as u64);
            read.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        }
    }
    assert_eq!(read, (5..200).map(value).collect::<Vec<_>>());
    // What is written later comes too.
    let late = send(&producer, 200..201).await;
    assert_eq!(consumer.next().await.unwrap().records[0].offset, 200);
    assert!(outcomes(late).await[0].is_ok());
    // And from another position, all again.
    consumer.assign("t", 0, Position::Timestamp(1)).await.unwrap();
    consumer.assign("t", 0, Position::Earliest).await.unwrap();
    assert_eq!(consumer.next().await.unwrap().records[0].offset, 0);
    consumer.unassign("t", 0).await.unwrap();
    assert_eq!(consumer.assignment().count(), 0);
}

#[tokio::test]
async fn an_offset_that_is_not_there() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    let producer = client.producer(options()).await.unwrap();
    assert!(outcomes(send(&producer, 0..10).await).await.iter().all(Result::is_ok));
    cluster.world.lock().unwrap().log_start = 4;
    let mut strict = client.consumer(ConsumerOptions::default()).unwrap();
    strict.assign("t", 0, Position::Offset(2)).await.unwrap();
    let error = strict.next().await.unwrap_err();
    assert_eq!((error.kind, error.code), (ErrorKind::NotFound, 1012));
    assert_eq!(strict.assignment().count(), 0);
    let lenient =
        ConsumerOptions { on_out_of_range: OutOfRange::Earliest, ..ConsumerOptions::default() };
    let mut lenient = client.consumer(lenient).unwrap();
    lenient.assign("t", 0, Position::Offset(99)).await.unwrap();
    assert_eq!(lenient.next().await.unwrap().records[0].offset, 4);
}

#[tokio::test]
async fn nodes_that_cant_be_reached_are_said_to_be_unavailable() {
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = unused.local_addr().unwrap().to_string();
    drop(unused);
    let bootstrap = vec![address.clone()];
    let options = Options { bootstrap, retry_timeout_ms: 50, ..Options::default() };
    let error = Client::new(options).unwrap().metadata(&["t"]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.surely_not_done());
    assert!(error.message.contains(&address), "{error}");
}
