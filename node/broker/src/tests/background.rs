//! What happens by itself: retention, producers that are forgotten, topics that are deleted.

use std::sync::atomic::Ordering;
use std::time::Duration;

use kontiki_domain::catalog;
use kontiki_domain::settings::Overrides;

use super::node::{eventually, node, record};
use crate::{Code, Error};

#[tokio::test]
async fn old_records_leave_when_their_time_has_come() {
    let node = node().await;
    let retention_ms = Some(3_600_000);
    node.create("t", 1, Overrides { retention_ms, ..Overrides::default() }).await;
    let mut old = record(b"old");
    old.timestamp_ms = node.time_ms.load(Ordering::SeqCst) - 3_599_000;
    node.produce("t", 0, vec![old]).await.expect("it is written");
    node.produce("t", 0, vec![record(b"new")]).await.expect("it is written");
    let gone = || node.state("t", 0).is_some_and(|state| state.log_start_offset.0 == 1);
    eventually("the old record is gone", gone).await;
    assert_eq!(node.state("t", 0).expect("it exists").batches, 1);
    eventually("it is counted", || node.broker.0.metrics.retained_batches.get() == 1).await;
}

#[tokio::test]
async fn changed_settings_reach_the_partitions() {
    let node = node().await;
    node.create("t", 2, Overrides::default()).await;
    let core = &node.broker.0;
    let topic = core.catalog.place("t", 0).expect("it exists").topic;
    let set = Overrides { retention_bytes: Some(1 << 30), ..Overrides::default() };
    let command = catalog::Command::AlterTopic(catalog::AlterTopic {
        queue: None,
        topic,
        set,
        reset: Vec::new(),
        settings_version: None,
        validate_only: false,
    });
    core.ask_catalog(command, core.default_deadline()).await.expect("it is altered");
    for number in [0, 1] {
        let told = || {
            let state = node.state("t", number);
            state.is_some_and(|state| state.settings.retention_bytes == 1 << 30)
        };
        eventually("the settings have come", told).await;
    }
}

#[tokio::test]
async fn a_deleted_topic_is_purged_and_forgotten() {
    let node = node().await;
    node.create("t", 3, Overrides::default()).await;
    node.produce("t", 1, vec![record(b"x")]).await.expect("it is written");
    let core = &node.broker.0;
    let place = core.catalog.place("t", 1).expect("it exists");
    let command = catalog::Command::DeleteTopic { topic: place.topic };
    core.ask_catalog(command, core.default_deadline()).await.expect("it is deleted");
    let fetched: Result<_, Error> = node.fetch("t", &[(1, 0)], Duration::ZERO).await.remove(0);
    assert_eq!(fetched.expect_err("it is deleted").code, Code::UNKNOWN_TOPIC);
    let forgotten = || core.catalog.look(|catalog| catalog.topic(place.topic).is_none());
    eventually("the topic is forgotten", forgotten).await;
}
