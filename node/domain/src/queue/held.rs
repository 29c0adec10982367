//! Messages that are leased, or that were and are to be delivered again.

use bytes::Bytes;
use kontiki_storage::Error;
use kontiki_storage::id::{Offset, ShardId};
use minicbor::{Decode, Encode};

use super::Message;
use crate::codec;

const VERSION: u8 = 1;

/// Where a held message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Place {
    /// With a consumer.
    #[n(0)]
    Leased {
        /// The lease.
        #[n(0)]
        lease: u64,
        /// Until when, in milliseconds since 1970.
        #[n(1)]
        until_ms: i64,
    },
    /// To be delivered again.
    #[n(1)]
    Returned {
        /// Not before then, in milliseconds since 1970; only in a FIFO queue, whose groups wait for
        /// it.
        #[n(0)]
        due_ms: Option<i64>,
    },
}

/// The row of a held message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(super) struct Held {
    #[n(0)]
    pub message: Message,
    /// The first offset of its record batch.
    #[cbor(n(1), with = "crate::codec::id")]
    pub base: Offset,
    #[n(2)]
    pub place: Place,
}

impl Held {
    /// When something happens to it by itself.
    pub(super) fn deadline_ms(&self) -> Option<i64> {
        match self.place {
            Place::Leased { until_ms, .. } => Some(until_ms),
            Place::Returned { due_ms } => match (due_ms, self.message.expires_ms) {
                (Some(due), Some(expires)) => Some(due.min(expires)),
                (due, expires) => due.or(expires),
            },
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        codec::encode(VERSION, self)
    }

    pub(super) fn decode(shard: ShardId, row: &[u8]) -> Result<Self, Error> {
        codec::decode(VERSION, row)
            .map_err(|fault| Error::corrupt_row(shard, "held message", fault.to_string()))
    }
}
