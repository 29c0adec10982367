//! Many clients that do nothing, and clients that ask and never read: others don't notice.

use std::time::Duration;

use kontiki_it::process;
use kontiki_proto::v1::{self, fetch_stream_request::Request};
use tokio::net::TcpStream;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use crate::scene::{Scene, TOPIC};

/// Connections to one node.
const CONNECTIONS: usize = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections() {
    let files = process::raise_open_files();
    // The nodes inherit the limit; each side needs a file for every connection.
    let possible = usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(2_000);
    let count = CONNECTIONS.min(possible);
    let mut scene = Scene::set("idle").await;
    let leader = scene.leader().await;
    let node = scene.cluster.node(leader);
    let before = node.resident_bytes();
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        // A node may close what it can't carry, but it may not stop to answer.
        let connected = TcpStream::connect(node.spec.client);
        let connected = tokio::time::timeout(Duration::from_secs(10), connected).await;
        held.push(connected.expect("it answers").expect("it listens"));
    }
    let after = node.resident_bytes();
    node.ready().await;
    scene.progress().await;
    scene.progress().await;
    let kib = after.saturating_sub(before) / 1024 / held.len() as u64;
    println!("{} idle connections, {kib} KiB of memory each", held.len());
    drop(held);
    scene.check("idle connections").await;
}

/// Streams that are opened, given all the credit there is, and never read.
const DEAF_STREAMS: usize = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_read() {
    let mut scene = Scene::set("deaf").await;
    for _ in 0..5 {
        scene.progress().await;
    }
    let leader = scene.leader().await;
    let before = scene.cluster.node(leader).resident_bytes();
    let mut held = Vec::new();
    for _ in 0..DEAF_STREAMS {
        // A connection each, so that none of them is held up by another one's window.
        let api = scene.cluster.api(leader);
        let partition =
            v1::FetchPartition { topic: TOPIC.to_owned(), partition: 0, offset: 0, max_bytes: 0 };
        let request = |request| v1::FetchStreamRequest { request: Some(request), format: 0 };
        let (ask, asked) = tokio::sync::mpsc::channel(4);
        let open = v1::fetch_stream_request::Open { partition: Some(partition) };
        ask.send(request(Request::Open(open))).await.expect("there is room");
        let credit = v1::fetch_stream_request::Credit { bytes: 64 << 20 };
        ask.send(request(Request::Credit(credit))).await.expect("there is room");
        let mut stream = api
            .log()
            .fetch_stream(ReceiverStream::new(asked))
            .await
            .expect("the stream is opened")
            .into_inner();
        let first = stream.next().await.expect("it begins").expect("with records");
        assert!(first.partition.is_some_and(|partition| !partition.records.is_empty()));
        held.push((ask, stream));
    }
    for _ in 0..5 {
        scene.progress().await;
    }
    let after = scene.cluster.node(leader).resident_bytes();
    let grown = after.saturating_sub(before);
    println!("{DEAF_STREAMS} streams that nobody reads, {} MiB more", grown >> 20);
    assert!(grown < 512 << 20, "a node's memory follows its clients: {} MiB more", grown >> 20);
    drop(held);
    scene.check("clients that never read").await;
}
