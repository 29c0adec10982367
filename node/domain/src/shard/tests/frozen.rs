//! The bytes of version 1. A line that changes here breaks every log that was ever written: add
//! lines, don't edit them.

use std::fmt::Write as _;

use kontiki_storage::id::{NodeId, Offset, PartitionId, ProducerId, ReplicaId, ShardId, TopicId};

use crate::catalog::{
    self, AlterTopic, CreateTopic, FeatureLevel, FeatureRange, InitCluster, Limits, LostReplica,
    NodeSpec, PartitionPlacement, PlacementVersion, RequestId,
};
use crate::partition::{
    self, Append, Appended, Attributes, BatchHeader, ProducerEpoch, ProducerStamp, Sequence,
    Trimmed,
};
use crate::rejection::Rejection;
use crate::settings::{
    Compression, CompressionPolicy, Overrides, SettingName, Settings, TimestampType,
};
use crate::shard::{Command, Outcome, Reply, decode_outcome, encode_outcome};
use crate::tests::{Shard, spec};

/// The limits of the day when the bytes were frozen; the defaults may change.
fn limits() -> Limits {
    Limits { partitions_per_topic_max: 4_096, ..Limits::default() }
}

fn append() -> partition::Command {
    partition::Command::Append(Append {
        partition: PartitionId(7),
        payload: 2,
        header: BatchHeader {
            record_count: 3,
            last_offset_delta: 2,
            base_timestamp: 1_700_000_000_000,
            max_timestamp: 1_700_000_000_005,
            bytes: 300,
            attributes: Attributes {
                compression: Compression::Zstd,
                transactional: false,
                control: false,
            },
            producer: Some(ProducerStamp {
                id: ProducerId(9),
                epoch: ProducerEpoch(1),
                base_sequence: Sequence(4),
            }),
        },
        leader_term: Some(5),
    })
}

fn of_partitions() -> Vec<(&'static str, Command)> {
    let (partition, limit) = (PartitionId(7), 10);
    let settings = Settings {
        compression: CompressionPolicy::Only(Compression::Lz4),
        timestamp_type: TimestampType::Append,
        ..Settings::default()
    };
    let topic = TopicId(3);
    let commands = vec![
        ("append", append()),
        (
            "create",
            partition::Command::CreatePartition {
                partition,
                topic,
                settings: settings.clone(),
                settings_version: 1,
                queue: None,
            },
        ),
        ("delete", partition::Command::DeletePartition { partition, limit }),
        (
            "settings",
            partition::Command::UpdateSettings {
                partition,
                settings,
                settings_version: 2,
                queue: None,
            },
        ),
        ("retain", partition::Command::Retain { partition, limit }),
        (
            "delete_records",
            partition::Command::DeleteRecords { partition, before: Some(Offset(5)), limit },
        ),
        (
            "delete_all_records",
            partition::Command::DeleteRecords { partition, before: None, limit },
        ),
        ("expire", partition::Command::Expire { limit }),
    ];
    commands.into_iter().map(|(name, command)| (name, command.into())).collect()
}

/// As the first release says it.
fn of_level_1(spec: NodeSpec) -> NodeSpec {
    let (oldest, newest) = (FeatureLevel(1), FeatureLevel(1));
    NodeSpec { features: FeatureRange { oldest, newest }, ..spec }
}

fn of_the_catalog() -> Vec<(&'static str, Command)> {
    use catalog::Command as C;
    let (node, shard, topic) = (NodeId(2), ShardId(1), TopicId(3));
    let replica = ReplicaId::new(node, 1);
    let (version, validate_only) = (PlacementVersion(4), false);
    let set = Overrides { retention_ms: Some(-1), ..Overrides::default() };
    let init = InitCluster {
        cluster_id: "kontiki".to_owned(),
        shard_count: 2,
        replication_factor: 1,
        nodes: vec![of_level_1(spec(2, 1, Some("a")))],
        catalog_nodes: vec![node],
        limits: limits(),
        feature_level: FeatureLevel(1),
    };
    let create = CreateTopic {
        name: "orders".to_owned(),
        partitions: 2,
        overrides: set.clone(),
        request: Some(RequestId([9; 16])),
        validate_only,
        queue: None,
    };
    let reset = vec![SettingName::RetentionBytes];
    let alter =
        AlterTopic { topic, set, reset, settings_version: Some(1), validate_only, queue: None };
    let commands = vec![
        ("init", C::InitCluster(init)),
        ("join", C::JoinNode(of_level_1(spec(3, 1, None)))),
        ("update", C::UpdateNode(of_level_1(spec(3, 1, Some("b"))))),
        ("drain", C::DrainNode { node }),
        ("activate", C::ActivateNode { node }),
        ("remove", C::RemoveNode { node }),
        ("lost", C::MarkReplicaLost { shard, replica }),
        ("create_topic", C::CreateTopic(create)),
        ("alter_topic", C::AlterTopic(alter)),
        ("add_partitions", C::AddPartitions { topic, total: 3, validate_only }),
        ("delete_topic", C::DeleteTopic { topic }),
        ("purged", C::PartitionsPurged { topic, partitions: vec![PartitionId(1)] }),
        ("place", C::PlaceShard { shard, version, nodes: vec![node] }),
        ("commit", C::CommitPlacement { shard, version, voters: vec![replica] }),
        ("producer_ids", C::AllocateProducerIds { count: 1_000 }),
        ("level", C::SetFeatureLevel { level: FeatureLevel(1) }),
        ("limits", C::SetLimits { limits: limits() }),
    ];
    commands.into_iter().map(|(name, command)| (name, command.into())).collect()
}

pub(super) fn commands() -> Vec<(&'static str, Command)> {
    let mut all = of_partitions();
    all.extend(of_the_catalog());
    all
}

fn outcomes() -> Vec<(&'static str, Outcome)> {
    use catalog::Reply as C;
    use partition::Reply as P;
    let trimmed = Trimmed { log_start_offset: Offset(5), batches: 2, bytes: 300, more: true };
    let appended = Appended {
        base_offset: Offset(12),
        append_time_ms: 1_700_000_000_000,
        log_start_offset: Offset(3),
        duplicate: false,
        timestamp_type: TimestampType::Create,
    };
    let partitions = vec![PartitionPlacement { partition: PartitionId(7), shard: ShardId(1) }];
    let (topic, settings) = (TopicId(3), Settings::default());
    let replica = ReplicaId::new(NodeId(2), 1);
    let lost = vec![LostReplica { shard: ShardId(1), replica }];
    let version = PlacementVersion(4);
    let of_partitions = [
        ("appended", P::Appended(appended)),
        ("partition_created", P::PartitionCreated { existed: true }),
        ("partition_deleted", P::PartitionDeleted { remaining: 4 }),
        ("settings_updated", P::SettingsUpdated { settings_version: 2 }),
        ("retained", P::Retained(trimmed)),
        ("records_deleted", P::RecordsDeleted(trimmed)),
        ("expired", P::Expired { producers: 1, partitions: 2, more: false }),
    ];
    let existed = false;
    let of_the_catalog = [
        ("done", C::Done),
        ("valid", C::Valid),
        ("node_joined", C::NodeJoined { incarnation: 2, lost }),
        (
            "topic_created",
            C::TopicCreated {
                topic,
                partitions: partitions.clone(),
                settings: settings.clone(),
                existed,
            },
        ),
        (
            "topic_altered",
            C::TopicAltered {
                settings_version: 2,
                settings: settings.clone(),
                partitions: partitions.clone(),
            },
        ),
        (
            "partitions_added",
            C::PartitionsAdded { first: 1, partitions: partitions.clone(), settings },
        ),
        ("topic_deleted", C::TopicDeleted { partitions }),
        ("purged", C::Purged { remaining: 1 }),
        ("placed", C::Placed { version, target: vec![replica] }),
        ("placement_committed", C::PlacementCommitted { version, settled: true }),
        ("producer_ids", C::ProducerIds { first: ProducerId(1), count: 1_000 }),
    ];
    let mut all: Vec<(&'static str, Outcome)> = Vec::new();
    all.extend(of_partitions.into_iter().map(|(name, reply)| (name, Ok(Reply::Partition(reply)))));
    all.extend(of_the_catalog.into_iter().map(|(name, reply)| (name, Ok(Reply::Catalog(reply)))));
    let refused = Rejection::UnknownPartition { partition: PartitionId(7) };
    all.push(("refused", Err(refused)));
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn compare(name: &str, got: &str, frozen: &str) {
    let frozen: String = frozen.lines().map(|line| format!("{line}\n")).collect();
    assert!(got == frozen, "{name}: the bytes are\n\n{got}");
}

#[test]
fn commands_keep_their_bytes() {
    let mut text = String::new();
    for (name, command) in commands() {
        let bytes = command.encode();
        assert_eq!(Command::decode(&bytes), Ok(command));
        writeln!(text, "{name} {}", hex(&bytes)).unwrap();
    }
    compare("commands", &text, include_str!("frozen/commands.txt"));
}

#[test]
fn replies_keep_their_bytes() {
    let mut text = String::new();
    for (name, outcome) in outcomes() {
        let bytes = encode_outcome(&outcome);
        assert_eq!(decode_outcome(&bytes), Ok(outcome));
        writeln!(text, "{name} {}", hex(&bytes)).unwrap();
    }
    compare("replies", &text, include_str!("frozen/replies.txt"));
}

#[test]
fn rows_keep_their_bytes() {
    let mut text = String::new();
    let mut partitions = Shard::new(1);
    partitions.apply(of_partitions().remove(1).1, &[]).unwrap();
    let payload = kontiki_storage::payload::PayloadRef::Inline("x".repeat(3).into());
    let mut first = append();
    if let partition::Command::Append(append) = &mut first {
        append.payload = 0;
        append.leader_term = None;
        append.header.bytes = 3;
        append.header.attributes.compression = Compression::Lz4;
        append.header.producer.as_mut().unwrap().base_sequence = Sequence(0);
    }
    partitions.apply(first, &[payload]).unwrap();
    let mut catalog = Shard::new(0);
    let of_the_catalog = of_the_catalog();
    for name in ["init", "join", "create_topic"] {
        let (_, command) = of_the_catalog.iter().find(|(of, _)| *of == name).unwrap();
        catalog.apply(command.clone(), &[]).unwrap();
    }
    for shard in [&mut partitions, &mut catalog] {
        shard.write();
        for (key, value) in shard.rows.all() {
            writeln!(text, "{} {}", hex(&key), hex(&value)).unwrap();
        }
    }
    compare("rows", &text, include_str!("frozen/rows.txt"));
}
