//! What a queue answers when it did what it was asked.

use kontiki_storage::id::Offset;
use minicbor::{Decode, Encode};

use super::redrive::{RedriveProgress, RedriveStatus};

/// The answer to a command for a queue.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    /// The messages are stored.
    #[n(0)]
    Enqueued(#[n(0)] Enqueued),
    /// Messages are leased: one list for each wish, in their order.
    #[n(1)]
    Acquired(#[n(0)] Vec<Vec<Grant>>),
    /// What became of each settlement, in their order.
    #[n(2)]
    Settled(#[n(0)] Vec<Settled>),
    /// What was due is done.
    #[n(3)]
    Ticked {
        /// How many things were done.
        #[n(0)]
        done: u32,
        /// Whether there is more to do already.
        #[n(1)]
        more: bool,
    },
    /// Messages were removed.
    #[n(4)]
    Purged {
        /// How many.
        #[n(0)]
        removed: u64,
        /// Whether there is more to remove.
        #[n(1)]
        more: bool,
    },
    /// What has arrived in the other queue has left this one.
    #[n(5)]
    Transferred {
        /// How many messages left now.
        #[n(0)]
        removed: u64,
    },
    /// Messages are in the outbox.
    #[n(6)]
    Diverted {
        /// How many.
        #[n(0)]
        messages: u64,
    },
    /// How a task that moves messages stands.
    #[n(7)]
    Redriving {
        /// Its number.
        #[n(0)]
        redrive: u64,
        /// What it is doing.
        #[n(1)]
        status: RedriveStatus,
        /// How far it is.
        #[n(2)]
        progress: RedriveProgress,
    },
}

/// Where messages are.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Enqueued {
    /// The offset of the first one. Where all of them had been sent before, it means nothing.
    #[cbor(n(0), with = "crate::codec::id")]
    pub base_offset: Offset,
    /// When they were stored, in milliseconds since 1970.
    #[n(1)]
    pub append_time_ms: i64,
    /// Messages that had been sent before: their number in the batch, and the offset that the first
    /// send got.
    #[n(2)]
    pub duplicates: Vec<(u32, u64)>,
}

/// A lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Grant {
    /// The message.
    #[cbor(n(0), with = "crate::codec::id")]
    pub offset: Offset,
    /// The lease.
    #[n(1)]
    pub lease: u64,
    /// Until when it lasts, in milliseconds since 1970, by the leader's clock.
    #[n(2)]
    pub until_ms: i64,
    /// How often the message was delivered, this time included.
    #[n(3)]
    pub acquired: u32,
    /// How many of the deliveries failed.
    #[n(4)]
    pub failed: u32,
}

/// What became of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Settled {
    /// It is done.
    #[n(0)]
    Done,
    /// The message is not held under that lease any more: the lease ended, or was settled.
    #[n(1)]
    LeaseEnded,
    /// The lease is now until then, in milliseconds since 1970.
    #[n(2)]
    Extended {
        /// By the leader's clock.
        #[n(0)]
        until_ms: i64,
    },
}
