//! The one place where a node waits for its disk: group commit for the Raft logs of all shards.
//!
//! Takes everything that has arrived, syncs the payload segments if any entry refers to them,
//! writes all rows as one batch, syncs the engine, and answers everybody. While it waits for the
//! disk, the next group gathers. The order of operations is the order in which they were queued.
//!
//! Production polls [`Committer::run`] on a thread of its own, where a sync may block, and has the
//! answers given elsewhere; the simulation spawns it as a task.

use std::sync::{Arc, Mutex};

use kontiki_storage::engine::Engine;
use kontiki_storage::payload::Payloads;
use kontiki_storage::{Error, WriteBatch};
use openraft::storage::IOFlushed;
use tokio::sync::{mpsc, oneshot};

use crate::error::FatalError;
use crate::log::ShardLog;
use crate::metrics::Metrics;
use crate::mutant::{self, Mutant};
use crate::node::FatalHook;
use crate::types::Types;

/// Who is to be told when an operation is durable.
pub(crate) enum Done {
    /// Entries of a shard up to an index.
    Appended { log: Arc<ShardLog>, index: u64, flushed: IOFlushed<Types> },
    /// A caller that waits.
    Waiter(oneshot::Sender<Result<(), Arc<Error>>>),
    /// Nobody.
    Nobody,
    /// The committer itself: it is to end.
    Stop,
}

/// One operation on the log store.
pub(crate) struct Op {
    pub(crate) rows: WriteBatch,
    /// Bytes, for the size of a group.
    pub(crate) bytes: usize,
    /// Entries refer to payload segments, which must be durable first.
    pub(crate) payloads: bool,
    /// Whether it has to be durable before it is answered.
    pub(crate) sync: bool,
    pub(crate) done: Done,
}

/// Queues operations.
#[derive(Clone)]
pub(crate) struct CommitQueue(mpsc::Sender<Op>);

impl CommitQueue {
    pub(crate) async fn push(&self, op: Op) -> std::io::Result<()> {
        self.0.send(op).await.map_err(|_| stopped())
    }

    /// Writes rows and waits until they, and all that was queued before, are durable.
    pub(crate) async fn write(&self, rows: WriteBatch, payloads: bool) -> Result<(), Arc<Error>> {
        let (sender, receiver) = oneshot::channel();
        let op = Op { rows, bytes: 0, payloads, sync: true, done: Done::Waiter(sender) };
        if self.0.send(op).await.is_err() {
            return Err(Arc::new(Error::stopped()));
        }
        receiver.await.unwrap_or_else(|_| Err(Arc::new(Error::stopped())))
    }
}

impl CommitQueue {
    /// Ends the committer after everything that was queued before.
    pub(crate) async fn stop(&self) {
        let rows = WriteBatch::new();
        let op = Op { rows, bytes: 0, payloads: false, sync: false, done: Done::Stop };
        // It may have ended already.
        let _ = self.0.send(op).await;
    }
}

fn stopped() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::BrokenPipe, "the node's committer has stopped")
}

/// Answers of a committer that are given by somebody else.
#[derive(Clone, Default)]
pub struct Answers(Arc<Mutex<Vec<Done>>>);

impl Answers {
    /// Gives those that are there.
    pub fn give(&self) {
        let all = std::mem::take(&mut *self.lock());
        answer(all);
    }

    /// Leaves some; returns whether there were none before.
    fn leave(&self, done: Vec<Done>) -> bool {
        let mut all = self.lock();
        let first = all.is_empty();
        all.extend(done);
        first
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Done>> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

type Bell = Box<dyn Fn() + Send + Sync>;

/// Runs until every [`CommitQueue`] is gone, or storage fails.
pub struct Committer {
    receiver: mpsc::Receiver<Op>,
    engine: Arc<dyn Engine>,
    payloads: Arc<dyn Payloads>,
    group_bytes_max: usize,
    fatal: FatalHook,
    metrics: Metrics,
    elsewhere: Option<(Answers, Bell)>,
}

impl Committer {
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        payloads: Arc<dyn Payloads>,
        options: &crate::Options,
        fatal: FatalHook,
        metrics: Metrics,
    ) -> (Self, CommitQueue) {
        let (sender, receiver) = mpsc::channel(options.committer_queue_max);
        let group_bytes_max = options.commit_bytes_max;
        let elsewhere = None;
        let committer =
            Self { receiver, engine, payloads, group_bytes_max, fatal, metrics, elsewhere };
        (committer, CommitQueue(sender))
    }

    /// Has its answers given by whoever is called by `ring`, which returns at once.
    pub fn answered_elsewhere(&mut self, ring: impl Fn() + Send + Sync + 'static) -> Answers {
        let answers = Answers::default();
        self.elsewhere = Some((answers.clone(), Box::new(ring)));
        answers
    }

    fn answer(&self, done: Vec<Done>) {
        match &self.elsewhere {
            None => answer(done),
            Some((answers, ring)) => {
                if answers.leave(done) {
                    ring();
                }
            }
        }
    }

    /// The loop.
    pub async fn run(mut self) {
        while let Some(first) = self.receiver.recv().await {
            let group = self.gather(first);
            let last = group.stop;
            if let Err(error) = self.commit(group).await {
                // The operations of the group were not answered: nothing was promised for them.
                (self.fatal)(FatalError::Storage(error));
                return;
            }
            if last {
                return;
            }
        }
    }

    fn gather(&mut self, first: Op) -> Group {
        let mut group = Group::default();
        group.add(first);
        while group.bytes < self.group_bytes_max {
            match self.receiver.try_recv() {
                Ok(op) => group.add(op),
                Err(_) => break,
            }
        }
        group
    }

    async fn commit(&self, mut group: Group) -> Result<(), Arc<Error>> {
        let started = tokio::time::Instant::now();
        if mutant::is(Mutant::AckBeforeSync) {
            self.engine.write(std::mem::take(&mut group.rows)).map_err(Arc::new)?;
            self.answer(std::mem::take(&mut group.done));
        }
        if group.payloads {
            self.payloads.sync().await.map_err(Arc::new)?;
        }
        if !group.rows.is_empty() {
            self.engine.write(group.rows).map_err(Arc::new)?;
        }
        if group.sync {
            self.engine.sync().await.map_err(Arc::new)?;
        }
        self.metrics.commit(started.elapsed(), group.done.len(), group.bytes);
        self.answer(group.done);
        Ok(())
    }
}

fn answer(all: Vec<Done>) {
    for done in all {
        match done {
            Done::Appended { log, index, flushed } => {
                log.set_flushed(index);
                flushed.io_completed(Ok(()));
            }
            // The waiter may have gone.
            Done::Waiter(sender) => drop(sender.send(Ok(()))),
            Done::Nobody | Done::Stop => {}
        }
    }
}

#[derive(Default)]
struct Group {
    rows: WriteBatch,
    bytes: usize,
    payloads: bool,
    sync: bool,
    stop: bool,
    done: Vec<Done>,
}

impl Group {
    fn add(&mut self, op: Op) {
        self.rows.append(op.rows);
        self.bytes += op.bytes;
        self.payloads |= op.payloads;
        self.sync |= op.sync;
        self.stop |= matches!(op.done, Done::Stop);
        self.done.push(op.done);
    }
}
