//! Requests and their replies, with caller and worker on one node.

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_records::Header;
use kontiki_storage::id::NodeId;

use super::node::{TestNode, node, node_with};
use crate::options::Options;
use crate::queues::{Action, Create, Message, Outgoing, Receive, Settle};
use crate::requests::{CORRELATION_ID, REPLY_ERROR, REPLY_TO, Reply, Request};
use crate::{Code, Error, Kind};

const QUEUE: &str = "jobs";

impl TestNode {
    pub(super) async fn create_queue(&self, queue: &str, settings: &[(&str, &str)]) {
        let settings: BTreeMap<String, String> =
            settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let queue = queue.to_owned();
        let create = Create { queue, settings, validate_only: false, if_not_exists: false };
        self.broker.create_queue(create).await.expect("it is created");
    }

    pub(super) async fn receive(&self, queue: &str, max: u32, wait_ms: u32) -> Vec<Message> {
        let (queue, consumer) = (queue.to_owned(), String::new());
        let (lease_ms, priority) = (None, 0);
        let receive = Receive { queue, max, lease_ms, wait_ms, consumer, priority };
        self.broker.receive(receive).await.expect("it can be received")
    }
}

fn request(body: &'static str, timeout: Duration) -> Request {
    let message = Outgoing { body: body.into(), ..Outgoing::default() };
    Request { queue: QUEUE.to_owned(), message, timeout }
}

fn header(message: &Message, name: &str) -> String {
    let found = message.headers.iter().find(|header| header.name == name.as_bytes());
    let value = found.and_then(|header| header.value.clone()).expect("it has the header");
    String::from_utf8(value.to_vec()).expect("it is text")
}

fn reply(reply_to: &str) -> Reply {
    Reply { reply_to: reply_to.to_owned(), body: "42".into(), ..Reply::default() }
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_reply_reaches_its_caller_and_another_one_nobody() {
    let node = node().await;
    // Bodies are ids there: the second request is another one nevertheless.
    node.create_queue(QUEUE, &[("deduplication", "content")]).await;
    for _ in 0..2 {
        let broker = node.broker.clone();
        let asking = tokio::spawn(async move { broker.request(request("6 * 7", LONG)).await });
        let received = node.receive(QUEUE, 1, 10_000).await;
        assert_eq!(&received[0].body[..], b"6 * 7");
        let back = header(&received[0], REPLY_TO);
        assert!(back.starts_with("node:1:"), "{back}");
        let color = Header::new("color", "red");
        let answer = Reply { headers: vec![color.clone()], ..reply(&back) };
        node.broker.reply(answer.clone()).await.expect("somebody waits");
        let answered = asking.await.expect("no panic").expect("it is answered");
        assert_eq!((&answered.body[..], answered.headers), (&b"42"[..], vec![color]));
        assert_eq!(answered.error, None);
        assert_eq!(answered.correlation_id, header(&received[0], CORRELATION_ID));
        let error = node.broker.reply(answer).await.unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::NotFound, Code::NOBODY_WAITS));
        let receipt = received[0].receipt.clone();
        let settle = Settle { receipt, action: Action::Acknowledge, said: None };
        let settled = node.broker.settle(QUEUE, vec![settle]).await;
        assert!(settled.expect("it is settled")[0].is_ok());
    }
    assert_eq!(node.broker.0.requests.count(), 0);
}

#[tokio::test]
async fn a_request_that_nobody_answers_ends_and_is_worked_on_by_nobody() {
    let node = node().await;
    node.create_queue(QUEUE, &[]).await;
    let error = node.broker.request(request("x", Duration::from_millis(300))).await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Unknown, Code::NO_REPLY));
    assert!(error.detail.contains("nobody replied within 300 ms"), "{error}");
    assert_eq!(node.broker.0.requests.count(), 0);
    // The shard's clock is the test's.
    node.time_ms.fetch_add(10_000, std::sync::atomic::Ordering::SeqCst);
    let gone = || async { node.receive(QUEUE, 1, 0).await.is_empty() };
    let mut tries = 0;
    while !gone().await {
        tries += 1;
        assert!(tries < 1_000, "a request is delivered after its caller has gone");
    }
    let error: Error = node
        .broker
        .request(Request { queue: "nowhere".to_owned(), ..request("x", LONG) })
        .await
        .unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::NotFound, Code::UNKNOWN_QUEUE));
}

#[tokio::test]
async fn as_many_wait_as_may() {
    let mut options = Options::default();
    options.requests.waiting_max = 1;
    let node = node_with(options).await;
    node.create_queue(QUEUE, &[]).await;
    let broker = node.broker.clone();
    let asking = tokio::spawn(async move { broker.request(request("first", LONG)).await });
    let received = node.receive(QUEUE, 1, 10_000).await;
    let error = node.broker.request(request("second", LONG)).await.unwrap_err();
    assert_eq!(error.kind, Kind::Throttled);
    assert!(error.detail.contains("broker.requests.waiting_max = 1"), "{error}");
    let refused =
        Reply { error: Some("no such file".to_owned()), ..reply(&header(&received[0], REPLY_TO)) };
    node.broker.reply(refused).await.expect("somebody waits");
    let answered = asking.await.expect("no panic").expect("it is answered");
    assert_eq!(answered.error.as_deref(), Some("no such file"));
    // The message of the second one was not sent, and there is room again.
    assert!(node.receive(QUEUE, 1, 0).await.is_empty());
    let error = node.broker.request(request("x", Duration::from_millis(50))).await.unwrap_err();
    assert_eq!(error.code, Code::NO_REPLY);
}

#[tokio::test]
async fn a_caller_that_goes_is_not_waited_for() {
    let node = node().await;
    node.create_queue(QUEUE, &[]).await;
    let broker = node.broker.clone();
    let asking = tokio::spawn(async move { broker.request(request("x", LONG)).await });
    let received = node.receive(QUEUE, 1, 10_000).await;
    asking.abort();
    let _ = asking.await;
    let error = node.broker.reply(reply(&header(&received[0], REPLY_TO))).await.unwrap_err();
    assert_eq!(error.code, Code::NOBODY_WAITS);
}

#[tokio::test]
async fn replies_go_to_queues_as_well_and_nowhere_else() {
    let node = node().await;
    node.create_queue("answers", &[]).await;
    let answer = Reply {
        correlation_id: "17".to_owned(),
        error: Some("no such file".to_owned()),
        ..reply("queue:answers")
    };
    node.broker.reply(answer).await.expect("it is stored");
    let received = node.receive("answers", 1, 10_000).await;
    assert_eq!(&received[0].body[..], b"42");
    assert_eq!(header(&received[0], CORRELATION_ID), "17");
    assert_eq!(header(&received[0], REPLY_ERROR), "no such file");

    let error = node.broker.reply(reply("queue:nowhere")).await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::NotFound, Code::UNKNOWN_QUEUE));
    let error = node.broker.reply(reply("answers")).await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Invalid, Code::INVALID_FIELD));
    // A node that isn't in the cluster has nobody who waits.
    let token = "000102030405060708090a0b0c0d0e0f";
    for unknown in [NodeId(1), NodeId(9)] {
        let to = format!("node:{}:{token}", unknown.0);
        let error = node.broker.reply(reply(&to)).await.unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::NotFound, Code::NOBODY_WAITS), "{to}");
    }
    let long = Reply { error: Some("x".repeat(1_025)), ..reply("queue:answers") };
    let error = node.broker.reply(long).await.unwrap_err();
    assert!(error.detail.starts_with("error is 1025 bytes"), "{error}");
}
