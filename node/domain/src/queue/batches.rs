//! The record batches of a queue: which one a message is in, and their removal once all of their
//! messages are settled.

use bytes::{Buf, Bytes};
use kontiki_storage::Error;
use kontiki_storage::id::Offset;
use kontiki_storage::key::{self, queue as keys};
use kontiki_storage::payload::PayloadRef;

use super::machine::Work;
use crate::partition::read::Batch;
use crate::partition::{PartitionState, decode_batch};

/// The batch that has a message.
pub(super) fn containing(work: &mut Work<'_>, offset: Offset) -> Result<Batch, Error> {
    let row_key = key::batch(work.space, work.id, offset);
    if let Some(row) = work.get(&row_key)? {
        return decode_batch(work.space.shard, &(row_key, row));
    }
    let range = key::batches(work.space, work.id, Offset(0), Offset(offset.0 + 1));
    let found = work.last(&range)?;
    let batch = found.map(|row| decode_batch(work.space.shard, &row)).transpose()?;
    batch
        .filter(|batch| batch.next_offset() > offset)
        .ok_or_else(|| work.corrupt("batch", format!("none has message {offset} of {}", work.id)))
}

fn at(work: &mut Work<'_>, base: Offset) -> Result<Batch, Error> {
    let row_key = key::batch(work.space, work.id, base);
    let row = work.get(&row_key)?;
    let row = row.ok_or_else(|| work.corrupt("batch", format!("{} lacks {base}", work.id)))?;
    decode_batch(work.space.shard, &(row_key, row))
}

/// Notes that messages of one batch are settled, and removes the batch if they are the last ones.
pub(super) fn settle(
    work: &mut Work<'_>,
    partition: &mut PartitionState,
    base: Offset,
    messages: u32,
) -> Result<(), Error> {
    let batch = at(work, base)?;
    let row_key = keys::settled(work.space, work.id, base);
    let known = match batch.row.record_count {
        1 => None,
        _ => work.get(&row_key)?,
    };
    let before = match &known {
        None => 0,
        Some(row) => decode_count(work, row)?,
    };
    let settled = before + messages;
    assert!(settled <= batch.row.record_count, "a message of batch {base} was settled twice");
    if settled < batch.row.record_count {
        work.put(row_key, encode_count(settled));
        return Ok(());
    }
    if known.is_some() {
        work.delete(row_key);
    }
    remove(work, partition, &batch)
}

fn encode_count(settled: u32) -> Bytes {
    Bytes::copy_from_slice(&settled.to_be_bytes())
}

fn decode_count(work: &Work<'_>, mut row: &[u8]) -> Result<u32, Error> {
    if row.len() == 4 { Ok(row.get_u32()) } else { Err(work.corrupt("settled", "its length")) }
}

fn remove(work: &mut Work<'_>, partition: &mut PartitionState, batch: &Batch) -> Result<(), Error> {
    work.delete(key::batch(work.space, work.id, batch.base_offset));
    match batch.row.payload {
        PayloadRef::Stored(location) => work.batch.release(location),
        PayloadRef::Inline(_) => {}
    }
    let bytes = u64::try_from(batch.row.payload.len()).expect("a length in memory fits 64 bits");
    assert!(bytes <= partition.bytes, "a queue's sum of bytes is too small");
    partition.bytes -= bytes;
    partition.batches -= 1;
    if batch.base_offset == partition.first_base_offset {
        let rest = key::batches(work.space, work.id, batch.next_offset(), partition.log_end_offset);
        let next = work.first(rest)?.and_then(|(row_key, _)| key::batch_offset(&row_key));
        partition.first_base_offset = next.unwrap_or(partition.log_end_offset);
        partition.log_start_offset = partition.log_start_offset.max(partition.first_base_offset);
    }
    Ok(())
}
