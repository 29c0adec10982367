//! A node on memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kontiki_domain::catalog::{CreateTopic, DiskId, FeatureRange, NodeSpec};
use kontiki_domain::settings::Overrides;
use kontiki_domain::{catalog, partition};
use kontiki_raft::Dialer;
use kontiki_records::Compression;
use kontiki_storage::id::NodeId;
use kontiki_storage::memory::{Disk, MemoryEngine, MemoryPayloads};
use tonic::transport::{Channel, Endpoint};

use crate::fetch::{self, FetchPartition, Fetched};
use crate::produce::{self, Acks, Data, PartitionRecords, Produced, Record, RecordSet};
use crate::{Broker, Error, Options, Routing, Start, cluster};

/// No other node is there.
struct Nowhere;

impl Dialer for Nowhere {
    fn dial(&self, _: &str) -> Channel {
        Endpoint::from_static("http://127.0.0.1:1").connect_lazy()
    }
}

pub(super) struct TestNode {
    pub(super) broker: Broker,
    pub(super) disk: Disk,
    pub(super) time_ms: Arc<AtomicI64>,
}

pub(super) const BEGIN_MS: i64 = 1_700_000_000_000;

/// A node that is ready, with timers that don't make a test wait.
pub(super) async fn node() -> TestNode {
    node_with(Options::default()).await
}

pub(super) async fn node_with(options: Options) -> TestNode {
    let node = node_on(Disk::new(), options).await;
    eventually("the node is ready", || node.broker.is_ready().is_ok()).await;
    node
}

/// A node on a disk that may have been in use; it may not be ready yet.
pub(super) async fn node_on(disk: Disk, options: Options) -> TestNode {
    node_of(FeatureRange::THIS_RELEASE, disk, options).await
}

/// The same of another release.
pub(super) async fn node_of(features: FeatureRange, disk: Disk, options: Options) -> TestNode {
    node_as(features, disk, options, kontiki_raft::Options::default()).await
}

/// A node with other limits between nodes.
pub(super) async fn node_linked(raft: kontiki_raft::Options) -> TestNode {
    let node = node_as(FeatureRange::THIS_RELEASE, Disk::new(), Options::default(), raft).await;
    eventually("the node is ready", || node.broker.is_ready().is_ok()).await;
    node
}

async fn node_as(
    features: FeatureRange,
    disk: Disk,
    mut options: Options,
    raft: kontiki_raft::Options,
) -> TestNode {
    options.timers.retention_check_ms = 20;
    options.timers.expiry_check_ms = 20;
    options.timers.topics_check_ms = 20;
    options.route.timeout_ms = 5_000;
    let time_ms = Arc::new(AtomicI64::new(BEGIN_MS));
    let clock = Arc::clone(&time_ms);
    let numbers = AtomicU64::new(1);
    let address = "127.0.0.1:1".to_owned();
    let start = Start {
        spec: spec(&address, features),
        engine: MemoryEngine::open(&disk),
        payloads: MemoryPayloads::open(&disk, kontiki_storage::memory::Options::default()),
        dialer: Arc::new(Nowhere),
        clock: Arc::new(move || clock.load(Ordering::SeqCst)),
        random: Arc::new(move || u128::from(numbers.fetch_add(1, Ordering::SeqCst)).to_be_bytes()),
        fatal: Arc::new(|error| panic!("fatal: {error}")),
        probe: Arc::new(kontiki_raft::NoProbe),
        initial_members: BTreeMap::from([(NodeId(1), address.clone())]),
        join: Vec::new(),
        options,
        cluster: cluster::Options { shards: 2, check_ms: 50, ..cluster::Options::default() },
        raft,
    };
    let (broker, committer) = Broker::start(start).await.expect("it starts");
    tokio::spawn(committer.run());
    let running = broker.clone();
    tokio::spawn(async move { running.run().await.expect("it runs") });
    TestNode { broker, disk, time_ms }
}

fn spec(address: &str, features: FeatureRange) -> NodeSpec {
    NodeSpec {
        node: NodeId(1),
        disk: DiskId([0; 16]),
        peer_address: address.to_owned(),
        client_address: "127.0.0.1:2".to_owned(),
        listeners: BTreeMap::new(),
        rack: None,
        labels: BTreeMap::new(),
        features,
    }
}

/// Looks until it is so.
pub(super) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let looked = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), looked).await.expect(what);
}

pub(super) fn record(value: &[u8]) -> Record {
    Record { value: Some(Bytes::copy_from_slice(value)), ..Record::default() }
}

impl TestNode {
    /// The topic's partitions are made in the background.
    pub(super) async fn create(&self, name: &str, partitions: u32, overrides: Overrides) {
        let command = catalog::Command::CreateTopic(CreateTopic {
            queue: None,
            name: name.to_owned(),
            partitions,
            overrides,
            request: None,
            validate_only: false,
        });
        let core = &self.broker.0;
        core.ask_catalog(command, core.default_deadline()).await.expect("it is created");
        for number in 0..partitions {
            self.made(name, number).await;
        }
    }

    pub(super) async fn made(&self, topic: &str, number: u32) {
        let is_made = || self.state(topic, number).is_some_and(|state| state.is_live());
        eventually("the partition is made", is_made).await;
    }

    pub(super) fn state(&self, topic: &str, number: u32) -> Option<partition::PartitionState> {
        let core = &self.broker.0;
        let place = core.catalog.place(topic, number).ok()?;
        let (view, space) = core.raft.shard(place.shard)?.view();
        partition::read::partition(view.as_ref(), space, place.partition).expect("rows are sound")
    }

    pub(super) async fn produce(
        &self,
        topic: &str,
        partition: u32,
        records: Vec<Record>,
    ) -> Result<Produced, Error> {
        let set = RecordSet { records, compression: Compression::None, producer: None };
        let partitions =
            vec![PartitionRecords { topic: topic.to_owned(), partition, data: Data::Records(set) }];
        let request = produce::Request {
            acks: Acks::Quorum,
            timeout: Duration::from_secs(30),
            routing: Routing::Forward,
            partitions,
        };
        let mut results = self.broker.produce(request)?.await;
        results.pop().expect("one result")
    }

    pub(super) async fn fetch(
        &self,
        topic: &str,
        wanted: &[(u32, u64)],
        max_wait: Duration,
    ) -> Vec<Result<Fetched, Error>> {
        let request = fetch::Request {
            partitions: wanted.iter().map(|(number, from)| at(topic, *number, *from)).collect(),
            min_bytes: 1,
            max_bytes: 0,
            max_wait,
            routing: Routing::Forward,
        };
        let answer = self.broker.fetch(request).await.expect("a sound request");
        answer.into_iter().map(|partition| partition.outcome).collect()
    }
}

pub(super) fn at(topic: &str, partition: u32, offset: u64) -> FetchPartition {
    FetchPartition { topic: topic.to_owned(), partition, offset, max_bytes: 0 }
}

/// Offset, timestamp and value of all records.
pub(super) fn records(batches: &[Bytes]) -> Vec<(i64, i64, Bytes)> {
    let limits = kontiki_records::Limits { batch_bytes_max: 64 << 20, ..Default::default() };
    let mut all = Vec::new();
    for bytes in batches {
        let batch = kontiki_records::Batch::parse(bytes.clone(), &limits).expect("a sound batch");
        for record in batch.records(&limits).expect("sound records") {
            let record = record.expect("a sound record");
            all.push((record.offset, record.timestamp, record.value.unwrap_or_default()));
        }
    }
    all
}
