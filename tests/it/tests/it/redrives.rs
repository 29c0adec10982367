//! Redrives go on while the nodes die that lead their queue, and move everything once.

use std::collections::BTreeSet;

use kontiki_client::{Admin, Client, Options, v1};
use kontiki_it::{Cluster, wait};

const DEAD: &str = "dead";
const JOBS: &str = "jobs";
const MESSAGES: usize = 60;

async fn create(admin: &Admin, queue: &str) {
    let request = v1::CreateQueueRequest { queue: queue.to_owned(), ..Default::default() };
    admin.create_queue(request).await.unwrap();
}

async fn last(admin: &Admin) -> v1::RedriveTask {
    let request = v1::ListRedrivesRequest { queue: DEAD.to_owned() };
    let listed = admin.list_redrives(request).await.unwrap();
    listed.redrives.into_iter().next().unwrap()
}

fn redrive(per_second: u32) -> v1::RedriveRequest {
    v1::RedriveRequest {
        queue: DEAD.to_owned(),
        target: JOBS.to_owned(),
        messages_per_second: per_second,
        set_headers: [("again".to_owned(), "1".into())].into(),
        remove_headers: vec!["color".to_owned()],
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redrive_survives_the_leaders_of_its_queue() {
    let mut cluster = Cluster::of_three("redrives").await;
    let addresses: Vec<String> = cluster.addresses().iter().map(ToString::to_string).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let admin = Client::new(Options::bootstrap(&addresses)).unwrap().admin();
    create(&admin, DEAD).await;
    create(&admin, JOBS).await;
    let color = v1::Header { name: "color".to_owned(), value: Some("red".into()) };
    let message = |number: usize| v1::OutgoingMessage {
        body: number.to_string().into(),
        headers: vec![color.clone()],
        ..Default::default()
    };
    let messages = (0..MESSAGES).map(message).collect();
    let send = v1::SendRequest { queue: DEAD.to_owned(), messages, ..Default::default() };
    admin.send(send).await.unwrap();

    let number = admin.start_redrive(redrive(3)).await.unwrap().redrive;
    assert_eq!(number, 1);
    let error = admin.start_redrive(redrive(0)).await.unwrap_err();
    assert_eq!((error.kind, error.code), (v1::ErrorKind::Conflict, 155), "{error}");
    for _ in 0..2 {
        let (_, leader) = cluster.leader(DEAD, 0).await;
        cluster.node(leader).kill();
        let moved = last(&admin).await.progress.unwrap().moved;
        wait::until("it goes on", || async {
            let task = last(&admin).await;
            let further = task.progress.unwrap().moved > moved;
            further.then_some(()).ok_or_else(|| format!("{task:?}"))
        })
        .await;
        cluster.node(leader).start();
        cluster.node(leader).ready().await;
    }
    let task = wait::until("it is done", || async {
        let task = last(&admin).await;
        let ended = task.status() != v1::RedriveStatus::Running;
        if ended { Ok(task) } else { Err(format!("{task:?}")) }
    })
    .await;
    assert_eq!(task.status(), v1::RedriveStatus::Completed);
    let progress = task.progress.unwrap();
    assert_eq!((progress.examined, progress.moved), (MESSAGES as u64, MESSAGES as u64));

    let mut got = BTreeSet::new();
    let again = v1::Header { name: "again".to_owned(), value: Some("1".into()) };
    while got.len() < MESSAGES {
        let request = v1::ReceiveRequest {
            queue: JOBS.to_owned(),
            max_messages: 100,
            lease_ms: 600_000,
            wait_ms: 10_000,
            ..v1::ReceiveRequest::default()
        };
        let received = admin.receive(request).await.unwrap().messages;
        assert!(!received.is_empty(), "only {got:?} came");
        for message in received {
            assert_eq!(message.headers, std::slice::from_ref(&again));
            assert!(got.insert(message.body.to_vec()), "{:?} was moved twice", message.body);
        }
    }
    let describe = |queue: &str| v1::DescribeQueueRequest { queue: queue.to_owned() };
    let counts = admin.describe_queue(describe(JOBS)).await.unwrap();
    assert_eq!(counts.sent_total, MESSAGES as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redrive_ends_when_it_is_cancelled_or_its_call_ends() {
    let cluster = Cluster::of_three("redrives-cancelled").await;
    let addresses: Vec<String> = cluster.addresses().iter().map(ToString::to_string).collect();
    let one = Client::new(Options::bootstrap(&[&addresses[0]])).unwrap().admin();
    let two = Client::new(Options::bootstrap(&[&addresses[1]])).unwrap().admin();
    create(&one, DEAD).await;
    create(&one, JOBS).await;
    let message = |number: usize| v1::OutgoingMessage {
        body: number.to_string().into(),
        ..Default::default()
    };
    let messages = (0..MESSAGES).map(message).collect();
    let send = v1::SendRequest { queue: DEAD.to_owned(), messages, ..Default::default() };
    one.send(send).await.unwrap();

    let number = one.start_redrive(redrive(1)).await.unwrap().redrive;
    let cancel = v1::CancelRedriveRequest { queue: DEAD.to_owned(), redrive: number };
    let cancelled = two.cancel_redrive(cancel).await.unwrap();
    assert_eq!(cancelled.status(), v1::RedriveStatus::Cancelling);
    let ended = |number| {
        let admin = one.clone();
        wait::until("it is cancelled", move || {
            let admin = admin.clone();
            async move {
                let task = last(&admin).await;
                let is_so = task.redrive == number && task.status() == v1::RedriveStatus::Cancelled;
                is_so.then_some(()).ok_or_else(|| format!("{task:?}"))
            }
        })
    };
    ended(number).await;

    let (begun, mut heard) = tokio::sync::mpsc::channel(1);
    let following = tokio::spawn(async move {
        let first = |step: &v1::RedriveProgress| {
            // Only the first one is waited for.
            let _ = begun.try_send(step.redrive);
        };
        two.redrive(redrive(1), first).await
    });
    let number = heard.recv().await.unwrap();
    following.abort();
    ended(number).await;
    let counts = v1::DescribeQueueRequest { queue: DEAD.to_owned() };
    let counts = one.describe_queue(counts).await.unwrap();
    assert!(counts.available > 40, "{counts:?}");
}
