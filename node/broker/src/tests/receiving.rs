//! What a receive gets of much, and what becomes of what it doesn't hand on.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::node::{TestNode, eventually, node, node_with};
use crate::queues::{Action, Create, Message, Outgoing, Receive, Send, Settle};
use crate::{Code, Error, Options};

const RELEASE: Action = Action::Release { delay_ms: None, failed: false };

impl TestNode {
    async fn queue_set(&self, settings: &[(&str, &str)]) {
        let settings: BTreeMap<String, String> =
            settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let queue = "q".to_owned();
        let create = Create { queue, settings, validate_only: false, if_not_exists: false };
        self.broker.create_queue(create).await.expect("it is created");
    }

    async fn put(&self, messages: Vec<Outgoing>) {
        for some in messages.chunks(1_000) {
            let timeout = Duration::from_secs(20);
            let send = Send { queue: "q".to_owned(), messages: some.to_vec(), timeout };
            self.broker.send(send).await.expect("it is sent");
        }
    }

    async fn get(&self, max: u32, wait_ms: u32) -> Result<Vec<Message>, Error> {
        let (queue, consumer) = ("q".to_owned(), String::new());
        let receive = Receive { queue, max, lease_ms: None, wait_ms, consumer, priority: 0 };
        self.broker.receive(receive).await
    }

    async fn release(&self, message: &Message) -> Result<(), Error> {
        let settle = Settle { receipt: message.receipt.clone(), action: RELEASE, said: None };
        self.broker.settle("q", vec![settle]).await?.remove(0).map(|_| ())
    }

    async fn can_be_had(&self) -> u64 {
        self.broker.describe_queue("q").await.expect("it is there").available
    }

    async fn comes_back(&self, available: u64) {
        let asked = async {
            while self.can_be_had().await != available {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), asked).await.expect("it comes back");
    }

    fn commands(&self) -> u64 {
        let (place, _) = self.broker.0.queue("q").expect("it is there");
        self.broker.0.raft.shard(place.shard).expect("its shard is here").status().last.0
    }
}

fn sized(bytes: usize) -> Outgoing {
    Outgoing { body: Bytes::from(vec![b'x'; bytes]), ..Outgoing::default() }
}

fn grouped(group: &str) -> Outgoing {
    Outgoing { group: group.to_owned(), ..sized(1) }
}

fn tight() -> Options {
    let mut options = Options::default();
    options.queues.receive_bytes_max = 4_096;
    options
}

#[tokio::test]
async fn an_answer_has_a_size_and_what_is_beyond_it_is_as_if_it_had_not_been_leased() {
    let node = node_with(tight()).await;
    node.queue_set(&[("attempts_max", "2"), ("dead_letter", "")]).await;
    let many: Vec<Outgoing> = (0..20).map(|_| sized(1_000)).collect();
    node.put(many[..10].to_vec()).await;
    // Batches of one message as well.
    for one in &many[10..] {
        node.put(vec![one.clone()]).await;
    }
    let mut got = Vec::new();
    while got.len() < 20 {
        let some = node.get(20, 5_000).await.expect("received");
        assert!((1..=3).contains(&some.len()), "{}", some.len());
        assert!(some.iter().all(|message| (message.acquired, message.failed) == (1, 0)));
        got.extend(some);
        node.comes_back(20 - got.len() as u64).await;
    }
    got.sort_by(|one, other| one.message_id.cmp(&other.message_id));
    got.dedup_by(|one, other| one.message_id == other.message_id);
    assert_eq!(got.len(), 20);
}

#[tokio::test]
async fn the_first_message_comes_whatever_its_size() {
    let node = node_with(tight()).await;
    node.queue_set(&[]).await;
    node.put(vec![sized(100_000), sized(10), sized(100_000)]).await;
    let mut sizes = Vec::new();
    while sizes.len() < 3 {
        let some = node.get(3, 5_000).await.expect("received");
        assert_eq!(some.len(), 1);
        sizes.push(some[0].body.len());
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [10, 100_000, 100_000]);
}

#[tokio::test]
async fn a_peek_goes_on_where_its_page_was_full() {
    let node = node_with(tight()).await;
    node.queue_set(&[]).await;
    node.put((0..10).map(|_| sized(1_000)).collect()).await;
    let (mut from, mut seen) = (Some(0), Vec::new());
    while let Some(next) = from {
        let page = node.broker.peek("q", next, 10).await.expect("it is shown");
        assert!(page.messages.len() <= 3);
        seen.extend(page.messages.into_iter().map(|(message, _)| message.message_id));
        from = page.next;
    }
    assert_eq!(seen.len(), 10);
    seen.dedup();
    assert_eq!(seen.len(), 10);
}

#[tokio::test]
async fn a_receive_that_fails_has_leased_nothing() {
    let mut options = Options::default();
    options.fetch.response_bytes_max = 1 << 20;
    let node = node_with(options).await;
    node.queue_set(&[("attempts_max", "2")]).await;
    node.put(vec![sized(1_000), sized(1_000)]).await;
    let others = node.broker.0.fetch.take(1 << 20).expect("nobody else reads");
    for _ in 0..5 {
        let error = node.get(2, 1_000).await.expect_err("there is no room");
        assert_eq!(error.code, Code::THROTTLED);
        node.comes_back(2).await;
    }
    drop(others);
    let got = node.get(2, 1_000).await.expect("received");
    let counted: Vec<(u32, u32)> = got.iter().map(|one| (one.acquired, one.failed)).collect();
    assert_eq!(counted, [(1, 0), (1, 0)]);
}

#[tokio::test]
async fn what_is_behind_much_that_can_not_be_delivered_is_found_at_once() {
    let node = node().await;
    node.queue_set(&[("fifo", "true")]).await;
    node.put((0..9_000).map(|_| grouped("a")).collect()).await;
    node.put(vec![grouped("b")]).await;
    let first = node.get(1, 1_000).await.expect("received");
    assert_eq!(first[0].group, "a");
    let other = node.get(1, 1_500).await.expect("received");
    assert_eq!(other.len(), 1, "it was not found in time");
    assert_eq!(other[0].group, "b");
}

#[tokio::test]
async fn a_desk_that_can_serve_nobody_comes_to_rest() {
    let cases: [&[(&str, &str)]; 5] = [
        &[("fifo", "true")],
        &[("fifo", "true"), ("in_flight_max", "1")],
        &[("in_flight_max", "1")],
        &[("in_flight_max", "1"), ("fair_groups", "true")],
        &[("in_flight_max", "1"), ("priority_order", "weighted"), ("priority_max", "5")],
    ];
    for settings in cases {
        let node = node().await;
        node.queue_set(settings).await;
        node.put((0..10).map(|_| grouped("a")).collect()).await;
        let first = node.get(1, 1_000).await.expect("received");
        let before = node.commands();
        let none = node.get(1, 1_000).await.expect("received");
        assert!(none.is_empty());
        let commands = node.commands() - before;
        assert!(commands < 8, "{commands} commands for nothing: {settings:?}");
        // It wakes when there is something.
        let (next, released) = tokio::join!(node.get(1, 1_500), async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            node.release(&first[0]).await
        });
        released.expect("it is released");
        assert_eq!(next.expect("received").len(), 1, "{settings:?}");
    }
}

#[tokio::test]
async fn a_node_that_stops_takes_commands_of_those_that_end_in_order() {
    let node = node().await;
    node.queue_set(&[]).await;
    node.put(vec![sized(1)]).await;
    let message = node.get(1, 1_000).await.expect("received").remove(0);
    let open = node.broker.open();
    let stops = node.broker.clone();
    let stops = tokio::spawn(async move { stops.shutdown().await });
    node.broker.stopped().await;
    let error = node.get(1, 0).await.expect_err("it takes no receives");
    assert_eq!(error.code, Code::STOPPING);
    node.release(&message).await.expect("it is released");
    drop(open);
    stops.await.expect("it stops");
    let error = node.release(&message).await.expect_err("it has stopped");
    assert_eq!(error.code, Code::STOPPING);
}

#[tokio::test]
async fn a_node_that_stops_waits_for_nobody_for_long() {
    let node = node().await;
    let _open = node.broker.open();
    node.broker.shutdown().await;
}

#[tokio::test]
async fn a_consumer_says_that_it_is_there_more_often_than_it_has_to() {
    let node = node().await;
    node.queue_set(&[("auto_delete", "true"), ("consumer_timeout_ms", "600")]).await;
    assert_eq!(node.broker.attend_every("q"), Duration::from_millis(200));
    assert_eq!(node.broker.attend_every("unknown"), Duration::from_secs(5));
    let until = tokio::time::Instant::now() + Duration::from_secs(3);
    while tokio::time::Instant::now() < until {
        node.broker.attend("q", "c").await.expect("it is noted");
        tokio::time::sleep(node.broker.attend_every("q")).await;
    }
    assert!(node.broker.0.queue("q").is_ok(), "its consumer was there");
}

impl TestNode {
    async fn rests(&self, somebody: bool) {
        let (place, _) = self.broker.0.queue("q").expect("it is there");
        let prepared = &self.broker.0.prepared;
        eventually("the desk is at rest", || prepared.is_left(place.partition) == somebody).await;
    }
}

#[tokio::test]
async fn a_message_that_somebody_waits_for_is_stored_and_leased_by_one_entry() {
    let node = node().await;
    node.queue_set(&[]).await;
    for number in 1..4 {
        let before = node.commands();
        let (got, ()) = tokio::join!(node.get(10, 20_000), async {
            node.rests(true).await;
            node.put(vec![sized(number)]).await;
        });
        let got = got.expect("received");
        assert_eq!(got.iter().map(|message| message.body.len()).collect::<Vec<_>>(), [number]);
        assert_eq!(node.commands(), before + 1);
    }
    node.rests(false).await;
}

#[tokio::test]
async fn the_next_of_a_group_comes_with_the_settlement_that_it_waits_for() {
    let node = node().await;
    node.queue_set(&[("fifo", "true")]).await;
    let unlike = |number: usize| Outgoing {
        deduplication_id: number.to_string(),
        body: Bytes::from(vec![b'x'; number]),
        ..grouped("g")
    };
    node.put(vec![unlike(1), unlike(2)]).await;
    let first = node.get(1, 5_000).await.expect("received").remove(0);
    let (got, before) = tokio::join!(node.get(10, 20_000), async {
        node.rests(true).await;
        let before = node.commands();
        let receipt = first.receipt.clone();
        let settle = Settle { receipt, action: Action::Acknowledge, said: None };
        let settled = node.broker.settle("q", vec![settle]).await.expect("it is settled");
        assert!(settled[0].is_ok());
        before
    });
    let sizes: Vec<usize> = got.expect("received").iter().map(|got| got.body.len()).collect();
    assert_eq!((sizes, node.commands()), (vec![2], before + 1));
}

#[tokio::test]
async fn what_came_while_a_desk_was_busy_is_asked_for_at_once() {
    let node = node().await;
    node.queue_set(&[]).await;
    let (queue, _) = node.broker.0.queue("q").expect("it is there");
    let place = node.broker.0.prepared.open(queue.partition);
    let leave = |turns| place.leave(Bytes::new(), turns).is_some();
    assert!(leave(true));
    node.put(vec![sized(1)]).await;
    assert!(!leave(false), "a message is under way, and nothing is behind it");
    place.ask();
    assert!(leave(true));
    let got = node.get(1, 5_000).await.expect("received").remove(0);
    let place = node.broker.0.prepared.open(queue.partition);
    node.release(&got).await.expect("it is released");
    let leave = |turns| place.leave(Bytes::new(), turns).is_some();
    assert!(leave(false) && !leave(true), "only whoever waits for a turn is concerned");
}

#[tokio::test]
async fn whoever_gives_up_waiting_gets_nothing_that_comes_later() {
    let node = node().await;
    node.queue_set(&[]).await;
    tokio::select! {
        got = node.get(10, 20_000) => panic!("there is nothing: {got:?}"),
        () = node.rests(true) => {}
    }
    node.rests(false).await;
    let before = node.commands();
    node.put(vec![sized(1)]).await;
    assert_eq!((node.commands(), node.can_be_had().await), (before + 1, 1));
}
