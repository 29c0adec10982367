//! Tests of what callers are told.

use std::collections::BTreeSet;

use kontiki_domain::Rejection;
use kontiki_domain::catalog::{FeatureLevel, FeatureRange, NodeState, PlacementVersion};
use kontiki_domain::partition::{ProducerEpoch, Sequence};
use kontiki_domain::rejection::{BatchFault, Policy, TopicNameFault};
use kontiki_domain::settings::{Compression, SettingName};
use kontiki_proto::node::Failure;
use kontiki_storage::id::{Offset, PartitionId, ProducerId, ReplicaId, ShardId, TopicId};

use super::*;

const P: PartitionId = PartitionId(7);
const T: TopicId = TopicId(3);
const N: NodeId = NodeId(1);
const S: ShardId = ShardId(2);

fn invalid() -> Vec<Rejection> {
    let name = || "a".to_owned();
    let policy = Policy::Compression { wanted: Compression::Zstd, got: Compression::None };
    let setting = SettingName::RetentionMs;
    vec![
        Rejection::invalid("limit", 0, "at least 1"),
        Rejection::InvalidSetting { name: setting, value: -2, min: -1, max: 9 },
        Rejection::UnsupportedSetting { name: setting, value: name(), offered: name() },
        Rejection::RecordTooLarge { partition: P, bytes: 2, bytes_max: 1 },
        Rejection::InvalidRecord { partition: P, fault: BatchFault::Empty },
        Rejection::PolicyViolation { partition: P, policy },
        Rejection::TransactionsUnsupported(P),
        Rejection::InvalidTopicName { name: name(), fault: TopicNameFault::Dots },
        Rejection::TopicPartitionsLimit { asked: 2, partitions_max: 1 },
        Rejection::PartitionsFall { topic: T, partitions: 2, asked: 1 },
    ]
}

fn not_found() -> Vec<Rejection> {
    let replica = ReplicaId::new(N, 1);
    let (start, end) = (Offset(1), Offset(2));
    vec![
        Rejection::UnknownPartition { partition: P },
        Rejection::PartitionDeleted { partition: P },
        Rejection::OffsetOutOfRange { partition: P, offset: Offset(0), start, end },
        Rejection::UnknownNode(N),
        Rejection::UnknownTopic { topic: T },
        Rejection::UnknownShard { shard: S, shard_count: 1 },
        Rejection::UnknownReplica { shard: S, replica },
        Rejection::UnknownSubscription("a".to_owned()),
    ]
}

fn exists() -> Vec<Rejection> {
    let name = || "a".to_owned();
    vec![
        Rejection::TopicExists { name: name(), topic: T },
        Rejection::TopicNameCollision { name: name(), other: name() },
        Rejection::AlreadyFounded(name()),
        Rejection::AddressInUse { address: name(), node: N },
        Rejection::SubscriptionExists(name()),
    ]
}

fn conflict() -> Vec<Rejection> {
    let (producer, epoch) = (ProducerId(4), ProducerEpoch(1));
    let (expected, got) = (Sequence(1), Sequence(2));
    let (before, now) = (PlacementVersion(1), PlacementVersion(2));
    let speaks = FeatureRange::THIS_RELEASE;
    let level = FeatureLevel(1);
    let state = NodeState::Draining;
    vec![
        Rejection::OutOfOrderSequence { partition: P, producer, epoch, expected, got },
        Rejection::UnknownProducerId { partition: P, producer, got },
        Rejection::LeaderEpochChanged { partition: P, expected: 1, current: 2 },
        Rejection::NodeNotReady { node: N, state, advice: "wait".to_owned() },
        Rejection::NodeHasReplicas { node: N, replicas: 1, shard: S },
        Rejection::FeatureLevelUnsupported { node: N, level, speaks },
        Rejection::FeatureLevelFalls { current: level, asked: level },
        Rejection::SettingsChanged { topic: T, expected: 1, current: 2 },
        Rejection::TopicNotDeleting(T),
        Rejection::PlacementChanged { shard: S, expected: before, current: now },
        Rejection::ShardNotFounded(S),
    ]
}

fn others() -> Vec<(Kind, Rejection)> {
    let (epoch, current) = (ProducerEpoch(1), ProducerEpoch(2));
    let producer = ProducerId(4);
    vec![
        (Kind::Fenced, Rejection::ProducerFenced { partition: P, producer, epoch, current }),
        (Kind::Throttled, Rejection::SubscriptionsLimit(1)),
        (Kind::Throttled, Rejection::NodesLimit { nodes: 1, nodes_max: 1 }),
        (Kind::Throttled, Rejection::TopicsLimit { topics: 1, topics_max: 1 }),
        (
            Kind::Throttled,
            Rejection::PartitionsLimit { asked: 1, partitions: 1, partitions_max: 1 },
        ),
        (Kind::Throttled, Rejection::ProducerIdsExhausted { asked: 1, left: 0 }),
        (Kind::Unavailable, Rejection::NotFounded),
        (Kind::Internal, Rejection::UnsupportedCommand { version: 9, supported: 1, bytes: 3 }),
        (Kind::Internal, Rejection::WrongShard { shard: S }),
        (Kind::Internal, Rejection::PartitionExists { partition: P, topic: T, asked: T }),
    ]
}

fn all() -> Vec<(Kind, Rejection)> {
    let of = |kind: Kind, all: Vec<Rejection>| all.into_iter().map(move |one| (kind, one));
    of(Kind::Invalid, invalid())
        .chain(of(Kind::NotFound, not_found()))
        .chain(of(Kind::Exists, exists()))
        .chain(of(Kind::Conflict, conflict()))
        .chain(others())
        .collect()
}

#[test]
fn every_refusal_keeps_its_code_and_words_and_has_its_kind() {
    let mut codes = BTreeSet::new();
    for (kind, rejection) in all() {
        let error = Error::from(rejection.clone());
        assert_eq!(error.kind, kind, "{rejection:?}");
        assert_eq!(error.code, Code(rejection.code().into()));
        assert!(error.code < Code::INVALID_FIELD, "{rejection:?} has a code of the broker");
        assert_eq!(error.detail, rejection.to_string());
        assert_eq!((error.leader, error.retry_after_ms), (None, 0));
        assert!(codes.insert(rejection.code()), "{rejection:?} is in the tables twice");
    }
    assert_eq!(codes.len(), 44, "a refusal is missing in the tables, or new");
}

#[test]
fn numbers_of_kinds_are_there_and_back() {
    let numbers: Vec<u32> = Kind::ALL.into_iter().map(Kind::number).collect();
    assert_eq!(numbers, (1..=11).collect::<Vec<u32>>());
    for kind in Kind::ALL {
        assert_eq!(Kind::from_number(kind.number()), kind);
    }
    for unknown in [0, 12, u32::MAX] {
        assert_eq!(Kind::from_number(unknown), Kind::Internal);
    }
    let names: BTreeSet<&str> = Kind::ALL.into_iter().map(Kind::name).collect();
    assert_eq!(names.len(), Kind::ALL.len());
}

#[test]
fn a_failure_travels_between_nodes_unchanged() {
    let mut errors: Vec<Error> = all().into_iter().map(|(_, rejection)| rejection.into()).collect();
    errors.extend([
        Error::not_leader("shard 2", Some(NodeId(5))),
        Error::not_leader("shard 2", None),
        Error::throttled("broker.x", 3, 250),
        Error::outcome_unknown("shard 2"),
        Error::not_ready(),
        Error::stopping(),
        Error::unreachable(NodeId(9), "refused"),
    ]);
    for kind in Kind::ALL {
        errors.push(Error::new(kind, Code(kind.number()), "text"));
    }
    for error in errors {
        let failure = Failure::from(&error);
        assert_eq!(Error::from(failure.clone()), error);
        assert_eq!(Failure::from(&Error::from(failure.clone())), failure);
    }
}

#[test]
fn what_is_said_names_the_thing_and_what_to_do() {
    let error = Error::invalid("limit", 0, "at least 1").about("topic a");
    assert_eq!(
        error.to_string(),
        "topic a: limit is 0, expected at least 1: correct it and ask again"
    );
    assert_eq!(
        Error::throttled("broker.x", 3, 250).retry_after(),
        Some(Duration::from_millis(250))
    );
    assert_eq!(Error::stopping().retry_after(), None);
    assert!(Error::not_leader("shard 2", Some(NodeId(5))).detail.contains("ask node 5"));
}
