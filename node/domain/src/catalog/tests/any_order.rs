//! Whatever is asked in whatever order: a catalog that is loaded from its rows after each command
//! answers like one that never is.

use std::collections::BTreeMap;

use bytes::Bytes;
use kontiki_storage::id::{NodeId, PartitionId, ReplicaId, ShardId, TopicId};
use proptest::prelude::*;

use crate::catalog::{
    AlterTopic, Bind, Command, CreateExchange, CreateSubscription, CreateTopic, Destination,
    ExchangeKind, FeatureLevel, InitCluster, Limits, NodeState, PlacementVersion, Route, Start,
    plan,
};
use crate::filter::{FilterText, Language, PatternSyntax};
use crate::queue::QueueSettings;
use crate::settings::Overrides;
use crate::tests::{Shard, spec};

fn init() -> Command {
    Command::InitCluster(InitCluster {
        cluster_id: "kontiki".to_owned(),
        shard_count: 3,
        replication_factor: 2,
        nodes: (1..4).map(|node| spec(node, 1, Some("a"))).collect(),
        catalog_nodes: vec![NodeId(1), NodeId(2)],
        limits: Limits { topics_max: 6, partitions_max: 20, ..Limits::default() },
        feature_level: FeatureLevel::NEWEST,
    })
}

fn command() -> impl Strategy<Value = Command> {
    let node = || (1..6_u32).prop_map(NodeId);
    let shard = || (0..4_u32).prop_map(ShardId);
    let topic = || (1..8_u64).prop_map(TopicId);
    let version = || (1..6_u64).prop_map(PlacementVersion);
    let replica = || (1..6_u32, 1..3_u32).prop_map(|(node, i)| ReplicaId::new(NodeId(node), i));
    let retention =
        || (-1..4_i64).prop_map(|ms| Overrides { retention_ms: Some(ms), ..Overrides::default() });
    prop_oneof![
        3 => (1..6_u32, 1..3_u8).prop_map(|(node, disk)| {
            Command::JoinNode(spec(node, disk, Some(if node % 2 == 0 { "a" } else { "b" })))
        }),
        1 => node().prop_map(|node| Command::DrainNode { node }),
        1 => node().prop_map(|node| Command::ActivateNode { node }),
        1 => node().prop_map(|node| Command::RemoveNode { node }),
        1 => (shard(), replica())
            .prop_map(|(shard, replica)| Command::MarkReplicaLost { shard, replica }),
        4 => ("[ab][._]?c", 1..5_u32, retention()).prop_map(|(name, partitions, overrides)| {
            let (request, validate_only) = (None, false);
            let create =
                CreateTopic { name, partitions, overrides, request, validate_only, queue: None };
            Command::CreateTopic(create)
        }),
        1 => (topic(), retention()).prop_map(|(topic, set)| {
            let (reset, settings_version, validate_only) = (Vec::new(), None, false);
            let alter = AlterTopic {
                topic,
                set,
                reset,
                settings_version,
                validate_only,
                queue: None,
            };
            Command::AlterTopic(alter)
        }),
        1 => (topic(), 1..7_u32).prop_map(|(topic, total)| {
            Command::AddPartitions { topic, total, validate_only: false }
        }),
        2 => topic().prop_map(|topic| Command::DeleteTopic { topic }),
        2 => (topic(), prop::collection::vec((1..20_u64).prop_map(PartitionId), 0..12))
            .prop_map(|(topic, partitions)| Command::PartitionsPurged { topic, partitions }),
        3 => (shard(), version(), prop::collection::vec(node(), 1..4))
            .prop_map(|(shard, version, nodes)| Command::PlaceShard { shard, version, nodes }),
        4 => (shard(), version(), prop::collection::vec(replica(), 1..4)).prop_map(
            |(shard, version, voters)| Command::CommitPlacement { shard, version, voters }
        ),
        1 => (0..9_u32).prop_map(|count| Command::AllocateProducerIds { count }),
        6 => routing(),
        3 => subscribing(),
    ]
}

/// Exchanges, bindings, and queues that they lead to.
fn routing() -> impl Strategy<Value = Command> {
    let name = || "[xyz]";
    let queue = || (1..8_u64).prop_map(TopicId);
    let destination =
        prop_oneof![queue().prop_map(Destination::Queue), name().prop_map(Destination::Exchange),];
    let route = (name(), destination, "[kl]").prop_map(|(source, destination, key)| {
        let (syntax, arguments) = (PatternSyntax::Amqp, Vec::new());
        Route { source, destination, key, syntax, arguments }
    });
    prop_oneof![
        2 => (name(), any::<bool>()).prop_map(|(name, internal)| {
            let (kind, alternate) = (ExchangeKind::Topic, None);
            Command::CreateExchange(CreateExchange { name, kind, alternate, internal })
        }),
        1 => (name(), any::<bool>())
            .prop_map(|(name, if_unused)| Command::DeleteExchange { name, if_unused }),
        4 => (route.clone(), any::<bool>()).prop_map(|(route, some)| {
            let text = "true".to_owned();
            let filter = some.then_some(FilterText { language: Language::Cel, text });
            Command::Bind(Bind { route, filter })
        }),
        1 => route.prop_map(|route| Command::Unbind { route }),
        2 => "[qr]".prop_map(|name| {
            let (overrides, request, validate_only) = (Overrides::default(), None, false);
            let queue = Some(QueueSettings::default());
            let partitions = 1;
            let create =
                CreateTopic { name, partitions, overrides, request, validate_only, queue };
            Command::CreateTopic(create)
        }),
    ]
}

/// Durable subscriptions.
fn subscribing() -> impl Strategy<Value = Command> {
    prop_oneof![
        2 => "[ab]c?".prop_map(|name| Command::CreateSubscription(CreateSubscription {
            name,
            pattern: ">".to_owned(),
            syntax: PatternSyntax::Nats,
            filter: None,
            start: Start::Earliest,
            request: None,
        })),
        1 => "[ab]c?".prop_map(|name| Command::DeleteSubscription { name }),
    ]
}

fn run(commands: &[Command], mut after: impl FnMut(&mut Shard)) -> (Shard, Vec<Bytes>) {
    let mut shard = Shard::new(0);
    let mut replies = Vec::new();
    for command in commands {
        shard.stamp.time_ms += 1;
        let command = crate::shard::Command::from(command.clone()).encode();
        replies.push(shard.apply_bytes(&command, &[]));
        after(&mut shard);
    }
    shard.reload();
    (shard, replies)
}

fn many() -> ProptestConfig {
    ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn replicas_agree_whenever_they_write_and_load(
        mut commands in prop::collection::vec(command(), 1..80),
    ) {
        commands.insert(0, init());
        let (mut one, replies) = run(&commands, |_| {});
        let (mut other, other_replies) = run(&commands, Shard::reload);
        prop_assert_eq!(replies, other_replies);
        prop_assert_eq!(one.hash(), other.hash());
    }

    /// What is planned is possible, and once it is done there is nothing left to plan.
    #[test]
    fn plans_come_to_an_end(commands in prop::collection::vec(command(), 1..60)) {
        let (mut shard, _) = run(&[init()], |_| {});
        for command in &commands {
            // Only the operator's side: the groups below do as they are told.
            let commit = matches!(command, Command::CommitPlacement { .. });
            if !commit && !matches!(command, Command::MarkReplicaLost { .. }) {
                let _ = shard.apply(command.clone(), &[]);
            }
        }
        settle(&mut shard);
        for _ in 0..10 {
            let planned = planned(&shard);
            if planned.is_empty() {
                break;
            }
            for command in planned {
                prop_assert!(shard.apply(command.clone(), &[]).is_ok(), "{command:?}");
            }
            settle(&mut shard);
        }
        prop_assert_eq!(planned(&shard), Vec::new());
    }
}

/// Repairs, then what drains, then the rest.
fn planned(shard: &Shard) -> Vec<Command> {
    let catalog = shard.machine.catalog().unwrap();
    let mut moves = BTreeMap::new();
    for one in plan::plan_rebalance(catalog) {
        moves.insert(one.shard, one);
    }
    for node in catalog.nodes().filter(|node| node.state == NodeState::Draining) {
        for one in plan::plan_drain(catalog, node.spec.node).moves {
            moves.insert(one.shard, one);
        }
    }
    for one in plan::plan_repair(catalog) {
        moves.insert(one.shard, one);
    }
    moves.into_values().map(plan::Move::command).collect()
}

/// Every group becomes what it is to become.
fn settle(shard: &mut Shard) {
    let placements: Vec<_> = shard.machine.catalog().unwrap().placements().cloned().collect();
    for at in placements {
        let voters = at.goal().to_vec();
        let command = Command::CommitPlacement { shard: at.shard, version: at.version, voters };
        shard.apply(command, &[]).unwrap();
    }
}
