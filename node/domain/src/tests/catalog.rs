//! The verbs of catalog scripts.

use std::collections::BTreeMap;

use kontiki_storage::id::{NodeId, PartitionId, ReplicaId, ShardId, TopicId};

use super::words::Words;
use super::{Shard, refused};
use crate::catalog::{
    AlterTopic, Catalog, Command, CreateTopic, DiskId, FeatureLevel, FeatureRange, InitCluster,
    Limits, NodeSpec, PartitionPlacement, PlacementVersion, Reply, RequestId, plan,
};
use crate::settings::SettingName;
use crate::shard;

/// A node with plausible addresses.
pub(crate) fn spec(node: u32, disk: u8, rack: Option<&str>) -> NodeSpec {
    NodeSpec {
        node: NodeId(node),
        disk: DiskId([disk; 16]),
        peer_address: format!("node-{node}:7401"),
        client_address: format!("node-{node}:7400"),
        listeners: BTreeMap::from([("kafka".to_owned(), format!("node-{node}:9092"))]),
        rack: rack.map(str::to_owned),
        labels: BTreeMap::new(),
        features: FeatureRange::THIS_RELEASE,
    }
}

fn spec_of(words: &Words<'_>) -> NodeSpec {
    let node = words.thing(0);
    let mut spec = spec(node, words.number("disk").unwrap_or(1), words.text("rack"));
    if let Some(address) = words.text("address") {
        address.clone_into(&mut spec.client_address);
    }
    if let Some(newest) = words.number("speaks") {
        spec.features.newest = FeatureLevel(newest);
    }
    spec
}

fn init(words: &Words<'_>) -> InitCluster {
    let nodes: Vec<u32> = words.list("nodes");
    let racks: Vec<String> = words.list("racks");
    let mut limits = Limits::default();
    limits.topics_max = words.number("topics_max").unwrap_or(limits.topics_max);
    limits.partitions_max = words.number("partitions_max").unwrap_or(limits.partitions_max);
    limits.nodes_max = words.number("nodes_max").unwrap_or(limits.nodes_max);
    let rack = |at: usize| racks.get(at).map(String::as_str);
    InitCluster {
        cluster_id: words.things[0].to_owned(),
        shard_count: words.number("shards").unwrap_or(4),
        replication_factor: words.number("factor").unwrap_or(3),
        nodes: nodes.iter().enumerate().map(|(at, node)| spec(*node, 1, rack(at))).collect(),
        catalog_nodes: nodes.iter().copied().map(NodeId).collect(),
        limits,
        feature_level: FeatureLevel(1),
    }
}

/// `2.1` is the first replica of node 2.
fn replica(text: &str) -> ReplicaId {
    let (node, incarnation) = text.split_once('.').unwrap();
    ReplicaId::new(NodeId(node.parse().unwrap()), incarnation.parse().unwrap())
}

fn version(shard: &Shard, id: ShardId, words: &Words<'_>) -> PlacementVersion {
    let known = shard.machine.catalog().unwrap().placement(id).map(|placement| placement.version);
    words.number("version").map_or(known.unwrap_or_default(), PlacementVersion)
}

pub(super) fn step(shard: &mut Shard, words: &Words<'_>) -> Vec<String> {
    let node = || NodeId(words.thing(0));
    let topic = || TopicId(words.thing(0));
    let at = || ShardId(words.thing(0));
    let validate_only = words.has("validate");
    let command = match words.verb {
        "init" => Command::InitCluster(init(words)),
        "join" => Command::JoinNode(spec_of(words)),
        "update" => Command::UpdateNode(spec_of(words)),
        "drain" => Command::DrainNode { node: node() },
        "activate" => Command::ActivateNode { node: node() },
        "remove" => Command::RemoveNode { node: node() },
        "lost" => Command::MarkReplicaLost { shard: at(), replica: replica(words.things[1]) },
        "create" => Command::CreateTopic(CreateTopic {
            name: words.things[0].to_owned(),
            partitions: words.number("partitions").unwrap_or(1),
            request: words.number("request").map(|byte| RequestId([byte; 16])),
            validate_only,
            overrides: words.settings(),
            queue: None,
        }),
        "alter" => {
            let reset: Vec<String> = words.list("reset");
            let named = |text: &String| SettingName::ALL.into_iter().find(|n| n.as_str() == text);
            Command::AlterTopic(AlterTopic {
                topic: topic(),
                reset: reset.iter().map(|text| named(text).unwrap()).collect(),
                settings_version: words.number("version"),
                validate_only,
                set: words.settings(),
                queue: None,
            })
        }
        "add" => Command::AddPartitions {
            topic: topic(),
            total: words.number("total").unwrap(),
            validate_only,
        },
        "delete" => Command::DeleteTopic { topic: topic() },
        "purged" => Command::PartitionsPurged {
            topic: topic(),
            partitions: words.list("partitions").into_iter().map(PartitionId).collect(),
        },
        "place" => Command::PlaceShard {
            shard: at(),
            version: version(shard, at(), words),
            nodes: words.list("nodes").into_iter().map(NodeId).collect(),
        },
        "commit" => Command::CommitPlacement {
            shard: at(),
            version: version(shard, at(), words),
            voters: words.list::<String>("voters").iter().map(|text| replica(text)).collect(),
        },
        "producer_ids" => Command::AllocateProducerIds { count: words.thing(0) },
        "level" => Command::SetFeatureLevel { level: FeatureLevel(words.thing(0)) },
        _ => return look(shard.machine.catalog().unwrap(), words),
    };
    words.done();
    match shard.apply(command, &[]) {
        Ok(shard::Reply::Catalog(reply)) => told(&reply),
        Ok(other @ (shard::Reply::Partition(_) | shard::Reply::Queue(_))) => panic!("{other:?}"),
        Err(rejection) => refused(&rejection),
    }
}

fn told(reply: &Reply) -> Vec<String> {
    vec![match reply {
        Reply::NodeJoined { incarnation, lost } => {
            let lost: Vec<String> =
                lost.iter().map(|lost| format!("{}:{}", lost.shard, name(lost.replica))).collect();
            format!("joined, incarnation {incarnation}, lost [{}]", lost.join(" "))
        }
        Reply::TopicCreated { topic, partitions, existed, .. } => {
            format!("topic {topic}, {}, existed {existed}", spread(partitions))
        }
        Reply::TopicAltered { settings_version, settings, partitions } => format!(
            "version {settings_version}, retention_ms {}, {}",
            settings.retention_ms,
            spread(partitions)
        ),
        Reply::PartitionsAdded { first, partitions, .. } => {
            format!("from {first}, {}", spread(partitions))
        }
        Reply::TopicDeleted { partitions } => format!("deleted, {}", spread(partitions)),
        Reply::Placed { version, target } => {
            format!("version {version}, target {}", names(target))
        }
        Reply::Done
        | Reply::Valid
        | Reply::Purged { .. }
        | Reply::PlacementCommitted { .. }
        | Reply::ProducerIds { .. }
        | Reply::Rerouted { .. }
        | Reply::SubscriptionCreated { .. } => format!("{reply:?}"),
    }]
}

fn look(catalog: &Catalog, words: &Words<'_>) -> Vec<String> {
    let moved = |moves: &[plan::Move]| -> Vec<String> {
        let nodes =
            |nodes: &[NodeId]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        moves.iter().map(|one| format!("shard {} to [{}]", one.shard, nodes(&one.nodes))).collect()
    };
    match words.verb {
        "placement" => {
            let at = catalog.placement(ShardId(words.thing(0))).unwrap();
            let target = at.target.as_deref().map_or("none".to_owned(), names);
            let (voters, lost) = (names(&at.voters), names(&at.lost));
            let (version, founded) = (at.version, at.founded);
            vec![format!(
                "version {version}, founded {founded}, voters {voters}, target {target}, \
                 lost {lost}"
            )]
        }
        "nodes" => catalog
            .nodes()
            .map(|node| format!("{} {} #{}", node.spec.node, node.state, node.incarnation))
            .collect(),
        "topics" => catalog
            .topics()
            .map(|topic| format!("{} {} {:?}", topic.topic, topic.name, topic.state))
            .collect(),
        "plan_drain" => {
            let plan = plan::plan_drain(catalog, NodeId(words.thing(0)));
            let mut lines = moved(&plan.moves);
            lines.extend(plan.blocked.iter().map(|shard| format!("shard {shard} is blocked")));
            lines
        }
        "plan_repair" => moved(&plan::plan_repair(catalog)),
        "plan_rebalance" => moved(&plan::plan_rebalance(catalog)),
        "leaders" => {
            let preferred = plan::leader_preferences(catalog);
            let each = preferred.iter().map(|(shard, node)| format!("{shard}:{node}"));
            vec![each.collect::<Vec<_>>().join(" ")]
        }
        other => panic!("no such verb: {other}"),
    }
}

fn name(replica: ReplicaId) -> String {
    format!("{}.{}", replica.node(), replica.incarnation())
}

fn names(replicas: &[ReplicaId]) -> String {
    format!("[{}]", replicas.iter().map(|r| name(*r)).collect::<Vec<_>>().join(" "))
}

fn spread(partitions: &[PartitionPlacement]) -> String {
    let each = partitions.iter().map(|at| format!("{}@{}", at.partition, at.shard));
    format!("[{}]", each.collect::<Vec<_>>().join(" "))
}
