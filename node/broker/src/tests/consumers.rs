//! Consumers of queues, and queues that go by themselves. What depends on long times is tested
//! beside the code, with times that are given.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::node::{TestNode, eventually, node};
use crate::queues::{
    Action, BreakerState, Create, Description, Message, Outgoing, Receive, Send, Settle,
};
use crate::{Code, Error, Kind};

impl TestNode {
    async fn open_queue(&self, name: &str, settings: &[(&str, &str)]) -> String {
        let settings: BTreeMap<String, String> =
            settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let queue = name.to_owned();
        let create = Create { queue, settings, validate_only: false, if_not_exists: true };
        self.broker.create_queue(create).await.expect("it is created").1
    }

    async fn send_text(&self, queue: &str, body: &'static str) {
        let message = Outgoing { body: body.into(), ..Outgoing::default() };
        let (queue, timeout) = (queue.to_owned(), Duration::from_secs(5));
        let sent = self.broker.send(Send { queue, messages: vec![message], timeout });
        sent.await.expect("it is sent");
    }

    async fn take(
        &self,
        queue: &str,
        (consumer, priority): (&str, i32),
        wait_ms: u32,
    ) -> Result<Vec<Message>, Error> {
        let (queue, consumer) = (queue.to_owned(), consumer.to_owned());
        let receive = Receive { queue, max: 1, lease_ms: None, wait_ms, consumer, priority };
        self.broker.receive(receive).await
    }

    async fn settle_as(&self, queue: &str, message: &Message, action: Action) {
        let settled = self
            .broker
            .settle(queue, vec![Settle { receipt: message.receipt.clone(), action, said: None }]);
        settled.await.expect("it is asked").remove(0).expect("it is settled");
    }

    async fn described(&self, queue: &str) -> Description {
        self.broker.describe_queue(queue).await.expect("it is described")
    }

    async fn waits(&self, queue: &str, consumers: u32) {
        let asked = async {
            while self.described(queue).await.consumers < consumers {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), asked).await.expect("they wait");
    }

    fn is_gone(&self, queue: &str) -> bool {
        self.broker.0.queue(queue).is_err()
    }
}

fn bodies(received: Result<Vec<Message>, Error>) -> Vec<String> {
    let text = |message: Message| String::from_utf8_lossy(&message.body).into_owned();
    received.expect("it is received").into_iter().map(text).collect()
}

const RELEASE: Action = Action::Release { delay_ms: None, failed: false };
const FAIL: Action = Action::Release { delay_ms: Some(0), failed: true };

#[tokio::test]
async fn the_highest_priority_is_served_first_and_equal_ones_in_turn() {
    let node = node().await;
    node.open_queue("q", &[]).await;
    let low = node.take("q", ("low", -1), 20_000);
    let first = async {
        node.waits("q", 1).await;
        node.take("q", ("first", 3), 20_000).await
    };
    let second = async {
        node.waits("q", 2).await;
        node.take("q", ("second", 3), 20_000).await
    };
    let sends = async {
        node.waits("q", 3).await;
        for body in ["1", "2", "3"] {
            node.send_text("q", body).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (low, first, second, ()) = tokio::join!(low, first, second, sends);
    assert_eq!((bodies(first), bodies(second)), (vec!["1".into()], vec!["2".into()]));
    assert_eq!(bodies(low), ["3"]);
}

#[tokio::test]
async fn another_one_becomes_active_when_the_first_has_gone() {
    let node = node().await;
    let settings = [("single_active_consumer", "true"), ("consumer_timeout_ms", "400")];
    node.open_queue("q", &settings).await;
    let error = node.take("q", ("", 0), 0).await.expect_err("nobody");
    assert!(error.detail.contains("single_active_consumer"), "{error}");
    for body in ["1", "2", "3"] {
        node.send_text("q", body).await;
    }
    let begun = node.take("q", ("a", 0), 1_000).await.expect("it is active");
    let active = || async { node.described("q").await.active_consumer };
    assert_eq!(active().await.as_deref(), Some("a"));
    // It has a lease: however long, it is the active one.
    assert_eq!(bodies(node.take("q", ("b", 0), 1_000).await), [""; 0]);
    node.settle_as("q", &begun[0], Action::Acknowledge).await;
    assert_eq!(bodies(node.take("q", ("b", 0), 5_000).await), ["2"]);
    assert_eq!(active().await.as_deref(), Some("b"));
    // One that says so goes at once.
    let waits = node.take("q", ("a", 0), 5_000);
    let detach = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        node.broker.detach("q", "b").await.expect("it is noted");
    };
    let begun = Instant::now();
    let (received, ()) = tokio::join!(waits, detach);
    assert_eq!(bodies(received), ["3"]);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn an_exclusive_queue_is_one_consumers_and_goes_with_it() {
    let node = node().await;
    node.open_queue("q", &[("exclusive", "true"), ("consumer_timeout_ms", "500")]).await;
    let mine = node.take("q", ("mine", 0), 4_000);
    let yours = async {
        node.waits("q", 1).await;
        node.take("q", ("yours", 0), 0).await.expect_err("it is another one's")
    };
    let (mine, error) = tokio::join!(mine, yours);
    assert_eq!(bodies(mine), [""; 0]);
    assert_eq!((error.kind, error.code), (Kind::Conflict, Code::QUEUE_EXCLUSIVE));
    assert!(error.detail.contains("queue q") && error.detail.contains("\"mine\""), "{error}");
    eventually("it is gone", || node.is_gone("q")).await;
    assert_eq!(node.broker.0.metrics.queues_gone.get(), 1);
}

#[tokio::test]
async fn a_queue_goes_with_its_last_consumer() {
    let node = node().await;
    node.open_queue("q", &[("auto_delete", "true"), ("consumer_timeout_ms", "300")]).await;
    node.send_text("q", "1").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!node.is_gone("q"), "nobody has come yet");
    let message = node.take("q", ("", 0), 0).await.expect("it is received").remove(0);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!node.is_gone("q"), "somebody has a message");
    node.settle_as("q", &message, RELEASE).await;
    eventually("it is gone", || node.is_gone("q")).await;
    let error = node.take("q", ("", 0), 0).await.expect_err("it is gone");
    assert_eq!(error.code, Code::UNKNOWN_QUEUE);
}

#[tokio::test]
async fn what_is_altered_in_time_stays() {
    let node = node().await;
    let begun = Instant::now();
    node.open_queue("q", &[("expires_ms", "3000")]).await;
    node.open_queue("gone", &[("expires_ms", "1000")]).await;
    let reset = vec!["expires_ms".to_owned()];
    node.broker.alter_queue("q", BTreeMap::new(), reset, false).await.expect("it is altered");
    eventually("it is gone", || node.is_gone("gone")).await;
    tokio::time::sleep_until(begun + Duration::from_secs(5)).await;
    assert!(!node.is_gone("q"));
}

#[tokio::test]
async fn a_declaration_keeps_a_queue() {
    let node = node().await;
    let settings = [("expires_ms", "3000")];
    let begun = Instant::now();
    node.open_queue("q", &settings).await;
    while begun.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!node.is_gone("q"));
        node.open_queue("q", &settings).await;
    }
    eventually("it is gone", || node.is_gone("q")).await;
}

#[tokio::test]
async fn a_breaker_opens_and_closes() {
    let node = node().await;
    let settings = [
        ("breaker_failure_rate", "0.5"),
        ("breaker_min_attempts", "2"),
        ("breaker_open_ms", "2500"),
        ("breaker_half_open_probes", "1"),
    ];
    node.open_queue("q", &settings).await;
    for body in ["1", "2", "3"] {
        node.send_text("q", body).await;
    }
    assert_eq!(node.described("q").await.breaker, BreakerState::Closed);
    let one = async || node.take("q", ("", 0), 10_000).await.expect("received").remove(0);
    let first = one().await;
    node.settle_as("q", &first, FAIL).await;
    let second = one().await;
    node.settle_as("q", &second, FAIL).await;
    let begun = Instant::now();
    assert_eq!(bodies(node.take("q", ("", 0), 0).await), [""; 0]);
    assert_eq!(node.described("q").await.breaker, BreakerState::Open);
    let probe = one().await;
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(node.described("q").await.breaker, BreakerState::HalfOpen);
    assert_eq!(bodies(node.take("q", ("", 0), 100).await), [""; 0], "one at a time");
    node.settle_as("q", &probe, Action::Acknowledge).await;
    one().await;
    assert_eq!(node.described("q").await.breaker, BreakerState::Closed);
    let metrics = &node.broker.0.metrics.queue;
    assert_eq!((metrics.delivered.get(), metrics.failed.get()), (4, 2));
    assert_eq!((metrics.acknowledged.get(), metrics.sent.get()), (1, 3));
}

#[tokio::test]
async fn a_node_makes_names_and_shows_the_longest_queues() {
    let node = node().await;
    let names = [node.open_queue("", &[]).await, node.open_queue("", &[]).await];
    assert!(names[0] != names[1]);
    assert!(names.iter().all(|name| name.starts_with("kontiki.gen-") && name.len() == 44));
    node.send_text(&names[1], "1").await;
    let mut registry = prometheus_client::registry::Registry::default();
    node.broker.register_metrics(&mut registry);
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, &registry).expect("it is shown");
    for (name, available) in [(&names[0], 0), (&names[1], 1)] {
        let line = format!("broker_queue_available{{queue=\"{name}\"}} {available}");
        assert!(page.lines().any(|one| one == line), "{line} in {page}");
    }
}
