//! What exchanges promise: a message that was published is in every queue that it is led to, once,
//! through any node, and while a node dies.

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_client::{Admin, Client, Options, PublisherOptions, v1};
use kontiki_it::{Cluster, wait};

const MESSAGES: usize = 300;

async fn queue(admin: &Admin, name: &str, settings: &[(&str, &str)]) {
    let settings = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let queue = name.to_owned();
    let request = v1::CreateQueueRequest { queue, settings, ..Default::default() };
    admin.create_queue(request).await.unwrap();
}

async fn exchange(admin: &Admin, name: &str, kind: v1::ExchangeKind) {
    let (exchange, kind) = (name.to_owned(), kind.into());
    let exchange = v1::Exchange { exchange, kind, ..Default::default() };
    let request = v1::CreateExchangeRequest { exchange: Some(exchange) };
    admin.create_exchange(request).await.unwrap();
}

async fn bind(admin: &Admin, exchange: &str, queue: &str, key: &str) {
    let binding = v1::Binding {
        exchange: exchange.to_owned(),
        destination: Some(v1::binding::Destination::Queue(queue.to_owned())),
        key: key.to_owned(),
        ..Default::default()
    };
    let created = admin.bind(v1::BindRequest { binding: Some(binding) }).await.unwrap().created;
    assert!(created, "{exchange} to {queue}");
}

/// With an id, so that it may be published again where nobody knows what became of it.
fn publication(key: &str, body: &str) -> v1::Publication {
    let message = v1::OutgoingMessage {
        body: body.to_owned().into(),
        deduplication_id: body.to_owned(),
        ..Default::default()
    };
    let (routing_key, message) = (key.to_owned(), Some(message));
    v1::Publication { routing_key, mandatory: true, message, ..Default::default() }
}

/// Publishes until every queue has it.
async fn publish(admin: &Admin, exchange: &str, publication: v1::Publication, queues: u32) {
    loop {
        let request = v1::PublishRequest {
            exchange: exchange.to_owned(),
            messages: vec![publication.clone()],
            timeout_ms: 0,
            correlation_id: 0,
        };
        let result = match admin.publish(request).await {
            Ok(answer) => answer.results.into_iter().next().unwrap(),
            Err(error) => {
                assert_ne!(error.kind, v1::ErrorKind::Invalid, "{error}");
                continue;
            }
        };
        match result.error {
            None => {
                assert_eq!(result.queues, queues);
                return;
            }
            Some(error) => {
                assert_ne!(error.kind(), v1::ErrorKind::Invalid, "{error:?}");
                assert_ne!(error.kind(), v1::ErrorKind::NotFound, "{error:?}");
            }
        }
    }
}

/// Receives and acknowledges, and answers how often each body came.
async fn drain(admin: &Admin, queue: &str, count: usize) -> BTreeMap<String, u32> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    while seen.values().sum::<u32>() < u32::try_from(count).unwrap() {
        let queue = queue.to_owned();
        let request = v1::ReceiveRequest {
            queue: queue.clone(),
            max_messages: 100,
            wait_ms: 20_000,
            ..Default::default()
        };
        let messages = admin.receive(request).await.unwrap().messages;
        assert!(!messages.is_empty(), "{queue} has only {} messages", seen.len());
        for message in &messages {
            *seen.entry(String::from_utf8(message.body.to_vec()).unwrap()).or_default() += 1;
        }
        let receipts = messages.into_iter().map(|message| message.receipt).collect();
        let answer = admin
            .acknowledge(v1::AcknowledgeRequest { queue, receipts, even_if_ended: false })
            .await
            .unwrap();
        assert!(answer.results.iter().all(|result| result.error.is_none()), "{answer:?}");
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_is_in_every_queue_once_while_a_node_dies() {
    let mut cluster = Cluster::of_three("exchanges").await;
    let addresses: Vec<String> = cluster.addresses().iter().map(ToString::to_string).collect();
    let to = |addresses: &[&str]| Client::new(Options::bootstrap(addresses)).unwrap().admin();
    let one = to(&[&addresses[0]]);
    let all = to(&addresses.iter().map(String::as_str).collect::<Vec<_>>());
    for name in ["even", "every", "dead", "audit"] {
        queue(&one, name, &[]).await;
    }
    exchange(&one, "orders", v1::ExchangeKind::Topic).await;
    bind(&one, "orders", "even", "*.even").await;
    bind(&one, "orders", "every", "#").await;
    // Declared on one node, used through another at once.
    publish(&to(&[&addresses[1]]), "orders", publication("0.even", "0"), 2).await;

    let publisher = {
        let admin = all.clone();
        tokio::spawn(async move {
            for number in 1..MESSAGES {
                let (word, queues) = if number % 2 == 0 { ("even", 2) } else { ("odd", 1) };
                let key = format!("{number}.{word}");
                publish(&admin, "orders", publication(&key, &number.to_string()), queues).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.node(3).kill();
    publisher.await.unwrap();
    cluster.node(3).start();
    cluster.node(3).ready().await;

    let every = drain(&all, "every", MESSAGES).await;
    let even = drain(&all, "even", MESSAGES / 2).await;
    assert_eq!((every.len(), even.len()), (MESSAGES, MESSAGES / 2));
    assert!(every.values().chain(even.values()).all(|times| *times == 1), "something came twice");

    // The node that was away has followed: it routes what is published through it.
    let three = to(&[&addresses[2]]);
    exchange(&one, "graveyard", v1::ExchangeKind::Fanout).await;
    bind(&one, "graveyard", "dead", "").await;
    bind(&one, "graveyard", "audit", "").await;
    queue(&one, "work", &[("dead_letter_exchange", "graveyard"), ("attempts_max", "1")]).await;
    bind(&one, "orders", "work", "poison").await;
    // Others wait for a node that has just come back only where they reach it already; whoever
    // looks at an exchange through it waits until it has followed.
    let asked = v1::DescribeExchangeRequest { exchange: "orders".to_owned() };
    assert_eq!(three.describe_exchange(asked).await.unwrap().bindings_from, 3);
    publish(&three, "orders", publication("poison", "poison"), 2).await;
    let receive =
        v1::ReceiveRequest { queue: "work".to_owned(), wait_ms: 20_000, ..Default::default() };
    let received = three.receive(receive).await.unwrap().messages;
    let receipts = received.into_iter().map(|message| message.receipt).collect();
    let reject = v1::RejectRequest { queue: "work".to_owned(), receipts, ..Default::default() };
    three.reject(reject).await.unwrap();
    for queue in ["dead", "audit"] {
        let seen = drain(&all, queue, 1).await;
        assert_eq!(seen, BTreeMap::from([("poison".to_owned(), 1)]));
    }
    wait::until("the message leaves", || async {
        let request = v1::DescribeQueueRequest { queue: "work".to_owned() };
        let counts = all.describe_queue(request).await.unwrap();
        let left = counts.moving == 0 && counts.moved_total == 1;
        left.then_some(()).ok_or_else(|| format!("{counts:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_over_a_stream_keeps_its_order_in_each_queue() {
    let mut cluster = Cluster::of_three("publish-stream").await;
    let addresses: Vec<String> = cluster.addresses().iter().map(ToString::to_string).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let client = Client::new(Options::bootstrap(&addresses)).unwrap();
    let admin = client.admin();
    queue(&admin, "every", &[]).await;
    queue(&admin, "even", &[]).await;
    exchange(&admin, "orders", v1::ExchangeKind::Topic).await;
    bind(&admin, "orders", "every", "#").await;
    bind(&admin, "orders", "even", "*.even").await;
    let publisher = client.publisher(PublisherOptions::default()).unwrap();
    let mut all = Vec::new();
    for number in 0..MESSAGES {
        let word = if number % 2 == 0 { "even" } else { "odd" };
        let mut one = publication(&format!("{number}.{word}"), &number.to_string());
        let exchange = match number {
            // One that is refused as a whole, and one that can't even be read.
            51 => "nowhere",
            _ => "orders",
        };
        if number == 53 {
            one.message.as_mut().unwrap().priority = 1_000;
        }
        all.push(publisher.publish(exchange, vec![one]).await.unwrap());
        if number == MESSAGES / 2 {
            let (shard, leader) = cluster.leader("every", 0).await;
            cluster.lead(shard, leader % 3 + 1).await;
        }
    }
    let mut stored = Vec::new();
    for (number, one) in all.into_iter().enumerate() {
        let results = match one.await {
            Ok(results) => results,
            Err(error) => {
                let kind = error.kind;
                match number {
                    51 => assert_eq!(kind, v1::ErrorKind::NotFound, "{error}"),
                    53 => assert_eq!(kind, v1::ErrorKind::Invalid, "{error}"),
                    _ => panic!("{number}: {error}"),
                }
                continue;
            }
        };
        assert_eq!(results.len(), 1);
        assert_eq!(results[0].error, None, "{number}");
        assert_eq!(results[0].queues, if number % 2 == 0 { 2 } else { 1 });
        stored.push(number.to_string());
    }
    assert_eq!(stored.len(), MESSAGES - 2);
    let even: Vec<String> = (0..MESSAGES).step_by(2).map(|number| number.to_string()).collect();
    assert_eq!(in_order(&admin, "every", stored.len()).await, stored);
    assert_eq!(in_order(&admin, "even", even.len()).await, even);
}

/// The bodies of so many messages, as they are received.
async fn in_order(admin: &Admin, queue: &str, count: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    while bodies.len() < count {
        let request = v1::ReceiveRequest {
            queue: queue.to_owned(),
            max_messages: 100,
            wait_ms: 20_000,
            ..Default::default()
        };
        let messages = admin.receive(request).await.unwrap().messages;
        assert!(!messages.is_empty(), "{queue} has only {} messages", bodies.len());
        let bodies_of = messages.iter().map(|one| String::from_utf8(one.body.to_vec()).unwrap());
        bodies.extend(bodies_of);
    }
    bodies
}
