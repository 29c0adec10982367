//! How the deliveries of a message failed, for whoever finds it in the dead-letter queue.
//!
//! It is kept only in queues that have a dead-letter queue, and only for messages of which a
//! delivery failed: one row on disk for each, at most some 2.5 KiB (an error of 1 KiB, and 16
//! attempts with a class of 64 bytes). In memory there is nothing of it.

use bytes::Bytes;
use kontiki_storage::Error;
use kontiki_storage::id::ShardId;
use minicbor::{Decode, Encode};

use super::Reason;
use crate::codec;

const VERSION: u8 = 1;
/// The latest attempts that are kept.
pub const ATTEMPTS_KEPT: usize = 16;
/// Longest text of an error, in bytes.
pub const ERROR_BYTES_MAX: usize = 1_024;

/// How the deliveries of a message failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct History {
    /// The latest ones, oldest first; at most [`ATTEMPTS_KEPT`].
    #[n(0)]
    pub attempts: Vec<Attempt>,
    /// What was said last about why, if anything ever was.
    #[n(1)]
    pub error: String,
}

/// A delivery that failed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Attempt {
    /// When it ended, in milliseconds since 1970.
    #[n(0)]
    pub at_ms: i64,
    /// How it ended.
    #[n(1)]
    pub how: How,
    /// The class of the error; empty: none was said.
    #[n(2)]
    pub class: String,
}

/// How a delivery failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum How {
    /// The consumer gave it back.
    #[n(0)]
    Released,
    /// The consumer didn't settle it in time.
    #[n(1)]
    LeaseEnded,
    /// The consumer doesn't want it to be delivered again.
    #[n(2)]
    Rejected,
}

impl History {
    pub(super) fn note(&mut self, at_ms: i64, how: How, said: Option<&Reason>) {
        if self.attempts.len() >= ATTEMPTS_KEPT {
            self.attempts.remove(0);
        }
        let class = said.map(|said| said.class.clone()).unwrap_or_default();
        self.attempts.push(Attempt { at_ms, how, class });
        if let Some(said) = said.filter(|said| !said.error.is_empty()) {
            self.error.clone_from(&said.error);
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        codec::encode(VERSION, self)
    }

    pub(super) fn decode(shard: ShardId, row: &[u8]) -> Result<Self, Error> {
        codec::decode(VERSION, row)
            .map_err(|fault| Error::corrupt_row(shard, "failures", fault.to_string()))
    }
}
