//! What may be declared and bound, what goes with what, and the bytes of it.

use std::fmt::Write as _;

use kontiki_storage::id::{NodeId, TopicId};

use crate::catalog::{
    Argument, Bind, BindingId, Catalog, Command, CreateExchange, CreateTopic, Destination,
    ExchangeKind, FeatureLevel, InitCluster, Limits, Reply, Route, RoutingChange,
};
use crate::effect::Effect;
use crate::filter::{FilterText, Language, PatternSyntax};
use crate::queue::QueueSettings;
use crate::rejection::{ExchangeRefusal, Rejection};
use crate::settings::Overrides;
use crate::shard;
use crate::tests::{Shard, spec};

fn init(feature_level: FeatureLevel, limits: Limits) -> Command {
    Command::InitCluster(InitCluster {
        cluster_id: "kontiki".to_owned(),
        shard_count: 2,
        replication_factor: 1,
        nodes: vec![spec(1, 1, None)],
        catalog_nodes: vec![NodeId(1)],
        limits,
        feature_level,
    })
}

fn topic(name: &str, queue: Option<QueueSettings>) -> Command {
    Command::CreateTopic(CreateTopic {
        name: name.to_owned(),
        partitions: 1,
        overrides: Overrides::default(),
        request: None,
        validate_only: false,
        queue,
    })
}

fn exchange(name: &str, kind: ExchangeKind) -> CreateExchange {
    CreateExchange { name: name.to_owned(), kind, alternate: None, internal: false }
}

fn route(source: &str, destination: Destination, key: &str) -> Route {
    let (source, key) = (source.to_owned(), key.to_owned());
    Route { source, destination, key, syntax: PatternSyntax::Amqp, arguments: Vec::new() }
}

fn to_queue(source: &str, queue: u64, key: &str) -> Command {
    let route = route(source, Destination::Queue(TopicId(queue)), key);
    Command::Bind(Bind { route, filter: None })
}

fn to_exchange(source: &str, destination: &str) -> Command {
    let route = route(source, Destination::Exchange(destination.to_owned()), "");
    Command::Bind(Bind { route, filter: None })
}

fn catalog_with(limits: Limits) -> Shard {
    catalog_at(FeatureLevel::NEWEST, limits)
}

/// Topic 1 is a queue, topic 2 a log, topic 3 a queue.
fn catalog_at(level: FeatureLevel, limits: Limits) -> Shard {
    let mut shard = Shard::new(0);
    for command in [
        init(level, limits),
        topic("jobs", Some(QueueSettings::default())),
        topic("letters", None),
        topic("mails", Some(QueueSettings::default())),
    ] {
        shard.apply(command, &[]).unwrap();
    }
    for (name, kind) in [
        ("direct", ExchangeKind::Direct),
        ("topics", ExchangeKind::Topic),
        ("all", ExchangeKind::Fanout),
    ] {
        shard.apply(Command::CreateExchange(exchange(name, kind)), &[]).unwrap();
    }
    shard.effects.clear();
    shard
}

fn catalog() -> Shard {
    catalog_with(Limits::default())
}

fn known(shard: &Shard) -> &Catalog {
    shard.machine.catalog().unwrap()
}

fn changed(shard: &mut Shard, command: Command) -> bool {
    let reply = shard.apply(command, &[]).unwrap();
    let shard::Reply::Catalog(Reply::Rerouted { changed, .. }) = reply else { panic!("{reply:?}") };
    changed
}

fn refused(shard: &mut Shard, command: Command) -> Rejection {
    let before = shard.hash();
    let refused = shard.apply(command, &[]).unwrap_err();
    assert_eq!(shard.hash(), before, "a refused command left a trace");
    refused
}

#[test]
fn the_same_declaration_is_no_change_and_another_one_is_refused() {
    let mut shard = catalog();
    let same = exchange("direct", ExchangeKind::Direct);
    assert!(!changed(&mut shard, Command::CreateExchange(same.clone())));
    assert!(shard.effects.is_empty());
    let kind = CreateExchange { kind: ExchangeKind::Fanout, ..same.clone() };
    let internal = CreateExchange { internal: true, ..same.clone() };
    let alternate = CreateExchange { alternate: Some("all".to_owned()), ..same };
    for (other, said) in [
        (kind, "kind direct, not fanout"),
        (internal, "internal false, not true"),
        (alternate, "alternate exchange none, not \"all\""),
    ] {
        let refusal = refused(&mut shard, Command::CreateExchange(other));
        assert_eq!(refusal.code(), 261);
        assert!(refusal.to_string().contains(said), "{refusal}");
    }
}

#[test]
fn reserved_and_impossible_names_are_refused() {
    let mut shard = catalog();
    for name in ["", "amq.direct", "kontiki.x"] {
        let create = Command::CreateExchange(exchange(name, ExchangeKind::Direct));
        assert_eq!(refused(&mut shard, create).code(), 262, "{name}");
        let delete = Command::DeleteExchange { name: name.to_owned(), if_unused: false };
        assert_eq!(refused(&mut shard, delete).code(), 262, "{name}");
        assert_eq!(refused(&mut shard, to_queue(name, 1, "k")).code(), 262, "{name}");
        assert_eq!(refused(&mut shard, to_exchange("all", name)).code(), 262, "{name}");
    }
    for name in ["a\nb".to_owned(), "x".repeat(256)] {
        let create = Command::CreateExchange(exchange(&name, ExchangeKind::Direct));
        assert_eq!(refused(&mut shard, create).code(), 3, "{name}");
    }
}

#[test]
fn a_binding_is_there_once_and_with_one_filter() {
    let mut shard = catalog();
    assert!(changed(&mut shard, to_queue("direct", 1, "k")));
    assert!(!changed(&mut shard, to_queue("direct", 1, "k")));
    assert!(changed(&mut shard, to_queue("direct", 1, "l")));
    let text = "body.a > 1".to_owned();
    let filter = Some(FilterText { language: Language::Cel, text });
    let key = route("direct", Destination::Queue(TopicId(1)), "k");
    let bind = Bind { route: key.clone(), filter };
    assert_eq!(refused(&mut shard, Command::Bind(bind.clone())).code(), 266);
    assert!(changed(&mut shard, Command::Unbind { route: key.clone() }));
    assert!(!changed(&mut shard, Command::Unbind { route: key }));
    assert!(changed(&mut shard, Command::Bind(bind)));
}

/// From one exchange to another, for some messages.
fn filtered(source: &str, destination: &str, text: &str) -> Command {
    let route = route(source, Destination::Exchange(destination.to_owned()), "");
    let filter = Some(FilterText { language: Language::Cel, text: text.to_owned() });
    Command::Bind(Bind { route, filter })
}

#[test]
fn filters_between_exchanges_wait_for_their_feature_level() {
    let mut shard = catalog_at(FeatureLevel(1), Limits::default());
    let refusal = refused(&mut shard, filtered("all", "direct", "body.n > 1"));
    assert_eq!(refusal.code(), 3);
    let said = "filter is one for exchange direct, expected none where the destination is an \
                exchange, until the cluster's feature level, now 1, is 2";
    assert!(refusal.to_string().starts_with(said), "{refusal}");
    shard.apply(Command::SetFeatureLevel { level: FeatureLevel::EXCHANGE_FILTERS }, &[]).unwrap();
    assert!(changed(&mut shard, filtered("all", "direct", "body.n > 1")));
    assert!(!changed(&mut shard, filtered("all", "direct", "body.n > 1")));
    assert_eq!(refused(&mut shard, filtered("all", "direct", "body.n > 2")).code(), 266);
    // It is a way like others.
    assert_eq!(refused(&mut shard, filtered("direct", "all", "body.n > 1")).code(), 264);
    assert_eq!(refused(&mut shard, to_exchange("direct", "all")).code(), 264);
    assert_eq!(refused(&mut shard, filtered("all", "topics", "")).code(), 3);
    shard.reload();
    let delete = Command::DeleteExchange { name: "direct".to_owned(), if_unused: false };
    assert!(changed(&mut shard, delete));
    assert_eq!(known(&shard).routes().bindings_count(), 0);
}

#[test]
fn arguments_have_one_order_and_syntax_counts_for_patterns_only() {
    let mut shard = catalog();
    let one = |name: &str| Argument { name: name.to_owned(), value: Some(b"v".to_vec()) };
    let bind = |source: &str, syntax, arguments: Vec<Argument>| {
        let route = route(source, Destination::Queue(TopicId(1)), "a.>");
        Command::Bind(Bind { route: Route { syntax, arguments, ..route }, filter: None })
    };
    let (amqp, nats) = (PatternSyntax::Amqp, PatternSyntax::Nats);
    assert!(changed(&mut shard, bind("direct", amqp, vec![one("a"), one("b")])));
    assert!(!changed(&mut shard, bind("direct", nats, vec![one("b"), one("a")])));
    assert!(changed(&mut shard, bind("topics", amqp, Vec::new())));
    assert!(changed(&mut shard, bind("topics", nats, Vec::new())));
    assert_eq!(refused(&mut shard, bind("all", amqp, vec![one("a"), one("a")])).code(), 3);
}

#[test]
fn unknown_ends_are_named() {
    let mut shard = catalog();
    assert_eq!(refused(&mut shard, to_queue("nowhere", 1, "")).code(), 260);
    assert_eq!(refused(&mut shard, to_exchange("all", "nowhere")).code(), 260);
    let unbind = Command::Unbind { route: Route::first_of("nowhere") };
    assert_eq!(refused(&mut shard, unbind).code(), 260);
    let delete = Command::DeleteExchange { name: "nowhere".to_owned(), if_unused: false };
    assert_eq!(refused(&mut shard, delete).code(), 260);
    assert_eq!(refused(&mut shard, to_queue("all", 9, "")).code(), 221);
    assert_eq!(refused(&mut shard, to_queue("all", 2, "")), Rejection::TopicNotAQueue(TopicId(2)));
}

#[test]
fn loops_of_exchanges_are_refused_with_the_way_they_take() {
    let mut shard = catalog();
    assert!(changed(&mut shard, to_exchange("direct", "topics")));
    assert!(changed(&mut shard, to_exchange("topics", "all")));
    // Two ways to the same exchange are no loop.
    assert!(changed(&mut shard, to_exchange("direct", "all")));
    let path = |path: &[&str]| {
        let path = path.iter().map(|name| (*name).to_owned()).collect();
        Rejection::from(ExchangeRefusal::Loop { path })
    };
    let refusal = refused(&mut shard, to_exchange("all", "direct"));
    assert_eq!(refusal, path(&["all", "direct", "all"]));
    let refusal = refused(&mut shard, to_exchange("all", "topics"));
    assert_eq!(refusal, path(&["all", "topics", "all"]));
    let refusal = refused(&mut shard, to_exchange("all", "all"));
    assert_eq!(refusal, path(&["all", "all"]));
}

#[test]
fn bindings_go_with_what_they_join() {
    let mut shard = catalog();
    for command in [
        to_queue("direct", 1, "a"),
        to_queue("direct", 3, "a"),
        to_queue("all", 1, ""),
        to_exchange("topics", "direct"),
    ] {
        assert!(changed(&mut shard, command));
    }
    shard.effects.clear();
    shard.apply(Command::DeleteTopic { topic: TopicId(1) }, &[]).unwrap();
    let routes = known(&shard).routes();
    let left: Vec<u64> = routes.bindings_after(BindingId(0)).map(|binding| binding.id.0).collect();
    assert_eq!(left, [2, 4]);
    let unbound =
        |effect: &&Effect| matches!(effect, Effect::RoutingChanged(RoutingChange::Unbound(_)));
    assert_eq!(shard.effects.iter().filter(unbound).count(), 2);

    let delete = |if_unused| Command::DeleteExchange { name: "direct".to_owned(), if_unused };
    assert_eq!(refused(&mut shard, delete(true)).code(), 263);
    let reply = shard.apply(delete(false), &[]).unwrap();
    let all = Reply::Rerouted { changed: true, unbound: 2 };
    assert_eq!(reply, shard::Reply::Catalog(all));
    assert_eq!(known(&shard).routes().bindings_count(), 0);
    let last = shard.effects.last();
    assert!(matches!(last, Some(Effect::RoutingChanged(RoutingChange::ExchangeDeleted(_)))));
    shard.reload();
}

#[test]
fn limits_are_those_that_were_set() {
    let limits = Limits { exchanges_max: Some(3), bindings_max: Some(1), ..Limits::default() };
    let mut shard = catalog_with(limits);
    let create = Command::CreateExchange(exchange("more", ExchangeKind::Direct));
    let refusal = refused(&mut shard, create);
    assert!(refusal.to_string().contains("3 exchanges, and exchanges_max is 3"), "{refusal}");
    assert!(changed(&mut shard, to_queue("direct", 1, "a")));
    let refusal = refused(&mut shard, to_queue("direct", 1, "b"));
    assert!(refusal.to_string().contains("1 bindings, and bindings_max is 1"), "{refusal}");
    let none = Limits { bindings_max: Some(0), ..limits };
    assert_eq!(refused(&mut shard, Command::SetLimits { limits: none }).code(), 3);
}

#[test]
fn numbers_of_bindings_are_not_given_twice() {
    let mut shard = catalog();
    assert!(changed(&mut shard, to_queue("direct", 1, "a")));
    let route = route("direct", Destination::Queue(TopicId(1)), "a");
    assert!(changed(&mut shard, Command::Unbind { route: route.clone() }));
    shard.reload();
    assert!(changed(&mut shard, to_queue("direct", 1, "a")));
    assert_eq!(known(&shard).routes().binding_of(&route).unwrap().id, BindingId(2));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A line that changes here breaks logs that were written: add lines, don't edit them.
#[test]
fn commands_rows_and_refusals_keep_their_bytes() {
    let hash = ExchangeKind::ConsistentHash { header: Some("h".to_owned()) };
    let create = CreateExchange {
        alternate: Some("all".to_owned()),
        internal: true,
        ..exchange("hash", hash)
    };
    let value = Some(vec![1, 2]);
    let arguments = vec![
        Argument { name: "a".to_owned(), value },
        Argument { name: "b".to_owned(), value: None },
    ];
    let nats = Route {
        syntax: PatternSyntax::Nats,
        arguments,
        ..route("topics", Destination::Queue(TopicId(1)), "a.>")
    };
    let filter = FilterText { language: Language::PolicyOnBody, text: "{}".to_owned() };
    let bind = Bind { route: nats.clone(), filter: Some(filter) };
    let commands = [
        Command::CreateExchange(create),
        Command::Bind(bind),
        to_exchange("direct", "all"),
        Command::Unbind { route: nats },
        Command::DeleteExchange { name: "all".to_owned(), if_unused: true },
    ];
    let mut text = String::new();
    let mut shard = catalog();
    for command in commands {
        let command = shard::Command::from(command);
        let bytes = command.encode();
        assert_eq!(shard::Command::decode(&bytes), Ok(command));
        writeln!(text, "command {}", hex(&bytes)).unwrap();
        let reply = shard.apply_bytes(&bytes, &[]);
        shard.write();
        writeln!(text, "reply {}", hex(&reply)).unwrap();
        for (key, value) in shard.rows.all() {
            if matches!(key[8], 3 | 7 | 8) {
                writeln!(text, "row {} {}", hex(&key), hex(&value)).unwrap();
            }
        }
    }
    let refusal = refused(&mut shard, to_exchange("all", "nowhere"));
    writeln!(text, "refusal {}", hex(&refusal.encode())).unwrap();
    let frozen = include_str!("frozen/exchanges.txt");
    assert!(text == frozen, "the bytes are\n\n{text}");
}
