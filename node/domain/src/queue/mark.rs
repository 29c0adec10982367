//! What is known of one message beyond its place in the order.

use bytes::Bytes;
use kontiki_storage::Error;
use kontiki_storage::id::ShardId;
use minicbor::{Decode, Encode};

use super::Transfer;
use crate::codec;

const VERSION: u8 = 1;

/// What a message carries with it through its deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Message {
    /// How often it was delivered.
    #[n(0)]
    pub acquired: u32,
    /// How many deliveries failed.
    #[n(1)]
    pub failed: u32,
    /// 255 less its priority: class 0 is delivered first.
    #[n(2)]
    pub class: u8,
    /// Its group, in a FIFO queue or one with fair groups.
    #[n(3)]
    pub group: Option<u64>,
    /// Not to be delivered from then on, in milliseconds since 1970.
    #[n(4)]
    pub expires_ms: Option<i64>,
    /// Whether there is a row about how its deliveries failed.
    #[cbor(n(5), with = "crate::codec::unset", has_nil)]
    pub history: bool,
}

/// The class of messages without priority.
pub(super) const LAST_CLASS: u8 = 255;

impl Message {
    /// One that has nothing special.
    pub(super) fn plain() -> Self {
        Self {
            acquired: 0,
            failed: 0,
            class: LAST_CLASS,
            group: None,
            expires_ms: None,
            history: false,
        }
    }
}

/// Where a marked message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(super) enum Waiting {
    /// Where its offset says: the cursor will come to it, or its group will.
    #[n(0)]
    InOrder {
        /// Not before then, in a FIFO queue with a delay. Then it has a row under its time too.
        #[n(0)]
        due_ms: Option<i64>,
    },
    /// It has a row under its time.
    #[n(1)]
    Due {
        /// In milliseconds since 1970.
        #[n(0)]
        due_ms: i64,
    },
    /// It has a row under its class.
    #[n(2)]
    Ready,
    /// It is settled; the cursor has yet to pass it.
    #[n(3)]
    Gone,
    /// It is on its way to another queue.
    #[n(4)]
    Outbox {
        /// Its row there.
        #[n(0)]
        sequence: u64,
    },
}

/// The row of a message that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(super) struct Mark {
    #[n(0)]
    pub message: Message,
    #[n(1)]
    pub waiting: Waiting,
}

impl Mark {
    pub(super) fn encode(&self) -> Bytes {
        codec::encode(VERSION, self)
    }

    pub(super) fn decode(shard: ShardId, row: &[u8]) -> Result<Self, Error> {
        codec::decode(VERSION, row)
            .map_err(|fault| Error::corrupt_row(shard, "message", fault.to_string()))
    }
}

/// The row of a message in the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Outgoing {
    /// The message's offset.
    #[cbor(n(0), with = "crate::codec::id")]
    pub offset: kontiki_storage::id::Offset,
    /// Why it goes.
    #[n(1)]
    pub transfer: Transfer,
    /// What it carries.
    #[n(2)]
    pub message: Message,
    /// Since when, in milliseconds since 1970.
    #[n(3)]
    pub since_ms: i64,
}

impl Outgoing {
    pub(super) fn encode(&self) -> Bytes {
        codec::encode(VERSION, self)
    }

    pub(super) fn decode(shard: ShardId, row: &[u8]) -> Result<Self, Error> {
        codec::decode(VERSION, row)
            .map_err(|fault| Error::corrupt_row(shard, "outbox", fault.to_string()))
    }
}
