//! One file per command or pair of commands. Each looks first and refuses, then writes: a refused
//! command leaves no trace.

pub(crate) mod append;
mod create;
mod delete;
mod expire;
mod position;
mod settings;
mod trim;

use kontiki_storage::payload::PayloadRef;
use kontiki_storage::{Error, View, WriteBatch};

use super::{Command, Partitions, Reply};
use crate::effect::Effect;
use crate::queue;
use crate::rejection::Rejection;
use crate::stamp::Stamp;

/// Why a command ended early.
pub(crate) enum Stop {
    /// It was refused, on every replica.
    Refused(Rejection),
    /// This replica can't go on.
    Failed(Error),
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What a command may look at and add to.
pub(crate) struct Context<'a> {
    pub view: &'a dyn View,
    pub stamp: Stamp,
    pub payloads: &'a [PayloadRef],
    pub batch: &'a mut WriteBatch,
    pub effects: &'a mut Vec<Effect>,
}

impl<'a> Context<'a> {
    /// The same, for one step of several.
    pub(crate) fn again(&mut self) -> Context<'_> {
        let Self { view, stamp, payloads, batch, effects } = self;
        Context { view: *view, stamp: *stamp, payloads, batch, effects }
    }
}

impl Partitions {
    /// Applies one committed command: changes the state, adds the changed rows to `batch` and
    /// what a broker may want to act on to `effects`. `view` and `batch` together must show all
    /// earlier commands.
    ///
    /// # Errors
    /// Of storage, after which this machine must not be used again. A [`Rejection`] is as
    /// committed as a reply.
    pub fn apply(
        &mut self,
        view: &dyn View,
        stamp: Stamp,
        command: &Command,
        payloads: &[PayloadRef],
        batch: &mut WriteBatch,
        effects: &mut Vec<Effect>,
    ) -> Result<Result<Reply, Rejection>, Error> {
        self.begin(batch);
        let context = Context { view, stamp, payloads, batch, effects };
        outcome(self.dispatch(context, command))
    }

    /// Applies one committed command for a queue, like [`apply`](Self::apply).
    ///
    /// # Errors
    /// Of storage, after which this machine must not be used again.
    pub fn apply_to_queue(
        &mut self,
        view: &dyn View,
        stamp: Stamp,
        command: &queue::Command,
        payloads: &[PayloadRef],
        batch: &mut WriteBatch,
        effects: &mut Vec<Effect>,
    ) -> Result<Result<queue::Reply, Rejection>, Error> {
        self.begin(batch);
        let context = Context { view, stamp, payloads, batch, effects };
        outcome(self.apply_queue(context, command))
    }

    fn begin(&mut self, batch: &WriteBatch) {
        self.producers.begin(batch);
        self.queues.begin(batch);
    }

    fn dispatch(&mut self, context: Context<'_>, command: &Command) -> Result<Reply, Stop> {
        match command {
            Command::Append(append) => append::apply(self, context, append),
            Command::CreatePartition { partition, topic, settings, settings_version, queue } => {
                let made =
                    create::New { topic: *topic, settings, version: *settings_version, queue };
                Ok(create::apply(self, context, *partition, made)?)
            }
            Command::DeletePartition { partition, limit } => {
                delete::apply(self, context, *partition, *limit)
            }
            Command::UpdateSettings { partition, settings, settings_version, queue } => {
                let version = *settings_version;
                let queue = queue.as_ref();
                Ok(settings::apply(self, context, *partition, settings, version, queue)?)
            }
            Command::Retain { partition, limit } => trim::retain(self, context, *partition, *limit),
            Command::DeleteRecords { partition, before, limit } => {
                trim::delete_records(self, context, *partition, *before, *limit)
            }
            Command::Expire { limit } => Ok(expire::apply(self, context, *limit)?),
            Command::CommitPositions(positions) => position::commit(self, context, positions),
            Command::ForgetPositions(positions) => position::forget(self, context, positions),
        }
    }
}

fn outcome<R>(done: Result<R, Stop>) -> Result<Result<R, Rejection>, Error> {
    match done {
        Ok(reply) => Ok(Ok(reply)),
        Err(Stop::Refused(rejection)) => Ok(Err(rejection)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

fn at_least_one(limit: u32) -> Result<(), Rejection> {
    if limit == 0 { Err(Rejection::invalid("limit", limit, "at least 1")) } else { Ok(()) }
}
