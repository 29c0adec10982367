//! One file per command or pair of commands. Each looks first and refuses, then writes: a refused
//! command leaves no trace.

mod append;
mod create;
mod delete;
mod expire;
mod settings;
mod trim;

use kontiki_storage::payload::PayloadRef;
use kontiki_storage::{Error, View, WriteBatch};

use super::{Command, Partitions, Reply};
use crate::effect::Effect;
use crate::rejection::Rejection;
use crate::stamp::Stamp;

/// Why a command ended early.
enum Stop {
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
struct Context<'a> {
    view: &'a dyn View,
    stamp: Stamp,
    payloads: &'a [PayloadRef],
    batch: &'a mut WriteBatch,
    effects: &'a mut Vec<Effect>,
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
        self.producers.begin(batch);
        let context = Context { view, stamp, payloads, batch, effects };
        match self.dispatch(context, command) {
            Ok(reply) => Ok(Ok(reply)),
            Err(Stop::Refused(rejection)) => Ok(Err(rejection)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn dispatch(&mut self, context: Context<'_>, command: &Command) -> Result<Reply, Stop> {
        match command {
            Command::Append(append) => append::apply(self, context, append),
            Command::CreatePartition { partition, topic, settings, settings_version } => {
                let version = *settings_version;
                Ok(create::apply(self, context, *partition, *topic, settings, version)?)
            }
            Command::DeletePartition { partition, limit } => {
                delete::apply(self, context, *partition, *limit)
            }
            Command::UpdateSettings { partition, settings, settings_version } => {
                Ok(settings::apply(self, context, *partition, settings, *settings_version)?)
            }
            Command::Retain { partition, limit } => trim::retain(self, context, *partition, *limit),
            Command::DeleteRecords { partition, before, limit } => {
                trim::delete_records(self, context, *partition, *before, *limit)
            }
            Command::Expire { limit } => Ok(expire::apply(self, context, *limit)?),
        }
    }
}

fn at_least_one(limit: u32) -> Result<(), Rejection> {
    if limit == 0 { Err(Rejection::invalid("limit", limit, "at least 1")) } else { Ok(()) }
}
