//! Subscriptions: what matches comes, once for each; durable ones go on where they were.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kontiki_domain::settings::Overrides;
use kontiki_domain::{Rejection, partition};
use kontiki_records::Header;
use prometheus_client::metrics::counter::Counter;

use super::node::{BEGIN_MS, TestNode, eventually, node_with, record};
use crate::produce::Record;
use crate::records::Target;
use crate::subscriptions::{
    Counts, Create, FilterText, Language, Output, PatternSyntax, PositionAt, Start, Subscribe,
    Subscribed,
};
use crate::{Code, Error, Kind, Options};

mod trouble;

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
