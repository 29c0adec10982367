//! How far a durable subscription has come in a partition.
//!
//! A row for each subscription and partition, and nothing in memory. It goes with the partition,
//! and when the subscription is deleted.

use bytes::Bytes;
use kontiki_storage::Error;
use kontiki_storage::id::{Offset, ShardId};
use minicbor::{Decode, Encode};

use crate::codec;

const VERSION: u8 = 1;

/// A position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Position {
    /// The next offset that the subscription wants. It may be below the log start: then it goes
    /// on at the log start.
    #[cbor(n(0), with = "crate::codec::id")]
    pub offset: Offset,
    /// When it was noted, in milliseconds since 1970.
    #[n(1)]
    pub noted_ms: i64,
    /// The generation of the consumer that has reset it last; 0 where none has.
    #[cbor(n(2), with = "crate::codec::unset", has_nil)]
    pub generation: u64,
}

impl Position {
    pub(super) fn encode(&self) -> Bytes {
        codec::encode(VERSION, self)
    }

    pub(super) fn decode(shard: ShardId, row: &[u8]) -> Result<Self, Error> {
        codec::decode(VERSION, row)
            .map_err(|fault| Error::corrupt_row(shard, "position", fault.to_string()))
    }
}
