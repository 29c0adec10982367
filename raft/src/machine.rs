//! What a shard's state machine has to be for this crate: commands and replies are opaque bytes.

use bytes::Bytes;
use kontiki_storage::id::{LogIndex, ShardId};
use kontiki_storage::key::Space;
use kontiki_storage::payload::PayloadRef;
use kontiki_storage::{Error, View, WriteBatch};

/// When a command is applied: the same on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Of the entry that carries the command; several commands share it.
    pub index: LogIndex,
    /// Term of the leader that proposed it.
    pub term: u64,
    /// The leader's clock, milliseconds since 1970; never less than an earlier stamp's.
    pub time_ms: i64,
}

/// A deterministic state machine whose rows live in the engine.
///
/// One task calls these methods, one at a time.
pub trait Machine: Send + Sync + 'static {
    /// Forgets what is in memory and starts from the rows of `space`.
    ///
    /// # Errors
    /// Storage errors; they stop the replica.
    fn reload(&mut self, view: &dyn View, space: Space) -> Result<(), Error>;

    /// Applies one command: puts its rows into `batch` and returns the reply. `view` doesn't show
    /// what is in the batch yet.
    ///
    /// # Errors
    /// Storage errors only; they stop the replica. A refusal is a reply.
    fn apply(
        &mut self,
        view: &dyn View,
        stamp: Stamp,
        command: &Bytes,
        payloads: &[PayloadRef],
        batch: &mut WriteBatch,
    ) -> Result<Bytes, Error>;

    /// Everything that has been applied is in the engine now: readers may be told.
    fn written(&mut self);
}

/// Makes the state machines of a node's shards.
pub trait MachineFactory: Send + Sync {
    /// A machine for one shard, empty until it is reloaded.
    fn create(&self, shard: ShardId) -> Box<dyn Machine>;
}
