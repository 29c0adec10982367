//! What queues promise: a message is with one consumer at a time, comes again until it is settled,
//! and never afterwards; through any node, and while nodes die.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kontiki_client::{Admin, Client, Error, Options, SenderOptions, Verdict, WorkerOptions, v1};
use kontiki_it::{Cluster, wait};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

const QUEUE: &str = "jobs";

/// One client for each node, and one for all of them.
fn clients(cluster: &Cluster) -> (Vec<Client>, Client) {
    let addresses: Vec<String> = cluster.addresses().iter().map(ToString::to_string).collect();
    let to = |addresses: &[&str]| Client::new(Options::bootstrap(addresses)).unwrap();
    let each = addresses.iter().map(|address| to(&[address])).collect();
    let all: Vec<&str> = addresses.iter().map(String::as_str).collect();
    (each, to(&all))
}

async fn create(admin: &Admin, queue: &str, settings: &[(&str, &str)]) {
    let settings = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let queue = queue.to_owned();
    let request = v1::CreateQueueRequest { queue, settings, ..Default::default() };
    admin.create_queue(request).await.unwrap();
}

fn message(body: &str) -> v1::OutgoingMessage {
    v1::OutgoingMessage { body: body.to_owned().into(), ..Default::default() }
}

async fn send(
    admin: &Admin,
    queue: &str,
    messages: Vec<v1::OutgoingMessage>,
) -> Result<Vec<v1::send_response::Result>, Error> {
    let request = v1::SendRequest { queue: queue.to_owned(), messages, ..Default::default() };
    Ok(admin.send(request).await?.results)
}

async fn receive(admin: &Admin, queue: &str, max: u32, wait_ms: u32) -> Vec<v1::IncomingMessage> {
    let queue = queue.to_owned();
    let request = v1::ReceiveRequest { queue, max_messages: max, wait_ms, ..Default::default() };
    admin.receive(request).await.unwrap().messages
}

fn bodies(messages: &[v1::IncomingMessage]) -> Vec<String> {
    messages.iter().map(|one| String::from_utf8(one.body.to_vec()).unwrap()).collect()
}

fn receipts(messages: &[v1::IncomingMessage]) -> Vec<String> {
    messages.iter().map(|message| message.receipt.clone()).collect()
}

async fn acknowledge(
    admin: &Admin,
    queue: &str,
    messages: &[v1::IncomingMessage],
) -> Vec<Option<v1::ErrorKind>> {
    let (queue, receipts) = (queue.to_owned(), receipts(messages));
    let request = v1::AcknowledgeRequest { queue, receipts, even_if_ended: false };
    let results = admin.acknowledge(request).await.unwrap().results;
    results.into_iter().map(|result| result.error.map(|error| error.kind())).collect()
}

async fn describe(admin: &Admin, queue: &str) -> v1::DescribeQueueResponse {
    admin.describe_queue(v1::DescribeQueueRequest { queue: queue.to_owned() }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_through_any_node_to_one_consumer_at_a_time() {
    let cluster = Cluster::of_three("queue-any-node").await;
    let (each, _) = clients(&cluster);
    let [one, two, three] = [each[0].admin(), each[1].admin(), each[2].admin()];
    create(&one, QUEUE, &[("lease_ms", "1500"), ("priority_max", "3")]).await;
    let header = v1::Header { name: "color".to_owned(), value: Some("red".into()) };
    let first = v1::OutgoingMessage {
        key: Some("k".into()),
        headers: vec![header.clone()],
        ..message("first")
    };
    let sent = send(&two, QUEUE, vec![first, message("second")]).await.unwrap();
    assert_eq!(sent.len(), 2);

    let received = receive(&three, QUEUE, 10, 5_000).await;
    assert_eq!(bodies(&received), ["first", "second"]);
    assert_eq!(received[0].message_id, sent[0].message_id);
    assert_eq!(received[0].key.as_deref(), Some(b"k".as_slice()));
    assert_eq!(received[0].headers, [header]);
    assert_eq!((received[0].deliveries, received[0].failures), (1, 0));
    assert!(receive(&one, QUEUE, 10, 0).await.is_empty(), "a leased message was delivered");
    let counts = describe(&two, QUEUE).await;
    assert_eq!((counts.available, counts.leased, counts.sent_total), (0, 2, 2));

    assert_eq!(acknowledge(&one, QUEUE, &received[..1]).await, [None]);
    // The other lease ends by itself.
    let again = receive(&two, QUEUE, 10, 10_000).await;
    assert_eq!(bodies(&again), ["second"]);
    assert_eq!((again[0].deliveries, again[0].failures), (2, 1));
    let late = acknowledge(&three, QUEUE, &received).await;
    assert_eq!(late, [Some(v1::ErrorKind::Conflict); 2]);
    assert_eq!(acknowledge(&three, QUEUE, &again).await, [None]);
    let counts = describe(&two, QUEUE).await;
    assert_eq!((counts.available, counts.leased, counts.bytes), (0, 0, 0));

    let urgent = v1::OutgoingMessage { priority: 3, ..message("urgent") };
    let delayed = v1::OutgoingMessage { delay_ms: Some(700), ..message("delayed") };
    send(&one, QUEUE, vec![message("plain"), urgent, delayed]).await.unwrap();
    let before = receive(&one, QUEUE, 10, 0).await;
    assert_eq!(bodies(&before), ["urgent", "plain"]);
    let peek = v1::PeekRequest { queue: QUEUE.to_owned(), ..Default::default() };
    let peeked = two.peek(peek).await.unwrap();
    let standings: Vec<_> = peeked.messages.iter().map(|one| one.standing()).collect();
    use v1::peek_response::Standing;
    assert_eq!(standings, [Standing::Leased, Standing::Leased, Standing::Scheduled]);
    assert_eq!(bodies(&receive(&one, QUEUE, 10, 5_000).await), ["delayed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_moved_and_what_repeats_is_noticed() {
    let cluster = Cluster::of_three("queue-moved").await;
    let (_, client) = clients(&cluster);
    let admin = client.admin();
    // More than there are shards: some two are on one.
    let mut by_shard: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for number in 0..6 {
        let queue = format!("queue-{number}");
        create(&admin, &queue, &[]).await;
        let (shard, _) = cluster.leader(&queue, 0).await;
        by_shard.entry(shard).or_default().push(queue);
    }
    let together = by_shard.values().find(|queues| queues.len() > 1).unwrap().clone();
    let apart: Vec<String> = by_shard.values().map(|queues| queues[0].clone()).collect();
    assert!(apart.len() > 1, "all queues are on one shard");
    let other = apart.iter().find(|queue| !together.contains(queue)).unwrap().clone();
    let pairs = [(together[0].clone(), together[1].clone()), (other.clone(), together[0].clone())];
    for (queue, dead) in pairs {
        let set = [("attempts_max", "2"), ("dead_letter", dead.as_str())];
        let set = set.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let alter = v1::AlterQueueRequest { queue: queue.clone(), set, ..Default::default() };
        let settings = admin.alter_queue(alter).await.unwrap().settings;
        assert_eq!((&settings["attempts_max"][..], &settings["lease_ms"][..]), ("2", "30000"));
        let once = v1::OutgoingMessage { deduplication_id: "7".to_owned(), ..message("poison") };
        let first = send(&admin, &queue, vec![once.clone()]).await.unwrap();
        let second = send(&admin, &queue, vec![once]).await.unwrap();
        assert!(second[0].duplicate && !first[0].duplicate);
        assert_eq!(second[0].message_id, first[0].message_id);
        for _ in 0..2 {
            let received = receive(&admin, &queue, 1, 5_000).await;
            let receipts = receipts(&received);
            let release = v1::ReleaseRequest {
                queue: queue.clone(),
                receipts,
                failed: true,
                error_class: "timeout".to_owned(),
                error: "no answer".to_owned(),
                ..Default::default()
            };
            admin.release(release).await.unwrap();
        }
        let moved = receive(&admin, &dead, 10, 10_000).await;
        assert_eq!(bodies(&moved), ["poison"]);
        let told: BTreeMap<String, String> = (moved[0].headers.iter())
            .map(|one| {
                let value = one.value.clone().unwrap_or_default();
                (one.name.clone(), String::from_utf8(value.to_vec()).unwrap())
            })
            .collect();
        assert_eq!(told["kontiki.dlq.source"], queue);
        assert_eq!(told["kontiki.dlq.reason"], "delivery_limit");
        assert_eq!(told["kontiki.dlq.error"], "no answer");
        assert_eq!(told["kontiki.dlq.attempts"].matches("\"class\":\"timeout\"").count(), 2);
        assert_eq!(told["kontiki.dlq.original-id"], first[0].message_id);
        wait::until("the message leaves", || async {
            let counts = describe(&admin, &queue).await;
            let left = counts.moving == 0 && counts.moved_total == 1;
            left.then_some(()).ok_or_else(|| format!("{counts:?}"))
        })
        .await;
        assert!(receive(&admin, &queue, 1, 0).await.is_empty());
        assert!(receive(&admin, &dead, 1, 0).await.is_empty(), "it was moved twice");

        // It goes back to where it came from, if the filter says so.
        let release = v1::ReleaseRequest {
            queue: dead.clone(),
            receipts: receipts(&moved),
            ..Default::default()
        };
        admin.release(release).await.unwrap();
        let redrive = |filter: &str, dry_run| v1::RedriveRequest {
            queue: dead.clone(),
            filter: filter.to_owned(),
            dry_run,
            ..Default::default()
        };
        let reason = r#"headers["kontiki.dlq.reason"] == "delivery_limit""#;
        for (filter, dry_run, moves) in [("false", false, 0), (reason, true, 1), (reason, false, 1)]
        {
            let told = admin.redrive(redrive(filter, dry_run), |_| {}).await.unwrap();
            assert_eq!((told.examined, told.moved, told.stranded), (1, moves, 0), "{filter}");
        }
        let back = receive(&admin, &queue, 1, 10_000).await;
        assert_eq!(bodies(&back), ["poison"]);
        let error = admin.redrive(redrive("headers.", false), |_| {}).await.unwrap_err();
        assert_eq!(error.kind, v1::ErrorKind::Invalid);
        assert!(error.message.contains("filter: "), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_has_as_many_messages_as_it_allows_and_gives_back_what_it_leaves() {
    let mut cluster = Cluster::of_three("queue-stream").await;
    let (_, client) = clients(&cluster);
    let admin = client.admin();
    create(&admin, QUEUE, &[]).await;
    let messages = ["a", "b", "c"].map(message).to_vec();
    send(&admin, QUEUE, messages).await.unwrap();

    let (requests, receiver) = mpsc::channel(4);
    let first =
        v1::StreamingReceiveRequest { queue: QUEUE.to_owned(), credit: 2, ..Default::default() };
    requests.send(first).await.unwrap();
    let mut queues = cluster.api(1).queues();
    let stream = queues.streaming_receive(ReceiverStream::new(receiver)).await.unwrap();
    let mut stream = stream.into_inner();
    let mut got = Vec::new();
    while got.len() < 2 {
        got.extend(stream.message().await.unwrap().unwrap().messages);
    }
    assert_eq!(bodies(&got), ["a", "b"]);
    use v1::settlement::{Acknowledged, Action};
    let settlement = v1::Settlement {
        receipt: got[0].receipt.clone(),
        action: Some(Action::Acknowledge(Acknowledged { even_if_ended: false })),
    };
    let settle =
        v1::StreamingReceiveRequest { settlements: vec![settlement], ..Default::default() };
    requests.send(settle).await.unwrap();
    let answer = stream.message().await.unwrap().unwrap();
    assert!(answer.messages.is_empty(), "a message came without credit");
    assert_eq!((answer.results.len(), answer.results[0].error.clone()), (1, None));
    let more = v1::StreamingReceiveRequest { credit: 1, ..Default::default() };
    requests.send(more).await.unwrap();
    assert_eq!(bodies(&stream.message().await.unwrap().unwrap().messages), ["c"]);

    drop((stream, requests));
    let mut again = Vec::new();
    while again.len() < 2 {
        again.extend(receive(&admin, QUEUE, 5, 10_000).await);
    }
    let failures: Vec<u32> = again.iter().map(|message| message.failures).collect();
    assert_eq!((bodies(&again), failures), (vec!["b".to_owned(), "c".to_owned()], vec![1, 1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_over_a_stream_keeps_its_order_and_what_is_refused_is_alone() {
    let mut cluster = Cluster::of_three("queue-send-stream").await;
    let (_, client) = clients(&cluster);
    let admin = client.admin();
    create(&admin, QUEUE, &[]).await;
    let sender = client.sender(QUEUE, SenderOptions::default()).await.unwrap();
    let mut sendings = Vec::new();
    for number in 0..300 {
        let group = if number == 150 { "x".repeat(129) } else { String::new() };
        let one = v1::OutgoingMessage { group, ..message(&number.to_string()) };
        sendings.push(sender.send(vec![one]).await.unwrap());
        if number == 200 {
            // Everything goes on at the next leader, and passes nothing that was sent before.
            let (shard, leader) = cluster.leader(QUEUE, 0).await;
            cluster.lead(shard, leader % 3 + 1).await;
        }
    }
    let mut ids = Vec::new();
    for (number, sending) in sendings.into_iter().enumerate() {
        match sending.await {
            Ok(results) => ids.push(results[0].message_id.clone()),
            Err(error) => {
                assert_eq!((number, error.kind), (150, v1::ErrorKind::Invalid), "{error}");
                assert!(error.message.contains("messages[0]: group"), "{error}");
            }
        }
    }
    let mut got = Vec::new();
    while got.len() < 299 {
        got.extend(receive(&admin, QUEUE, 300, 10_000).await);
    }
    let sent: Vec<String> = (0..300).filter(|one| *one != 150).map(|one| one.to_string()).collect();
    assert_eq!(bodies(&got), sent);
    assert_eq!(got.iter().map(|one| one.message_id.clone()).collect::<Vec<_>>(), ids);

    let error = client.sender("nowhere", SenderOptions::default()).await.unwrap_err();
    assert_eq!(error.kind, v1::ErrorKind::NotFound, "{error}");
    let error = sender.send(vec![]).await.unwrap_err();
    assert_eq!(error.message, "the number of messages is 0, expected 1 to 1000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused_and_loses_nothing() {
    let cluster = Cluster::of_three("queue-refused").await;
    let (_, client) = clients(&cluster);
    let admin = client.admin();
    create(&admin, QUEUE, &[("length_max", "2")]).await;
    create(&admin, "ordered", &[("fifo", "true")]).await;
    cluster.create_topic("letters", 1).await;

    let refused = |outcome: Result<Vec<v1::send_response::Result>, Error>| {
        let error = outcome.unwrap_err();
        (error.kind, error.message)
    };
    let (kind, text) = refused(send(&admin, "nowhere", vec![message("x")]).await);
    assert_eq!(kind, v1::ErrorKind::NotFound, "{text}");
    let (kind, text) = refused(send(&admin, "letters", vec![message("x")]).await);
    assert_eq!(kind, v1::ErrorKind::Invalid, "{text}");
    assert!(text.contains("letters is a topic and not a queue"), "{text}");
    let (kind, text) = refused(send(&admin, QUEUE, vec![]).await);
    assert_eq!(kind, v1::ErrorKind::Invalid, "{text}");
    let (kind, text) = refused(send(&admin, "ordered", vec![message("x")]).await);
    assert_eq!(kind, v1::ErrorKind::Invalid, "{text}");
    assert!(text.contains("messages[0]") && text.contains("group"), "{text}");
    let big = message(&"x".repeat(2 << 20));
    let (kind, text) = refused(send(&admin, QUEUE, vec![big]).await);
    assert_eq!(kind, v1::ErrorKind::Invalid, "{text}");
    assert!(text.contains("message_bytes_max"), "{text}");

    send(&admin, QUEUE, vec![message("a"), message("b")]).await.unwrap();
    let patience = Options { retry_timeout_ms: 1_000, ..client.options().clone() };
    let impatient = Client::new(patience).unwrap().admin();
    let (kind, text) = refused(send(&impatient, QUEUE, vec![message("c")]).await);
    assert_eq!(kind, v1::ErrorKind::Throttled, "{text}");
    assert!(text.contains("length_max"), "{text}");

    let received = receive(&admin, QUEUE, 1, 0).await;
    let foreign = acknowledge(&admin, "ordered", &received).await;
    assert_eq!(foreign, [Some(v1::ErrorKind::Invalid)]);
    let (queue, receipts) = (QUEUE.to_owned(), vec!["garbage".to_owned()]);
    let garbage = v1::AcknowledgeRequest { queue, receipts, even_if_ended: true };
    let answer = admin.acknowledge(garbage).await.unwrap();
    assert!(answer.results[0].error.as_ref().unwrap().message.contains("is not a receipt"));
    assert_eq!(acknowledge(&admin, QUEUE, &received).await, [None]);
    assert_eq!(acknowledge(&admin, QUEUE, &received).await, [Some(v1::ErrorKind::Conflict)]);
    for (name, value, told) in [
        ("priority_max", "3", "fifo"),
        ("lease_ms", "0", "lease_ms is 0"),
        ("overflow", "sometimes", "reject or drop-head"),
        ("dead_letter", "a/b", "a/b"),
    ] {
        let settings = [("fifo", "true"), (name, value)];
        let settings = settings.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let request =
            v1::CreateQueueRequest { queue: "odd".to_owned(), settings, ..Default::default() };
        let error = admin.create_queue(request).await.unwrap_err();
        assert_eq!(error.kind, v1::ErrorKind::Invalid, "{error}");
        assert!(error.message.to_lowercase().contains(told), "{error}");
    }
    assert_eq!(bodies(&receive(&admin, QUEUE, 9, 0).await), ["b"]);
}

/// Every message that was sent is worked on, and none after it was acknowledged, while every node
/// is killed once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_survive_the_death_of_nodes() {
    const MESSAGES: usize = 600;
    let mut cluster = Cluster::of_three("queue-survives").await;
    let (_, client) = clients(&cluster);
    create(&client.admin(), QUEUE, &[("lease_ms", "3000")]).await;

    let (stop, stopped) = watch::channel(false);
    let seen: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let worker = {
        let (client, seen) = (client.clone(), Arc::clone(&seen));
        let options = WorkerOptions { concurrency: 8, wait_ms: 2_000, ..Default::default() };
        tokio::spawn(async move {
            let work = |message: v1::IncomingMessage| {
                let body = String::from_utf8(message.body.to_vec()).unwrap();
                let times = {
                    let mut seen = seen.lock().unwrap();
                    let times = seen.entry(body.clone()).or_default();
                    *times += 1;
                    *times
                };
                // Every seventh fails the first time.
                let number: usize = body.parse().unwrap();
                let fails = number.is_multiple_of(7) && times == 1;
                async move { if fails { Verdict::Retry } else { Verdict::Acknowledge } }
            };
            client.work(QUEUE, options, stopped, work).await.unwrap()
        })
    };
    // One half is sent by calls, the other over a stream that sends again by itself.
    let by_calls = {
        let admin = client.admin();
        tokio::spawn(async move {
            for number in 0..MESSAGES / 2 {
                let body = number.to_string();
                let one = v1::OutgoingMessage { deduplication_id: body.clone(), ..message(&body) };
                // What may have been sent is sent again, under the same id.
                while let Err(error) = send(&admin, QUEUE, vec![one.clone()]).await {
                    assert_ne!(error.kind, v1::ErrorKind::Invalid, "{error}");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    };
    let by_stream = {
        let options = SenderOptions { deduplicate: true, ..Default::default() };
        let sender = client.sender(QUEUE, options).await.unwrap();
        tokio::spawn(async move {
            let mut all = Vec::new();
            for number in MESSAGES / 2..MESSAGES {
                all.push(sender.send(vec![message(&number.to_string())]).await.unwrap());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            for one in all {
                one.await.unwrap();
            }
        })
    };
    for id in 1..=3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cluster.node(id).kill();
        tokio::time::sleep(Duration::from_secs(2)).await;
        cluster.node(id).start();
        cluster.node(id).ready().await;
    }
    by_calls.await.unwrap();
    by_stream.await.unwrap();
    let admin = client.admin();
    let counts = wait::until("the queue is empty", || async {
        let counts = describe(&admin, QUEUE).await;
        let empty = counts.available + counts.leased + counts.scheduled == 0;
        if empty { Ok(counts) } else { Err(format!("{counts:?}")) }
    })
    .await;
    stop.send(true).unwrap();
    let summary = worker.await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), MESSAGES, "messages were lost");
    assert_eq!(counts.sent_total, MESSAGES as u64, "a repeated send was stored twice");
    assert_eq!(counts.acknowledged_total, MESSAGES as u64);
    assert!(summary.acknowledged <= MESSAGES as u64, "{summary:?}");
    assert!(summary.retried > 0, "{summary:?}");
    assert!(receive(&admin, QUEUE, 10, 0).await.is_empty());
}
