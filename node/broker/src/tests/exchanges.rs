//! Publishing through each kind of exchange, what is led nowhere, and dead letters that go through
//! an exchange.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kontiki_domain::catalog;
use kontiki_domain::queue::QueueSettings;
use kontiki_domain::settings::Overrides;
use kontiki_records::Header;

use super::node::{TestNode, node};
use crate::exchanges::{
    Argument, Bound, CreateExchange, Ends, ExchangeKind, FilterText, Language, PatternSyntax,
    Publication, Publish, Published, To,
};
use crate::queues::{Action, Create, Outgoing, Receive, Settle};
use crate::{Code, Error, Kind};

pub(super) async fn queue(node: &TestNode, name: &str, settings: &[(&str, &str)]) {
    let settings: BTreeMap<String, String> =
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (validate_only, if_not_exists) = (false, false);
    let create = Create { queue: name.to_owned(), settings, validate_only, if_not_exists };
    node.broker.create_queue(create).await.expect("the queue is made");
}

pub(super) async fn exchange(node: &TestNode, name: &str, kind: ExchangeKind) {
    let (name, alternate, internal) = (name.to_owned(), None, false);
    let create = CreateExchange { name, kind, alternate, internal };
    assert!(node.broker.create_exchange(create).await.expect("the exchange is made"));
}

pub(super) fn bound(source: &str, queue: &str, key: &str) -> Bound {
    Bound {
        source: source.to_owned(),
        to: To::Queue(queue.to_owned()),
        key: key.to_owned(),
        syntax: PatternSyntax::Amqp,
        arguments: Vec::new(),
        filter: None,
    }
}

pub(super) async fn bind(node: &TestNode, source: &str, queue: &str, key: &str) {
    assert!(node.broker.bind(bound(source, queue, key)).await.expect("it is bound"));
}

pub(super) fn publication(key: &str, body: &str) -> Publication {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let message = Outgoing { body, ..Outgoing::default() };
    Publication { routing_key: key.to_owned(), message, ..Publication::default() }
}

pub(super) async fn publish(
    node: &TestNode,
    exchange: &str,
    messages: Vec<Publication>,
) -> Vec<Result<Published, Error>> {
    let timeout = Duration::from_secs(30);
    let publish = Publish { exchange: exchange.to_owned(), messages, timeout };
    node.broker.publish(publish).await.expect("a sound call")
}

pub(super) fn reject(receipt: String) -> Settle {
    Settle { receipt, action: Action::Reject, said: None }
}

async fn receive(node: &TestNode, queue: &str, max: u32, wait_ms: u32) -> Vec<(String, String)> {
    let receive = Receive {
        queue: queue.to_owned(),
        max,
        lease_ms: None,
        wait_ms,
        consumer: String::new(),
        priority: 0,
    };
    let received = node.broker.receive(receive).await.expect("a sound call");
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    received.iter().map(|message| (text(&message.body), message.receipt.clone())).collect()
}

pub(super) async fn bodies(node: &TestNode, queue: &str) -> Vec<String> {
    receive(node, queue, 100, 0).await.into_iter().map(|(body, _)| body).collect()
}

pub(super) fn copies(results: &[Result<Published, Error>]) -> Vec<usize> {
    let count = |result: &Result<Published, Error>| result.as_ref().expect("stored").copies.len();
    results.iter().map(count).collect()
}

#[tokio::test]
async fn each_kind_of_exchange_leads_where_it_should() {
    let node = node().await;
    for name in ["a", "b"] {
        queue(&node, name, &[]).await;
    }
    exchange(&node, "direct", ExchangeKind::Direct).await;
    bind(&node, "direct", "a", "one").await;
    bind(&node, "direct", "b", "two").await;
    let sent = vec![publication("one", "1"), publication("two", "2"), publication("one", "3")];
    assert_eq!(copies(&publish(&node, "direct", sent).await), [1, 1, 1]);
    assert_eq!(bodies(&node, "a").await, ["1", "3"]);
    assert_eq!(bodies(&node, "b").await, ["2"]);

    exchange(&node, "topic", ExchangeKind::Topic).await;
    bind(&node, "topic", "a", "eu.#").await;
    bind(&node, "topic", "b", "*.paid").await;
    let sent = vec![publication("eu.paid", "4"), publication("us.paid", "5")];
    assert_eq!(copies(&publish(&node, "topic", sent).await), [2, 1]);
    assert_eq!(bodies(&node, "a").await, ["4"]);
    assert_eq!(bodies(&node, "b").await, ["4", "5"]);

    exchange(&node, "fanout", ExchangeKind::Fanout).await;
    bind(&node, "fanout", "a", "").await;
    let onward = Bound { to: To::Exchange("topic".to_owned()), ..bound("fanout", "", "") };
    assert!(node.broker.bind(onward).await.expect("it is bound"));
    let sent = vec![publication("eu.x", "6"), publication("x.paid", "7")];
    assert_eq!(copies(&publish(&node, "fanout", sent).await), [1, 2], "each queue once");
    assert_eq!(bodies(&node, "a").await, ["6", "7"]);
    assert_eq!(bodies(&node, "b").await, ["7"]);

    exchange(&node, "headers", ExchangeKind::Headers).await;
    let argument = |name: &str, value: &str| {
        let value = Some(value.as_bytes().to_vec());
        Argument { name: name.to_owned(), value }
    };
    let arguments = vec![argument("x-match", "any"), argument("kind", "photo")];
    let asks = Bound { arguments, ..bound("headers", "a", "") };
    assert!(node.broker.bind(asks).await.expect("it is bound"));
    let mut photo = publication("", "8");
    photo.message.headers.push(Header::new("kind", "photo"));
    let sent = vec![photo, publication("", "9")];
    assert_eq!(copies(&publish(&node, "headers", sent).await), [1, 0]);
    assert_eq!(bodies(&node, "a").await, ["8"]);

    exchange(&node, "hash", ExchangeKind::ConsistentHash { header: None }).await;
    bind(&node, "hash", "a", "1").await;
    bind(&node, "hash", "b", "1").await;
    let sent = (0..20).map(|number| publication(&number.to_string(), "x")).collect();
    assert_eq!(copies(&publish(&node, "hash", sent).await), [1; 20]);
    let (a, b) = (bodies(&node, "a").await.len(), bodies(&node, "b").await.len());
    assert!(a + b == 20 && a > 0 && b > 0, "{a} and {b}");
}

#[tokio::test]
async fn what_no_queue_gets_is_returned_where_it_is_mandatory() {
    let node = node().await;
    queue(&node, "a", &[]).await;
    exchange(&node, "late", ExchangeKind::Fanout).await;
    let create = CreateExchange {
        name: "direct".to_owned(),
        kind: ExchangeKind::Direct,
        alternate: Some("late".to_owned()),
        internal: false,
    };
    node.broker.create_exchange(create).await.expect("the exchange is made");
    let mandatory = || Publication { mandatory: true, ..publication("none", "m") };
    let results = publish(&node, "direct", vec![publication("none", "x"), mandatory()]).await;
    assert_eq!(results[0], Ok(Published::default()));
    let error = results[1].clone().expect_err("returned");
    assert_eq!((error.kind, error.code), (Kind::NotFound, Code::RETURNED));
    assert_eq!(node.broker.0.metrics.unroutable_messages.get(), 2);

    bind(&node, "late", "a", "").await;
    assert_eq!(copies(&publish(&node, "direct", vec![mandatory()]).await), [1]);
    assert_eq!(bodies(&node, "a").await, ["m"]);
    // A queue that is deleted takes its bindings with it.
    node.broker.delete_queue("a").await.expect("it is deleted");
    let results = publish(&node, "direct", vec![mandatory()]).await;
    assert_eq!(results[0].clone().expect_err("returned").code, Code::RETURNED);
    assert_eq!(node.broker.list_bindings(&Ends::default()).expect("a page").0, []);
}

#[tokio::test]
async fn the_default_exchange_leads_to_every_queue_by_its_name() {
    let node = node().await;
    queue(&node, "a", &[]).await;
    let results = publish(&node, "", vec![publication("a", "1"), publication("b", "2")]).await;
    assert_eq!(copies(&results), [1, 0]);
    assert_eq!(bodies(&node, "a").await, ["1"]);
    let refused = node.broker.bind(bound("", "a", "k")).await.expect_err("reserved");
    assert_eq!((refused.kind, refused.code), (Kind::Denied, Code(262)));
}

#[tokio::test]
async fn one_queue_that_is_full_is_named_and_others_have_the_message() {
    let node = node().await;
    queue(&node, "a", &[]).await;
    queue(&node, "small", &[("length_max", "1")]).await;
    exchange(&node, "all", ExchangeKind::Fanout).await;
    bind(&node, "all", "a", "").await;
    bind(&node, "all", "small", "").await;
    let first = publish(&node, "all", vec![publication("", "1")]).await;
    assert_eq!(copies(&first), [2]);
    let second = publish(&node, "all", vec![publication("", "2")]).await;
    let error = second[0].clone().expect_err("full");
    assert_eq!((error.kind, error.code), (Kind::Throttled, Code(152)));
    assert!(error.detail.contains("queue small"), "{error}");
    assert_eq!(bodies(&node, "a").await, ["1", "2"]);
}

#[tokio::test]
async fn a_batch_that_is_too_large_for_its_queue_is_stored_as_several() {
    let node = node().await;
    queue(&node, "a", &[("message_bytes_max", "2000")]).await;
    exchange(&node, "all", ExchangeKind::Fanout).await;
    bind(&node, "all", "a", "").await;
    let large = "x".repeat(700);
    let mut sent: Vec<Publication> = (0..10).map(|_| publication("", &large)).collect();
    sent.push(publication("", &"x".repeat(3_000)));
    let mut results = publish(&node, "all", sent).await;
    let refused = results.pop().expect("eleven").expect_err("too large by itself");
    assert_eq!(refused.code, Code::BATCH_TOO_LARGE);
    assert_eq!(copies(&results), [1; 10]);
    assert_eq!(bodies(&node, "a").await.len(), 10);
}

#[tokio::test]
async fn filters_of_bindings_choose_and_are_checked_when_they_are_bound() {
    let node = node().await;
    queue(&node, "a", &[]).await;
    exchange(&node, "all", ExchangeKind::Fanout).await;
    let with = |language, text: &str| {
        let filter = Some(FilterText { language, text: text.to_owned() });
        Bound { filter, ..bound("all", "a", "") }
    };
    let wrong = node.broker.bind(with(Language::Cel, "body.n >")).await;
    let wrong = wrong.expect_err("no expression");
    assert!(wrong.detail.contains("line 1, column"), "{wrong}");
    assert!(node.broker.bind(with(Language::Cel, "body.n > 1")).await.expect("it is bound"));
    let sent = ["{\"n\": 1}", "{\"n\": 2}", "text"].map(|body| publication("", body));
    assert_eq!(copies(&publish(&node, "all", sent.to_vec()).await), [0, 1, 0]);
    assert_eq!(bodies(&node, "a").await, ["{\"n\": 2}"]);
    assert_eq!(node.broker.0.metrics.binding_filter_errors.get(), 1);
    let (listed, more) = node.broker.list_bindings(&Ends::default()).expect("a page");
    assert_eq!((listed[0].bound.clone(), more), (with(Language::Cel, "body.n > 1"), false));

    let wrong = Bound { to: To::Exchange("all".to_owned()), ..bound("all", "", "") };
    assert_eq!(node.broker.bind(wrong).await.expect_err("a loop").code, Code(1000));
    exchange(&node, "hash", ExchangeKind::ConsistentHash { header: None }).await;
    let wrong = node.broker.bind(bound("hash", "a", "much")).await.expect_err("no weight");
    assert!(wrong.detail.contains("is the weight"), "{wrong}");
}

#[tokio::test]
async fn dead_letters_go_to_every_queue_of_their_exchange_once() {
    let node = node().await;
    for name in ["dead", "audit", "other"] {
        queue(&node, name, &[]).await;
    }
    exchange(&node, "graveyard", ExchangeKind::Topic).await;
    bind(&node, "graveyard", "dead", "#").await;
    bind(&node, "graveyard", "audit", "job.#").await;
    bind(&node, "graveyard", "other", "jobs").await;
    queue(&node, "jobs", &[("dead_letter_exchange", "graveyard")]).await;
    bind(&node, "graveyard", "jobs", "#").await;
    exchange(&node, "work", ExchangeKind::Fanout).await;
    bind(&node, "work", "jobs", "").await;
    let keys = ["job.1", "job.2", "mail.3"];
    publish(&node, "work", keys.iter().map(|key| publication(key, key)).collect()).await;
    // Sent without an exchange: its key is the queue's name.
    publish(&node, "", vec![publication("jobs", "jobs")]).await;
    for (_, receipt) in receive(&node, "jobs", 10, 1_000).await {
        let settled = node.broker.settle("jobs", vec![reject(receipt)]).await;
        settled.expect("a sound call")[0].clone().expect("it is rejected");
    }
    let all = async |queue: &str, count: usize| {
        let mut found: Vec<String> = Vec::new();
        while found.len() < count {
            found.extend(receive(&node, queue, 10, 20_000).await.into_iter().map(|(body, _)| body));
        }
        found
    };
    assert_eq!(all("dead", 4).await, ["job.1", "job.2", "mail.3", "jobs"]);
    assert_eq!(all("audit", 2).await, ["job.1", "job.2"]);
    assert_eq!(all("other", 1).await, ["jobs"]);
    let described = node.broker.describe_queue("jobs").await.expect("it is there");
    assert_eq!((described.moving, described.totals.moved), (0, 4));
    for queue in ["dead", "audit", "other", "jobs"] {
        assert_eq!(bodies(&node, queue).await, [""; 0], "{queue} got something twice");
    }
}

#[tokio::test]
async fn dead_letters_that_are_led_nowhere_are_dropped_and_counted() {
    let node = node().await;
    let key = ("dead_letter_routing_key", "nothing");
    queue(&node, "jobs", &[("dead_letter_exchange", "graveyard"), key]).await;
    publish(&node, "", vec![publication("jobs", "1")]).await;
    let (_, receipt) = receive(&node, "jobs", 1, 1_000).await.remove(0);
    node.broker.settle("jobs", vec![reject(receipt)]).await.expect("it is rejected");
    // Kept while there is no such exchange.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let described = node.broker.describe_queue("jobs").await.expect("it is there");
    assert_eq!(described.moving, 1);
    exchange(&node, "graveyard", ExchangeKind::Direct).await;
    let gone = async {
        loop {
            let described = node.broker.describe_queue("jobs").await.expect("it is there");
            if described.moving == 0 {
                return described.totals;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let totals = tokio::time::timeout(Duration::from_secs(30), gone).await.expect("dropped");
    assert_eq!((totals.moved, totals.dropped), (0, 1));
    assert_eq!(node.broker.0.metrics.unroutable_dead_letters.get(), 1);
}

#[tokio::test]
async fn exchanges_are_listed_described_and_deleted() {
    let node = node().await;
    queue(&node, "a", &[]).await;
    for name in ["x.1", "x.2", "y"] {
        exchange(&node, name, ExchangeKind::Direct).await;
    }
    bind(&node, "x.1", "a", "k").await;
    let names = |after: &str, limit| {
        let (listed, more) = node.broker.list_exchanges("x.", after, limit).expect("a page");
        (listed.iter().map(|exchange| exchange.name.clone()).collect::<Vec<_>>(), more)
    };
    assert_eq!(names("", 1), (vec!["x.1".to_owned()], true));
    assert_eq!(names("x.1", 5), (vec!["x.2".to_owned()], false));
    let described = node.broker.describe_exchange("x.1").await.expect("it is there");
    assert_eq!(described.bindings_from, 1);
    let used = node.broker.delete_exchange("x.1", true).await.expect_err("in use");
    assert_eq!((used.kind, used.code), (Kind::Conflict, Code(263)));
    assert_eq!(node.broker.delete_exchange("x.1", false).await, Ok(1));
    let gone = node.broker.describe_exchange("x.1").await.expect_err("gone");
    assert_eq!((gone.kind, gone.code), (Kind::NotFound, Code(260)));
    let create = CreateExchange {
        name: "hidden".to_owned(),
        kind: ExchangeKind::Direct,
        alternate: None,
        internal: true,
    };
    node.broker.create_exchange(create).await.expect("the exchange is made");
    let (exchange, timeout) = ("hidden".to_owned(), Duration::from_secs(5));
    let messages = vec![publication("k", "1")];
    let denied = node.broker.publish(Publish { exchange, messages, timeout }).await;
    assert_eq!(denied.expect_err("internal").code, Code::INTERNAL_EXCHANGE);
}

#[tokio::test]
async fn a_queue_that_is_being_created_is_not_taken_for_one_that_is_gone() {
    let node = node().await;
    let core = &node.broker.0;
    // Its partition is made by a timer, which may be faster than whoever publishes.
    let mut met = None;
    for number in 0..100 {
        let name = format!("q{number}");
        let command = catalog::Command::CreateTopic(catalog::CreateTopic {
            queue: Some(QueueSettings::default()),
            name: name.clone(),
            partitions: 1,
            overrides: Overrides::default(),
            request: None,
            validate_only: false,
        });
        core.ask_catalog(command, core.default_deadline()).await.expect("it is created");
        let early = publish(&node, "", vec![publication(&name, "early")]).await.remove(0);
        if let Err(early) = early {
            met = Some((name, early));
            break;
        }
    }
    let (name, early) = met.expect("one of a hundred is met before it is made");
    assert_eq!((early.kind, early.code), (Kind::Unavailable, Code::NOT_READY));
    assert_eq!(early.detail, format!("queue {name} is being created: try again"));
    assert!(early.retry_after_ms > 0);
    node.made(&name, 0).await;
    let published = publish(&node, "", vec![publication(&name, "now")]).await.remove(0);
    assert_eq!(published.expect("it is stored").copies.len(), 1);
    assert_eq!(receive(&node, &name, 10, 1_000).await.len(), 1);
}
