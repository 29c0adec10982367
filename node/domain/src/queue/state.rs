//! The row of a queue: where its cursor is, and how many messages are where.

use std::collections::BTreeMap;

use bytes::Bytes;
use kontiki_storage::Error;
use kontiki_storage::id::{Offset, ShardId};
use minicbor::{Decode, Encode};

use super::mark::LAST_CLASS;
use crate::codec;

const VERSION: u8 = 1;

/// The state of a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct QueueState {
    /// From here on, messages are taken in order. All before it are settled, held, or have a mark.
    #[cbor(n(0), with = "crate::codec::id")]
    pub cursor: Offset,
    /// Messages that are not settled.
    #[n(1)]
    pub unsettled: u64,
    /// How many of them are leased.
    #[n(2)]
    pub leased: u64,
    /// How many of them were leased and are to be delivered again, and are held until then.
    #[n(3)]
    pub returned: u64,
    /// How many of them wait for a time, those left out that are held.
    #[n(4)]
    pub scheduled: u64,
    /// How many of them wait out of order, by class.
    #[n(5)]
    pub ready: BTreeMap<u8, u64>,
    /// How many messages have a mark, settled ones included.
    #[n(6)]
    pub marks: u64,
    /// The number of the next lease.
    #[n(7)]
    pub next_lease: u64,
    /// The oldest sequence in the outbox.
    #[n(8)]
    pub outbox_first: u64,
    /// The sequence that comes next in the outbox.
    #[n(9)]
    pub outbox_next: u64,
    /// How many deduplication ids are remembered.
    #[n(10)]
    pub seen: u64,
    /// Before this time, in milliseconds since 1970, a tick would find nothing to do.
    #[n(11)]
    pub due_ms: Option<i64>,
    /// How many messages came and went since the queue was made.
    #[n(12)]
    pub totals: Totals,
    /// Before this offset, everything was too old for the queue's retention: what is left of it is
    /// with consumers.
    #[cbor(n(15), with = "crate::codec::unset", has_nil)]
    pub retained_to: u64,
    /// With weighted priorities: how far classes are ahead of their shares.
    #[cbor(n(16), with = "crate::codec::unset", has_nil)]
    pub leads: BTreeMap<u8, u32>,
    /// How many groups the cursor has passed over, in a queue with fair groups.
    #[cbor(n(17), with = "crate::codec::unset", has_nil)]
    pub passed: u64,
    /// How many of those that are to be delivered again wait for a time: in a FIFO queue, where
    /// they are held and block their groups.
    #[cbor(n(18), with = "crate::codec::unset", has_nil)]
    pub paused: u64,
    /// How many whose time has come are still where they waited for it: those that have no
    /// priority, and no group that counts.
    #[cbor(n(19), with = "crate::codec::unset", has_nil)]
    pub overdue: u64,
    /// Up to which time and offset that is so of them.
    #[n(20)]
    pub due_through: Option<(i64, u64)>,
}

/// How many messages came and went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Totals {
    /// Stored, duplicates not included.
    #[n(0)]
    pub enqueued: u64,
    /// Deliveries; what is given back because nobody got it is taken off again.
    #[n(1)]
    pub acquired: u64,
    /// Acknowledged.
    #[n(2)]
    pub acknowledged: u64,
    /// Leases that ended by themselves.
    #[n(3)]
    pub leases_ended: u64,
    /// Dropped: rejected, expired, overflown or without attempts left, and no dead-letter queue;
    /// or too old for the queue's retention.
    #[n(4)]
    pub dropped: u64,
    /// Moved to another queue.
    #[n(5)]
    pub moved: u64,
    /// Purged.
    #[n(6)]
    pub purged: u64,
    /// Sends that were noticed to be repetitions.
    #[n(7)]
    pub duplicates: u64,
    /// Deliveries that failed: released as failed, rejected, or ended with their lease. Missing
    /// before the first one, and in rows of earlier releases.
    #[cbor(n(8), skip_if = "is_zero")]
    pub failed: u64,
    /// Deliveries that were released without having failed.
    #[cbor(n(9), skip_if = "is_zero")]
    pub released: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// How many messages are where, at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Could be delivered now (in a FIFO queue: as soon as their groups are free).
    pub available: u64,
    /// Are leased.
    pub leased: u64,
    /// Wait for a time.
    pub scheduled: u64,
    /// Are on their way to another queue.
    pub moving: u64,
}

impl QueueState {
    /// Whether there is nothing in it that has a time.
    pub(super) fn is_idle(&self) -> bool {
        self.unsettled == 0 && self.seen == 0
    }

    /// How many messages are where.
    pub fn counts(&self) -> Counts {
        let (scheduled, moving) = (self.scheduled + self.paused, self.moving());
        let elsewhere = self.leased + scheduled + moving;
        assert!(elsewhere <= self.unsettled, "a queue counts too many: {self:?}");
        let available = self.unsettled - elsewhere;
        Counts { available, leased: self.leased, scheduled, moving }
    }

    /// Whether a message that waits under its time has been found to be due.
    pub fn is_overdue(&self, due_ms: i64, offset: Offset) -> bool {
        self.due_through.is_some_and(|through| (due_ms, offset.0) <= through)
    }

    /// The highest class of which something waits out of order.
    pub(super) fn first_class(&self) -> Option<u8> {
        let overdue = (self.overdue > 0).then_some(LAST_CLASS);
        self.ready.keys().next().copied().or(overdue)
    }

    /// Whether something of a class waits out of order.
    pub(super) fn has_class(&self, class: u8) -> bool {
        self.ready.contains_key(&class) || class == LAST_CLASS && self.overdue > 0
    }

    /// How many are on their way to another queue.
    pub fn moving(&self) -> u64 {
        self.outbox_next - self.outbox_first
    }

    /// A tick has something to do at `time_ms`.
    pub(super) fn wake_at(&mut self, time_ms: i64) {
        self.due_ms = Some(self.due_ms.map_or(time_ms, |known| known.min(time_ms)));
    }

    pub(super) fn encode(&self) -> Bytes {
        codec::encode(VERSION, self)
    }

    pub(super) fn decode(shard: ShardId, row: &[u8]) -> Result<Self, Error> {
        let state: Self = codec::decode(VERSION, row)
            .map_err(|fault| Error::corrupt_row(shard, "queue", fault.to_string()))?;
        let sound = state.outbox_first <= state.outbox_next
            && state.paused <= state.returned
            && state.leased + state.returned + state.scheduled + state.overdue <= state.unsettled
            && (state.overdue == 0 || state.due_through.is_some());
        if sound { Ok(state) } else { Err(Error::corrupt_row(shard, "queue", "it miscounts")) }
    }
}
