//! One file per command. Each looks first and refuses, then writes: a refused command leaves no
//! trace.

mod acquire;
mod depart;
mod divert;
mod enqueue;
mod purge;
mod redrive;
mod retain;
mod room;
mod settle;
mod tick;
mod transferred;

use std::collections::BTreeMap;
use std::sync::Arc;

use kontiki_storage::Error;
use kontiki_storage::id::{Offset, PartitionId};

use super::machine::{Queue, Work};
use super::{Command, QueueSettings, Reply, batches};
use crate::effect::Effect;
use crate::partition::{Context, PartitionState, Partitions, Stop};
use crate::rejection::Rejection;

/// Longest list in one command: what it costs has a limit.
pub const LIST_MAX: usize = 10_000;

impl Partitions {
    /// Applies one committed command for a queue.
    pub(crate) fn apply_queue(
        &mut self,
        context: Context<'_>,
        command: &Command,
    ) -> Result<Reply, Stop> {
        match command {
            Command::Enqueue(enqueue) => enqueue::apply(self, context, enqueue),
            Command::Acquire { queue, wanted } => {
                let messages = wanted.iter().map(|wish| u64::from(wish.max)).sum();
                in_list("the messages wanted", messages)?;
                acquire::apply(self, context, *queue, wanted)
            }
            Command::Settle { queue, settlements, reasons } => {
                in_list("the settlements", settlements.len() as u64)?;
                settle::apply(self, context, *queue, settlements, reasons)
            }
            Command::Tick { queue, limit } => tick::apply(self, context, *queue, *limit),
            Command::Purge { queue, before, limit } => {
                purge::apply(self, context, *queue, *before, *limit)
            }
            Command::Transferred { queue, through, dropped } => {
                transferred::apply(self, context, *queue, *through, *dropped)
            }
            Command::Divert { queue, offsets, target } => {
                in_list("the messages to move", offsets.len() as u64)?;
                divert::apply(self, context, *queue, offsets, target)
            }
            Command::StartRedrive { queue, spec } => redrive::start(self, context, *queue, spec),
            Command::StepRedrive { queue, step } => redrive::step(self, context, *queue, step),
            Command::CancelRedrive { queue, redrive } => {
                redrive::cancel(self, context, *queue, *redrive)
            }
        }
    }
}

fn in_list(field: &str, count: u64) -> Result<(), Rejection> {
    if (1..=LIST_MAX as u64).contains(&count) {
        Ok(())
    } else {
        Err(Rejection::invalid(field, count, &format!("1 to {LIST_MAX} in one command")))
    }
}

/// A queue, and what a command for it looks at and adds to.
struct Parts<'a> {
    queue: &'a mut Queue,
    partition: &'a mut PartitionState,
    settings: Arc<QueueSettings>,
    work: Work<'a>,
    /// What was settled, by batch, where it is to be counted at the end: many of one command are
    /// of one batch.
    gathered: Option<BTreeMap<Offset, u32>>,
    /// A batch was appended before.
    appended: bool,
    /// How many batches there were: all that is changed of the partition from here on is that
    /// some of them leave.
    batches: u64,
}

impl<'a> Parts<'a> {
    fn of(
        machine: &'a mut Partitions,
        context: Context<'a>,
        id: PartitionId,
    ) -> Result<Self, Rejection> {
        let state = machine.live(id)?;
        let Some(settings) = state.queue.clone() else {
            return Err(Rejection::NotAQueue(id));
        };
        let Partitions { space, rows, queues, .. } = machine;
        let partition = rows.get_mut(&id).expect("looked up above");
        let (queue, pending) = queues.parts(id).expect("a partition with settings of a queue");
        let Context { view, stamp, batch, effects, .. } = context;
        let work = Work { space: *space, id, view, stamp, batch, pending, effects };
        let batches = partition.batches;
        let (gathered, appended) = (None, false);
        Ok(Self { queue, partition, settings, work, gathered, appended, batches })
    }

    /// Counts what is settled from here on when [`count_gathered`](Self::count_gathered) is called.
    /// Until then, batches that have nothing left are still there.
    fn gather(mut self) -> Self {
        self.gathered = Some(BTreeMap::new());
        self
    }

    fn count_gathered(&mut self) -> Result<(), Error> {
        for (base, messages) in self.gathered.take().unwrap_or_default() {
            batches::settle(&mut self.work, self.partition, base, messages)?;
        }
        Ok(())
    }

    /// Writes the rows of the queue and, where it has changed, of its partition.
    fn finish(self) {
        let Self { queue, partition, mut work, appended, batches, .. } = self;
        if queue.state.is_idle() {
            // Times of what isn't there any more: nobody needs a tick for them.
            queue.state.due_ms = None;
        }
        queue.put(&mut work);
        if appended || partition.batches != batches {
            Partitions::put_row(work.space, work.id, partition, work.batch);
        }
        work.effects.push(Effect::QueueChanged { queue: work.id });
    }
}
