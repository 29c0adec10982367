//! What is read ahead of one partition: batches as they came, of which the first one is decoded
//! when its records are wanted.
//!
//! Memory: what the batches take as they came, and the decoded records of one of them, which was
//! held against `broker.produce.decompressed_bytes_max` when it was stored.

use std::collections::VecDeque;

use bytes::Bytes;
use kontiki_records::{Batch, Record, RecordIter};
use kontiki_storage::id::PartitionId;

use crate::error::Error;
use crate::read::ANY;

/// Records that wait to be given out.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) partition: PartitionId,
    /// Everything below it is known once they are given out.
    pub(super) next: u64,
    batches: VecDeque<Encoded>,
    /// What `batches` take.
    encoded_bytes: u64,
    first: Option<Decoded>,
}

/// A batch as it came.
#[derive(Debug)]
struct Encoded {
    batch: Batch,
    /// Where its records were stored; none: where it says.
    offsets: Vec<u64>,
}

/// The rest of a batch that is decoded.
#[derive(Debug)]
struct Decoded {
    /// What the whole of it takes: each of its records keeps it in memory.
    bytes: u64,
    records: RecordIter,
    offsets: std::vec::IntoIter<u64>,
    /// The first of them.
    next: Next,
}

/// A record, where it was stored, and what it takes.
#[derive(Debug)]
struct Next {
    offset: u64,
    record: Record,
    bytes: usize,
}

impl Ready {
    pub(super) fn new(partition: PartitionId, next: u64) -> Self {
        Self { partition, next, batches: VecDeque::new(), encoded_bytes: 0, first: None }
    }

    /// Adds a batch; returns how many records it has.
    ///
    /// # Errors
    /// It isn't sound.
    pub(super) fn push(&mut self, payload: Bytes, offsets: Vec<u64>) -> Result<u64, Error> {
        let batch = Batch::parse(payload, &ANY).map_err(damaged)?;
        let count = u64::from(batch.header().record_count);
        if !offsets.is_empty() && offsets.len() as u64 != count {
            return Err(Error::internal("selected records aren't as many as their offsets"));
        }
        self.encoded_bytes += batch.bytes().len() as u64;
        self.batches.push_back(Encoded { batch, offsets });
        Ok(count)
    }

    /// Nothing is left to be given out.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.batches.is_empty()
    }

    /// What it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.encoded_bytes + self.first.as_ref().map_or(0, |first| first.bytes)
    }

    /// At most `count` of the next records, of `bytes_max` bytes (but at least one). All are of one
    /// batch. None: it is empty, or `count` is 0.
    ///
    /// # Errors
    /// A batch can't be decoded.
    pub(super) fn take(
        &mut self,
        count: usize,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Record)>, Error> {
        let mut taken = Vec::new();
        let mut left = bytes_max;
        while taken.len() < count {
            let Some(Decoded { bytes, mut records, mut offsets, next }) = self.first()? else {
                break;
            };
            if next.bytes > left && !taken.is_empty() {
                self.first = Some(Decoded { bytes, records, offsets, next });
                break;
            }
            left = left.saturating_sub(next.bytes);
            taken.push((next.offset, next.record));
            let Some(next) = step(&mut records, &mut offsets)? else { break };
            self.first = Some(Decoded { bytes, records, offsets, next });
        }
        Ok(taken)
    }

    /// The batch that is decoded, or the next one.
    fn first(&mut self) -> Result<Option<Decoded>, Error> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        while let Some(Encoded { batch, offsets }) = self.batches.pop_front() {
            self.encoded_bytes -= batch.bytes().len() as u64;
            let mut records = batch.records(&ANY).map_err(damaged)?;
            let mut offsets = offsets.into_iter();
            let bytes = records.bytes_left() as u64;
            if let Some(next) = step(&mut records, &mut offsets)? {
                return Ok(Some(Decoded { bytes, records, offsets, next }));
            }
        }
        Ok(None)
    }
}

fn step(
    records: &mut RecordIter,
    offsets: &mut std::vec::IntoIter<u64>,
) -> Result<Option<Next>, Error> {
    let before = records.bytes_left();
    let Some(record) = records.next() else { return Ok(None) };
    let record = record.map_err(damaged)?;
    let stored = u64::try_from(record.offset).unwrap_or(0);
    let offset = offsets.next().unwrap_or(stored);
    Ok(Some(Next { offset, record, bytes: before - records.bytes_left() }))
}

fn damaged(error: kontiki_records::Error) -> Error {
    Error::internal(format!("selected records can't be decoded: {error}"))
}

#[cfg(test)]
#[path = "ready_test.rs"]
mod tests;
