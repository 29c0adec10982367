//! Redrives: tasks of a queue that outlive whoever began them.

use std::time::Duration;

use bytes::Bytes;
use kontiki_records::Header;
use kontiki_storage::memory::Keep;

use super::node::{TestNode, eventually, node, node_on};
use crate::options::Options;
use crate::queues::{Language, Outgoing, Progress, Redrive, Send, Status, Task};
use crate::{Code, Error, Kind};

fn message(body: &str) -> Outgoing {
    Outgoing { body: Bytes::copy_from_slice(body.as_bytes()), ..Outgoing::default() }
}

fn redrive() -> Redrive {
    Redrive { queue: "dead".to_owned(), target: "jobs".to_owned(), ..Redrive::default() }
}

impl TestNode {
    pub(super) async fn send(&self, queue: &str, messages: Vec<Outgoing>) {
        let timeout = Duration::from_secs(30);
        let send = Send { queue: queue.to_owned(), messages, timeout };
        self.broker.send(send).await.expect("it is sent");
    }

    async fn ended(&self, number: u64) -> Task {
        let mut tries = 0;
        loop {
            let task = self.broker.describe_redrive("dead", number).await;
            match task {
                Ok(task) if !matches!(task.status, Status::Running | Status::Cancelling) => {
                    return task;
                }
                Ok(_) | Err(Error { kind: Kind::Unavailable, .. }) => {}
                Err(error) => panic!("{error}"),
            }
            tries += 1;
            assert!(tries < 2_000, "it doesn't end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) async fn run(&self, redrive: Redrive) -> Task {
        let number = self.broker.start_redrive(redrive).await.expect("it begins");
        self.ended(number).await
    }

    async fn bodies(&self, queue: &str, count: usize) -> Vec<String> {
        let mut bodies = Vec::new();
        while bodies.len() < count {
            let received = self.receive(queue, 1_000, 10_000).await;
            assert!(!received.is_empty(), "only {bodies:?} came");
            bodies
                .extend(received.iter().map(|one| String::from_utf8_lossy(&one.body).into_owned()));
        }
        bodies
    }

    async fn available(&self, queue: &str) -> u64 {
        self.broker.describe_queue(queue).await.expect("it is there").available
    }
}

async fn two_queues() -> TestNode {
    let node = node().await;
    node.create_queue("jobs", &[]).await;
    node.create_queue("dead", &[]).await;
    node
}

#[tokio::test]
async fn filters_choose_dry_runs_count_and_headers_change() {
    let node = two_queues().await;
    let headers = vec![Header::new("color", "red"), Header::new("color", "blue")];
    let red = Outgoing { headers, ..message(r#"{"price": 7}"#) };
    let plain = message("no JSON");
    node.send("dead", vec![red, plain]).await;

    // Nobody knows where they came from.
    let back = Redrive { target: String::new(), dry_run: true, ..redrive() };
    let task = node.run(back).await;
    let progress = Progress { examined: 2, stranded: 2, ..Progress::default() };
    assert_eq!((task.status, task.progress, task.target), (Status::Completed, progress, None));

    let matching = |kind, filter: &str| Redrive {
        filter: filter.to_owned(),
        filter_kind: Some(kind),
        dry_run: true,
        ..redrive()
    };
    for (kind, filter, moved, errors) in [
        (Language::Cel, r#"headers["color"] == "blue""#, 1, 1),
        (Language::Cel, "size(body) < 3", 1, 1),
        (Language::PolicyOnHeaders, r#"{"color": [{"exists": false}]}"#, 1, 0),
        (Language::PolicyOnBody, r#"{"price": [{"numeric": [">", 6]}]}"#, 1, 1),
    ] {
        let task = node.run(matching(kind, filter)).await;
        assert_eq!(task.status, Status::Completed);
        let Progress { examined, moved: would, filter_errors, .. } = task.progress;
        assert_eq!((examined, would, filter_errors), (2, moved, errors), "{filter}");
    }
    assert_eq!(node.available("dead").await, 2);

    let task = node
        .run(Redrive {
            filter: "has(headers.color)".to_owned(),
            set_headers: vec![("shape".to_owned(), "round".into())],
            remove_headers: vec!["color".to_owned()],
            ..redrive()
        })
        .await;
    assert_eq!((task.progress.moved, task.target.as_deref()), (1, Some("jobs")));
    let received = node.receive("jobs", 9, 10_000).await;
    assert_eq!(received[0].headers, [Header::new("shape", "round")]);
    let listed = node.broker.redrives("dead").await.expect("it is there");
    let numbers: Vec<u64> = listed.iter().map(|task| task.number).collect();
    assert_eq!(numbers, [6, 5, 4, 3, 2, 1]);
    assert!(listed[0].changed_ms >= listed[0].started_ms && listed[0].started_ms > 0);
}

#[tokio::test]
async fn a_redrive_keeps_its_rate_is_alone_and_can_be_cancelled() {
    let node = two_queues().await;
    node.send("dead", (0..50).map(|number| message(&number.to_string())).collect()).await;
    let slow = Redrive { per_second: 1, ..redrive() };
    let number = node.broker.start_redrive(slow).await.expect("it begins");
    assert_eq!(node.bodies("jobs", 1).await, ["0"]);
    let error = node.broker.start_redrive(redrive()).await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Conflict, Code(155)));
    assert!(error.detail.contains("redrive 1 of queue"), "{error}");
    let status = node.broker.cancel_redrive("dead", number).await.expect("it is there");
    assert_eq!(status, Status::Cancelling);
    let task = node.ended(number).await;
    assert_eq!(task.status, Status::Cancelled);
    assert!((1..5).contains(&task.progress.moved), "{task:?}");
    let left = 50 - task.progress.moved;
    eventually_async("the moved ones have gone", || async { node.available("dead").await == left })
        .await;
    assert_eq!(node.broker.cancel_redrive("dead", number).await, Ok(Status::Cancelled));
    let error = node.broker.cancel_redrive("dead", 9).await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::NotFound, Code::UNKNOWN_REDRIVE));

    let few = node.run(Redrive { max: 3, ..redrive() }).await;
    assert_eq!((few.status, few.progress.moved), (Status::Completed, 3));
}

#[tokio::test]
async fn whoever_follows_hears_of_it() {
    let node = two_queues().await;
    node.send("dead", (0..450).map(|number| message(&number.to_string())).collect()).await;
    let mut redriving = node.broker.redrive(redrive()).await.expect("it begins");
    let mut last = 0;
    loop {
        let (progress, done) = redriving.step().await.expect("it goes on");
        assert!(progress.moved >= last);
        last = progress.moved;
        if done {
            break;
        }
    }
    assert_eq!(last, 450);
    node.send("dead", vec![message("a"), message("b"), message("c")]).await;
    let slow = Redrive { per_second: 1, ..redrive() };
    let mut redriving = node.broker.redrive(slow).await.expect("it begins");
    redriving.step().await.expect("it goes on");
    redriving.cancel().await.expect("it is there");
    let error = loop {
        match redriving.step().await {
            Ok((progress, done)) => assert!(!done, "{progress:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind, error.code), (Kind::Conflict, Code::REDRIVE_ENDED));
    assert!(error.detail.starts_with("redrive 2 of queue dead was cancelled"), "{error}");
}

/// More than fits one batch of the target is moved as several.
#[tokio::test]
async fn large_messages_are_moved_too() {
    let node = two_queues().await;
    // 128 of them are 1 MiB, but for what is around them.
    let body = "x".repeat(8_190);
    for _ in 0..2 {
        node.send("dead", (0..70).map(|_| message(&body)).collect()).await;
    }
    assert_eq!(node.run(redrive()).await.progress.moved, 140);
    assert_eq!(node.bodies("jobs", 140).await.len(), 140);
    // Nobody could have sent it there.
    node.create_queue("small", &[("message_bytes_max", "1024")]).await;
    node.send("dead", vec![message(&"y".repeat(1_100)), message(&"z".repeat(1_000))]).await;
    let task = node.run(Redrive { target: "small".to_owned(), ..redrive() }).await;
    assert_eq!((task.progress.moved, task.progress.stranded), (1, 1));
}

#[tokio::test]
async fn a_redrive_goes_on_after_its_node_has_failed() {
    let mut node = two_queues().await;
    node.send("dead", (0..12).map(|number| message(&number.to_string())).collect()).await;
    let slow = Redrive { per_second: 4, ..redrive() };
    let number = node.broker.start_redrive(slow).await.expect("it begins");
    eventually_async("it has moved some", || async {
        let task = node.broker.describe_redrive("dead", number).await.expect("it is there");
        task.progress.moved > 0
    })
    .await;
    let disk = node.disk.clone();
    disk.faults().crash(Keep::SYNCED);
    node = node_on(disk, Options::default()).await;
    eventually("the node is ready", || node.broker.is_ready().is_ok()).await;
    let task = node.ended(number).await;
    let progress = Progress { examined: 12, moved: 12, ..Progress::default() };
    assert_eq!((task.status, task.progress), (Status::Completed, progress));
    let mut bodies = node.bodies("jobs", 12).await;
    bodies.sort_by_key(|body| body.parse::<u32>().expect("a number"));
    assert_eq!(bodies, (0..12).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(node.receive("jobs", 9, 0).await.is_empty(), "some were moved twice");
}

#[tokio::test]
async fn a_redrive_whose_target_goes_says_so() {
    let node = two_queues().await;
    node.create_queue("other", &[]).await;
    node.send("dead", (0..50).map(|number| message(&number.to_string())).collect()).await;
    let slow = Redrive { target: "other".to_owned(), per_second: 1, ..redrive() };
    let number = node.broker.start_redrive(slow).await.expect("it begins");
    node.broker.delete_queue("other").await.expect("it is there");
    let task = node.ended(number).await;
    assert_eq!(task.status, Status::Failed);
    assert!(task.failure.as_deref().is_some_and(|why| why.contains("other")), "{task:?}");
}

#[tokio::test]
async fn what_cannot_be_redriven_is_refused() {
    let node = two_queues().await;
    let code = |error: Error| (error.kind, error.code);
    for (wrong, told) in [
        (Redrive { queue: "nowhere".to_owned(), ..redrive() }, Code::UNKNOWN_QUEUE),
        (Redrive { target: "nowhere".to_owned(), ..redrive() }, Code::UNKNOWN_QUEUE),
        (Redrive { target: "dead".to_owned(), ..redrive() }, Code::INVALID_FIELD),
        (Redrive { filter: "headers.".to_owned(), ..redrive() }, Code::INVALID_FIELD),
        (
            Redrive {
                filter: "headers".to_owned(),
                filter_kind: Some(Language::PolicyOnBody),
                ..redrive()
            },
            Code::INVALID_FIELD,
        ),
        (
            Redrive { set_headers: vec![("kontiki.x".to_owned(), "y".into())], ..redrive() },
            Code::INVALID_FIELD,
        ),
        (
            Redrive { remove_headers: vec!["kontiki.group".to_owned()], ..redrive() },
            Code::INVALID_FIELD,
        ),
        (Redrive { remove_headers: vec!["x".repeat(20_000)], ..redrive() }, Code(3)),
    ] {
        let error = node.broker.start_redrive(wrong.clone()).await.unwrap_err();
        assert_eq!(error.code, told, "{wrong:?}");
    }
    let error = node.broker.describe_redrive("dead", 1).await.unwrap_err();
    assert_eq!(code(error), (Kind::NotFound, Code::UNKNOWN_REDRIVE));
    // The headers of moves before may go.
    let clean = Redrive { remove_headers: vec!["kontiki.dlq.reason".to_owned()], ..redrive() };
    assert_eq!(node.run(clean).await.status, Status::Completed);
}

async fn eventually_async<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let looked = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), looked).await.expect(what);
}
