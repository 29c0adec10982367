//! What the log promises to well-behaved clients: records come back as they went in, in order,
//! through any node, by call and by stream.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kontiki_it::api::{Api, CallError, part};
use kontiki_it::{Cluster, wait};
use kontiki_proto::v1::{self, ErrorKind, partition_records::Data};
use kontiki_records::{BatchBuilder, Compression, Limits};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

const TOPIC: &str = "records";
const TIME: i64 = 1_700_000_000_000;

fn to(data: Data) -> v1::PartitionRecords {
    v1::PartitionRecords { topic: TOPIC.to_owned(), partition: 0, data: Some(data) }
}

fn set(records: Vec<v1::Record>, compression: v1::Compression) -> v1::PartitionRecords {
    let compression = compression.into();
    to(Data::Records(v1::RecordSet { records, compression, producer: None }))
}

fn numbered(number: u64) -> v1::Record {
    let value = Some(Bytes::from(format!("record {number}")));
    v1::Record { value, timestamp_ms: TIME + i64::try_from(number).unwrap(), ..Default::default() }
}

/// Null and empty, key and value, headers that repeat, in an order, with and without value.
fn peculiar() -> Vec<v1::Record> {
    let header = |name: &str, value: Option<&'static str>| v1::Header {
        name: name.to_owned(),
        value: value.map(Bytes::from),
    };
    let headers = vec![
        header("z", Some("1")),
        header("a", None),
        header("z", Some("")),
        header("trace", Some("0af7")),
    ];
    let with = |key: Option<&'static str>, value: Option<&'static str>| v1::Record {
        key: key.map(Bytes::from),
        value: value.map(Bytes::from),
        headers: headers.clone(),
        timestamp_ms: TIME,
        offset: 0,
    };
    vec![
        with(None, None),
        with(Some(""), Some("")),
        with(Some("key"), None),
        with(None, Some("value")),
        v1::Record {
            value: Some(vec![9; 20_000].into()),
            timestamp_ms: TIME,
            ..Default::default()
        },
    ]
}

/// A cluster with the topic, and its nodes.
async fn scene(name: &str) -> (Cluster, Vec<Api>) {
    let cluster = Cluster::of_three(name).await;
    cluster.create_topic(TOPIC, 1).await;
    cluster.leader(TOPIC, 0).await;
    let nodes = cluster.addresses().into_iter().map(Api::to).collect();
    (cluster, nodes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_come_back_as_they_went_in() {
    let (_cluster, nodes) = scene("as-they-went-in").await;
    let mut expected = Vec::new();
    let compressions = [
        v1::Compression::None,
        v1::Compression::Gzip,
        v1::Compression::Snappy,
        v1::Compression::Lz4,
        v1::Compression::Zstd,
    ];
    for (turn, compression) in compressions.into_iter().enumerate() {
        let node = &nodes[turn % nodes.len()];
        let written = node.produce(set(peculiar(), compression)).await.expect("written");
        assert_eq!(written.base_offset, expected.len() as u64);
        assert_eq!(written.durability(), v1::Durability::QuorumFsync);
        for record in peculiar() {
            let offset = expected.len() as u64;
            expected.push(v1::Record { offset, ..record });
        }
    }
    for node in &nodes {
        let fetched = node.fetch(TOPIC, 0, 0, 0).await.expect("read");
        assert_eq!(fetched.records, expected, "through {}", node.address);
        assert_eq!(fetched.next_offset, 25);
        assert_eq!(fetched.high_watermark, 25);
    }
    // From the middle of a batch.
    let fetched = nodes[0].fetch(TOPIC, 0, 7, 0).await.expect("read");
    assert_eq!(fetched.records, expected[7..]);
    // At the end there is nothing yet, which is no error.
    let fetched = nodes[0].fetch(TOPIC, 0, 25, 0).await.expect("read");
    assert!(fetched.records.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encoded_batches_are_kept_byte_for_byte() {
    let (_cluster, nodes) = scene("byte-for-byte").await;
    let mut sent = Vec::new();
    for compression in Compression::ALL {
        let mut builder = BatchBuilder::new(Limits::default());
        for number in 0..50 {
            let value = format!("{number}: {}", "text that can be compressed ".repeat(10));
            builder.push(TIME, Some(b"k"), Some(value.as_bytes()), &[]).expect("within limits");
        }
        let batch = builder.finish(compression, None).expect("within limits").into_bytes();
        nodes[0].produce(to(Data::Batch(batch.clone()))).await.expect("written");
        sent.push(batch);
    }
    let request = v1::FetchRequest {
        partitions: vec![v1::FetchPartition { topic: TOPIC.to_owned(), ..Default::default() }],
        format: v1::RecordFormat::Batches.into(),
        ..Default::default()
    };
    let answer = nodes[1].log().fetch(request).await.expect("read").into_inner();
    let got = &answer.partitions[0].batches;
    let got: Vec<Bytes> = got.clone();
    assert_eq!(got.len(), sent.len());
    for (number, (got, sent)) in got.iter().zip(&sent).enumerate() {
        let base = u64::from_be_bytes(got[..8].try_into().expect("eight bytes"));
        assert_eq!(base, number as u64 * 50);
        // Base offset and leader epoch are the node's; all else is the client's.
        assert_eq!(got[8..12], sent[8..12]);
        assert_eq!(got[16..], sent[16..]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_answers_and_says_who_leads() {
    let (mut cluster, nodes) = scene("any-node").await;
    let (_, leader) = cluster.leader(TOPIC, 0).await;
    let address = cluster.node(leader).spec.client.to_string();
    for node in &nodes {
        let request = v1::ProduceRequest {
            routing: v1::Routing::LeaderOnly.into(),
            partitions: vec![set(vec![numbered(0)], v1::Compression::None)],
            ..Default::default()
        };
        let answer = node.log().produce(request).await.expect("answered").into_inner();
        let error = answer.results.into_iter().next().and_then(|result| result.error);
        if node.address.to_string() == address {
            assert!(error.is_none(), "the leader: {error:?}");
        } else {
            let error = error.expect("not the leader");
            assert_eq!(error.kind(), ErrorKind::NotLeader);
            let hint = error.leader.expect("it knows the leader");
            assert_eq!((hint.node_id, hint.address), (leader, address.clone()));
        }
        node.produce(set(vec![numbered(0)], v1::Compression::None)).await.expect("forwarded");
    }
    let (_, end) = nodes[0].offsets(TOPIC, 0).await.expect("read");
    assert_eq!(end, 4, "three forwarded, one direct");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stream_keeps_its_order() {
    const REQUESTS: u64 = 500;
    let (_cluster, nodes) = scene("produce-stream").await;
    // Not the leader's own connection: order survives forwarding.
    for (turn, node) in nodes.iter().enumerate() {
        let start = turn as u64 * REQUESTS;
        let requests = (0..REQUESTS).map(move |number| v1::ProduceRequest {
            correlation_id: number,
            partitions: vec![set(vec![numbered(start + number)], v1::Compression::None)],
            ..Default::default()
        });
        let answers = node.log().produce_stream(tokio_stream::iter(requests)).await;
        let mut answers = answers.expect("the stream is opened").into_inner();
        let mut offsets = BTreeMap::new();
        while let Some(answer) = answers.next().await {
            let mut answer = answer.expect("answered");
            let result = answer.results.remove(0);
            part(result.error).expect("written");
            offsets.insert(answer.correlation_id, result.base_offset);
        }
        let expected: BTreeMap<u64, u64> = (0..REQUESTS).map(|n| (n, start + n)).collect();
        assert_eq!(offsets, expected, "through {}", node.address);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_waits_and_a_stream_follows() {
    let (_cluster, nodes) = scene("following").await;
    let waiting = {
        let node = nodes[1].clone();
        tokio::spawn(async move { node.fetch(TOPIC, 0, 0, 4_000).await })
    };
    let (ask, asked) = tokio::sync::mpsc::channel(8);
    let request = |request| v1::FetchStreamRequest { request: Some(request), format: 0 };
    let partition = v1::FetchPartition { topic: TOPIC.to_owned(), ..Default::default() };
    let open = v1::fetch_stream_request::Open { partition: Some(partition) };
    ask.send(request(v1::fetch_stream_request::Request::Open(open))).await.unwrap();
    let credit = |bytes| {
        request(v1::fetch_stream_request::Request::Credit(v1::fetch_stream_request::Credit {
            bytes,
        }))
    };
    ask.send(credit(1 << 20)).await.unwrap();
    let stream = nodes[2].log().fetch_stream(ReceiverStream::new(asked)).await;
    let mut stream = stream.expect("the stream is opened").into_inner();

    for number in 0..100 {
        let one = set(vec![numbered(number)], v1::Compression::None);
        nodes[0].produce(one).await.expect("written");
    }
    let first = waiting.await.expect("no panic").expect("it is answered when there is something");
    assert_eq!(first.records[0].offset, 0);
    let mut next = 0;
    while next < 100 {
        let message = tokio::time::timeout(wait::PATIENCE, stream.next()).await.expect("in time");
        let message = message.expect("it goes on").expect("with records");
        ask.send(credit(message.credit_used)).await.unwrap();
        let Some(partition) = message.partition else { continue };
        part(partition.error).expect("no error");
        for record in partition.records {
            assert_eq!(record.offset, next);
            assert_eq!(record.value, numbered(next).value);
            next += 1;
        }
    }
    drop(ask);
    let end = tokio::time::timeout(wait::PATIENCE, stream.next()).await.expect("in time");
    assert!(end.is_none_or(|message| message.is_ok()), "closing one side ends the stream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_are_found_and_records_deleted() {
    let (_cluster, nodes) = scene("offsets").await;
    for start in [0, 10, 20] {
        let records = (start..start + 10).map(numbered).collect();
        nodes[0].produce(set(records, v1::Compression::Lz4)).await.expect("written");
    }
    let at = |timestamp_ms| {
        let node = nodes[1].clone();
        async move {
            use v1::list_offsets_request::{Query, query::At};
            let at = Some(At::TimestampMs(timestamp_ms));
            let query = Query { topic: TOPIC.to_owned(), partition: 0, at };
            let request = v1::ListOffsetsRequest { queries: vec![query], ..Default::default() };
            let answer = node.log().list_offsets(request).await.expect("answered").into_inner();
            let result = answer.results.into_iter().next().expect("one result");
            part(result.error.clone()).expect("no error");
            result.found.then_some((result.offset, result.timestamp_ms))
        }
    };
    assert_eq!(at(0).await, Some((0, TIME)));
    assert_eq!(at(TIME + 14).await, Some((14, TIME + 14)));
    assert_eq!(at(TIME + 30).await, None);

    let target = v1::delete_records_request::Target {
        topic: TOPIC.to_owned(),
        partition: 0,
        before_offset: 13,
        all: false,
    };
    let request = v1::DeleteRecordsRequest { targets: vec![target] };
    let answer = nodes[2].log().delete_records(request).await.expect("answered").into_inner();
    assert_eq!(answer.results[0].error, None);
    assert_eq!(answer.results[0].log_start_offset, 13);
    let below = nodes[0].fetch(TOPIC, 0, 12, 0).await.expect_err("it is deleted");
    assert_eq!(below.kind, ErrorKind::NotFound, "{below}");
    assert!(below.message.contains("13"), "the valid range is in {below}");
    let fetched = nodes[0].fetch(TOPIC, 0, 13, 0).await.expect("it is there");
    assert_eq!(fetched.records.len(), 17);
    assert_eq!(fetched.records[0].offset, 13);
    assert_eq!(nodes[0].offsets(TOPIC, 0).await.expect("answered"), (13, 30));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_created_changed_and_deleted() {
    let (cluster, nodes) = scene("topics").await;
    let mut topics = nodes[1].topics();
    let settings = [("retention_ms".to_owned(), "60000".to_owned())].into();
    let request = v1::CreateTopicRequest {
        topic: "many".to_owned(),
        partitions: 4,
        settings,
        ..Default::default()
    };
    let created = topics.create_topic(request).await.expect("created").into_inner();
    assert_eq!(created.partitions, 4);
    // On another node it can be written to at once.
    for partition in 0..4 {
        let one = set(vec![numbered(1)], v1::Compression::None);
        let one = v1::PartitionRecords { topic: "many".to_owned(), partition, ..one };
        nodes[2].produce(one).await.expect("written");
    }
    let more = v1::AddPartitionsRequest { topic: "many".to_owned(), partitions: 6 };
    assert_eq!(topics.add_partitions(more).await.expect("added").into_inner().partitions, 6);
    let request = v1::AlterTopicRequest {
        topic: "many".to_owned(),
        set: [("retention_bytes".to_owned(), "1000000".to_owned())].into(),
        reset: vec!["retention_ms".to_owned()],
        validate_only: false,
    };
    let altered = topics.alter_topic(request).await.expect("altered").into_inner().settings;
    assert_eq!(altered.get("retention_bytes").map(String::as_str), Some("1000000"));
    assert_eq!(altered.get("retention_ms").map(String::as_str), Some("604800000"));
    let request = v1::DescribeTopicRequest { topic: "many".to_owned() };
    let described = topics.describe_topic(request).await.expect("described").into_inner();
    assert_eq!(described.partitions.len(), 6);
    assert_eq!(described.partitions[1].high_watermark, 1);
    let request = v1::ListTopicsRequest { prefix: "ma".to_owned(), ..Default::default() };
    let listed = topics.list_topics(request).await.expect("listed").into_inner();
    assert_eq!(listed.topics.len(), 1);
    assert_eq!(listed.topics[0].partitions, 6);

    let request = v1::DeleteTopicRequest { topic: "many".to_owned() };
    topics.delete_topic(request).await.expect("deleted");
    let one = set(vec![numbered(1)], v1::Compression::None);
    let gone = nodes[1].produce(v1::PartitionRecords { topic: "many".to_owned(), ..one }).await;
    let gone: CallError = gone.expect_err("it is deleted");
    assert_eq!(gone.kind, ErrorKind::NotFound, "{gone}");
    // The name is free, and what it names is empty.
    cluster.create_topic("many", 1).await;
    let any = cluster.any();
    let offsets = any.ask("offsets", |api| async move { api.offsets("many", 0).await }).await;
    assert_eq!(offsets, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weaker_acknowledgements_say_so() {
    let (_cluster, nodes) = scene("acks").await;
    let request = |acks: v1::Acks| v1::ProduceRequest {
        acks: acks.into(),
        partitions: vec![set(vec![numbered(0)], v1::Compression::None)],
        ..Default::default()
    };
    let answer = nodes[0].log().produce(request(v1::Acks::Leader)).await.expect("answered");
    let result = answer.into_inner().results.remove(0);
    assert_eq!(result.durability(), v1::Durability::Leader);
    assert!(!result.offset_known, "the offset is given when it is committed");
    let answer = nodes[0].log().produce(request(v1::Acks::None)).await.expect("answered");
    let result = answer.into_inner().results.remove(0);
    assert_eq!(result.durability(), v1::Durability::None);
    // Nothing happened to the cluster, so both are there soon.
    wait::until_within(Duration::from_secs(30), "two records", || async {
        match nodes[1].offsets(TOPIC, 0).await {
            Ok((_, 2)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_for_operators() {
    let (cluster, nodes) = scene("pages").await;
    nodes[0].produce(set(vec![numbered(0)], v1::Compression::None)).await.expect("written");
    for node in &cluster.nodes {
        for path in ["/livez", "/readyz"] {
            let (status, body) = kontiki_it::http::get(node.spec.http, path).await.expect(path);
            assert_eq!(status, 200, "{path}: {body}");
        }
        let (status, page) = kontiki_it::http::get(node.spec.http, "/metrics").await.unwrap();
        assert_eq!(status, 200);
        assert!(page.contains("# TYPE kontiki_"), "Prometheus text: {page}");
        let (status, _) = kontiki_it::http::get(node.spec.http, "/nowhere").await.unwrap();
        assert_eq!(status, 404);
    }
}
