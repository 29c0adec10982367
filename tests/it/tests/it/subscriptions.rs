//! What subscriptions promise: every record that matches comes, through any node, while nodes die;
//! a durable one goes on where it was acknowledged, with one consumer at a time.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use kontiki_client::{
    Client, NewRecord, Options, ProducerOptions, SubscribeOptions, Subscription, v1,
};
use kontiki_it::{Cluster, process, wait};
use v1::content_filter::Filter;
use v1::start_at::At;

/// A client that begins with this node, and one for each.
fn clients(cluster: &Cluster) -> Vec<Client> {
    let addresses: Vec<String> = cluster.addresses().iter().map(ToString::to_string).collect();
    let from = |first: usize| {
        let mut all: Vec<&str> = addresses.iter().map(String::as_str).collect();
        all.rotate_left(first);
        Client::new(Options::bootstrap(&all)).unwrap()
    };
    (0..addresses.len()).map(from).collect()
}

async fn topics(client: &Client, names: &[&str]) {
    for name in names {
        let topic = (*name).to_owned();
        let request = v1::CreateTopicRequest { topic, partitions: 2, ..Default::default() };
        client.admin().create_topic(request).await.unwrap();
    }
}

/// Writes numbers to topics by turns; every third is red.
async fn write(client: &Client, topics: &[&str], numbers: std::ops::Range<u64>) {
    let producer = client.producer(ProducerOptions::default()).await.unwrap();
    for number in numbers {
        let topic = topics[usize::try_from(number).unwrap() % topics.len()];
        let color = if number % 3 == 0 { "red" } else { "blue" };
        let record = NewRecord::new(topic, number.to_string()).header("color", color);
        let record = record.partition(u32::try_from(number / 4 % 2).unwrap());
        producer.send(record).await.unwrap().await.unwrap();
    }
    producer.close().await.unwrap();
}

/// How often each number has come.
type Counts = BTreeMap<u64, u32>;

/// Takes records until all numbers below `until` that are `wanted` have come.
async fn take(subscription: &mut Subscription, counts: &mut Counts, wanted: &[u64]) {
    while wanted.iter().any(|number| !counts.contains_key(number)) {
        let next = tokio::time::timeout(wait::PATIENCE, subscription.next()).await;
        let missing = wanted.iter().find(|number| !counts.contains_key(number));
        let published = next.unwrap_or_else(|_| panic!("{missing:?} doesn't come")).unwrap();
        for record in &published.records {
            let value = String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap();
            *counts.entry(value.parse().unwrap()).or_default() += 1;
        }
        subscription.acknowledge(&published);
    }
}

fn red() -> Option<Filter> {
    Some(Filter::Cel("headers.color == 'red'".to_owned()))
}

async fn list(client: &Client) -> v1::ListSubscriptionsResponse {
    let request = v1::ListSubscriptionsRequest { lag: true, ..Default::default() };
    client.admin().list_subscriptions(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_subscription_survives_the_nodes_and_misses_nothing() {
    let mut cluster = Cluster::of_three("subscribe-survive").await;
    let clients = clients(&cluster);
    topics(&clients[0], &["events.a", "events.b", "other"]).await;
    let options = SubscribeOptions {
        pattern: "events.*".to_owned(),
        filter: red(),
        ..SubscribeOptions::default()
    };
    let mut subscription = clients[1].subscribe(options).await.unwrap();
    let names = ["events.a", "events.b", "other", "events.a"];
    let mut counts = Counts::new();
    for round in 0..3_u32 {
        let from = u64::from(round) * 200;
        let (_, leader) = cluster.leader("events.a", 0).await;
        // Once the leader, and in the end every node.
        let victim = if round == 0 { leader } else { round };
        let writer = {
            let client = clients[0].clone();
            tokio::spawn(async move { write(&client, &names, from..from + 200).await })
        };
        let is_wanted =
            |n: &u64| n.is_multiple_of(3) && names[usize::try_from(n % 4).unwrap()] != "other";
        let wanted: Vec<u64> = (from..from + 200).filter(is_wanted).collect();
        take(&mut subscription, &mut counts, &wanted[..wanted.len() / 4]).await;
        cluster.node(victim).kill();
        take(&mut subscription, &mut counts, &wanted).await;
        writer.await.unwrap();
        cluster.node(victim).start();
        cluster.node(victim).ready().await;
    }
    // Where it was is known to the client, so nothing comes twice.
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    assert!(counts.keys().all(|n| n % 3 == 0 && n % 4 != 2), "{counts:?}");
    let open = wait::until("the open subscription", || async {
        let open = list(&clients[2]).await.ephemeral;
        if open.len() == 1 { Ok(open) } else { Err(format!("{open:?}")) }
    })
    .await;
    assert_eq!((open[0].pattern.as_str(), open[0].filter_errors), ("events.*", 0));
    subscription.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_durable_subscription_goes_on_where_it_was_acknowledged() {
    let mut cluster = Cluster::of_three("subscribe-durable").await;
    let clients = clients(&cluster);
    let names = ["orders.a", "orders.b"];
    topics(&clients[0], &names).await;
    write(&clients[0], &names, 0..20).await;
    let create = v1::CreateSubscriptionRequest {
        subscription: "audit".to_owned(),
        pattern: "orders.#".to_owned(),
        syntax: v1::PatternSyntax::Amqp.into(),
        from: Some(v1::StartAt { at: Some(At::Earliest(true)) }),
        ..Default::default()
    };
    clients[0].admin().create_subscription(create).await.unwrap();
    let named = || SubscribeOptions { name: "audit".to_owned(), ..SubscribeOptions::default() };
    let mut counts = Counts::new();
    let mut subscription = clients[0].subscribe(named()).await.unwrap();
    let all: Vec<u64> = (0..20).collect();
    take(&mut subscription, &mut counts, &all).await;

    // One at a time, and every node knows who.
    let node = list(&clients[1]).await.durable[0].attached.clone().unwrap().node_id;
    let refused = clients[1].subscribe(named()).await.unwrap_err();
    assert_eq!((refused.kind, refused.code), (v1::ErrorKind::Conflict, 1026));
    assert!(refused.message.contains(&format!("on node {node}")), "{refused}");
    subscription.close().await.unwrap();
    let listed = list(&clients[2]).await.durable.remove(0);
    assert_eq!((listed.lag, listed.partitions.len()), (0, 4), "{listed:?}");
    assert_eq!(listed.attached, None);

    // Its node dies: another one takes over what was not acknowledged, and nothing is missing.
    let mut subscription = clients[1].subscribe(named()).await.unwrap();
    let writer = {
        let client = clients[0].clone();
        tokio::spawn(async move { write(&client, &names, 20..220).await })
    };
    let all: Vec<u64> = (0..220).collect();
    take(&mut subscription, &mut counts, &all[..60]).await;
    let node = list(&clients[2]).await.durable[0].attached.clone().unwrap().node_id;
    cluster.node(node).kill();
    take(&mut subscription, &mut counts, &all).await;
    writer.await.unwrap();
    assert_eq!(counts.len(), 220);
    subscription.close().await.unwrap();
    cluster.node(node).start();
    cluster.node(node).ready().await;

    // Replay.
    let from = Some(At::Earliest(true));
    let replay = SubscribeOptions { reset: true, from, ..named() };
    let mut subscription = clients[2].subscribe(replay).await.unwrap();
    let mut again = Counts::new();
    take(&mut subscription, &mut again, &all).await;
    let delete = v1::DeleteSubscriptionRequest { subscription: "audit".to_owned() };
    clients[0].admin().delete_subscription(delete).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            if let Err(error) = subscription.next().await {
                break error;
            }
        }
    });
    assert_eq!(ended.await.unwrap().kind, v1::ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_subscribes() {
    let cluster = Cluster::of_three("subscribe-command-line").await;
    let client = clients(&cluster).remove(0);
    topics(&client, &["t.a", "t.b"]).await;
    let addresses: Vec<String> = cluster.addresses().iter().map(ToString::to_string).collect();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(process::binary());
        command.args(arguments).env("KONTIKI_BOOTSTRAP", addresses.join(","));
        let output = command.output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), text, error)
    };
    let create = ["subscription", "create", "d", "t.>", "--policy", r#"{"color": ["red"]}"#];
    assert_eq!(run(&create).0, Some(0));
    write(&client, &["t.a", "t.b"], 0..8).await;
    let (status, text, error) = run(&["subscribe", "--name", "d", "--max-records", "3"]);
    assert_eq!(status, Some(0), "{error}");
    let mut numbers: Vec<&str> = text.lines().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, ["0", "3", "6"]);
    let (_, text, error) = run(&["subscription", "list", "--lag", "--output", "json"]);
    assert!(text.contains(r#""subscription": "d""#), "{text}{error}");
    let all = ["subscribe", "t.*", "--from", "earliest", "--max-records", "8", "--output", "json"];
    let (_, text, error) = run(&all);
    assert_eq!(text.lines().count(), 8, "{text}{error}");
    let wrong = run(&["subscribe", "t.*", "--filter", "headers.color =="]);
    assert_eq!(wrong.0, Some(2), "{}", wrong.2);
    assert_eq!(run(&["subscription", "delete", "d"]).0, Some(0));
    assert_eq!(run(&["subscription", "delete", "d"]).0, Some(3), "not found");
}
