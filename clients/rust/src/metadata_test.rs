//! Tests of the metadata cache.

use super::*;

fn answer(version: u64, leader: u32, epoch: u64) -> v1::MetadataResponse {
    let node = |node_id: u32| v1::NodeInfo { node_id, address: format!("node-{node_id}:1") };
    let partition =
        v1::PartitionInfo { leader, leader_epoch: epoch, ..v1::PartitionInfo::default() };
    v1::MetadataResponse {
        cluster_id: "c".to_owned(),
        nodes: vec![node(1), node(2)],
        topics: vec![v1::TopicMetadata {
            topic: "t".to_owned(),
            error: None,
            topic_id: 7,
            partitions: vec![partition],
        }],
        version,
    }
}

fn metadata() -> Metadata {
    Metadata::new(&Options::bootstrap(&["first:1"]))
}

#[tokio::test]
async fn an_older_answer_doesnt_replace_a_newer_one() {
    let metadata = metadata();
    metadata.learn(&answer(5, 1, 3));
    assert_eq!(metadata.leader("t", 0).as_deref(), Some("node-1:1"));
    metadata.learn(&answer(4, 2, 9));
    assert_eq!(metadata.leader("t", 0).as_deref(), Some("node-1:1"));
    // The same catalog, yet an older term of the shard.
    metadata.learn(&answer(5, 2, 2));
    assert_eq!(metadata.leader("t", 0).as_deref(), Some("node-1:1"));
    metadata.learn(&answer(5, 2, 4));
    assert_eq!(metadata.leader("t", 0).as_deref(), Some("node-2:1"));
}

#[tokio::test]
async fn hints_and_failures_change_the_leader() {
    let metadata = metadata();
    metadata.learn(&answer(1, 1, 1));
    metadata.forget_leader("t", 0, "node-2:1");
    assert!(metadata.leader("t", 0).is_some(), "another one failed");
    metadata.forget_leader("t", 0, "node-1:1");
    assert_eq!(metadata.leader("t", 0), None);
    let hint = v1::LeaderHint { node_id: 3, address: "node-3:1".to_owned() };
    metadata.learn_leader("t", 0, &hint);
    assert_eq!(metadata.leader("t", 0).as_deref(), Some("node-3:1"));
}

#[tokio::test]
async fn who_answered_is_asked_first_and_everybody_once() {
    let metadata = metadata();
    assert_eq!(metadata.candidates(), [Arc::from("first:1")]);
    metadata.learn(&answer(1, 1, 1));
    metadata.prefer(&Arc::from("node-2:1"));
    let names: Vec<_> = metadata.candidates();
    assert_eq!(names, ["node-2:1", "node-1:1", "first:1"].map(Arc::from));
    metadata.avoid(&Arc::from("node-2:1"));
    assert_eq!(metadata.candidates()[0], Arc::from("node-1:1"));
}

#[tokio::test]
async fn a_topic_that_is_gone_is_forgotten() {
    let metadata = metadata();
    metadata.learn(&answer(1, 1, 1));
    assert_eq!(metadata.partitions("t").map(|(count, _)| count), Some(1));
    assert!(!metadata.is_stale("t"));
    let mut gone = answer(2, 1, 1);
    gone.topics[0].error = Some(v1::Error::default());
    metadata.learn(&gone);
    assert_eq!(metadata.partitions("t"), None);
    assert!(metadata.is_stale("t"));
}
