//! Messages with several routing keys, as AMQP's headers CC and BCC give them.

use kontiki_records::Header;

use super::exchanges::{
    bind, bodies, bound, copies, exchange, publication, publish, queue, reject,
};
use super::node::{TestNode, node};
use crate::exchanges::{
    Bound, CreateExchange, ExchangeKind, FilterText, Language, Publication, To,
};
use crate::queues::Message;
use crate::{Code, Kind};

const CC: &str = "kontiki.cc";
const ORIGINAL_CC: &str = "kontiki.dlq.original-cc";
const ROUTING_KEY: &str = "kontiki.routing-key";

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn with(key: &str, body: &str, cc: &[&str], bcc: &[&str]) -> Publication {
    Publication { cc: owned(cc), bcc: owned(bcc), ..publication(key, body) }
}

async fn queues(node: &TestNode, names: &[&str]) {
    for name in names {
        queue(node, name, &[]).await;
    }
}

async fn one(node: &TestNode, queue: &str) -> Message {
    let mut received = node.receive(queue, 10, 20_000).await;
    let message = received.pop().expect("it has come");
    assert_eq!(received, [], "{queue} got more than one");
    message
}

/// The values of all headers of a name.
fn told(message: &Message, name: &str) -> Vec<String> {
    let named = message.headers.iter().filter(|header| header.name == name.as_bytes());
    let text = |header: &Header| {
        String::from_utf8_lossy(header.value.as_deref().unwrap_or_default()).into_owned()
    };
    named.map(text).collect()
}

#[tokio::test]
async fn a_message_goes_wherever_one_of_its_keys_leads_once() {
    let node = node().await;
    queues(&node, &["a", "b", "c"]).await;
    exchange(&node, "direct", ExchangeKind::Direct).await;
    exchange(&node, "topic", ExchangeKind::Topic).await;
    for name in ["a", "b", "c"] {
        bind(&node, "direct", name, name).await;
        bind(&node, "topic", name, &format!("{name}.#")).await;
    }
    bind(&node, "topic", "a", "*.all").await;
    let onward = Bound { to: To::Exchange("direct".to_owned()), ..bound("topic", "", "b") };
    assert!(node.broker.bind(onward).await.expect("it is bound"));

    let sent = with("a", "1", &["x", "a", "c"], &["c", "a"]);
    assert_eq!(copies(&publish(&node, "direct", vec![sent]).await), [2]);
    // The second exchange has all of the keys, also those that did not lead there.
    let sent = with("a.all", "2", &["b"], &["c"]);
    assert_eq!(copies(&publish(&node, "topic", vec![sent]).await), [3]);
    // Through the default exchange, to the queue of each key.
    let sent = with("c", "3", &["a", "nothing"], &["a"]);
    assert_eq!(copies(&publish(&node, "", vec![sent]).await), [2]);
    assert_eq!(bodies(&node, "a").await, ["1", "2", "3"]);
    assert_eq!(bodies(&node, "b").await, ["2"]);
    assert_eq!(bodies(&node, "c").await, ["1", "2", "3"]);
}

#[tokio::test]
async fn each_key_has_its_own_place_on_a_ring() {
    let node = node().await;
    let names = ["a", "b", "c", "d"];
    queues(&node, &names).await;
    exchange(&node, "hash", ExchangeKind::ConsistentHash { header: None }).await;
    for name in names {
        bind(&node, "hash", name, "10").await;
    }
    let keys: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let sent = with(keys[0], "x", &keys[1..20], &keys[20..]);
    assert_eq!(copies(&publish(&node, "hash", vec![sent]).await), [4], "one for each queue");
}

#[tokio::test]
async fn receivers_see_the_keys_that_are_not_blind() {
    let node = node().await;
    queues(&node, &["a", "b"]).await;
    let sent = with("a", "1", &["x", "y", "x"], &["b", "z"]);
    assert_eq!(copies(&publish(&node, "", vec![sent]).await), [2]);
    for name in ["a", "b"] {
        let message = one(&node, name).await;
        assert_eq!(told(&message, ROUTING_KEY), ["a"]);
        assert_eq!(told(&message, CC), ["x", "y", "x"]);
        let known = ["a", "x", "y", ""];
        let shown = |header: &Header| {
            known
                .iter()
                .any(|known| header.value.as_deref().unwrap_or_default() == known.as_bytes())
        };
        assert!(message.headers.iter().all(shown), "{:?}", message.headers);
    }
}

#[tokio::test]
async fn what_none_of_the_keys_leads_anywhere_goes_to_the_alternate_or_back() {
    let node = node().await;
    queues(&node, &["a", "rest"]).await;
    exchange(&node, "late", ExchangeKind::Direct).await;
    let create = CreateExchange {
        name: "direct".to_owned(),
        kind: ExchangeKind::Direct,
        alternate: Some("late".to_owned()),
        internal: false,
    };
    node.broker.create_exchange(create).await.expect("the exchange is made");
    bind(&node, "direct", "a", "a").await;
    bind(&node, "late", "rest", "r").await;
    let mandatory =
        |cc: &[&str], bcc: &[&str]| Publication { mandatory: true, ..with("x", "m", cc, bcc) };
    // One of them leads somewhere: the alternate isn't asked for the others.
    let sent = vec![mandatory(&["r"], &["a"]), mandatory(&["y", "r"], &[]), mandatory(&[], &["r"])];
    assert_eq!(copies(&publish(&node, "direct", sent).await), [1, 1, 1]);
    assert_eq!(bodies(&node, "a").await.len(), 1);
    assert_eq!(bodies(&node, "rest").await.len(), 2);
    let returned = publish(&node, "direct", vec![mandatory(&["y"], &["z"])]).await;
    let error = returned[0].clone().expect_err("returned");
    assert_eq!((error.kind, error.code), (Kind::NotFound, Code::RETURNED));
    assert!(error.detail.contains("\"x\" (and 2 further keys)"), "{error}");
}

#[tokio::test]
async fn keys_have_bounds_and_what_exceeds_them_is_named() {
    let node = node().await;
    queue(&node, "a", &[]).await;
    let long = "k".repeat(256);
    let many = vec!["k"; 32];
    let sent = vec![
        with("a", "1", &many, &many),
        with("x", "2", &many, &[&many[..], &["a"]].concat()),
        with("a", "3", &["k", &long], &[]),
        with("a", "4", &[&long[..255]], &["k", "k", &long]),
        with(&long, "5", &["a"], &[]),
        publication("a", "6"),
    ];
    let results = publish(&node, "", sent).await;
    let refused = |at: usize, said: &str| {
        let error = results[at].clone().expect_err("refused");
        assert_eq!((error.kind, error.code), (Kind::Invalid, Code::INVALID_FIELD));
        assert!(error.detail.starts_with(said), "{error}");
    };
    refused(1, "messages[1]: the number of keys in cc and bcc is 65, expected at most 64");
    refused(2, "messages[2]: the length of cc[1] is 256 bytes, expected at most 255");
    refused(3, "messages[3]: the length of bcc[2] is 256 bytes");
    refused(4, "messages[4]: the length of routing_key is 256 bytes");
    assert_eq!(bodies(&node, "a").await, ["1", "6"]);
}

#[tokio::test]
async fn a_filter_is_asked_once_however_many_keys_lead_to_it() {
    let node = node().await;
    queues(&node, &["a", "b"]).await;
    exchange(&node, "topic", ExchangeKind::Topic).await;
    let filtered = |queue: &str, text: &str| {
        let filter = Some(FilterText { language: Language::Cel, text: text.to_owned() });
        Bound { filter, ..bound("topic", queue, "#") }
    };
    // What is blind is not for filters either.
    let seen = "headers['kontiki.cc'] == 'y' && !headers.exists(name, headers[name] == 'z')";
    for bound in [filtered("a", "body.n == 1"), filtered("b", seen)] {
        assert!(node.broker.bind(bound).await.expect("it is bound"));
    }
    let sent = with("w", "no json", &["x", "y"], &["z"]);
    assert_eq!(copies(&publish(&node, "topic", vec![sent]).await), [1]);
    assert_eq!(node.broker.0.metrics.binding_filter_errors.get(), 1);
    assert_eq!(bodies(&node, "b").await, ["no json"]);
    assert_eq!(bodies(&node, "a").await, [""; 0]);
}

/// Rejects the one message of a queue.
async fn fail(node: &TestNode, queue: &str) {
    let message = one(node, queue).await;
    let settled = node.broker.settle(queue, vec![reject(message.receipt)]).await;
    settled.expect("a sound call")[0].clone().expect("it is rejected");
}

#[tokio::test]
async fn dead_letters_go_by_their_cc_keys_unless_they_get_another_key() {
    let node = node().await;
    queues(&node, &["by-own", "by-cc", "by-bcc", "by-new"]).await;
    exchange(&node, "graveyard", ExchangeKind::Direct).await;
    for (queue, key) in [("by-own", "own"), ("by-cc", "c1"), ("by-bcc", "b"), ("by-new", "new")] {
        bind(&node, "graveyard", queue, key).await;
    }
    bind(&node, "graveyard", "by-cc", "c2").await;
    queue(&node, "plain", &[("dead_letter_exchange", "graveyard")]).await;
    let key = ("dead_letter_routing_key", "new");
    queue(&node, "other", &[("dead_letter_exchange", "graveyard"), key]).await;
    exchange(&node, "work", ExchangeKind::Fanout).await;

    bind(&node, "work", "plain", "").await;
    publish(&node, "work", vec![with("own", "1", &["c1", "c2"], &["b"])]).await;
    fail(&node, "plain").await;
    for queue in ["by-own", "by-cc"] {
        let dead = one(&node, queue).await;
        assert_eq!(told(&dead, ROUTING_KEY), ["own"]);
        assert_eq!(told(&dead, CC), ["c1", "c2"]);
        assert_eq!(told(&dead, ORIGINAL_CC), [""; 0]);
    }

    node.broker.unbind(bound("work", "plain", "")).await.expect("it is unbound");
    bind(&node, "work", "other", "").await;
    publish(&node, "work", vec![with("own", "2", &["c1", "c2"], &["b"])]).await;
    fail(&node, "other").await;
    let dead = one(&node, "by-new").await;
    assert_eq!(told(&dead, ROUTING_KEY), ["new"]);
    assert_eq!(told(&dead, CC), [""; 0]);
    assert_eq!(told(&dead, ORIGINAL_CC), ["c1", "c2"]);
    // Both have gone: nothing more comes.
    for queue in ["plain", "other"] {
        node.until(queue, |queue| queue.moving == 0 && queue.totals.moved == 1).await;
    }
    for queue in ["by-own", "by-cc", "by-bcc", "by-new"] {
        assert_eq!(bodies(&node, queue).await, [""; 0], "{queue} got something more");
    }
}
