//! Disks are lost, filled and damaged.

use kontiki_it::payload::RecordName;
use kontiki_it::{Launch, files, process, wait};
use kontiki_proto::v1::{self, ErrorKind};

use crate::scene::{Scene, TOPIC};

/// A log so short that who has missed a little of it needs a snapshot.
const SHORT_LOG: &str = "[raft]\nlog_entries_keep = 50\nlog_bytes_keep = 1048576\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_is_deleted() {
    let launch = Launch { config: Some(SHORT_LOG.to_owned()), ..Launch::default() };
    let mut scene = Scene::launch("wiped", launch).await;
    scene.progress().await;
    let (shard, leader) = scene.cluster.leader(TOPIC, 0).await;
    let wiped = leader % 3 + 1;
    let third = wiped % 3 + 1;

    scene.cluster.node(wiped).kill();
    scene.progress().await;
    scene.cluster.node(wiped).wipe();
    scene.cluster.node(wiped).start();
    scene.cluster.node(wiped).ready().await;
    scene.cluster.settled(3).await;
    scene.progress().await;

    // It leads, and makes a quorum with one of the others: all that is read comes from it.
    scene.cluster.lead(shard, wiped).await;
    scene.cluster.node(third).kill();
    scene.progress().await;
    scene.check("a data directory deleted").await;
}

/// Small enough to be filled quickly; the limits of the nodes to match.
const DISK_BYTES: u64 = 512 << 20;
const SMALL_DISK: &str = "[raft]\n\
    free_bytes_propose_min = 134217728\n\
    free_bytes_append_min = 67108864\n\
    [storage]\n\
    free_bytes_min = 33554432\n\
    [segments]\n\
    free_bytes_min = 33554432\n\
    segment_bytes = 16777216\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disks_are_full() {
    if !process::has_small_disks() {
        println!(
            "NOT RUN: this machine lets nobody mount a file system in a namespace of one's own"
        );
        return;
    }
    let config = Some(SMALL_DISK.to_owned());
    let launch = Launch { config, disk_bytes: Some(DISK_BYTES) };
    let mut scene = Scene::launch("full", launch).await;
    scene.cluster.create_topic("spare", 1).await;

    let fillers: Vec<_> = scene
        .cluster
        .nodes
        .iter()
        .map(|node| files::fill(&node.visible_data(), 32 << 20).expect("it can be filled"))
        .collect();
    let any = scene.cluster.any();
    let refused = wait::until("a refusal", || async {
        any.next();
        match any.current().produce(plain("spare")).await {
            Ok(_) => Err("still written".to_owned()),
            Err(refused) if refused.kind == ErrorKind::Unspecified => Err(refused.to_string()),
            Err(refused) => Ok(refused),
        }
    })
    .await;
    let kinds = [ErrorKind::Unavailable, ErrorKind::Throttled];
    assert!(kinds.contains(&refused.kind), "not done, and may be later: {refused}");
    assert!(refused.message.contains("disk"), "it says what is full: {refused}");
    // What is there can be read.
    let (_, end) = any.ask("offsets", |api| async move { api.offsets(TOPIC, 0).await }).await;
    assert!(end >= scene.ledger.acknowledged_count(0));
    any.ask("a fetch", |api| async move { api.fetch(TOPIC, 0, 0, 0).await }).await;

    for filler in fillers {
        std::fs::remove_file(&filler).expect("it is there");
    }
    scene.progress().await;
    for node in &mut scene.cluster.nodes {
        assert!(node.is_running(), "node {} has lived through it", node.spec.id);
    }
    scene.check("full disks").await;
}

/// One record for a topic that has no ledger.
fn plain(topic: &str) -> v1::PartitionRecords {
    let record = v1::Record { value: Some("x".into()), ..Default::default() };
    let set = v1::RecordSet { records: vec![record], ..Default::default() };
    v1::PartitionRecords {
        topic: topic.to_owned(),
        partition: 0,
        data: Some(v1::partition_records::Data::Records(set)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_byte_is_flipped() {
    let mut scene = Scene::set("flipped").await;
    scene.progress().await;
    let (shard, leader) = scene.cluster.leader(TOPIC, 0).await;
    let damaged = leader % 3 + 1;
    scene.cluster.node(damaged).kill();

    // The large batches of writer 2 are stored as they are, outside of the Raft log.
    let name = RecordName { writer: 2, number: 45 };
    let mark = name.mark().into_bytes();
    let mut found = None;
    for path in files::below(&scene.cluster.node(damaged).spec.data) {
        if let Some(at) = files::position(&path, &mark).expect("the files can be read") {
            found.get_or_insert((path, at));
        }
    }
    let (path, at) = found.expect("a record that was acknowledged is on disk");
    files::flip(&path, at + 5).expect("the file can be changed");

    scene.cluster.node(damaged).start();
    scene.progress().await;
    // The damaged node is asked to lead, which it may decline until it is whole again, while
    // everything is read several times.
    let api = scene.cluster.api(leader);
    for _ in 0..3 {
        let request = v1::TransferLeadershipRequest { shard, to_node: damaged };
        let _ = api.cluster().transfer_leadership(request).await;
        scene.check_now().await;
        scene.progress().await;
    }
    // It is rebuilt from its peers, leads, and serves what was damaged.
    scene.cluster.settled(3).await;
    scene.cluster.lead(shard, damaged).await;
    scene.check_now().await;
    scene.check("a stored byte flipped").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_row_is_damaged() {
    let mut scene = Scene::set("row-damaged").await;
    scene.progress().await;
    let leader = scene.leader().await;
    let damaged = leader % 3 + 1;
    // An orderly end writes the tables out.
    scene.cluster.node(damaged).terminate().await;
    let mut tables = files::below(&scene.cluster.node(damaged).spec.data);
    tables.retain(|path| path.extension().is_some_and(|extension| extension == "sst"));
    for table in &tables {
        let length = std::fs::metadata(table).expect("it is there").len();
        files::flip(table, length / 3).expect("the file can be changed");
    }
    println!("{} tables damaged on node {damaged}", tables.len());
    scene.cluster.node(damaged).start();
    for _ in 0..3 {
        scene.progress().await;
        scene.check_now().await;
    }
    scene.check("stored rows damaged").await;
}
