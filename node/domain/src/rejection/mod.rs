//! Why a command was refused. A refusal is committed: every replica comes to the same one.
//!
//! Not for faults of this node (those are [`kontiki_storage::Error`]) nor for questions of
//! leadership (those belong to the Raft layer). The number of a variant is its code: `u16`,
//! append-only, the same in the log, in replies and in the documentation. Each message names the
//! thing, the limit and what to do.

mod codes;
mod exchanges;
mod queues;
mod reasons;
mod variants;

use bytes::Bytes;

pub use self::exchanges::ExchangeRefusal;
pub use self::queues::{QueueBytes, QueueFull, RedriveUnfinished, TransferOverlap};
pub use self::reasons::{BatchFault, Policy, TopicNameFault};
pub use self::variants::Rejection;
use crate::codec::{self, Undecodable};

const VERSION: u8 = 1;

/// Longest text that a rejection repeats, in characters.
const SHOWN_MAX: usize = 256;

impl Rejection {
    /// An argument out of bounds.
    pub fn invalid(field: &str, value: impl ToString, expected: &str) -> Self {
        let value: String = value.to_string().chars().take(SHOWN_MAX).collect();
        Self::InvalidArgument { field: field.to_owned(), value, expected: expected.to_owned() }
    }

    /// The bytes of this rejection alone, for error details on a wire.
    pub fn encode(&self) -> Bytes {
        codec::encode(VERSION, self)
    }

    /// Reads what [`Rejection::encode`] wrote.
    ///
    /// # Errors
    /// [`Undecodable`]: the bytes are damaged or a newer release wrote them.
    pub fn decode(bytes: &[u8]) -> Result<Self, Undecodable> {
        codec::decode(VERSION, bytes)
    }
}

impl From<Undecodable> for Rejection {
    fn from(fault: Undecodable) -> Self {
        let Undecodable { version, supported, bytes } = fault;
        Self::UnsupportedCommand { version, supported, bytes }
    }
}

#[cfg(test)]
mod tests;
