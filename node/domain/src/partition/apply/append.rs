//! Stores a record batch at the end of a partition, once.

use kontiki_storage::Family;
use kontiki_storage::id::{Offset, PartitionId};
use kontiki_storage::key;
use kontiki_storage::payload::PayloadRef;
use kontiki_storage::row::{BatchRow, RowProducer};

use super::{Context, Stop};
use crate::effect::Effect;
use crate::partition::machine::live;
use crate::partition::sequence::{self, ProducerState, Remembered, Verdict};
use crate::partition::{
    Append, Appended, BatchHeader, PartitionState, Partitions, ProducerStamp, Reply,
};
use crate::rejection::{BatchFault, Policy, Rejection};
use crate::settings::{CompressionPolicy, MOVED_BYTES_MAX, TimestampType, UNLIMITED};
use crate::stamp::Stamp;

/// Kafka's offsets are signed.
const OFFSET_MAX: u64 = i64::MAX.cast_unsigned();

/// How many producers one append forgets at most: after `producers_max` was lowered, one append
/// must not pay for all of them.
const FORGOTTEN_PER_APPEND_MAX: usize = 8;

pub(super) fn apply(
    machine: &mut Partitions,
    mut context: Context<'_>,
    append: &Append,
) -> Result<Reply, Stop> {
    let partition = append.partition;
    if live(&machine.rows, partition)?.queue.is_some() {
        return Err(Rejection::IsAQueue(partition).into());
    }
    let new = match check(machine, &mut context, append, Giver::Sender)? {
        Checked::Duplicate(original) => {
            return Ok(duplicate(machine.live(partition)?, original));
        }
        Checked::New(new) => new,
    };
    let reply = perform(machine, context.again(), append, new);
    machine.put(partition, context.batch);
    Ok(Reply::Appended(reply))
}

/// Who appends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Giver {
    /// Whoever sent it first: the settings of the partition hold.
    Sender,
    /// A queue that took it before, and hands it over. It can't be sent again in another way, so
    /// nothing but its size is looked at.
    Queue,
}

/// What an append turned out to be.
pub(crate) enum Checked<'a> {
    /// It can be done.
    New(New<'a>),
    /// It was done before.
    Duplicate(Remembered),
}

/// An append that can be done.
pub(crate) struct New<'a> {
    payload: &'a PayloadRef,
    next_offset: Offset,
    producer: Option<ProducerState>,
}

/// Whether an append can be done. Changes nothing.
pub(crate) fn check<'a>(
    machine: &mut Partitions,
    context: &mut Context<'a>,
    append: &Append,
    giver: Giver,
) -> Result<Checked<'a>, Stop> {
    let Append { partition, payload, header, leader_term } = append;
    let (partition, stamp) = (*partition, context.stamp);
    let state = live(&machine.rows, partition)?;
    if let Some(expected) = leader_term.filter(|term| *term != stamp.term) {
        let current = stamp.term;
        return Err(Rejection::LeaderEpochChanged { partition, expected, current }.into());
    }
    let payload = check_payload(context.payloads, *payload, header)
        .map_err(|fault| Rejection::InvalidRecord { partition, fault })?;
    check_header(header).map_err(|fault| Rejection::InvalidRecord { partition, fault })?;
    if header.attributes.transactional {
        return Err(Rejection::TransactionsUnsupported(partition).into());
    }

    let mut known = None;
    if let Some(producer) = header.producer {
        known = machine.producers.get(context.view, context.batch, partition, producer.id)?;
        // Before the settings are looked at: they may have changed since the original.
        match sequence::judge(partition, known.as_ref(), producer, header.record_count)? {
            Verdict::First | Verdict::Next => {}
            Verdict::Duplicate(original) => return Ok(Checked::Duplicate(original)),
        }
    }
    match giver {
        Giver::Sender => check_settings(partition, state, header, stamp)?,
        Giver::Queue => check_size(partition, header, MOVED_BYTES_MAX)?,
    }
    let next_offset = advance(state.log_end_offset, header.record_count)
        .ok_or(Rejection::InvalidRecord { partition, fault: BatchFault::OffsetsExhausted })?;
    Ok(Checked::New(New { payload, next_offset, producer: known }))
}

/// Stores a batch that has been checked. The caller puts the partition's row.
pub(crate) fn perform(
    machine: &mut Partitions,
    mut context: Context<'_>,
    append: &Append,
    new: New<'_>,
) -> Appended {
    let Append { partition, header, .. } = append;
    let New { payload, next_offset, producer: known } = new;
    if let Some(producer) = header.producer {
        note_producer(machine, &mut context, *partition, known, producer, header.record_count);
    }
    store(machine, context, *partition, header, payload, next_offset)
}

fn check_payload<'a>(
    payloads: &'a [PayloadRef],
    payload: u16,
    header: &BatchHeader,
) -> Result<&'a PayloadRef, BatchFault> {
    let found = payloads.get(usize::from(payload)).ok_or_else(|| {
        let payloads = u32::try_from(payloads.len()).unwrap_or(u32::MAX);
        BatchFault::PayloadMissing { payload, payloads }
    })?;
    let length = u32::try_from(found.len()).unwrap_or(u32::MAX);
    if length == header.bytes {
        Ok(found)
    } else {
        Err(BatchFault::LengthMismatch { header: header.bytes, payload: length })
    }
}

fn check_header(header: &BatchHeader) -> Result<(), BatchFault> {
    let BatchHeader { record_count, last_offset_delta, .. } = *header;
    if record_count == 0 {
        return Err(BatchFault::Empty);
    }
    if last_offset_delta != record_count - 1 {
        return Err(BatchFault::CountMismatch { record_count, last_offset_delta });
    }
    // More records than sequences could not be told apart, and Kafka counts in i32.
    if record_count > i32::MAX.cast_unsigned() {
        return Err(BatchFault::CountMismatch { record_count, last_offset_delta });
    }
    if header.attributes.control {
        return Err(BatchFault::Control);
    }
    let (base, max) = (header.base_timestamp, header.max_timestamp);
    if base < -1 || max < -1 || max < base {
        return Err(BatchFault::Timestamps { base, max });
    }
    match header.producer {
        Some(producer) if producer.epoch.0 < 0 || producer.base_sequence.0 < 0 => {
            Err(BatchFault::ProducerField)
        }
        Some(_) | None => Ok(()),
    }
}

fn check_size(
    partition: PartitionId,
    header: &BatchHeader,
    bytes_max: u32,
) -> Result<(), Rejection> {
    let bytes = header.bytes;
    if bytes > bytes_max {
        return Err(Rejection::RecordTooLarge { partition, bytes, bytes_max });
    }
    Ok(())
}

fn check_settings(
    partition: PartitionId,
    state: &PartitionState,
    header: &BatchHeader,
    stamp: Stamp,
) -> Result<(), Rejection> {
    let settings = &state.settings;
    check_size(partition, header, settings.message_bytes_max)?;
    let violation = |policy| Err(Rejection::PolicyViolation { partition, policy });
    let got = header.attributes.compression;
    match settings.compression {
        CompressionPolicy::Only(wanted) if wanted != got => {
            return violation(Policy::Compression { wanted, got });
        }
        CompressionPolicy::Only(_) | CompressionPolicy::Producer => {}
    }
    match settings.timestamp_type {
        TimestampType::Append => return Ok(()),
        TimestampType::Create => {}
    }
    let (now, ahead) = (stamp.time_ms, settings.timestamp_ahead_ms_max);
    let timestamp = header.max_timestamp;
    if ahead != UNLIMITED && timestamp > now.saturating_add(ahead) {
        return violation(Policy::TimestampAhead { timestamp, now, limit_ms: ahead });
    }
    let behind = settings.timestamp_behind_ms_max;
    let timestamp = header.base_timestamp;
    if behind != UNLIMITED && timestamp >= 0 && timestamp < now.saturating_sub(behind) {
        return violation(Policy::TimestampBehind { timestamp, now, limit_ms: behind });
    }
    Ok(())
}

fn advance(end: Offset, record_count: u32) -> Option<Offset> {
    let next = end.0.checked_add(u64::from(record_count))?;
    (next <= OFFSET_MAX).then_some(Offset(next))
}

fn duplicate(state: &PartitionState, original: Remembered) -> Reply {
    Reply::Appended(Appended {
        base_offset: original.base_offset,
        append_time_ms: original.append_time_ms,
        log_start_offset: state.log_start_offset,
        duplicate: true,
        timestamp_type: state.settings.timestamp_type,
    })
}

fn note_producer(
    machine: &mut Partitions,
    context: &mut Context<'_>,
    partition: PartitionId,
    known: Option<ProducerState>,
    stamp: ProducerStamp,
    record_count: u32,
) {
    let state = machine.row_mut(partition);
    let base_offset = state.log_end_offset;
    let limit = usize::try_from(state.settings.producers_max).unwrap_or(usize::MAX);
    if known.is_none() {
        for _ in 0..FORGOTTEN_PER_APPEND_MAX {
            if machine.producers.count_in(partition) < limit {
                break;
            }
            machine.producers.remove_oldest(context.batch, partition);
        }
    }
    let former_ms = known.as_ref().map(ProducerState::last_append_ms);
    let remembered = Remembered {
        base_sequence: stamp.base_sequence,
        record_count,
        base_offset,
        append_time_ms: context.stamp.time_ms,
    };
    let producer = sequence::remember(known, stamp.epoch, remembered);
    machine.producers.put(context.batch, (partition, stamp.id), former_ms, producer);
}

fn store(
    machine: &mut Partitions,
    context: Context<'_>,
    partition: PartitionId,
    header: &BatchHeader,
    payload: &PayloadRef,
    next_offset: Offset,
) -> Appended {
    let Context { stamp, batch, effects, .. } = context;
    let space = machine.space;
    let state = machine.row_mut(partition);
    let base_offset = state.log_end_offset;
    let max_timestamp = match state.settings.timestamp_type {
        TimestampType::Create => header.max_timestamp,
        TimestampType::Append => stamp.time_ms,
    };
    state.enter_epoch(stamp.term);
    state.running_max_timestamp = state.running_max_timestamp.max(max_timestamp);
    state.log_end_offset = next_offset;
    state.bytes += u64::from(header.bytes);
    state.batches += 1;

    let row = BatchRow {
        payload: payload.clone(),
        last_offset_delta: header.last_offset_delta,
        record_count: header.record_count,
        max_timestamp,
        running_max_timestamp: state.running_max_timestamp,
        leader_epoch: stamp.term,
        append_time: stamp.time_ms,
        producer: header.producer.map(|producer| RowProducer {
            id: producer.id,
            epoch: producer.epoch.0,
            base_sequence: producer.base_sequence.0,
        }),
    };
    let reply = Appended {
        base_offset,
        append_time_ms: stamp.time_ms,
        log_start_offset: state.log_start_offset,
        duplicate: false,
        timestamp_type: state.settings.timestamp_type,
    };
    let row_key = key::batch(space, partition, base_offset);
    match payload {
        PayloadRef::Stored(location) => batch.acquire(*location, row_key.clone()),
        PayloadRef::Inline(_) => {}
    }
    batch.put(Family::State, row_key, row.encode());
    effects.push(Effect::Appended { partition, next_offset });
    reply
}
