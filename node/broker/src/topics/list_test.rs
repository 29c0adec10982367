//! Tests of lists of topics.

use std::collections::BTreeMap;

use kontiki_domain::catalog::{
    Command, CreateTopic, DiskId, FeatureLevel, FeatureRange, InitCluster, Limits, NodeSpec,
};
use kontiki_domain::settings::Overrides;
use kontiki_domain::shard::{self, ShardMachine, decode_outcome};
use kontiki_domain::{Stamp, catalog};
use kontiki_storage::WriteBatch;
use kontiki_storage::id::{LogIndex, NodeId, ShardId};
use kontiki_storage::key::Space;
use kontiki_storage::memory::{Disk, MemoryEngine};

use super::*;

fn apply(machine: &mut ShardMachine, engine: &MemoryEngine, command: Command) -> catalog::Reply {
    let stamp = Stamp { index: LogIndex(1), term: 1, time_ms: 1 };
    let command = shard::Command::from(command).encode();
    let (mut batch, mut effects) = (WriteBatch::new(), Vec::new());
    let reply = machine.apply(engine, stamp, &command, &[], &mut batch, &mut effects).unwrap();
    match decode_outcome(&reply).unwrap().unwrap() {
        shard::Reply::Catalog(reply) => reply,
        reply @ (shard::Reply::Partition(_) | shard::Reply::Queue(_)) => panic!("{reply:?}"),
    }
}

/// A catalog with topics of these names, the n-th of which has n partitions.
fn with_topics(names: &[&str]) -> ShardMachine {
    let engine = MemoryEngine::open(&Disk::new());
    let space = Space::first(ShardId::CATALOG);
    let mut machine = ShardMachine::load(engine.as_ref(), space).unwrap();
    let spec = NodeSpec {
        node: NodeId(1),
        disk: DiskId([1; 16]),
        peer_address: "a:1".to_owned(),
        client_address: "a:2".to_owned(),
        listeners: BTreeMap::new(),
        rack: None,
        labels: BTreeMap::new(),
        features: FeatureRange::THIS_RELEASE,
    };
    let init = InitCluster {
        cluster_id: "c".to_owned(),
        shard_count: 2,
        replication_factor: 1,
        nodes: vec![spec],
        catalog_nodes: vec![NodeId(1)],
        limits: Limits::default(),
        feature_level: FeatureLevel(1),
    };
    apply(&mut machine, &engine, Command::InitCluster(init));
    for (at, name) in names.iter().enumerate() {
        let create = CreateTopic {
            queue: None,
            name: (*name).to_owned(),
            partitions: u32::try_from(at).unwrap() + 1,
            overrides: Overrides::default(),
            request: None,
            validate_only: false,
        };
        apply(&mut machine, &engine, Command::CreateTopic(create));
    }
    machine
}

const NAMES: [&str; 6] = ["b", "ba", "a", "b-1", "c", "B"];

fn names(machine: &ShardMachine, prefix: &str, after: &str, limit: usize) -> (Vec<String>, bool) {
    let (found, more) =
        page(machine.catalog().unwrap(), prefix, after, limit, |topic| Some(listed(topic)));
    (found.into_iter().map(|listed| listed.topic).collect(), more)
}

#[test]
fn names_come_in_the_order_of_their_bytes_with_what_they_are() {
    let machine = with_topics(&NAMES);
    let (found, more) = page(machine.catalog().unwrap(), "", "", 10, |topic| Some(listed(topic)));
    let seen: Vec<(&str, u64, u32)> = found
        .iter()
        .map(|listed| (listed.topic.as_str(), listed.topic_id, listed.partitions))
        .collect();
    let all = [("B", 6, 6), ("a", 3, 3), ("b", 1, 1), ("b-1", 4, 4), ("ba", 2, 2), ("c", 5, 5)];
    assert_eq!((seen.as_slice(), more), (all.as_slice(), false));
}

#[test]
fn a_prefix_keeps_what_begins_with_it() {
    let machine = with_topics(&NAMES);
    let cases: [(&str, &str, &[&str]); 8] = [
        ("b", "", &["b", "b-1", "ba"]),
        ("b", "a", &["b", "b-1", "ba"]),
        ("b", "b", &["b-1", "ba"]),
        ("b", "b-1", &["ba"]),
        ("b", "c", &[]),
        ("b-", "", &["b-1"]),
        ("x", "", &[]),
        ("", "b-1", &["ba", "c"]),
    ];
    for (prefix, after, expected) in cases {
        let (seen, more) = names(&machine, prefix, after, 10);
        assert_eq!((seen.as_slice(), more), (to_owned(expected).as_slice(), false), "{prefix:?}");
    }
}

fn to_owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn pages_of_any_size_together_are_the_whole() {
    let machine = with_topics(&NAMES);
    for prefix in ["", "b"] {
        let (whole, more) = names(&machine, prefix, "", 100);
        assert!(!more);
        for limit in 1..=whole.len() {
            let (mut seen, mut after) = (Vec::new(), String::new());
            loop {
                let (page, more) = names(&machine, prefix, &after, limit);
                assert_eq!(page.len() == limit, more || seen.len() + limit == whole.len());
                after = page.last().expect("a page that was announced has a name").clone();
                seen.extend(page);
                if !more {
                    break;
                }
            }
            assert_eq!(seen, whole, "prefix {prefix:?}, {limit} at a time");
        }
    }
}
