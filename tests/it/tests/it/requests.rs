//! Requests and replies through real processes: who asks, who replies, and the queue's leader are
//! on different nodes.

use std::time::Duration;

use kontiki_client::{Client, Options, Response, Verdict, WorkerOptions, v1};
use kontiki_it::Cluster;
use tokio::sync::watch;

const QUEUE: &str = "questions";

/// A client that knows one node only.
fn client(cluster: &Cluster, node: usize) -> Client {
    let address = cluster.addresses()[node - 1].to_string();
    Client::new(Options::bootstrap(&[&address])).unwrap()
}

async fn create(client: &Client, queue: &str) {
    let queue = queue.to_owned();
    let request = v1::CreateQueueRequest { queue, ..Default::default() };
    client.admin().create_queue(request).await.unwrap();
}

fn question(body: &str, timeout_ms: u32) -> v1::RequestRequest {
    let (queue, body) = (QUEUE.to_owned(), body.to_owned().into());
    v1::RequestRequest { queue, body, timeout_ms, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_find_the_node_on_which_their_caller_waits() {
    let cluster = Cluster::of_three("requests").await;
    let nodes = [client(&cluster, 1), client(&cluster, 2), client(&cluster, 3)];
    create(&nodes[0], QUEUE).await;
    let (stop, stopped) = watch::channel(false);
    let worker = {
        let client = nodes[1].clone();
        let options = WorkerOptions { wait_ms: 2_000, ..Default::default() };
        tokio::spawn(async move {
            let work = |message: v1::IncomingMessage| async move {
                let body = String::from_utf8(message.body.to_vec()).unwrap();
                match body.parse::<u64>() {
                    Ok(number) => Verdict::Reply(Response::new((2 * number).to_string())),
                    Err(error) => Verdict::Reply(Response::failed(error.to_string())),
                }
            };
            client.work(QUEUE, options, stopped, work).await.unwrap()
        })
    };
    // From each node, the queue's leader among them.
    for number in 0..30_usize {
        let asked = nodes[number % 3].request(question(&number.to_string(), 20_000)).await;
        let answer = asked.unwrap();
        assert_eq!(answer.body, (2 * number).to_string());
        assert_eq!(answer.error, None);
    }
    let answer = nodes[2].request(question("seven", 20_000)).await.unwrap();
    assert!(answer.error.unwrap().contains("invalid digit"));
    stop.send(true).unwrap();
    let summary = worker.await.unwrap();
    assert_eq!((summary.replied, summary.acknowledged), (31, 31), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_answered_in_time_is_over() {
    let cluster = Cluster::of_three("requests-late").await;
    let (one, two) = (client(&cluster, 1), client(&cluster, 2));
    create(&one, QUEUE).await;
    create(&one, "answers").await;

    let error = one.request(question("nobody is there", 500)).await.unwrap_err();
    assert_eq!((error.kind, error.code), (v1::ErrorKind::Unknown, 1041), "{error}");
    let receive = |queue: &str, wait_ms| v1::ReceiveRequest {
        queue: queue.to_owned(),
        wait_ms,
        ..Default::default()
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    let left = two.admin().receive(receive(QUEUE, 0)).await.unwrap().messages;
    assert!(left.is_empty(), "a request was delivered after its caller had gone");

    let asking = {
        let one = one.clone();
        tokio::spawn(async move { one.request(question("too late", 1_500)).await })
    };
    let received = two.admin().receive(receive(QUEUE, 5_000)).await.unwrap().messages;
    let error = asking.await.unwrap().unwrap_err();
    assert_eq!(error.code, 1041, "{error}");
    let error = two.respond(&received[0], Response::new("late")).await.unwrap_err();
    assert_eq!((error.kind, error.code), (v1::ErrorKind::NotFound, 1042), "{error}");

    // Whoever wants to have the reply later says a queue.
    let header = |name: &str, value: &str| v1::Header {
        name: name.to_owned(),
        value: Some(value.to_owned().into()),
    };
    let headers = vec![header("reply-to", "queue:answers"), header("correlation-id", "17")];
    let message = v1::OutgoingMessage { headers, ..Default::default() };
    let send =
        v1::SendRequest { queue: QUEUE.to_owned(), messages: vec![message], ..Default::default() };
    one.admin().send(send).await.unwrap();
    let received = loop {
        let messages = two.admin().receive(receive(QUEUE, 5_000)).await.unwrap().messages;
        if let Some(found) = messages.into_iter().find(|one| one.headers.len() == 2) {
            break found;
        }
    };
    two.respond(&received, Response::new("later")).await.unwrap();
    let answers = one.admin().receive(receive("answers", 5_000)).await.unwrap().messages;
    assert_eq!(answers[0].body, "later");
    assert_eq!(answers[0].headers, [header("kontiki.correlation-id", "17")]);
    for wrong in ["answers", "node:1:xyz"] {
        let reply = v1::ReplyRequest { reply_to: wrong.to_owned(), ..Default::default() };
        let error = two.reply(reply).await.unwrap_err();
        assert_eq!(error.kind, v1::ErrorKind::Invalid, "{error}");
    }
}
