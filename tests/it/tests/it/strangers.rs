//! Requests that break a rule. Each gets an error of the right kind whose message names what is
//! wrong; the nodes stay up, and a producer that writes all the while does not notice.

use std::future::Future;

use bytes::Bytes;
use kontiki_it::api::{Api, CallError, part};
use kontiki_it::{Cluster, Launch};
use kontiki_proto::v1::{self, ErrorKind, partition_records::Data};
use kontiki_records::{BatchBuilder, Compression, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::scene::Scene;

const TOPIC: &str = "victim";

/// Runs a part of the bad input against a cluster that is written to.
async fn against<F: Future<Output = ()>>(name: &str, attack: impl FnOnce(Api) -> F) {
    let mut scene = Scene::on(Cluster::launch(name, 3, Launch::default()).await).await;
    scene.cluster.create_topic(TOPIC, 1).await;
    attack(scene.cluster.any().current()).await;
    scene.progress().await;
    for node in &mut scene.cluster.nodes {
        assert!(node.is_running(), "node {} has lived through it", node.spec.id);
        node.ready().await;
    }
    scene.check(name).await;
}

/// Requires a failure of this kind whose message holds these words.
#[track_caller]
fn refused<T: std::fmt::Debug>(
    what: &str,
    answer: Result<T, impl Into<CallError>>,
    kind: ErrorKind,
    words: &[&str],
) {
    let error: CallError = match answer {
        Ok(answer) => panic!("{what} is accepted: {answer:?}"),
        Err(error) => error.into(),
    };
    assert_eq!(error.kind, kind, "{what}: {error}");
    let message = error.message.to_lowercase();
    for word in words {
        assert!(message.contains(word), "{what}: {word:?} is not in {:?}", error.message);
    }
}

fn create(topic: &str, partitions: u32, settings: &[(&str, &str)]) -> v1::CreateTopicRequest {
    let settings = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    v1::CreateTopicRequest { topic: topic.to_owned(), partitions, settings, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_settings() {
    against("names-and-settings", |api| async move {
        let mut topics = api.topics();
        let long = "a".repeat(250);
        for name in ["", ".", "..", "a/b", "a b", "ü", "a\0b", &long] {
            let answer = topics.create_topic(create(name, 1, &[])).await;
            refused(&format!("topic {name:?}"), answer, ErrorKind::Invalid, &["topic"]);
        }
        let answer = topics.create_topic(create("many", 10_001, &[])).await;
        refused("10,001 partitions", answer, ErrorKind::Invalid, &["partitions"]);
        for (name, value) in [
            ("retention_ms", "soon"),
            ("retention_ms", "-2"),
            ("message_bytes_max", "0"),
            ("message_bytes_max", "99999999999"),
            ("durability", "maybe"),
            ("cleanup_policy", "burn"),
            ("no_such_setting", "1"),
        ] {
            let answer = topics.create_topic(create("settings", 1, &[(name, value)])).await;
            refused(&format!("{name}={value}"), answer, ErrorKind::Invalid, &[name]);
        }
        let answer = topics.create_topic(create(TOPIC, 1, &[])).await;
        refused("a topic that is there", answer, ErrorKind::Exists, &[TOPIC]);
        let nowhere = "nowhere".to_owned();
        let answer = topics.delete_topic(v1::DeleteTopicRequest { topic: nowhere.clone() }).await;
        refused("deleting what isn't there", answer, ErrorKind::NotFound, &["nowhere"]);
        let answer = topics.describe_topic(v1::DescribeTopicRequest { topic: nowhere }).await;
        refused("describing what isn't there", answer, ErrorKind::NotFound, &["nowhere"]);
        let fewer = v1::AddPartitionsRequest { topic: TOPIC.to_owned(), partitions: 1 };
        let answer = topics.add_partitions(fewer).await;
        refused("no more partitions than before", answer, ErrorKind::Invalid, &["partitions"]);
    })
    .await;
}

fn set(records: Vec<v1::Record>, producer: Option<v1::ProducerSequence>) -> Data {
    Data::Records(v1::RecordSet { records, compression: 0, producer })
}

fn record(bytes: usize) -> v1::Record {
    v1::Record { value: Some(Bytes::from(vec![7; bytes])), ..Default::default() }
}

fn to(topic: &str, partition: u32, data: Data) -> v1::PartitionRecords {
    v1::PartitionRecords { topic: topic.to_owned(), partition, data: Some(data) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn produce_requests() {
    against("produce-requests", |api| async move {
        let one = || set(vec![record(1)], None);
        let answer = api.produce(to("nowhere", 0, one())).await;
        refused("an unknown topic", answer, ErrorKind::NotFound, &["nowhere"]);
        let answer = api.produce(to(TOPIC, 9, one())).await;
        refused("an unknown partition", answer, ErrorKind::NotFound, &["partition", "9"]);
        let answer = api.produce(to(TOPIC, 0, set(vec![], None))).await;
        refused("no records", answer, ErrorKind::Invalid, &["records"]);
        let answer = api.produce(v1::PartitionRecords { data: None, ..to(TOPIC, 0, one()) }).await;
        refused("no data", answer, ErrorKind::Invalid, &["data"]);
        let answer = api.produce(to(TOPIC, 0, set(vec![record(2 << 20)], None))).await;
        refused("a record of 2 MiB", answer, ErrorKind::Invalid, &["message_bytes_max"]);

        let request = |count: usize, timeout_ms| v1::ProduceRequest {
            timeout_ms,
            partitions: vec![to(TOPIC, 0, one()); count],
            ..Default::default()
        };
        let answer = api.log().produce(request(0, 0)).await;
        refused("no partitions", answer, ErrorKind::Invalid, &["partitions"]);
        let answer = api.log().produce(request(1_025, 0)).await;
        refused("1,025 partitions", answer, ErrorKind::Invalid, &["partitions", "1024"]);
        let answer = api.log().produce(request(1, 300_001)).await;
        refused("a timeout of 5 minutes", answer, ErrorKind::Invalid, &["timeout_ms"]);

        // The largest message that a node takes is refused by gRPC itself, before it is read.
        let answer = api.produce(to(TOPIC, 0, set(vec![record(120 << 20)], None))).await;
        let refused = answer.expect_err("120 MiB");
        assert_eq!(refused.kind, ErrorKind::Unspecified, "{refused}");
    })
    .await;
}

/// A sound batch with one record of this many bytes.
fn batch(bytes: usize, compression: Compression) -> Vec<u8> {
    let limits = Limits { decompressed_bytes_max: 1 << 30, ..Limits::default() };
    let mut builder = BatchBuilder::new(limits);
    builder.push(1_700_000_000_000, None, Some(&vec![0; bytes]), &[]).expect("within limits");
    let batch = builder.finish(compression, None).expect("within limits");
    batch.into_bytes().to_vec()
}

/// Changes a batch and makes its checksum fit again.
fn resealed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = batch(100, Compression::None);
    change(&mut bytes);
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encoded_batches() {
    against("encoded-batches", |api| async move {
        let send = |bytes: Vec<u8>| api.produce(to(TOPIC, 0, Data::Batch(bytes.into())));
        let sound = send(batch(100, Compression::Zstd)).await;
        assert_eq!(sound.expect("a sound batch is taken").base_offset, 0);

        let mut damaged = batch(100, Compression::None);
        damaged[80] ^= 1;
        refused("a wrong checksum", send(damaged).await, ErrorKind::Invalid, &["crc"]);
        let mut cut = batch(100, Compression::None);
        cut.truncate(90);
        refused("half a batch", send(cut).await, ErrorKind::Invalid, &[]);
        refused("an empty batch", send(vec![]).await, ErrorKind::Invalid, &[]);
        refused("random bytes", send(vec![0xa5; 500]).await, ErrorKind::Invalid, &[]);
        let twice = [batch(9, Compression::None), batch(9, Compression::None)].concat();
        refused("two batches", send(twice).await, ErrorKind::Invalid, &[]);
        let magic = resealed(|bytes| bytes[16] = 1);
        refused("magic 1", send(magic).await, ErrorKind::Invalid, &["magic"]);
        let codec = resealed(|bytes| bytes[22] = 6);
        refused("codec 6", send(codec).await, ErrorKind::Invalid, &["compression"]);
        let count = resealed(|bytes| bytes[60] = 9);
        refused("a wrong record count", send(count).await, ErrorKind::Invalid, &[]);
        let control = resealed(|bytes| bytes[22] |= 0x20);
        refused("a control batch", send(control).await, ErrorKind::Invalid, &[]);
        let transactional = resealed(|bytes| bytes[22] |= 0x10);
        refused("a transaction", send(transactional).await, ErrorKind::Invalid, &[]);
        for compression in [Compression::Zstd, Compression::Gzip, Compression::Lz4] {
            let bomb = batch(200 << 20, compression);
            let what = format!("a bomb of {} bytes, {compression}", bomb.len());
            refused(&what, send(bomb).await, ErrorKind::Invalid, &["max"]);
        }
        // The sound one is years old: retention may have removed it by now.
        let (_, end) = api.offsets(TOPIC, 0).await.expect("it is there");
        assert_eq!(end, 1, "nothing of that was stored");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producer_epochs_and_sequences() {
    against("epochs-and-sequences", |api| async move {
        let first = v1::InitProducerRequest { current: None };
        let first = api.log().init_producer(first).await.expect("an id").into_inner();
        let sequence = |epoch: u32, base_sequence: u32| v1::ProducerSequence {
            producer_id: first.producer_id,
            producer_epoch: epoch,
            base_sequence,
        };
        let send = |epoch: u32, base: u32| {
            api.produce(to(TOPIC, 0, set(vec![record(1), record(2)], Some(sequence(epoch, base)))))
        };
        let early = send(first.producer_epoch, 5).await;
        refused("a producer that begins at 5", early, ErrorKind::Conflict, &["producer"]);
        let stored = send(first.producer_epoch, 0).await.expect("in order");
        assert!(!stored.duplicate);
        let again = send(first.producer_epoch, 0).await.expect("a retry");
        assert!(again.duplicate, "the same batch is recognised");
        assert_eq!(again.base_offset, stored.base_offset);
        let gap = send(first.producer_epoch, 7).await;
        refused("a gap", gap, ErrorKind::Conflict, &["sequence"]);

        let current = Some(sequence(first.producer_epoch, 0));
        let second = api.log().init_producer(v1::InitProducerRequest { current }).await;
        let second = second.expect("the next epoch").into_inner();
        assert_eq!(second.producer_id, first.producer_id);
        assert_eq!(second.producer_epoch, first.producer_epoch + 1);
        send(second.producer_epoch, 0).await.expect("a new epoch begins at 0");
        let stale = send(first.producer_epoch, 2).await;
        refused("a stale epoch", stale, ErrorKind::Fenced, &["epoch"]);

        let (_, end) = api.offsets(TOPIC, 0).await.expect("it is there");
        assert_eq!(end, 4, "two batches of two records, each once");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_and_fetches() {
    against("offsets-and-fetches", |api| async move {
        let answer = api.fetch("nowhere", 0, 0, 0).await;
        refused("an unknown topic", answer, ErrorKind::NotFound, &["nowhere"]);
        let answer = api.fetch(TOPIC, 3, 0, 0).await;
        refused("an unknown partition", answer, ErrorKind::NotFound, &["partition"]);
        let answer = api.fetch(TOPIC, 0, 1, 0).await;
        refused("an offset above the end", answer, ErrorKind::NotFound, &["offset"]);
        let answer = api.fetch(TOPIC, 0, u64::MAX, 0).await;
        refused("the largest offset", answer, ErrorKind::NotFound, &["offset"]);
        let answer = api.fetch(TOPIC, 0, 0, 60_001).await;
        refused("a wait of over a minute", answer, ErrorKind::Invalid, &["max_wait_ms"]);
        let answer = api.log().fetch(v1::FetchRequest::default()).await;
        refused("no partitions", answer, ErrorKind::Invalid, &["partitions"]);

        let target = v1::delete_records_request::Target {
            topic: TOPIC.to_owned(),
            before_offset: 1_000,
            ..Default::default()
        };
        let request = v1::DeleteRecordsRequest { targets: vec![target] };
        let mut answer = api.log().delete_records(request).await.expect("answered").into_inner();
        let result = part(answer.results.remove(0).error);
        refused("deleting what isn't written", result, ErrorKind::Invalid, &["offset"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_requests() {
    let mut scene = Scene::set("no-requests").await;
    let specs: Vec<_> = scene.cluster.nodes.iter().map(|node| node.spec.clone()).collect();
    let garbage: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        // A TLS hello, and its like.
        [&[0x16, 3, 1, 2, 0, 1][..], &[0; 300]].concat(),
        vec![0xff; 64 << 10],
        // The preface of HTTP/2, then a frame that claims 16 MiB.
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]].concat(),
    ];
    for spec in &specs {
        for address in [spec.client, spec.peer, spec.http] {
            for bytes in &garbage {
                let mut stream = TcpStream::connect(address).await.expect("it listens");
                let _ = stream.write_all(bytes).await;
                let _ = stream.shutdown().await;
                let mut answer = [0; 1_024];
                let read = stream.read(&mut answer);
                let _ = tokio::time::timeout(std::time::Duration::from_secs(2), read).await;
            }
        }
    }
    scene.progress().await;
    for node in &mut scene.cluster.nodes {
        assert!(node.is_running(), "node {} has lived through it", node.spec.id);
    }
    scene.check("bytes that are no requests").await;
}
