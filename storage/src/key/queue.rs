//! Keys of what a queue keeps besides its record batches. All of them begin with the partition
//! that holds the queue's messages, so that one range for each kind is the whole queue.
//!
//! ```text
//! 32 queue        []                                counters and positions
//! 33 held         [offset u64]                      leased, or to be delivered again
//! 34 mark         [offset u64]                      what a waiting message has that others haven't
//! 35 due          [time u64][offset u64]            to be delivered from then on; its mark again
//! 36 expiry       [time u64][offset u64]            not to be delivered from then on
//! 37 ready        [class u8][offset u64]            waiting out of order; its mark again
//! 38 group        [group u64][offset u64]           waiting messages of a FIFO group
//! 39 free_group   [offset u64]                      a group that may go on, at this message
//! 40 settled      [base offset u64]                 how many messages of a batch are settled
//! 41 seen         [id 16 bytes]                     a deduplication id
//! 42 seen_until   [time u64][id 16 bytes]           when it is forgotten
//! 43 outbox       [sequence u64]                    to be moved to another queue
//! 44 origin       [partition u64]                   what has been taken over from another queue
//! 45 history      [offset u64]                      how the deliveries of a message failed
//! 46 redrive      [number u64]                      a task that moves messages to other queues
//! ```

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use super::{KeyRange, Space, state_key};
use crate::id::{Offset, PartitionId};

const QUEUE: u8 = 32;
const HELD: u8 = 33;
const MARK: u8 = 34;
const DUE: u8 = 35;
const EXPIRY: u8 = 36;
const READY: u8 = 37;
const GROUP: u8 = 38;
const FREE_GROUP: u8 = 39;
const SETTLED: u8 = 40;
const SEEN: u8 = 41;
const SEEN_UNTIL: u8 = 42;
const OUTBOX: u8 = 43;
const ORIGIN: u8 = 44;
const HISTORY: u8 = 45;
const REDRIVE: u8 = 46;

/// Bytes in front of what follows the partition.
const HEAD: usize = 17;

fn begin(space: Space, kind: u8, queue: PartitionId, more: usize) -> BytesMut {
    let mut key = state_key(space, kind, 8 + more);
    key.put_u64(queue.0);
    key
}

fn with_u64(space: Space, kind: u8, queue: PartitionId, number: u64) -> Bytes {
    let mut key = begin(space, kind, queue, 8);
    key.put_u64(number);
    key.freeze()
}

fn with_time(space: Space, kind: u8, queue: PartitionId, time_ms: i64, offset: Offset) -> Bytes {
    let mut key = begin(space, kind, queue, 16);
    key.put_u64(u64::try_from(time_ms).unwrap_or(0));
    key.put_u64(offset.0);
    key.freeze()
}

fn u64_at(key: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(at..at + 8)?.try_into().ok()?))
}

/// The row of a queue.
#[must_use]
pub fn queue(space: Space, queue: PartitionId) -> Bytes {
    begin(space, QUEUE, queue, 0).freeze()
}

/// All queues of a shard.
#[must_use]
pub fn queues(space: Space) -> KeyRange {
    KeyRange::prefix(&state_key(space, QUEUE, 0))
}

/// A message that is leased, or that is to be delivered again.
#[must_use]
pub fn held(space: Space, queue: PartitionId, offset: Offset) -> Bytes {
    with_u64(space, HELD, queue, offset.0)
}

/// All of them of all queues of a shard.
#[must_use]
pub fn all_held(space: Space) -> KeyRange {
    KeyRange::prefix(&state_key(space, HELD, 0))
}

/// What a waiting message has that others haven't.
#[must_use]
pub fn mark(space: Space, queue: PartitionId, offset: Offset) -> Bytes {
    with_u64(space, MARK, queue, offset.0)
}

/// The marks of a queue from an offset up to, not including, another.
#[must_use]
pub fn marks(space: Space, queue: PartitionId, from: Offset, to: Offset) -> KeyRange {
    KeyRange { start: mark(space, queue, from), end: mark(space, queue, to) }
}

/// Which offset a key of a message ends with.
#[must_use]
pub fn offset_of(key: &[u8]) -> Option<Offset> {
    u64_at(key, key.len().checked_sub(8)?).map(Offset)
}

/// When a message may be delivered. Times before 1970 count as 1970.
#[must_use]
pub fn due(space: Space, queue: PartitionId, time_ms: i64, offset: Offset) -> Bytes {
    with_time(space, DUE, queue, time_ms, offset)
}

/// Messages of a queue that are due from one moment and offset up to the end of another moment.
#[must_use]
pub fn dues(space: Space, queue: PartitionId, from: (i64, Offset), through_ms: i64) -> KeyRange {
    let end = due(space, queue, through_ms.saturating_add(1), Offset(0));
    KeyRange { start: due(space, queue, from.0, from.1), end }
}

/// From when on a message is not delivered any more.
#[must_use]
pub fn expiry(space: Space, queue: PartitionId, time_ms: i64, offset: Offset) -> Bytes {
    with_time(space, EXPIRY, queue, time_ms, offset)
}

/// Messages of a queue that expire, from one moment and offset up to the end of another moment.
#[must_use]
pub fn expiries(
    space: Space,
    queue: PartitionId,
    from: (i64, Offset),
    through_ms: i64,
) -> KeyRange {
    let end = expiry(space, queue, through_ms.saturating_add(1), Offset(0));
    KeyRange { start: expiry(space, queue, from.0, from.1), end }
}

/// The time and the offset in a [`due`] or [`expiry`] key.
#[must_use]
pub fn time_of(key: &[u8]) -> Option<(i64, Offset)> {
    let time = i64::try_from(u64_at(key, HEAD)?).ok()?;
    Some((time, Offset(u64_at(key, HEAD + 8)?)))
}

/// A message that waits out of order. Class 0 is delivered first.
#[must_use]
pub fn ready(space: Space, queue: PartitionId, class: u8, offset: Offset) -> Bytes {
    let mut key = begin(space, READY, queue, 9);
    key.put_u8(class);
    key.put_u64(offset.0);
    key.freeze()
}

/// Messages of one class from an offset on.
#[must_use]
pub fn ready_class(space: Space, queue: PartitionId, class: u8, from: Offset) -> KeyRange {
    let end = ready(space, queue, class, Offset(u64::MAX));
    KeyRange { start: ready(space, queue, class, from), end }
}

/// A waiting message of a FIFO group.
#[must_use]
pub fn group(space: Space, queue: PartitionId, group: u64, offset: Offset) -> Bytes {
    let mut key = begin(space, GROUP, queue, 16);
    key.put_u64(group);
    key.put_u64(offset.0);
    key.freeze()
}

/// Waiting messages of a group, by their offsets.
#[must_use]
pub fn in_group(space: Space, queue: PartitionId, id: u64, offsets: Range<Offset>) -> KeyRange {
    let Range { start, end } = offsets;
    KeyRange { start: group(space, queue, id, start), end: group(space, queue, id, end) }
}

/// A FIFO group that may go on, by the message at which it does. The row says which group.
#[must_use]
pub fn free_group(space: Space, queue: PartitionId, offset: Offset) -> Bytes {
    with_u64(space, FREE_GROUP, queue, offset.0)
}

/// All such groups of all queues of a shard.
#[must_use]
pub fn all_free_groups(space: Space) -> KeyRange {
    KeyRange::prefix(&state_key(space, FREE_GROUP, 0))
}

/// How many messages of a batch are settled, where some are and some are not.
#[must_use]
pub fn settled(space: Space, queue: PartitionId, base_offset: Offset) -> Bytes {
    with_u64(space, SETTLED, queue, base_offset.0)
}

/// A deduplication id that has been seen.
#[must_use]
pub fn seen(space: Space, queue: PartitionId, id: [u8; 16]) -> Bytes {
    let mut key = begin(space, SEEN, queue, 16);
    key.put_slice(&id);
    key.freeze()
}

/// Until when it is remembered.
#[must_use]
pub fn seen_until(space: Space, queue: PartitionId, time_ms: i64, id: [u8; 16]) -> Bytes {
    let mut key = begin(space, SEEN_UNTIL, queue, 24);
    key.put_u64(u64::try_from(time_ms).unwrap_or(0));
    key.put_slice(&id);
    key.freeze()
}

/// Deduplication ids that are forgotten from one moment up to the end of another one.
#[must_use]
pub fn seen_through(space: Space, queue: PartitionId, from_ms: i64, through_ms: i64) -> KeyRange {
    KeyRange {
        start: seen_until(space, queue, from_ms, [0; 16]),
        end: seen_until(space, queue, through_ms.saturating_add(1), [0; 16]),
    }
}

/// The time and the id in a [`seen_until`] key.
#[must_use]
pub fn seen_until_of(key: &[u8]) -> Option<(i64, [u8; 16])> {
    let time = i64::try_from(u64_at(key, HEAD)?).ok()?;
    Some((time, key.get(HEAD + 8..HEAD + 24)?.try_into().ok()?))
}

/// A message that is to be moved to another queue.
#[must_use]
pub fn outbox(space: Space, queue: PartitionId, sequence: u64) -> Bytes {
    with_u64(space, OUTBOX, queue, sequence)
}

/// Messages to be moved, from one sequence up to, not including, another.
#[must_use]
pub fn outboxes(space: Space, queue: PartitionId, from: u64, to: u64) -> KeyRange {
    KeyRange { start: outbox(space, queue, from), end: outbox(space, queue, to) }
}

/// What has been taken over from another queue.
#[must_use]
pub fn origin(space: Space, queue: PartitionId, source: PartitionId) -> Bytes {
    with_u64(space, ORIGIN, queue, source.0)
}

/// How the deliveries of a message failed.
#[must_use]
pub fn history(space: Space, queue: PartitionId, offset: Offset) -> Bytes {
    with_u64(space, HISTORY, queue, offset.0)
}

/// A task that moves messages to other queues.
#[must_use]
pub fn redrive(space: Space, queue: PartitionId, number: u64) -> Bytes {
    with_u64(space, REDRIVE, queue, number)
}

/// All of them of a queue.
#[must_use]
pub fn redrives(space: Space, queue: PartitionId) -> KeyRange {
    KeyRange::prefix(&begin(space, REDRIVE, queue, 0))
}

/// All of them of all queues of a shard.
#[must_use]
pub fn all_redrives(space: Space) -> KeyRange {
    KeyRange::prefix(&state_key(space, REDRIVE, 0))
}

/// Everything that a queue keeps besides its batches, one range for each kind.
pub fn rows_of(space: Space, queue: PartitionId) -> impl Iterator<Item = KeyRange> {
    (QUEUE..=REDRIVE).map(move |kind| KeyRange::prefix(&begin(space, kind, queue, 0)))
}
