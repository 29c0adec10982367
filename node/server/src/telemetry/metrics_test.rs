//! The list for people has every metric that is exported, and no other.

use std::collections::BTreeMap;

use kontiki_domain::catalog::{DiskId, FeatureRange, NodeSpec};
use kontiki_raft::Status;
use kontiki_storage::files::Files;
use kontiki_storage::id::{LogIndex, NodeId, ReplicaId, ShardId};
use kontiki_storage::memory;

use super::*;
use crate::config::DialOptions;
use crate::net::Peers;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/METRICS.md");

/// Set, the list is written instead of compared.
const WRITE: &str = "KONTIKI_WRITE_METRICS";

fn status(shard: u32) -> Status {
    let replica = |node| ReplicaId::new(NodeId(node), 1);
    Status {
        shard: ShardId(shard),
        replica: replica(1),
        leader: Some(replica(1)),
        term: 7,
        ready: true,
        last: LogIndex(100),
        applied: LogIndex(99),
        voters: vec![replica(1), replica(2), replica(3)],
        learners: Vec::new(),
        matched: vec![(replica(2), LogIndex(100)), (replica(3), LogIndex(60))],
        failed: false,
    }
}

/// All figures of a node, as the server composes them.
async fn page() -> String {
    let metrics = Metrics::default();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let engine = memory::MemoryEngine::open(&memory::Disk::new());
    let payloads = Files::open(folder.path(), kontiki_storage::files::Options::default());
    let payloads: Arc<dyn Payloads> = Arc::new(payloads.expect("the folder can be used"));
    metrics.storage(engine.clone(), Arc::clone(&payloads));
    metrics.shards(Arc::new(|| (0..5).rev().map(status).collect()), 3);
    let (broker, _committer) = broker(engine, payloads).await;
    metrics.register(|registry| broker.register_metrics(registry));
    let connections = Connections::default();
    metrics.register(|registry| connections.register(registry));
    connections.opened("client");
    connections.refused("client");
    metrics.page()
}

async fn broker(
    engine: Arc<dyn Engine>,
    payloads: Arc<dyn Payloads>,
) -> (kontiki_broker::Broker, kontiki_raft::Committer) {
    let spec = NodeSpec {
        node: NodeId(1),
        disk: DiskId([0; 16]),
        peer_address: "127.0.0.1:1".to_owned(),
        client_address: "127.0.0.1:2".to_owned(),
        listeners: BTreeMap::new(),
        rack: None,
        labels: BTreeMap::new(),
        features: FeatureRange::THIS_RELEASE,
    };
    let start = kontiki_broker::Start {
        spec,
        engine,
        payloads,
        dialer: Arc::new(Peers::new(DialOptions::default())),
        clock: Arc::new(|| 0),
        random: Arc::new(|| [7; 16]),
        probe: Arc::new(kontiki_raft::NoProbe),
        fatal: Arc::new(|error| panic!("{error}")),
        initial_members: BTreeMap::new(),
        join: Vec::new(),
        options: kontiki_broker::Options::default(),
        cluster: kontiki_broker::cluster::Options::default(),
        raft: kontiki_raft::Options::default(),
    };
    kontiki_broker::Broker::start(start).await.expect("it is prepared")
}

/// Name, type and help of every metric on a page.
fn families(page: &str) -> BTreeMap<String, (String, String)> {
    let mut families = BTreeMap::new();
    for line in page.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            let help = help.trim_end_matches('.').to_owned();
            families.entry(name.to_owned()).or_insert((String::new(), String::new())).1 = help;
        }
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
            let kind = kind.to_owned();
            families.entry(name.to_owned()).or_insert((String::new(), String::new())).0 = kind;
        }
    }
    families
}

#[tokio::test]
async fn the_list_of_metrics_is_the_list_of_metrics() {
    let families = families(&page().await);
    assert!(families.len() > 30, "{families:?}");
    let mut list = String::from(
        "# Metrics\n\nWhat `/metrics` on a node's HTTP port shows, in Prometheus' text format. \
         Names say the unit:\n`_bytes`, `_seconds`; everything else is a count.\n\n\
         | name | type | meaning |\n|---|---|---|\n",
    );
    for (name, (kind, help)) in &families {
        assert!(name.starts_with("kontiki_"), "{name}");
        assert!(!help.is_empty(), "{name} has no meaning");
        list.push_str(&format!("| `{name}` | {kind} | {help} |\n"));
    }
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(PATH, &list).expect("the list can be written");
    }
    let written = std::fs::read_to_string(PATH).expect("the list is there");
    assert!(written == list, "run this test with {WRITE}=1 and commit {PATH}; it would be\n{list}");
}

#[tokio::test]
async fn shards_are_shown_up_to_a_number_of_them() {
    let page = page().await;
    let terms: Vec<&str> =
        page.lines().filter(|line| line.starts_with("kontiki_shard_term{")).collect();
    assert_eq!(
        terms,
        [
            "kontiki_shard_term{shard=\"0\"} 7",
            "kontiki_shard_term{shard=\"1\"} 7",
            "kontiki_shard_term{shard=\"2\"} 7",
        ]
    );
    assert!(page.contains("\nkontiki_shard_behind_entries{shard=\"1\"} 40\n"), "{page}");
    assert!(page.contains("\nkontiki_shard_leader_node{shard=\"1\"} 1\n"), "{page}");
}

#[tokio::test]
async fn the_process_knows_itself() {
    let page = page().await;
    let value = |name: &str| -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}: {page}")).parse().expect("a number")
    };
    assert!(value("kontiki_process_resident_bytes") > 1e6);
    assert!(value("kontiki_process_threads") >= 1.0);
    assert!(value("kontiki_process_open_files") >= 3.0);
    assert!(value("kontiki_process_cpu_seconds_total") > 0.0);
    assert!(value("kontiki_process_open_files_limit") >= value("kontiki_process_open_files"));
}
