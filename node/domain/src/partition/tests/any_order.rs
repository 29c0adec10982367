//! Whatever comes in whatever order: replicas that write, load and forget at different moments
//! give the same replies and the same rows.

use bytes::Bytes;
use kontiki_storage::id::{Offset, PartitionId, ProducerId, SegmentId, SubscriptionId, TopicId};
use kontiki_storage::payload::{PayloadLocation, PayloadRef};
use proptest::prelude::*;

use super::reads;
use crate::partition::read::{self, Limit, Plan};
use crate::partition::{
    Append, Attributes, BatchHeader, Command, CommitPosition, PositionOf, ProducerEpoch,
    ProducerStamp, Sequence,
};
use crate::settings::Settings;
use crate::shard::ShardMachine;
use crate::tests::Shard;

#[derive(Debug, Clone)]
struct Step {
    command: Command,
    stored: bool,
    later_ms: i64,
    new_term: bool,
    /// Whether the replica that batches writes now.
    write: bool,
}

fn settings() -> impl Strategy<Value = Settings> {
    (0..4_i64, 0..4_i64, 1..4_u32).prop_map(|(age, size, producers_max)| Settings {
        retention_ms: if age == 0 { -1 } else { age * 20_000 },
        retention_bytes: if size == 0 { -1 } else { size * 100 },
        producers_max,
        producer_expiry_ms: 60_000,
        timestamp_ahead_ms_max: -1,
        ..Settings::default()
    })
}

fn append() -> impl Strategy<Value = Command> {
    let producer = prop::option::weighted(0.8, (1..5_u64, 0..2_i16, 0..6_i32));
    (1..4_u64, 1..3_u32, 1..80_u32, -1..150_000_i64, producer).prop_map(
        |(partition, record_count, bytes, timestamp, producer)| {
            Command::Append(Append {
                partition: PartitionId(partition),
                payload: 0,
                header: BatchHeader {
                    record_count,
                    last_offset_delta: record_count - 1,
                    base_timestamp: timestamp,
                    max_timestamp: timestamp,
                    bytes,
                    attributes: Attributes::default(),
                    producer: producer.map(|(id, epoch, sequence)| ProducerStamp {
                        id: ProducerId(id),
                        epoch: ProducerEpoch(epoch),
                        base_sequence: Sequence(sequence),
                    }),
                },
                leader_term: None,
            })
        },
    )
}

fn command() -> impl Strategy<Value = Command> {
    let partition = || (1..4_u64).prop_map(PartitionId);
    let limit = || 1..4_u32;
    let position = || {
        (1..4_u64, 1..3_u64).prop_map(|(partition, subscription)| PositionOf {
            partition: PartitionId(partition),
            subscription: SubscriptionId(subscription),
        })
    };
    prop_oneof![
        20 => append(),
        3 => (partition(), settings()).prop_map(|(partition, settings)| {
            let (topic, queue) = (TopicId(1), None);
            Command::CreatePartition { partition, topic, settings, settings_version: 1, queue }
        }),
        1 => (partition(), settings(), 1..9_u64).prop_map(|(partition, settings, version)| {
            Command::UpdateSettings { partition, settings, settings_version: version, queue: None }
        }),
        3 => (partition(), limit())
            .prop_map(|(partition, limit)| Command::Retain { partition, limit }),
        2 => (partition(), prop::option::of(0..30_u64), limit()).prop_map(
            |(partition, before, limit)| {
                let before = before.map(Offset);
                Command::DeleteRecords { partition, before, limit }
            }
        ),
        1 => (partition(), limit())
            .prop_map(|(partition, limit)| Command::DeletePartition { partition, limit }),
        2 => limit().prop_map(|limit| Command::Expire { limit }),
        4 => prop::collection::vec((position(), 0..30_u64, any::<bool>(), 0..3_u64), 0..4)
            .prop_map(|all| {
            let commit = |(PositionOf { partition, subscription }, offset, reset, generation)| {
                let offset = Offset(offset);
                CommitPosition { partition, subscription, offset, reset, generation }
            };
            Command::CommitPositions(all.into_iter().map(commit).collect())
        }),
        1 => prop::collection::vec(position(), 0..4).prop_map(Command::ForgetPositions),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let later = prop_oneof![8 => 0..2_000_i64, 2 => 0..30_000_i64, 1 => Just(86_400_000)];
    let step = (command(), any::<bool>(), later, prop::bool::weighted(0.1), any::<bool>());
    let step = step.prop_map(|(command, stored, later_ms, new_term, write)| Step {
        command,
        stored,
        later_ms,
        new_term,
        write,
    });
    prop::collection::vec(step, 1..120).prop_map(|mut steps| {
        // Otherwise most commands meet no partition.
        for (at, partition) in (1..4).enumerate() {
            let create = Command::CreatePartition {
                partition: PartitionId(partition),
                topic: TopicId(1),
                settings: Settings { producers_max: 3, ..Settings::default() },
                settings_version: 1,
                queue: None,
            };
            let step =
                Step { command: create, stored: false, later_ms: 0, new_term: false, write: false };
            steps.insert(at, step);
        }
        steps
    })
}

/// The same command, with its payload stored at a place that only this replica knows.
fn payloads(step: &Step, at: usize, segment: u64) -> Vec<PayloadRef> {
    let Command::Append(append) = &step.command else { return Vec::new() };
    let length = append.header.bytes;
    let content = Bytes::from(vec![b'x'; usize::try_from(length).unwrap()]);
    vec![if step.stored {
        let (segment, offset) = (SegmentId(segment), u32::try_from(at).unwrap() * 1_000);
        let crc = crc32c::crc32c(&content);
        PayloadRef::Stored(PayloadLocation { segment, offset, length, crc })
    } else {
        PayloadRef::Inline(content)
    }]
}

fn run(
    steps: &[Step],
    segment: u64,
    mut after: impl FnMut(&mut Shard, &Step),
) -> (Shard, Vec<Bytes>) {
    let mut shard = Shard::new(1);
    let mut replies = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        shard.stamp.time_ms += step.later_ms;
        shard.stamp.term += u64::from(step.new_term);
        let command = crate::shard::Command::from(step.command.clone()).encode();
        replies.push(shard.apply_bytes(&command, &payloads(step, at, segment)));
        after(&mut shard, step);
    }
    shard.reload();
    (shard, replies)
}

fn forgetful(shard: &mut Shard) {
    match &mut shard.machine {
        ShardMachine::Partitions(partitions) => partitions.set_producers_cached_max(2),
        ShardMachine::Catalog(_) => unreachable!("shard 1 has partitions"),
    }
}

/// Every partition can be read from its start to its end, and no payload is lost or left over.
fn check_rows(shard: &Shard) {
    let mut stored = 0;
    for (id, state) in read::partitions(&shard.rows, shard.space, None, 100).unwrap() {
        let limit = Limit { bytes_max: u64::MAX, rows_max: 1_000 };
        let view = &shard.rows;
        let start = state.log_start_offset;
        let plan = read::batches_from(view, shard.space, id, &state, start, limit).unwrap();
        let Plan::Batches(batches) = plan else { panic!("{plan:?}") };
        let end = batches.last().map_or(start, |batch| batch.next_offset());
        assert_eq!(end, state.log_end_offset);
        reads::check(shard, id, &state, &batches);
        let range = kontiki_storage::key::batches(shard.space, id, Offset(0), Offset(u64::MAX));
        let rows = kontiki_storage::View::scan(
            view,
            kontiki_storage::Family::State,
            range,
            kontiki_storage::engine::Order::Forward,
            kontiki_storage::engine::ScanLimit::rows(1_000),
        );
        let rows = rows.unwrap();
        assert_eq!(u64::try_from(rows.len()).unwrap(), state.batches);
        let mut bytes = 0;
        for (key, value) in rows {
            let row = kontiki_storage::row::BatchRow::decode(&value).unwrap();
            bytes += row.payload.len();
            if let PayloadRef::Stored(location) = row.payload {
                assert_eq!(view.live.get(&location), Some(&key));
                stored += 1;
            }
        }
        assert_eq!(u64::try_from(bytes).unwrap(), state.bytes);
    }
    assert_eq!(stored, shard.rows.live.len());
}

fn many() -> ProptestConfig {
    ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn replicas_agree_whenever_they_write_and_load(steps in steps()) {
        let (mut one, replies) = run(&steps, 1, |_, _| {});
        let (mut other, other_replies) = run(&steps, 2, |shard, _| shard.reload());
        let (mut third, third_replies) = run(&steps, 3, |shard, step| {
            forgetful(shard);
            if step.write {
                shard.write();
            }
        });
        prop_assert_eq!(&replies, &other_replies);
        prop_assert_eq!(&replies, &third_replies);
        prop_assert_eq!(one.hash(), other.hash());
        prop_assert_eq!(one.hash(), third.hash());
        check_rows(&one);
        check_rows(&third);
    }
}
