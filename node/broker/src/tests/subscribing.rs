//! Subscriptions: what matches comes, once for each; durable ones go on where they were.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kontiki_domain::settings::{Overrides, Settings};
use kontiki_domain::shard::ShardMachine;
use kontiki_domain::{Rejection, partition, shard};
use kontiki_records::{Compression, Header};
use kontiki_storage::id::{PartitionId, ShardId, TopicId};
use kontiki_storage::key::Space;
use kontiki_storage::memory::{Disk, MemoryEngine};
use prometheus_client::metrics::counter::Counter;

use super::node::{BEGIN_MS, TestNode, eventually, node_with, record};
use crate::produce::{self, Acks, Data, PartitionRecords, Record, RecordSet};
use crate::read::wire::{Request, Response, Select, SelectPart, SelectedPart};
use crate::records::Target;
use crate::route::How;
use crate::subscriptions::{
    Counts, Create, FilterText, Language, Output, PatternSyntax, PositionAt, Start, Subscribe,
    Subscribed,
};
use crate::{Code, Error, Kind, Options, Routing};

const LONG: Duration = Duration::from_secs(60);

async fn node() -> TestNode {
    node_of(Options::default()).await
}

async fn node_of(mut options: Options) -> TestNode {
    options.subscribe.attach_ms = 200;
    options.subscribe.commit_ms = 10;
    node_with(options).await
}

fn cel(text: &str) -> Option<FilterText> {
    Some(FilterText { language: Language::Cel, text: text.to_owned() })
}

fn pattern(pattern: &str) -> Subscribe {
    Subscribe { pattern: pattern.to_owned(), ..Subscribe::default() }
}

fn earliest(subscribe: Subscribe) -> Subscribe {
    Subscribe { start: Some(Start::Earliest), ..subscribe }
}

fn durable(name: &str) -> Subscribe {
    Subscribe { name: name.to_owned(), ..Subscribe::default() }
}

fn colored(value: &str, color: &'static str) -> Record {
    Record { headers: vec![Header::new("color", color)], ..record(value.as_bytes()) }
}

/// Something that is said, and where: `t/0 2: a b`.
struct Listener {
    subscribed: Subscribed,
    positions: BTreeMap<(Arc<str>, u32), u64>,
}

impl Listener {
    async fn open(node: &TestNode, subscribe: Subscribe) -> Self {
        Self::try_open(node, subscribe).await.expect("it opens")
    }

    async fn try_open(node: &TestNode, subscribe: Subscribe) -> Result<Self, Error> {
        let mut subscribed = node.broker.subscribe(subscribe).await?;
        subscribed.credit(1_000).expect("less than the limit");
        let mut listener = Self { subscribed, positions: BTreeMap::new() };
        let first = listener.subscribed.next().await?.expect("the node runs");
        let Output::Positions(positions) = first else { panic!("{first:?}") };
        listener.note(positions);
        Ok(listener)
    }

    fn note(&mut self, positions: Vec<PositionAt>) {
        for PositionAt { topic, partition, offset } in positions {
            self.positions.insert((topic, partition), offset);
        }
    }

    async fn step(&mut self) -> Result<Vec<(String, u64, Bytes)>, Error> {
        let said = tokio::time::timeout(LONG, self.subscribed.next()).await.expect("in time")?;
        match said.expect("the node runs") {
            Output::Positions(positions) => {
                self.note(positions);
                Ok(Vec::new())
            }
            Output::Records { position, records } => {
                let topic = position.topic.to_string();
                let shown = |(offset, record): (u64, kontiki_records::Record)| {
                    (topic.clone(), offset, record.value.unwrap_or_default())
                };
                let records = records.into_iter().map(shown).collect();
                self.note(vec![position]);
                Ok(records)
            }
        }
    }

    /// So many records, as `topic@offset=value`, sorted.
    async fn take(&mut self, count: usize) -> Vec<String> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let records = self.step().await.expect("it goes on");
            taken.extend(records.into_iter().map(|(topic, offset, value)| {
                format!("{topic}@{offset}={}", String::from_utf8_lossy(&value))
            }));
        }
        taken.sort();
        taken
    }

    fn at(&self, topic: &str, partition: u32) -> Option<u64> {
        self.positions.get(&(topic.into(), partition)).copied()
    }

    /// Until a partition is known to have come so far.
    async fn reach(&mut self, topic: &str, offset: u64) {
        while self.at(topic, 0) < Some(offset) {
            let records = self.step().await.expect("it goes on");
            assert!(records.is_empty(), "{records:?}");
        }
    }

    fn acknowledge(&mut self, topic: &str, offset: u64) {
        let position = PositionAt { topic: topic.into(), partition: 0, offset };
        self.subscribed.acknowledge(&position);
    }

    async fn close(self) {
        self.subscribed.close().await.expect("it is committed");
    }
}

impl TestNode {
    async fn write(&self, topic: &str, values: &[&str]) {
        let records = values.iter().map(|value| record(value.as_bytes())).collect();
        self.produce(topic, 0, records).await.expect("it is written");
    }

    async fn topic(&self, name: &str) {
        self.create(name, 1, Overrides::default()).await;
    }

    async fn durable(&self, name: &str, pattern: &str, start: Start) {
        let create = Create {
            name: name.to_owned(),
            pattern: pattern.to_owned(),
            syntax: PatternSyntax::Nats,
            filter: None,
            start,
            if_not_exists: false,
        };
        self.broker.create_subscription(create).await.expect("it is created");
    }

    /// Position and end of a durable subscription in each partition.
    async fn lag(&self, name: &str) -> BTreeMap<String, (u64, u64)> {
        let listed = self.broker.list_subscriptions(name, "", 0, true).await.expect("a list");
        let one = listed.durable.into_iter().find(|one| one.name == name).expect("it exists");
        let lag = |lag: crate::subscriptions::Lag| {
            (format!("{}/{}", lag.topic, lag.partition), lag.outcome.expect("it is known"))
        };
        one.lag.into_iter().map(lag).collect()
    }
}

#[tokio::test]
async fn topics_that_match_are_merged_and_others_are_not() {
    let node = node().await;
    for topic in ["orders.eu", "orders.us", "orders.eu.late", "payments.eu"] {
        node.topic(topic).await;
        node.write(topic, &["old"]).await;
    }
    let mut one = Listener::open(&node, earliest(pattern("orders.*"))).await;
    assert_eq!(one.take(2).await, ["orders.eu@0=old", "orders.us@0=old"]);
    let mut all = Listener::open(&node, pattern("orders.>")).await;
    let amqp = Subscribe { syntax: PatternSyntax::Amqp, ..pattern("#.eu") };
    let mut amqp = Listener::open(&node, amqp).await;
    assert_eq!(amqp.at("payments.eu", 0), Some(1), "the latest by default");
    for topic in ["orders.eu", "orders.us", "orders.eu.late", "payments.eu"] {
        node.write(topic, &["new"]).await;
    }
    assert_eq!(one.take(2).await, ["orders.eu@1=new", "orders.us@1=new"]);
    let three = ["orders.eu.late@1=new", "orders.eu@1=new", "orders.us@1=new"];
    assert_eq!(all.take(3).await, three);
    assert_eq!(amqp.take(2).await, ["orders.eu@1=new", "payments.eu@1=new"]);
}

#[tokio::test]
async fn topics_join_from_their_first_record_and_leave() {
    let node = node().await;
    node.topic("a.1").await;
    let mut listener = Listener::open(&node, pattern("a.*")).await;
    node.create("a.2", 3, Overrides::default()).await;
    for partition in 0..3 {
        let value = partition.to_string();
        let written = node.produce("a.2", partition, vec![record(value.as_bytes())]).await;
        written.expect("it is written");
    }
    node.write("a.1", &["x"]).await;
    assert_eq!(listener.take(4).await, ["a.1@0=x", "a.2@0=0", "a.2@0=1", "a.2@0=2"]);
    node.broker.delete_topic("a.2").await.expect("it is deleted");
    node.topic("a.2").await;
    node.write("a.2", &["again"]).await;
    assert_eq!(listener.take(1).await, ["a.2@0=again"]);
}

#[tokio::test]
async fn only_what_matches_comes_and_the_position_goes_on_over_the_rest() {
    let node = node().await;
    node.topic("t").await;
    let filter = cel("headers.color == 'red'");
    let subscribe = Subscribe { filter, ..pattern("t") };
    let mut listener = Listener::open(&node, subscribe).await;
    let mixed = vec![colored("a", "red"), colored("b", "blue"), colored("c", "red")];
    node.produce("t", 0, mixed).await.expect("it is written");
    assert_eq!(listener.take(2).await, ["t@0=a", "t@2=c"]);
    let blue = (0..50).map(|_| colored("x", "blue")).collect();
    node.produce("t", 0, blue).await.expect("it is written");
    listener.reach("t", 53).await;
    // No such header: the filter has no answer, and nobody else is the worse for it.
    node.write("t", &["plain"]).await;
    node.produce("t", 0, vec![colored("d", "red")]).await.expect("it is written");
    assert_eq!(listener.take(1).await, ["t@54=d"]);
    let open = node.broker.list_subscriptions("", "", 0, false).await.expect("a list").ephemeral;
    assert_eq!(open[0].counts, Counts { matched: 3, unmatched: 51, failed: 1 });
    let metrics = &node.broker.0.metrics.subscriptions;
    let counted = [&metrics.matched, &metrics.unmatched, &metrics.filter_errors]
        .map(|one: &Counter| one.get());
    assert_eq!((metrics.open.get(), counted), (1, [3, 51, 1]));
    drop(listener);
    let open = node.broker.list_subscriptions("", "", 0, false).await.expect("a list").ephemeral;
    assert_eq!(open, []);
}

#[tokio::test]
async fn policies_and_bodies_are_understood() {
    let node = node().await;
    node.topic("t").await;
    let of = |language, text: &str| Some(FilterText { language, text: text.to_owned() });
    let headers = of(Language::PolicyOnHeaders, r#"{"color": [{"prefix": "re"}]}"#);
    let body = of(Language::PolicyOnBody, r#"{"price": [{"numeric": [">", 100]}]}"#);
    let meta = cel("meta.topic == 't' && meta.partition == 0 && meta.offset == 1 && key == 'k'");
    let mut listeners = Vec::new();
    for filter in [headers, body, meta] {
        listeners.push(Listener::open(&node, Subscribe { filter, ..pattern("t") }).await);
    }
    let keyed = Record { key: Some(Bytes::from_static(b"k")), ..record(br#"{"price": 101}"#) };
    node.produce("t", 0, vec![colored("{}", "red"), keyed]).await.expect("it is written");
    let mut taken = Vec::new();
    for listener in &mut listeners {
        taken.extend(listener.take(1).await);
    }
    assert_eq!(taken, ["t@0={}", r#"t@1={"price": 101}"#, r#"t@1={"price": 101}"#]);
}

#[tokio::test]
async fn a_request_looks_at_so_many_records_and_the_next_one_goes_on_in_the_batch() {
    let mut options = Options::default();
    options.subscribe.examined_records = 7;
    let node = node_of(options).await;
    node.topic("t").await;
    let values: Vec<Record> = (0..100).map(|n| record(n.to_string().as_bytes())).collect();
    node.produce("t", 0, values).await.expect("it is written");
    let filter = cel("int(meta.offset) % 10 == 3");
    let mut listener = Listener::open(&node, earliest(Subscribe { filter, ..pattern("t") })).await;
    let wanted: Vec<String> = (0..10).map(|n| format!("t@{}={}", n * 10 + 3, n * 10 + 3)).collect();
    let mut taken = listener.take(10).await;
    taken.sort_by_key(String::len);
    assert_eq!(taken, wanted);
    listener.reach("t", 100).await;
}

#[tokio::test]
async fn without_credit_nothing_comes_and_with_a_little_no_more() {
    let node = node().await;
    node.topic("t").await;
    node.write("t", &["a", "b", "c"]).await;
    let mut subscribed = node.broker.subscribe(earliest(pattern("t"))).await.expect("it opens");
    let first = subscribed.next().await.expect("it goes on").expect("the node runs");
    assert!(matches!(&first, Output::Positions(at) if at[0].offset == 0), "{first:?}");
    let nothing = tokio::time::timeout(Duration::from_millis(300), subscribed.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    for (credit, offsets, after) in [(2, vec![0, 1], 2), (1, vec![2], 3)] {
        subscribed.credit(credit).expect("less than the limit");
        let said = subscribed.next().await.expect("it goes on").expect("the node runs");
        let Output::Records { position, records } = said else { panic!("{said:?}") };
        let found: Vec<u64> = records.iter().map(|(offset, _)| *offset).collect();
        assert_eq!((found, position.offset), (offsets, after));
    }
    let error = subscribed.credit(10_001).expect_err("more than the limit");
    assert_eq!((error.kind, error.code), (Kind::Invalid, Code::INVALID_FIELD));
}

#[tokio::test]
async fn an_ephemeral_one_goes_on_where_its_client_says() {
    let node = node().await;
    node.topic("t").await;
    node.write("t", &["a", "b", "c"]).await;
    node.topic("new").await;
    node.write("new", &["x"]).await;
    let positions = vec![PositionAt { topic: "t".into(), partition: 0, offset: 1 }];
    let mut listener = Listener::open(&node, Subscribe { positions, ..pattern("*") }).await;
    assert_eq!(listener.take(3).await, ["new@0=x", "t@1=b", "t@2=c"]);
    // A position of a former topic of the name, which had more: the new one has nothing of it.
    let positions = vec![PositionAt { topic: "t".into(), partition: 0, offset: 100 }];
    let mut beyond = Listener::open(&node, Subscribe { positions, ..pattern("t") }).await;
    assert_eq!(beyond.at("t", 0), Some(100));
    while beyond.at("t", 0) != Some(3) {
        assert_eq!(beyond.step().await.expect("it goes on"), []);
    }
    node.write("t", &["d"]).await;
    assert_eq!(beyond.take(1).await, ["t@3=d"]);
    let start = Some(Start::Timestamp(BEGIN_MS * 2));
    let late = Listener::open(&node, Subscribe { start, ..pattern("t") }).await;
    assert_eq!(late.at("t", 0), Some(4), "nothing is that new");
}

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

#[tokio::test]
async fn a_durable_one_begins_when_it_is_created_and_goes_on_where_it_was() {
    let node = node().await;
    node.topic("t").await;
    node.write("t", &["before"]).await;
    node.durable("d", "*", Start::Latest).await;
    // Nobody is attached: it is for it nevertheless.
    node.write("t", &["a", "b", "c"]).await;
    node.topic("later").await;
    node.write("later", &["x"]).await;
    let mut listener = Listener::open(&node, durable("d")).await;
    assert_eq!(listener.take(4).await, ["later@0=x", "t@1=a", "t@2=b", "t@3=c"]);
    listener.acknowledge("t", 3);
    listener.close().await;
    let mut listener = Listener::open(&node, durable("d")).await;
    assert_eq!(listener.take(2).await, ["later@0=x", "t@3=c"], "what was not acknowledged");
    listener.acknowledge("t", 4);
    listener.acknowledge("later", 1);
    // Committed while it goes on, too.
    let committed = async {
        loop {
            let lag = node.lag("d").await;
            if lag["t/0"] == (4, 4) && lag["later/0"] == (1, 1) {
                break;
            }
        }
    };
    tokio::select! {
        () = committed => {}
        said = listener.step() => panic!("{said:?}"),
    }
    listener.close().await;
    let error = node.broker.subscribe(earliest(durable("d"))).await.err().expect("no reset");
    assert!(error.detail.contains("goes on where it was"), "{error}");
    let replay = Subscribe { reset: true, ..earliest(durable("d")) };
    let mut listener = Listener::open(&node, replay).await;
    assert_eq!(listener.take(5).await.len(), 5);
}

#[tokio::test]
async fn positions_go_on_over_what_does_not_match_and_over_what_was_deleted() {
    let node = node().await;
    node.topic("t").await;
    let create = Create {
        name: "d".to_owned(),
        pattern: "t".to_owned(),
        syntax: PatternSyntax::Nats,
        filter: cel("headers.color == 'red'"),
        start: Start::Earliest,
        if_not_exists: false,
    };
    node.broker.create_subscription(create.clone()).await.expect("it is created");
    let again = Create { if_not_exists: true, ..create.clone() };
    node.broker.create_subscription(again.clone()).await.expect("it is the same");
    let other = Create { pattern: "u".to_owned(), ..again };
    let error = node.broker.create_subscription(other).await.expect_err("another pattern");
    let exists = Code(Rejection::SubscriptionExists("d".to_owned()).code().into());
    assert_eq!((error.kind, error.code), (Kind::Exists, exists));

    node.produce("t", 0, vec![colored("a", "blue"), colored("b", "blue")]).await.expect("written");
    let mut listener = Listener::open(&node, durable("d")).await;
    listener.reach("t", 2).await;
    listener.close().await;
    assert_eq!(node.lag("d").await["t/0"], (2, 2), "without any acknowledgement");

    node.write("t", &["c", "d", "e"]).await;
    let target = Target { topic: "t".to_owned(), partition: 0, before: Some(4) };
    node.broker.delete_records(vec![target]).await.expect("asked")[0].clone().expect("deleted");
    assert_eq!(node.lag("d").await["t/0"], (4, 5), "it can't be below the log start");
    node.produce("t", 0, vec![colored("f", "red")]).await.expect("it is written");
    let mut listener = Listener::open(&node, durable("d")).await;
    assert_eq!(listener.take(1).await, ["t@5=f"]);
}

#[tokio::test]
async fn one_consumer_at_a_time_unless_it_is_taken_over() {
    let node = node().await;
    node.topic("t").await;
    node.durable("d", "t", Start::Earliest).await;
    let mut first = Listener::open(&node, durable("d")).await;
    let listed = node.broker.list_subscriptions("", "", 0, false).await.expect("a list");
    assert_eq!(listed.durable[0].attached.as_ref().map(|open| open.node), Some(1));
    let refused = Listener::try_open(&node, durable("d")).await.err().expect("it has a consumer");
    assert_eq!((refused.kind, refused.code), (Kind::Conflict, Code::SUBSCRIPTION_ATTACHED));
    assert!(refused.detail.contains("has a consumer on node 1"), "{refused}");
    let takeover = Subscribe { takeover: true, ..durable("d") };
    let second = Listener::open(&node, takeover).await;
    let ended = loop {
        if let Err(error) = first.step().await {
            break error;
        }
    };
    assert_eq!((ended.kind, ended.code), (Kind::Conflict, Code::SUBSCRIPTION_ATTACHED));
    // The end of the first one is none of the second.
    first.close().await;
    assert!(Listener::try_open(&node, durable("d")).await.is_err());
    second.close().await;
    let third = Listener::open(&node, durable("d")).await;
    let metrics = &node.broker.0.metrics.subscriptions;
    assert_eq!((metrics.open.get(), metrics.taken_over.get()), (1, 1));
    drop(third);
    assert_eq!(metrics.open.get(), 0);
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

#[tokio::test]
async fn a_deleted_one_ends_and_nothing_of_it_stays() {
    let node = node().await;
    node.topic("t").await;
    node.write("t", &["a"]).await;
    node.durable("d", "t", Start::Latest).await;
    let place = node.broker.0.catalog.place("t", 0).expect("it exists");
    let positions = || {
        let (view, space) = node.broker.0.raft.shard(place.shard).expect("it is here").view();
        partition::read::positions(view.as_ref(), space, None, 10).expect("rows are sound").len()
    };
    assert_eq!(positions(), 1);
    let mut listener = Listener::open(&node, durable("d")).await;
    node.broker.delete_subscription("d").await.expect("it is deleted");
    let ended = loop {
        if let Err(error) = listener.step().await {
            break error;
        }
    };
    assert_eq!(ended.kind, Kind::NotFound);
    listener.close().await;
    eventually("the position is forgotten", || positions() == 0).await;
    let unknown = node.broker.delete_subscription("d").await.expect_err("it is gone");
    assert_eq!(unknown.kind, Kind::NotFound);
    let unknown = node.broker.subscribe(durable("d")).await.err().expect("it is gone");
    assert_eq!(unknown.kind, Kind::NotFound);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_its_place() {
    let mut options = Options::default();
    options.subscribe.partitions_max = 2;
    options.subscribe.open_max = 1;
    let node = node_of(options).await;
    node.topic("t").await;
    let refused = async |subscribe: Subscribe| {
        let refused = node.broker.subscribe(subscribe).await.err().expect("it is refused");
        assert_eq!((refused.kind, refused.code), (Kind::Invalid, Code::INVALID_FIELD));
        refused.detail
    };
    assert!(refused(pattern("")).await.starts_with("pattern is empty"));
    assert!(refused(pattern("a.>.b")).await.starts_with("pattern: "));
    let wrong = Subscribe { filter: cel("headers.a =="), ..pattern("t") };
    assert!(refused(wrong).await.starts_with("filter: "));
    let nothing = Subscribe { takeover: true, ..pattern("t") };
    assert!(refused(nothing).await.starts_with("subscription is empty"));
    let open = Listener::open(&node, pattern("t")).await;
    let full = node.broker.subscribe(pattern("t")).await.err().expect("one is open");
    assert_eq!((full.kind, full.code), (Kind::Throttled, Code::THROTTLED));
    drop(open);
    let mut listener = Listener::open(&node, pattern(">")).await;
    node.create("many", 2, Overrides::default()).await;
    let ended = loop {
        if let Err(error) = listener.step().await {
            break error;
        }
    };
    assert!(ended.detail.contains("broker.subscribe.partitions_max"), "{ended}");
}
