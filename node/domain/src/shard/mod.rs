//! What a shard's Raft log carries: commands and replies of either kind of machine, as bytes, and
//! the machine that they are for.
//!
//! The Raft layer sees only bytes and [`ShardMachine`]; which of the two machines a shard has is
//! decided by its id alone.

mod machine;

use bytes::Bytes;
use minicbor::{Decode, Encode};

pub use self::machine::ShardMachine;
use crate::codec::{self, Undecodable};
use crate::rejection::Rejection;
use crate::{catalog, partition, queue};

/// The version byte in front of a command.
pub const COMMAND_VERSION: u8 = 1;
/// The version byte in front of a reply.
pub const REPLY_VERSION: u8 = 1;

/// A command of either machine.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// For the partitions of a data shard.
    #[n(0)]
    Partition(#[n(0)] partition::Command),
    /// For the catalog.
    #[n(1)]
    Catalog(#[n(0)] catalog::Command),
    /// For a queue of a data shard.
    #[n(2)]
    Queue(#[n(0)] queue::Command),
}

impl Command {
    /// The bytes to propose.
    pub fn encode(&self) -> Bytes {
        codec::encode(COMMAND_VERSION, self)
    }

    /// Reads what [`Command::encode`] wrote.
    ///
    /// # Errors
    /// [`Undecodable`]: the bytes are damaged or a newer release wrote them.
    pub fn decode(bytes: &[u8]) -> Result<Self, Undecodable> {
        codec::decode(COMMAND_VERSION, bytes)
    }
}

impl From<partition::Command> for Command {
    fn from(command: partition::Command) -> Self {
        Self::Partition(command)
    }
}

impl From<catalog::Command> for Command {
    fn from(command: catalog::Command) -> Self {
        Self::Catalog(command)
    }
}

impl From<queue::Command> for Command {
    fn from(command: queue::Command) -> Self {
        Self::Queue(command)
    }
}

/// The answer of either machine.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    /// Of the partitions of a data shard.
    #[n(0)]
    Partition(#[n(0)] partition::Reply),
    /// Of the catalog.
    #[n(1)]
    Catalog(#[n(0)] catalog::Reply),
    /// Of a queue of a data shard.
    #[n(2)]
    Queue(#[n(0)] queue::Reply),
}

/// What became of a command: done, or refused.
pub type Outcome = Result<Reply, Rejection>;

#[derive(Encode)]
enum OutcomeRef<'a> {
    #[n(0)]
    Done(#[n(0)] &'a Reply),
    #[n(1)]
    Refused(#[n(0)] &'a Rejection),
}

#[derive(Decode)]
enum OutcomeOwned {
    #[n(0)]
    Done(#[n(0)] Reply),
    #[n(1)]
    Refused(#[n(0)] Rejection),
}

/// The bytes of an outcome.
pub fn encode_outcome(outcome: &Outcome) -> Bytes {
    let outcome = match outcome {
        Ok(reply) => OutcomeRef::Done(reply),
        Err(rejection) => OutcomeRef::Refused(rejection),
    };
    codec::encode(REPLY_VERSION, &outcome)
}

/// Reads what [`encode_outcome`] wrote: the reply bytes that the Raft layer hands back.
///
/// # Errors
/// [`Undecodable`]: the bytes are damaged or a newer release wrote them.
pub fn decode_outcome(bytes: &[u8]) -> Result<Outcome, Undecodable> {
    Ok(match codec::decode(REPLY_VERSION, bytes)? {
        OutcomeOwned::Done(reply) => Ok(reply),
        OutcomeOwned::Refused(rejection) => Err(rejection),
    })
}

#[cfg(test)]
mod tests;
