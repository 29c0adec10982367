//! The verbs of partition scripts.

use bytes::Bytes;
use kontiki_storage::id::{Offset, PartitionId, ProducerId, SegmentId, TopicId};
use kontiki_storage::payload::{PayloadLocation, PayloadRef};

use super::words::{Words, compression};
use super::{Shard, refused};
use crate::partition::read::{self, Batch, Limit, Plan, Search};
use crate::partition::{
    Append, Appended, Attributes, BatchHeader, Command, PartitionState, ProducerEpoch,
    ProducerStamp, Reply, Sequence, Trimmed,
};
use crate::settings::Compression;
use crate::shard;

pub(super) fn step(shard: &mut Shard, words: &Words<'_>) -> Vec<String> {
    let partition = || PartitionId(words.thing(0));
    let limit = || words.number("limit").unwrap_or(100);
    let command = match words.verb {
        "append" => return append(shard, words),
        "create" => Command::CreatePartition {
            partition: partition(),
            topic: TopicId(words.number("topic").unwrap_or(1)),
            settings_version: words.number("version").unwrap_or(1),
            settings: words.settings().effective(),
            queue: None,
        },
        "settings" => Command::UpdateSettings {
            partition: partition(),
            settings_version: words.number("version").unwrap(),
            settings: words.settings().effective(),
            queue: None,
        },
        "delete" => Command::DeletePartition { partition: partition(), limit: limit() },
        "retain" => Command::Retain { partition: partition(), limit: limit() },
        "delete_records" => Command::DeleteRecords {
            partition: partition(),
            before: words.number("before").map(Offset),
            limit: limit(),
        },
        "expire" => Command::Expire { limit: limit() },
        _ => return read(shard, words),
    };
    words.done();
    told(shard.apply(command, &[]))
}

fn append(shard: &mut Shard, words: &Words<'_>) -> Vec<String> {
    let record_count = words.number("n").unwrap_or(1);
    let bytes: u32 = words.number("bytes").unwrap_or(100);
    let timestamp = words.number("ts").unwrap_or(shard.stamp.time_ms);
    let producer = words.text("by").map(|text| {
        let parts: Vec<i64> = text.split('/').map(|part| part.parse().unwrap()).collect();
        ProducerStamp {
            id: ProducerId(parts[0].try_into().unwrap()),
            epoch: ProducerEpoch(parts[1].try_into().unwrap()),
            base_sequence: Sequence(parts[2].try_into().unwrap()),
        }
    });
    let header = BatchHeader {
        record_count,
        last_offset_delta: words.number("delta").unwrap_or(record_count.saturating_sub(1)),
        base_timestamp: timestamp,
        max_timestamp: words.number("max_ts").unwrap_or(timestamp),
        bytes: words.number("header_bytes").unwrap_or(bytes),
        attributes: Attributes {
            compression: words.text("compression").map_or(Compression::None, compression),
            transactional: words.has("transactional"),
            control: words.has("control"),
        },
        producer,
    };
    let payload = if words.has("stored") {
        shard.stored += 1;
        let (segment, offset) = (SegmentId(1), shard.stored * 1_000);
        PayloadRef::Stored(PayloadLocation { segment, offset, length: bytes, crc: 7 })
    } else {
        PayloadRef::Inline(Bytes::from(vec![b'x'; usize::try_from(bytes).unwrap()]))
    };
    let append = Append {
        partition: PartitionId(words.thing(0)),
        payload: words.number("payload").unwrap_or(0),
        header,
        leader_term: words.number("leader_term"),
    };
    words.done();
    told(shard.apply(Command::Append(append), &[payload]))
}

fn told(outcome: shard::Outcome) -> Vec<String> {
    let reply = match outcome {
        Ok(shard::Reply::Partition(reply)) => reply,
        Ok(other @ (shard::Reply::Catalog(_) | shard::Reply::Queue(_))) => panic!("{other:?}"),
        Err(rejection) => return refused(&rejection),
    };
    vec![match reply {
        Reply::Appended(Appended { base_offset, append_time_ms, duplicate, .. }) => {
            let what = if duplicate { "duplicate of" } else { "appended at" };
            format!("{what} {base_offset}, time {append_time_ms}")
        }
        Reply::Retained(trimmed) | Reply::RecordsDeleted(trimmed) => {
            let Trimmed { log_start_offset, batches, bytes, more } = trimmed;
            format!("log start {log_start_offset}, removed {batches} ({bytes} B), more {more}")
        }
        Reply::PartitionCreated { .. }
        | Reply::PartitionDeleted { .. }
        | Reply::SettingsUpdated { .. }
        | Reply::Expired { .. }
        | Reply::Positions { .. } => format!("{reply:?}"),
    }]
}

fn read(shard: &mut Shard, words: &Words<'_>) -> Vec<String> {
    shard.write();
    if words.verb == "live" {
        return vec![format!("{} payloads", shard.rows.live.len())];
    }
    let (view, space, id) = (&shard.rows, shard.space, PartitionId(words.thing(0)));
    let Some(state) = read::partition(view, space, id).unwrap() else {
        return vec!["nothing".to_owned()];
    };
    assert_eq!(Some(&state), shard.machine.partitions().unwrap().get(id));
    let rows_max = words.number("rows").unwrap_or(100);
    let answer = match words.verb {
        "show" => show(shard, id, &state),
        "fetch" => {
            let limit = Limit { bytes_max: words.number("bytes").unwrap_or(u64::MAX), rows_max };
            let from = Offset(words.thing(1));
            match read::batches_from(view, space, id, &state, from, limit).unwrap() {
                Plan::Batches(batches) if batches.is_empty() => "the end".to_owned(),
                Plan::Batches(batches) => batches.iter().map(span).collect::<Vec<_>>().join(" "),
                other @ (Plan::BelowStart | Plan::AboveEnd) => format!("{other:?}"),
            }
        }
        "at_timestamp" => {
            let (timestamp, from) = (words.thing(1), words.number("from").map(Offset));
            let found =
                read::batch_at_timestamp(view, space, id, &state, timestamp, from, rows_max);
            match found.unwrap() {
                Search::Found(batch) => span(&batch),
                other @ (Search::None | Search::Continue(_)) => format!("{other:?}"),
            }
        }
        "newest" => read::batch_of_max_timestamp(view, space, id, &state, rows_max)
            .unwrap()
            .map_or("none".to_owned(), |batch| span(&batch)),
        "epoch" => format!("{:?}", state.end_offset_for_epoch(words.thing(1))),
        "due" => {
            let now = shard.stamp.time_ms;
            let retention = read::retention_due(view, space, id, &state, now).unwrap();
            let expiry = shard.machine.partitions().unwrap().expiry_due(now);
            format!("retention {retention}, expiry {expiry}")
        }
        other => panic!("no such verb: {other}"),
    };
    words.done();
    vec![answer]
}

fn span(batch: &Batch) -> String {
    format!("{}..={}", batch.base_offset, batch.last_offset())
}

fn show(shard: &Shard, id: PartitionId, state: &PartitionState) -> String {
    let epochs: Vec<String> =
        state.epochs.iter().map(|epoch| format!("{}@{}", epoch.term, epoch.start)).collect();
    let producers = read::producers(&shard.rows, shard.space, id, 100).unwrap();
    let producers: Vec<String> = producers
        .iter()
        .map(|(id, producer)| {
            let last = producer.last().last_sequence();
            format!("{id}/{}/{last} ({})", producer.epoch, producer.window.len())
        })
        .collect();
    format!(
        "{:?}, {}..{}, first {}, {} batches, {} B, newest {}, epochs [{}], producers [{}]",
        state.phase,
        state.log_start_offset,
        state.log_end_offset,
        state.first_base_offset,
        state.batches,
        state.bytes,
        state.running_max_timestamp,
        epochs.join(" "),
        producers.join(" "),
    )
}
