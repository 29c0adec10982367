//! Durable subscriptions: rows of the catalog, and positions in the shards of the partitions.

use std::fmt::Write as _;

use bytes::Bytes;
use kontiki_storage::id::{Offset, PartitionId, SubscriptionId, TopicId};
use kontiki_storage::key;
use kontiki_storage::payload::PayloadRef;

use super::{Shard, spec};
use crate::catalog::{self, CreateSubscription, InitCluster, Limits, RequestId, Start};
use crate::filter::{FILTER_BYTES_MAX, FilterText, Language, PatternSyntax};
use crate::partition::{
    Append, Attributes, BatchHeader, Command, CommitPosition, POSITIONS_MAX, Position, PositionOf,
    Reply, read,
};
use crate::rejection::Rejection;
use crate::settings::Settings;
use crate::shard::{self, encode_outcome};

const PARTITION: PartitionId = PartitionId(7);
const ONE: SubscriptionId = SubscriptionId(3);
const OTHER: SubscriptionId = SubscriptionId(4);

fn founded() -> Shard {
    let mut shard = Shard::new(0);
    let init = InitCluster {
        cluster_id: "kontiki".to_owned(),
        shard_count: 2,
        replication_factor: 1,
        nodes: vec![spec(1, 1, None)],
        catalog_nodes: vec![kontiki_storage::id::NodeId(1)],
        limits: Limits::default(),
        feature_level: catalog::FeatureLevel(1),
    };
    shard.apply(catalog::Command::InitCluster(init), &[]).unwrap();
    shard
}

fn create(name: &str, request: u8) -> CreateSubscription {
    CreateSubscription {
        name: name.to_owned(),
        pattern: "orders.*".to_owned(),
        syntax: PatternSyntax::Nats,
        filter: Some(FilterText { language: Language::Cel, text: "true".to_owned() }),
        start: Start::Timestamp(1_700_000_000_000),
        request: Some(RequestId([request; 16])),
    }
}

fn created(shard: &mut Shard, create: CreateSubscription) -> Result<(u64, bool), Rejection> {
    let reply = shard.apply(catalog::Command::CreateSubscription(create), &[])?;
    let shard::Reply::Catalog(catalog::Reply::SubscriptionCreated { subscription, existed }) =
        reply
    else {
        panic!("{reply:?}");
    };
    Ok((subscription.0, existed))
}

#[test]
fn a_name_is_given_once_and_an_id_never_again() {
    let mut shard = founded();
    assert_eq!(created(&mut shard, create("all", 1)), Ok((2, false)));
    assert_eq!(created(&mut shard, create("all", 1)), Ok((2, true)), "the same request");
    let exists = Rejection::SubscriptionExists("all".to_owned());
    assert_eq!(created(&mut shard, create("all", 2)), Err(exists));
    assert_eq!(created(&mut shard, create("more", 2)), Ok((3, false)));
    let delete = || catalog::Command::DeleteSubscription { name: "all".to_owned() };
    assert_eq!(shard.apply(delete(), &[]), Ok(shard::Reply::Catalog(catalog::Reply::Done)));
    let unknown = Rejection::UnknownSubscription("all".to_owned());
    assert_eq!(shard.apply(delete(), &[]), Err(unknown));
    assert_eq!(created(&mut shard, create("all", 1)), Ok((5, false)), "it is another one");
    shard.reload();
    let catalog = shard.machine.catalog().unwrap();
    let names: Vec<&str> = catalog.subscriptions_after("").map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["all", "more"]);
    assert_eq!(catalog.subscription(SubscriptionId(2)), None);
}

#[test]
fn what_is_too_long_or_no_name_is_refused() {
    let mut shard = founded();
    let long = FilterText { language: Language::Cel, text: "x".repeat(FILTER_BYTES_MAX + 1) };
    for wrong in [
        create("", 1),
        create("a b", 1),
        CreateSubscription { pattern: "x".repeat(256), ..create("a", 1) },
        CreateSubscription { filter: Some(long), ..create("a", 1) },
    ] {
        let refused = created(&mut shard, wrong).unwrap_err();
        assert_eq!(refused.code(), 3, "{refused}");
    }
}

/// A partition with ten records.
fn written() -> Shard {
    let mut shard = Shard::new(1);
    let create = Command::CreatePartition {
        partition: PARTITION,
        topic: TopicId(1),
        settings: Settings::default(),
        settings_version: 1,
        queue: None,
    };
    shard.apply(create, &[]).unwrap();
    let header = BatchHeader {
        record_count: 10,
        last_offset_delta: 9,
        base_timestamp: 1_000,
        max_timestamp: 1_000,
        bytes: 1,
        attributes: Attributes::default(),
        producer: None,
    };
    let append = Append { partition: PARTITION, payload: 0, header, leader_term: None };
    let payload = PayloadRef::Inline(Bytes::from_static(b"x"));
    shard.apply(Command::Append(append), &[payload]).unwrap();
    shard
}

fn at(subscription: SubscriptionId, offset: u64, reset: bool) -> CommitPosition {
    let offset = Offset(offset);
    CommitPosition { partition: PARTITION, subscription, offset, reset, generation: 0 }
}

fn changed(shard: &mut Shard, command: Command) -> u32 {
    let reply = shard.apply(command, &[]).unwrap();
    let shard::Reply::Partition(Reply::Positions { changed }) = reply else {
        panic!("{reply:?}");
    };
    changed
}

fn position(shard: &mut Shard, subscription: SubscriptionId) -> Option<u64> {
    shard.write();
    let found = read::position(&shard.rows, shard.space, PARTITION, subscription).unwrap();
    found.map(|position| position.offset.0)
}

#[test]
fn a_position_rises_and_falls_only_where_that_is_asked_for() {
    let mut shard = written();
    let both = vec![at(ONE, 5, false), at(OTHER, 0, false)];
    assert_eq!(changed(&mut shard, Command::CommitPositions(both)), 2);
    // Later ones of the same command, and of the same batch, count from those before.
    let some = vec![at(ONE, 4, false), at(ONE, 7, false), at(ONE, 6, false)];
    assert_eq!(changed(&mut shard, Command::CommitPositions(some)), 1);
    assert_eq!(position(&mut shard, ONE), Some(7));
    assert_eq!(changed(&mut shard, Command::CommitPositions(vec![at(ONE, 2, false)])), 0);
    assert_eq!(changed(&mut shard, Command::CommitPositions(vec![at(ONE, 2, true)])), 1);
    assert_eq!(position(&mut shard, ONE), Some(2));
    assert_eq!(changed(&mut shard, Command::CommitPositions(vec![at(ONE, 99, false)])), 1);
    assert_eq!(position(&mut shard, ONE), Some(10), "no further than the end");
    assert_eq!(position(&mut shard, OTHER), Some(0));
}

#[test]
fn what_a_consumer_says_that_was_before_a_reset_changes_nothing() {
    let mut shard = written();
    let of = |generation, offset, reset| CommitPosition { generation, ..at(ONE, offset, reset) };
    let mut commit = |commit| {
        let changed = changed(&mut shard, Command::CommitPositions(vec![commit]));
        (changed, position(&mut shard, ONE).unwrap())
    };
    assert_eq!(commit(of(1, 8, false)), (1, 8));
    assert_eq!(commit(of(3, 2, true)), (1, 2));
    assert_eq!(commit(of(1, 9, false)), (0, 2), "the one before it commits late");
    assert_eq!(commit(of(2, 9, true)), (0, 2), "and one that it has taken over from resets late");
    assert_eq!(commit(of(0, 9, false)), (0, 2));
    assert_eq!(commit(of(3, 4, false)), (1, 4));
    assert_eq!(commit(of(3, 2, true)), (0, 4), "the same reset comes again");
    assert_eq!(commit(of(4, 5, false)), (1, 5));
    assert_eq!(commit(of(3, 6, false)), (1, 6), "nothing is undone by it");
    assert_eq!(commit(of(5, 6, true)), (1, 6));
    assert_eq!(commit(of(4, 7, false)), (0, 6));
}

#[test]
fn positions_go_with_their_partition_and_with_their_subscription() {
    let mut shard = written();
    let elsewhere = CommitPosition { partition: PartitionId(8), ..at(ONE, 5, false) };
    let commits = vec![at(ONE, 5, false), elsewhere, at(OTHER, 6, false)];
    assert_eq!(changed(&mut shard, Command::CommitPositions(commits)), 2, "8 isn't there");
    shard.write();
    let of = |subscription| PositionOf { partition: PARTITION, subscription };
    let all = |shard: &Shard, after| read::positions(&shard.rows, shard.space, after, 10).unwrap();
    assert_eq!(all(&shard, None), [of(ONE), of(OTHER)]);
    assert_eq!(all(&shard, Some(of(ONE))), [of(OTHER)]);
    let forget = || Command::ForgetPositions(vec![of(ONE)]);
    assert_eq!(changed(&mut shard, forget()), 1);
    assert_eq!(changed(&mut shard, forget()), 0);
    assert_eq!((position(&mut shard, ONE), position(&mut shard, OTHER)), (None, Some(6)));
    shard.apply(Command::DeletePartition { partition: PARTITION, limit: 1 }, &[]).unwrap();
    shard.write();
    assert_eq!(all(&shard, None), []);
    assert_eq!(changed(&mut shard, Command::CommitPositions(vec![at(ONE, 1, false)])), 0);
}

#[test]
fn too_many_at_once_are_refused() {
    let mut shard = written();
    let many = vec![at(ONE, 1, false); POSITIONS_MAX + 1];
    let refused = shard.apply(Command::CommitPositions(many), &[]).unwrap_err();
    assert_eq!(refused.code(), 3);
    let some = vec![at(ONE, 1, false); POSITIONS_MAX];
    assert_eq!(changed(&mut shard, Command::CommitPositions(some)), 1);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The bytes of version 1: a line that changes breaks every log that was ever written.
#[test]
fn the_bytes_stay() {
    let all = CreateSubscription {
        syntax: PatternSyntax::Amqp,
        filter: None,
        start: Start::Latest,
        request: None,
        ..create("all", 1)
    };
    let of = PositionOf { partition: PARTITION, subscription: ONE };
    let later = CommitPosition { generation: 6, ..at(ONE, 5, true) };
    let commands: [shard::Command; 6] = [
        catalog::Command::CreateSubscription(create("all", 1)).into(),
        catalog::Command::CreateSubscription(all).into(),
        catalog::Command::DeleteSubscription { name: "all".to_owned() }.into(),
        Command::CommitPositions(vec![at(ONE, 5, true)]).into(),
        Command::CommitPositions(vec![later]).into(),
        Command::ForgetPositions(vec![of]).into(),
    ];
    let mut text = String::new();
    for command in commands {
        let bytes = command.encode();
        assert_eq!(shard::Command::decode(&bytes), Ok(command));
        writeln!(text, "command {}", hex(&bytes)).unwrap();
    }
    let created = catalog::Reply::SubscriptionCreated { subscription: ONE, existed: true };
    let replies =
        [shard::Reply::Catalog(created), shard::Reply::Partition(Reply::Positions { changed: 2 })];
    for reply in replies {
        writeln!(text, "reply {}", hex(&encode_outcome(&Ok(reply)))).unwrap();
    }
    let mut catalog = founded();
    created_row(&mut catalog);
    let mut partitions = written();
    changed(&mut partitions, Command::CommitPositions(vec![at(ONE, 5, false)]));
    partitions.write();
    let subscription = key::subscription(catalog.space, SubscriptionId(2));
    let position = key::position(partitions.space, PARTITION, ONE);
    assert_eq!(key::position_of(&position), Some((PARTITION, ONE)));
    // What is said of a generation came later, and is not there before a consumer has reset.
    let mut reset = written();
    changed(&mut reset, Command::CommitPositions(vec![later]));
    reset.write();
    let all = [(&catalog, subscription), (&partitions, position.clone()), (&reset, position)];
    for (shard, wanted) in all {
        let rows = shard.rows.all();
        let (row_key, value) = rows.iter().find(|(row_key, _)| *row_key == wanted).unwrap();
        writeln!(text, "row {} {}", hex(row_key), hex(value)).unwrap();
    }
    let frozen = include_str!("subscriptions.txt");
    assert!(text == frozen, "the bytes are\n\n{text}");
}

fn created_row(shard: &mut Shard) {
    created(shard, create("all", 1)).unwrap();
    shard.write();
}

#[test]
fn a_position_says_when_it_was_noted() {
    let mut shard = written();
    shard.stamp.time_ms = 5_000;
    changed(&mut shard, Command::CommitPositions(vec![at(ONE, 5, false)]));
    shard.write();
    let found = read::position(&shard.rows, shard.space, PARTITION, ONE).unwrap();
    assert_eq!(found, Some(Position { offset: Offset(5), noted_ms: 5_000, generation: 0 }));
}
