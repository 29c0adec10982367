//! Messages that can't be delivered: what is told about them, and what becomes of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::node::{TestNode, node, node_linked};
use crate::exchanges::{Bound, CreateExchange, ExchangeKind, PatternSyntax, To};
use crate::queues::{Action, Create, Description, Message, Outgoing, Receive, Said, Send, Settle};

impl TestNode {
    async fn queue(&self, name: &str, settings: &[(&str, &str)]) {
        let settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let create = Create {
            queue: name.to_owned(),
            settings: settings.collect(),
            validate_only: false,
            if_not_exists: false,
        };
        self.broker.create_queue(create).await.expect("it is created");
    }

    pub(super) async fn send_one(&self, queue: &str, body: Vec<u8>) {
        let messages = vec![Outgoing { body: Bytes::from(body), ..Outgoing::default() }];
        let timeout = Duration::from_secs(30);
        let send = Send { queue: queue.to_owned(), messages, timeout };
        self.broker.send(send).await.expect("it is sent");
    }

    pub(super) async fn receive_one(&self, queue: &str) -> Message {
        let (queue, consumer) = (queue.to_owned(), String::new());
        let (max, lease_ms, wait_ms, priority) = (1, None, 30_000, 0);
        let receive = Receive { queue, max, lease_ms, wait_ms, consumer, priority };
        self.broker.receive(receive).await.expect("it answers").pop().expect("a message")
    }

    async fn settle(
        &self,
        queue: &str,
        receipt: String,
        action: Action,
        (class, error): (&str, &str),
    ) {
        let said = Said { class: class.to_owned(), error: error.to_owned() };
        let settle = Settle { receipt, action, said: Some(Arc::new(said)) };
        let settled = self.broker.settle(queue, vec![settle]).await.expect("it answers");
        settled[0].as_ref().expect("it is settled");
    }

    pub(super) async fn reject(&self, queue: &str, receipt: String, error: &str) {
        self.settle(queue, receipt, Action::Reject, ("http.500", error)).await;
    }

    pub(super) async fn until(&self, queue: &str, is_so: impl Fn(&Description) -> bool) {
        for _ in 0..2_000 {
            if is_so(&self.broker.describe_queue(queue).await.expect("it is there")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}", self.broker.describe_queue(queue).await);
    }
}

pub(super) fn headers(message: &Message) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = message.headers.iter();
    let pair = |header: &kontiki_records::Header| {
        (text(&header.name), text(header.value.as_deref().unwrap_or_default()))
    };
    headers.map(pair).collect()
}

#[tokio::test]
async fn a_dead_letter_says_why_and_how_it_failed() {
    let node = node().await;
    node.queue("dead", &[]).await;
    node.queue("jobs", &[("dead_letter", "dead")]).await;
    node.send_one("jobs", b"poison".to_vec()).await;
    let message = node.receive_one("jobs").await;
    node.reject("jobs", message.receipt, "no answer from billing").await;
    let dead = headers(&node.receive_one("dead").await);
    assert_eq!(dead["kontiki.dlq.error"], "no answer from billing");
    assert_eq!(dead["kontiki.dlq.reason"], "rejected");
    let attempts = &dead["kontiki.dlq.attempts"];
    assert!(attempts.starts_with("[{\"at_ms\":17"), "{attempts}");
    assert!(attempts.ends_with(",\"how\":\"rejected\",\"class\":\"http.500\"}]"), "{attempts}");
}

#[tokio::test]
async fn a_dead_letter_of_an_exchange_says_the_same_in_every_queue() {
    let node = node().await;
    let graveyard = CreateExchange {
        name: "graveyard".to_owned(),
        kind: ExchangeKind::Fanout,
        alternate: None,
        internal: false,
    };
    node.broker.create_exchange(graveyard).await.expect("it is created");
    for name in ["dead", "audit"] {
        node.queue(name, &[]).await;
        let bound = Bound {
            source: "graveyard".to_owned(),
            to: To::Queue(name.to_owned()),
            key: String::new(),
            syntax: PatternSyntax::Amqp,
            arguments: Vec::new(),
            filter: None,
        };
        node.broker.bind(bound).await.expect("it is bound");
    }
    node.queue("jobs", &[("dead_letter_exchange", "graveyard"), ("attempts_max", "2")]).await;
    node.send_one("jobs", b"poison".to_vec()).await;
    let released = node.receive_one("jobs").await;
    let release = Action::Release { delay_ms: None, failed: true };
    node.settle("jobs", released.receipt, release, ("http.503", "it was busy")).await;
    let message = node.receive_one("jobs").await;
    let why = ("http.500", "no answer from billing");
    node.settle("jobs", message.receipt, Action::Reject, why).await;
    for queue in ["dead", "audit"] {
        let dead = headers(&node.receive_one(queue).await);
        assert_eq!(dead["kontiki.dlq.error"], "no answer from billing", "{queue}");
        assert_eq!(dead["kontiki.dlq.reason"], "rejected", "{queue}");
        let attempts = &dead["kontiki.dlq.attempts"];
        assert_eq!(attempts.matches("\"at_ms\":").count(), 2, "{attempts}");
        for (how, class) in [("released", "http.503"), ("rejected", "http.500")] {
            let attempt = format!("\"how\":\"{how}\",\"class\":\"{class}\"");
            assert!(attempts.contains(&attempt), "{attempts}");
        }
    }
}

/// What is told about a message may make it too large for a node's links.
#[tokio::test]
async fn a_message_is_moved_without_its_story_rather_than_not_at_all() {
    let raft = kontiki_raft::Options { link_message_bytes_max: 4 << 20, ..Default::default() };
    let node = node_linked(raft).await;
    node.queue("dead", &[]).await;
    node.queue("jobs", &[("dead_letter", "dead"), ("message_bytes_max", "4194304")]).await;
    // A command may have 3 MiB.
    let bytes = (3 << 20) - 300;
    node.send_one("jobs", vec![b'x'; bytes]).await;
    let message = node.receive_one("jobs").await;
    node.reject("jobs", message.receipt, &"y".repeat(1_000)).await;
    let message = node.receive_one("dead").await;
    assert_eq!((message.body.len(), message.headers.len()), (bytes, 0));
    node.until("jobs", |jobs| jobs.moving == 0 && jobs.totals.moved == 1).await;
}

#[tokio::test]
async fn what_was_for_a_dead_letter_queue_is_dropped_when_that_is_taken_away() {
    let node = node().await;
    node.queue("jobs", &[("dead_letter", "nowhere")]).await;
    for _ in 0..3 {
        node.send_one("jobs", b"poison".to_vec()).await;
        let message = node.receive_one("jobs").await;
        node.reject("jobs", message.receipt, "").await;
    }
    node.until("jobs", |jobs| jobs.moving == 3).await;
    let reset = vec!["dead_letter".to_owned()];
    node.broker.alter_queue("jobs", BTreeMap::new(), reset, false).await.expect("it is altered");
    node.until("jobs", |jobs| jobs.moving == 0 && jobs.totals.dropped == 3).await;
}
