//! Sends and settlements of many callers share commands.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;

use super::node::{TestNode, node};
use crate::queues::{Action, Create, Outgoing, Receive, Send, Sent, Settle};
use crate::{Code, Error, Kind};

const CALLS: usize = 50;

impl TestNode {
    async fn queue_with(&self, settings: &[(&str, &str)]) {
        let settings: BTreeMap<String, String> =
            settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let queue = "q".to_owned();
        let create = Create { queue, settings, validate_only: false, if_not_exists: false };
        self.broker.create_queue(create).await.expect("it is created");
    }

    fn send_numbered(
        &self,
        message: Outgoing,
    ) -> impl Future<Output = Result<Vec<Sent>, Error>> + use<> {
        let timeout = Duration::from_secs(10);
        self.broker.send(Send { queue: "q".to_owned(), messages: vec![message], timeout })
    }

    fn entries(&self) -> u64 {
        let (place, _) = self.broker.0.queue("q").expect("it is there");
        let shard = self.broker.0.raft.shard(place.shard).expect("its shard is here");
        shard.status().last.0
    }
}

fn numbered(number: usize) -> Outgoing {
    Outgoing { body: number.to_string().into(), ..Outgoing::default() }
}

#[tokio::test]
async fn calls_at_the_same_time_are_few_commands_and_keep_their_order() {
    let node = node().await;
    node.queue_with(&[]).await;
    let before = node.entries();
    let calls: Vec<_> = (0..CALLS).map(|number| node.send_numbered(numbered(number))).collect();
    let sent = join_all(calls).await;
    let ids: Vec<String> =
        (sent.into_iter()).map(|sent| sent.expect("it is sent").remove(0).message_id).collect();
    let after = node.entries();
    assert!(after - before < 10, "{CALLS} calls became {} entries", after - before);

    let queue = "q".to_owned();
    let (max, consumer) = (100, String::new());
    let receive = Receive { queue, max, lease_ms: None, wait_ms: 1_000, consumer, priority: 0 };
    let received = node.broker.receive(receive).await.expect("they are received");
    let received_ids: Vec<&str> = received.iter().map(|one| one.message_id.as_str()).collect();
    assert_eq!(received_ids, ids, "in the order of the calls, each with its own id");
    let bodies: Vec<String> =
        received.iter().map(|one| String::from_utf8_lossy(&one.body).into_owned()).collect();
    assert_eq!(bodies, (0..CALLS).map(|number| number.to_string()).collect::<Vec<_>>());

    let before = node.entries();
    let settle = |receipt: &str| {
        let action = Action::Acknowledge;
        let settle = Settle { receipt: receipt.to_owned(), action, said: None };
        node.broker.settle("q", vec![settle])
    };
    // One of them twice: it is told so, and nobody else.
    let twice = received.iter().chain(received.first());
    let settled = join_all(twice.map(|one| settle(&one.receipt))).await;
    let settled: Vec<_> =
        settled.into_iter().map(|one| one.expect("it is asked").remove(0)).collect();
    let late: Vec<usize> =
        (0..).zip(&settled).filter(|(_, it)| it.is_err()).map(|(at, _)| at).collect();
    assert_eq!(late, [CALLS]);
    assert_eq!(settled[CALLS].as_ref().expect_err("late").code, Code::LEASE_ENDED);
    let after = node.entries();
    assert!(after - before < 10, "{CALLS} settlements became {} entries", after - before);
}

#[tokio::test]
async fn a_message_that_is_refused_keeps_no_other_out() {
    let node = node().await;
    node.queue_with(&[("retention_ms", "60000")]).await;
    let calls: Vec<_> = (0..CALLS)
        .map(|number| {
            // The state machine refuses it: it would be dropped before it is due.
            let delay_ms = (number % 10 == 3).then_some(3_600_000);
            node.send_numbered(Outgoing { delay_ms, ..numbered(number) })
        })
        .collect();
    for (number, sent) in join_all(calls).await.into_iter().enumerate() {
        match sent {
            Ok(_) => assert_ne!(number % 10, 3),
            Err(error) => {
                assert_eq!((number % 10, error.kind), (3, Kind::Invalid), "{error}");
                assert!(error.detail.contains("the delay of a message"), "{error}");
            }
        }
    }
    let described = node.broker.describe_queue("q").await.expect("it is described");
    assert_eq!(described.available, 45);
}

#[tokio::test]
async fn a_queue_takes_as_many_as_there_is_room_for() {
    let node = node().await;
    node.queue_with(&[("length_max", "20"), ("overflow", "reject")]).await;
    let calls: Vec<_> = (0..CALLS).map(|number| node.send_numbered(numbered(number))).collect();
    let sent = join_all(calls).await;
    let taken = sent.iter().filter(|sent| sent.is_ok()).count();
    assert_eq!(taken, 20);
    assert!(sent[..20].iter().all(Result::is_ok), "those that came first");
    let refused = sent.into_iter().find_map(Result::err).expect("the others are refused");
    assert_eq!(refused.kind, Kind::Throttled, "{refused}");
}
