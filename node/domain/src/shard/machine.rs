//! The state machine of a shard, of whichever kind it is.

use bytes::Bytes;
use kontiki_storage::id::ShardId;
use kontiki_storage::key::Space;
use kontiki_storage::payload::PayloadRef;
use kontiki_storage::{Error, View, WriteBatch};

use super::{Command, Outcome, Reply, encode_outcome};
use crate::catalog::Catalog;
use crate::effect::Effect;
use crate::partition::Partitions;
use crate::rejection::Rejection;
use crate::stamp::Stamp;

/// What the Raft layer drives.
///
/// The state runs ahead of the engine until the batch is written: concurrent readers use
/// [`crate::partition::read`] on rows instead.
#[derive(Debug, Clone)]
pub enum ShardMachine {
    /// Of shard 0.
    Catalog(Catalog),
    /// Of any other shard.
    Partitions(Partitions),
}

impl ShardMachine {
    /// Reads the state of a shard from its rows; the shard's id says which kind it is. To be
    /// called at the start, and again whenever the rows were replaced by a snapshot.
    ///
    /// # Errors
    /// Of storage.
    pub fn load(view: &dyn View, space: Space) -> Result<Self, Error> {
        Ok(if space.shard == ShardId::CATALOG {
            Self::Catalog(Catalog::load(view, space)?)
        } else {
            Self::Partitions(Partitions::load(view, space)?)
        })
    }

    /// Applies one committed command and returns the bytes of its [`Outcome`].
    ///
    /// `view` and `batch` together must show every earlier command: while a batch is not in the
    /// engine, it is the one to hand in again, or replicas that batch differently diverge. A
    /// payload that no row refers to afterwards (of a batch that was refused, or stored before) is
    /// not acquired.
    ///
    /// # Errors
    /// Of storage: the replica must stop, or be loaded again.
    pub fn apply(
        &mut self,
        view: &dyn View,
        stamp: Stamp,
        command: &[u8],
        payloads: &[PayloadRef],
        batch: &mut WriteBatch,
        effects: &mut Vec<Effect>,
    ) -> Result<Bytes, Error> {
        let outcome: Outcome = match (self, Command::decode(command)) {
            (_, Err(fault)) => Err(fault.into()),
            (Self::Catalog(catalog), Ok(Command::Catalog(command))) => {
                catalog.apply(stamp, &command, batch, effects).map(Reply::Catalog)
            }
            (Self::Partitions(partitions), Ok(Command::Partition(command))) => partitions
                .apply(view, stamp, &command, payloads, batch, effects)?
                .map(Reply::Partition),
            (Self::Partitions(partitions), Ok(Command::Queue(command))) => partitions
                .apply_to_queue(view, stamp, &command, payloads, batch, effects)?
                .map(Reply::Queue),
            (Self::Catalog(catalog), Ok(Command::Partition(_) | Command::Queue(_))) => {
                Err(Rejection::WrongShard { shard: catalog.space().shard })
            }
            (Self::Partitions(partitions), Ok(Command::Catalog(_))) => {
                Err(Rejection::WrongShard { shard: partitions.space().shard })
            }
        };
        Ok(encode_outcome(&outcome))
    }

    /// The catalog, if this is its shard.
    pub fn catalog(&self) -> Option<&Catalog> {
        match self {
            Self::Catalog(catalog) => Some(catalog),
            Self::Partitions(_) => None,
        }
    }

    /// The partitions, if this is one of their shards.
    pub fn partitions(&self) -> Option<&Partitions> {
        match self {
            Self::Catalog(_) => None,
            Self::Partitions(partitions) => Some(partitions),
        }
    }
}
