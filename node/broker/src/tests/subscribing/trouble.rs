//! Subscriptions in trouble: catalogs that are behind, consumers that are taken over, more than
//! fits.

use bytes::Bytes;
use kontiki_domain::settings::Settings;
use kontiki_domain::shard::ShardMachine;
use kontiki_domain::{partition, shard};
use kontiki_records::Compression;
use kontiki_storage::id::{PartitionId, ShardId, TopicId};
use kontiki_storage::key::Space;
use kontiki_storage::memory::{Disk, MemoryEngine};

use super::{
    BTreeMap, Code, Duration, Error, Kind, LONG, Listener, Options, Output, Start, Subscribe,
    TestNode, cel, durable, earliest, node, node_of, pattern, record,
};
use crate::Routing;
use crate::produce::{self, Acks, Data, PartitionRecords, RecordSet};
use crate::read::wire::{Request, Response, Select, SelectPart, SelectedPart};
use crate::route::How;

/// A copy of the catalog that was damaged is made anew, and lacks for a while what was there.
#[tokio::test]
async fn a_copy_of_the_catalog_that_is_behind_ends_nothing() {
    let node = node().await;
    for topic in ["t.a", "t.b"] {
        node.topic(topic).await;
        node.write(topic, &["old"]).await;
    }
    node.durable("s", "t.*", Start::Earliest).await;
    let mut all = Vec::new();
    for subscribe in [durable("s"), earliest(pattern("t.*"))] {
        all.push(Listener::open(&node, subscribe).await);
    }
    for one in &mut all {
        assert_eq!(one.take(2).await, ["t.a@0=old", "t.b@0=old"]);
    }
    let catalog = &node.broker.0.catalog;
    let view = MemoryEngine::open(&Disk::new());
    let nothing = ShardMachine::load(view.as_ref(), Space { shard: ShardId(0), generation: 0 });
    let nothing = nothing.expect("an empty one");
    let known = catalog.change(|machine| std::mem::replace(machine, nothing));
    catalog.publish();
    for one in &mut all {
        // Longer than it waits after a change.
        let step = tokio::time::timeout(Duration::from_millis(600), one.subscribed.next());
        assert!(!matches!(step.await, Ok(Err(_) | Ok(Some(Output::Records { .. })))));
    }
    catalog.change(|machine| *machine = known);
    catalog.publish();
    node.write("t.b", &["new"]).await;
    for one in &mut all {
        assert_eq!(one.take(1).await, ["t.b@1=new"]);
    }
}

/// A leader whose copy of the catalog is behind, or was lost, has partitions of which that says
/// nothing. Whoever asks for their records must not ask again and again.
#[tokio::test]
async fn a_partition_that_the_catalog_does_not_know_is_refused() {
    let node = node().await;
    node.topic("t").await;
    let core = &node.broker.0;
    let shard = core.catalog.place("t", 0).expect("it exists").shard;
    let partition = PartitionId(99_999);
    let settings = Settings::default();
    let create = partition::Command::CreatePartition {
        partition,
        topic: TopicId(99_999),
        settings: settings.clone(),
        settings_version: 1,
        queue: None,
    };
    let (header, batch) = core.encode_own(&[record(b"a")], &settings).expect("a batch");
    let append = partition::Append { partition, payload: 0, header, leader_term: None };
    let append = partition::Command::Append(append);
    for (command, payloads) in [(create, vec![]), (append, vec![batch])] {
        let command = shard::Command::from(command).encode();
        let how = How::applied_by(core.default_deadline());
        core.router.propose(shard, command, payloads, how).await.expect("it is applied");
    }
    let partitions = vec![SelectPart { partition: partition.0, offset: 0 }];
    let select = Select { partitions, filter: None, max_bytes: 1 << 20, wait_ms: 60_000 };
    let select = Request::Select(select);
    let asked = core.read_shard(shard, &select, core.default_deadline());
    let (Response::Selected(parts), payloads) = asked.await.expect("an answer") else {
        panic!("another answer");
    };
    assert_eq!(payloads.len(), 0);
    let [SelectedPart::Failed { partition: 99_999, failed }] = &parts[..] else {
        panic!("{parts:?}");
    };
    assert_eq!(Error::from(failed.clone()).kind, Kind::NotFound);
}

/// Until it hears that another one has its subscription.
async fn ended(listener: &mut Listener) -> Error {
    loop {
        if let Err(error) = listener.step().await {
            break error;
        }
    }
}

#[tokio::test]
async fn what_was_taken_over_does_not_undo_a_replay() {
    let node = node().await;
    node.topic("t").await;
    node.write("t", &["a", "b", "c"]).await;
    node.durable("d", "t", Start::Earliest).await;
    let mut first = Listener::open(&node, durable("d")).await;
    assert_eq!(first.take(3).await, ["t@0=a", "t@1=b", "t@2=c"]);
    let replay = Subscribe { takeover: true, reset: true, ..earliest(durable("d")) };
    let mut second = Listener::open(&node, replay).await;
    // It doesn't know yet, and commits.
    first.acknowledge("t", 2);
    assert_eq!(ended(&mut first).await.code, Code::SUBSCRIPTION_ATTACHED);
    assert_eq!(node.lag("d").await["t/0"], (0, 3));
    first.acknowledge("t", 3);
    let closed = first.subscribed.close().await.expect_err("it can't be committed");
    assert_eq!(closed.code, Code::SUBSCRIPTION_ATTACHED);
    assert_eq!(node.lag("d").await["t/0"], (0, 3));
    assert_eq!(second.take(3).await, ["t@0=a", "t@1=b", "t@2=c"]);
    second.acknowledge("t", 1);
    second.close().await;
    assert_eq!(node.lag("d").await["t/0"], (1, 3));
    // Who comes after it goes on there.
    let mut third = Listener::open(&node, durable("d")).await;
    assert_eq!(third.take(2).await, ["t@1=b", "t@2=c"]);
    third.acknowledge("t", 3);
    third.close().await;
    assert_eq!(node.lag("d").await["t/0"], (3, 3));
}

#[tokio::test]
async fn who_knows_that_it_was_taken_over_commits_nothing() {
    let node = node().await;
    node.topic("t").await;
    node.write("t", &["a", "b"]).await;
    node.durable("d", "t", Start::Earliest).await;
    let mut first = Listener::open(&node, durable("d")).await;
    assert_eq!(first.take(2).await, ["t@0=a", "t@1=b"]);
    let second = Listener::open(&node, Subscribe { takeover: true, ..durable("d") }).await;
    assert_eq!(ended(&mut first).await.code, Code::SUBSCRIPTION_ATTACHED);
    first.acknowledge("t", 2);
    let closed = first.subscribed.close().await.expect_err("it can't be committed");
    assert_eq!((closed.kind, closed.code), (Kind::Conflict, Code::SUBSCRIPTION_ATTACHED));
    assert_eq!(node.lag("d").await["t/0"], (0, 2));
    second.close().await;
}

/// A client that has come from another node, or a topic that bore the name before, may have had
/// more.
#[tokio::test]
async fn what_was_not_delivered_is_not_acknowledged() {
    let node = node().await;
    node.topic("t").await;
    node.write("t", &["a", "b", "c"]).await;
    node.durable("d", "t", Start::Earliest).await;
    let mut subscribed = node.broker.subscribe(durable("d")).await.expect("it opens");
    subscribed.credit(1).expect("less than the limit");
    let mut one = Listener { subscribed, positions: BTreeMap::new() };
    one.acknowledge("t", 3);
    assert_eq!(one.take(1).await, ["t@0=a"]);
    one.close().await;
    assert_eq!(node.lag("d").await["t/0"], (0, 3), "nothing was delivered then");
    let mut two = Listener::open(&node, durable("d")).await;
    assert_eq!(two.take(3).await.len(), 3);
    two.acknowledge("t", 100);
    two.close().await;
    node.write("t", &["d"]).await;
    assert_eq!(node.lag("d").await["t/0"], (3, 4));
}

/// Records of this many zeros, in one batch.
async fn write_zeros(node: &TestNode, sizes: &[usize]) {
    let records = sizes.iter().map(|size| record(&vec![0; *size])).collect();
    let set = RecordSet { records, compression: Compression::Zstd, producer: None };
    let data = Data::Records(set);
    let partitions = vec![PartitionRecords { topic: "t".to_owned(), partition: 0, data }];
    let request = produce::Request {
        acks: Acks::Quorum,
        timeout: LONG,
        routing: Routing::Forward,
        partitions,
    };
    let mut results = node.broker.produce(request).expect("a sound request").await;
    results.pop().expect("one result").expect("it is written");
}

#[tokio::test]
async fn what_is_selected_out_of_a_compressed_batch_is_bounded() {
    const KIB: usize = 1_024;
    let node = node().await;
    node.topic("t").await;
    write_zeros(&node, &[20 * KIB; 10]).await;
    write_zeros(&node, &[90 * KIB, KIB]).await;
    let place = node.broker.0.catalog.place("t", 0).expect("it exists");
    let mut offset = 0;
    let mut found = Vec::new();
    while offset < 12 {
        let partitions = vec![SelectPart { partition: place.partition.0, offset }];
        let filter = cel("meta.offset != 1");
        let select = Select { partitions, filter, max_bytes: 64 << 10, wait_ms: 0 };
        let deadline = node.broker.0.default_deadline();
        let asked = node.broker.0.read_shard(place.shard, &Request::Select(select), deadline).await;
        let (Response::Selected(parts), payloads) = asked.expect("an answer") else {
            panic!("another answer");
        };
        let [SelectedPart::Done(selected)] = &parts[..] else { panic!("{parts:?}") };
        let bytes: usize = payloads.iter().map(Bytes::len).sum();
        found.push((selected.batches.concat(), selected.unmatched, bytes / KIB));
        assert!(selected.next_offset > offset, "it goes on");
        offset = selected.next_offset;
    }
    let wanted = [
        (vec![0, 2, 3], 1, 60),
        (vec![4, 5, 6], 0, 60),
        (vec![7, 8, 9], 0, 60),
        (vec![10], 0, 90),
        (vec![11], 0, 1),
    ];
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn compressed_batches_are_given_out_in_bounded_parts() {
    const KIB: usize = 1_024;
    let mut options = Options::default();
    options.subscribe.buffer_bytes = 64 << 10;
    let node = node_of(options).await;
    node.topic("t").await;
    for _ in 0..3 {
        write_zeros(&node, &[300 * KIB; 10]).await;
    }
    for filter in [None, cel("meta.offset >= 0")] {
        let subscribe = earliest(Subscribe { filter, ..pattern("t") });
        let mut listener = Listener::open(&node, subscribe).await;
        let mut offsets = Vec::new();
        while offsets.len() < 30 {
            let records = listener.step().await.expect("it goes on");
            let bytes: usize = records.iter().map(|(_, _, value)| value.len()).sum();
            assert!(bytes <= KIB * KIB, "{bytes}");
            offsets.extend(records.into_iter().map(|(_, offset, _)| offset));
        }
        assert_eq!(offsets, (0..30).collect::<Vec<u64>>());
    }
}
