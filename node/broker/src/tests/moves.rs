//! Messages on their way from queue to queue: none stops the others, and each is what it was.

use bytes::Bytes;
use kontiki_records::Header;

use super::failures::headers;
use super::node::{TestNode, node};
use crate::queues::{Message, Outgoing, Progress, Redrive, Status};

fn redrive(target: &str) -> Redrive {
    let (queue, target) = ("dead".to_owned(), target.to_owned());
    Redrive { queue, target, ..Redrive::default() }
}

fn message(body: &str, group: &str, priority: u8) -> Outgoing {
    let (body, group) = (Bytes::copy_from_slice(body.as_bytes()), group.to_owned());
    Outgoing { body, group, priority, ..Outgoing::default() }
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|one| std::str::from_utf8(&one.body).expect("a text")).collect()
}

impl TestNode {
    async fn reject_all(&self, queue: &str, messages: Vec<Message>) {
        for message in messages {
            self.reject(queue, message.receipt, "no").await;
        }
    }
}

#[tokio::test]
async fn what_a_queue_took_its_dead_letter_queue_takes_and_gives_back() {
    let node = node().await;
    node.create_queue("dead", &[("message_bytes_max", "1024")]).await;
    node.create_queue("jobs", &[("dead_letter", "dead")]).await;
    // The largest that there may be, and the one with the most headers.
    let large = message(&"x".repeat(1_048_400), "", 0);
    let header = |number: u32| Header {
        name: Bytes::from(format!("h{number}")),
        value: Some(Bytes::from_static(b"v")),
    };
    let many = Outgoing { headers: (0..1_024).map(header).collect(), ..message("many", "", 0) };
    node.send("jobs", vec![large]).await;
    node.send("jobs", vec![many]).await;
    node.send("jobs", vec![message("last", "", 0)]).await;
    for _ in 0..3 {
        let message = node.receive_one("jobs").await;
        node.reject("jobs", message.receipt, &"y".repeat(1_000)).await;
    }
    node.until("dead", |dead| dead.available == 3).await;
    let dead = node.receive("dead", 3, 10_000).await;
    let told = |message: &Message| headers(message)["kontiki.dlq.error"].len();
    assert_eq!(dead.iter().map(told).collect::<Vec<_>>(), [1_000; 3]);
    for one in dead {
        let release = crate::queues::Action::Release { delay_ms: None, failed: false };
        let receipt = one.receipt;
        let settle = crate::queues::Settle { receipt, action: release, said: None };
        node.broker.settle("dead", vec![settle]).await.expect("it answers");
    }
    let progress = Progress { examined: 3, moved: 3, ..Progress::default() };
    assert_eq!(node.run(redrive("")).await.progress, progress);
    node.until("dead", |dead| dead.moving == 0).await;
    let back = node.receive("jobs", 3, 10_000).await;
    let sizes: Vec<_> = back.iter().map(|one| (one.body.len(), one.headers.len())).collect();
    assert_eq!(sizes.iter().map(|size| size.0).collect::<Vec<_>>(), [1_048_400, 4, 4]);
    assert!(sizes[1].1 > 1_024, "{sizes:?}");
}

#[tokio::test]
async fn what_a_redrive_can_bring_nowhere_comes_back_and_stops_nothing() {
    let node = node().await;
    node.create_queue("grave", &[]).await;
    node.create_queue("dead", &[("dead_letter", "grave")]).await;
    node.create_queue("other", &[("length_max", "1")]).await;
    let three = ["1", "2", "3"].map(|body| message(body, "", 0));
    node.send("dead", three.to_vec()).await;
    let task = node.run(redrive("other")).await;
    assert_eq!((task.status, task.progress.moved), (Status::Completed, 3));
    // There is room for one of them.
    node.until("dead", |dead| dead.moving == 2).await;
    node.until("other", |other| other.available == 1).await;
    node.send("dead", vec![message("4", "", 0)]).await;
    let fourth = node.receive_one("dead").await;
    node.reject("dead", fourth.receipt, "").await;
    node.until("dead", |dead| dead.moving == 3).await;
    node.broker.delete_queue("other").await.expect("it is there");
    assert_eq!(bodies(&[node.receive_one("grave").await]), ["4"]);
    node.until("dead", |dead| dead.moving == 0 && dead.available == 2).await;
    assert_eq!(bodies(&node.receive("dead", 9, 1_000).await), ["2", "3"]);
    assert_eq!(node.broker.0.metrics.queue.came_back.get(), 2);
}

#[tokio::test]
async fn groups_keep_their_order_through_a_queue_without_groups() {
    let node = node().await;
    node.create_queue("dead", &[]).await;
    node.create_queue("orders", &[("fifo", "true"), ("dead_letter", "dead")]).await;
    let sent = [("a1", "A"), ("b1", "B"), ("a2", "A")].map(|(body, group)| message(body, group, 0));
    node.send("orders", sent.to_vec()).await;
    let mut rejected = 0;
    while rejected < 3 {
        let received = node.receive("orders", 9, 10_000).await;
        rejected += received.len();
        node.reject_all("orders", received).await;
    }
    node.until("dead", |dead| dead.available == 3).await;
    assert_eq!(node.run(redrive("")).await.progress.moved, 3);
    node.until("orders", |orders| orders.available == 3).await;
    // Behind those of its group.
    node.send("orders", vec![message("a3", "A", 0)]).await;
    let first = node.receive("orders", 1, 10_000).await;
    assert_eq!(bodies(&first), ["a1"]);
    let second = node.receive("orders", 1, 10_000).await;
    assert_eq!(bodies(&second), ["b1"]);
    // The others wait for the first one of their group.
    assert_eq!(bodies(&node.receive("orders", 9, 50).await), [""; 0]);
    node.reject_all("orders", first).await;
    assert_eq!(bodies(&node.receive("orders", 9, 10_000).await), ["a2", "a3"]);
}

#[tokio::test]
async fn priorities_come_back_from_a_queue_without_them() {
    let node = node().await;
    node.create_queue("dead", &[]).await;
    node.create_queue("jobs", &[("priority_max", "9"), ("dead_letter", "dead")]).await;
    node.send("jobs", vec![message("later", "", 2)]).await;
    let later = node.receive("jobs", 1, 10_000).await;
    node.reject_all("jobs", later).await;
    node.send("jobs", vec![message("first", "", 9)]).await;
    let first = node.receive("jobs", 1, 10_000).await;
    node.reject_all("jobs", first).await;
    node.until("dead", |dead| dead.available == 2).await;
    assert_eq!(node.run(redrive("")).await.progress.moved, 2);
    node.until("jobs", |jobs| jobs.available == 2).await;
    let received = node.receive("jobs", 9, 10_000).await;
    assert_eq!(bodies(&received), ["first", "later"]);
}

#[tokio::test]
async fn dead_letters_dont_go_round_by_themselves() {
    let node = node().await;
    node.create_queue("a", &[("time_to_live_ms", "20"), ("dead_letter", "b")]).await;
    node.create_queue("b", &[("time_to_live_ms", "20"), ("dead_letter", "a")]).await;
    node.send("a", vec![message("1", "", 0), message("2", "", 0)]).await;
    node.until("b", |b| b.totals.dropped == 2).await;
    node.until("a", |a| a.available == 0 && a.moving == 0 && a.totals.sent == 2).await;
    assert_eq!(node.broker.0.metrics.queue.went_round.get(), 2);
    assert_eq!(node.broker.0.metrics.unroutable_dead_letters.get(), 0);
    // A consumer may send its messages round as often as it likes.
    node.create_queue("jobs", &[("dead_letter", "retry")]).await;
    node.create_queue("retry", &[("time_to_live_ms", "20"), ("dead_letter", "jobs")]).await;
    node.send("jobs", vec![message("again", "", 0)]).await;
    for _ in 0..3 {
        let message = node.receive_one("jobs").await;
        node.reject("jobs", message.receipt, "not yet").await;
    }
    let message = node.receive_one("jobs").await;
    assert_eq!(headers(&message)["kontiki.dlq.path"], "retry expired 3, jobs rejected 3");
    assert_eq!(headers(&message)["kontiki.dlq.original-queue"], "jobs");
}
