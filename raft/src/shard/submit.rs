//! From commands to entries: commands of many callers share an entry while earlier entries are
//! under way; a lone command goes at once.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use kontiki_storage::id::{LogIndex, ReplicaId, ShardId};
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use tokio::sync::{Notify, oneshot};

use super::{Answer, Progress, ShardClock};
use crate::error::ProposeError;
use crate::types::{Command, Payload, Proposal, Raft, Types};

/// A command that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Index of the entry that carried it.
    pub index: LogIndex,
    /// Term of that entry.
    pub term: u64,
    /// What the state machine said.
    pub reply: Bytes,
}

type Outcome = Result<Applied, ProposeError>;

/// A command under way: resolves to its outcome.
#[derive(Debug)]
pub struct Pending {
    outcome: oneshot::Receiver<Outcome>,
    accepted: Option<oneshot::Receiver<()>>,
}

impl Pending {
    fn refused(error: ProposeError) -> Self {
        let (sender, outcome) = oneshot::channel();
        // The receiver is right here.
        let _ = sender.send(Err(error));
        Self { outcome, accepted: None }
    }

    /// Resolves when the leader has taken the command into its log (not durable yet), or refused
    /// it.
    ///
    /// # Errors
    /// As [`Pending`] itself, where it was refused.
    pub async fn accepted(mut self) -> Result<(), ProposeError> {
        if let Some(accepted) = self.accepted.take()
            && accepted.await.is_ok()
        {
            return Ok(());
        }
        self.await.map(|_| ())
    }
}

impl Future for Pending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let outcome = std::task::ready!(Pin::new(&mut self.outcome).poll(context));
        // Dropped without an answer: the shard stopped with the command under way.
        Poll::Ready(outcome.unwrap_or(Err(ProposeError::Unknown)))
    }
}

/// What all shards of a node share about commands under way.
#[derive(Debug)]
pub(crate) struct Intake {
    waiting: AtomicUsize,
    waiting_max: usize,
    command_bytes_max: usize,
    /// Free bytes on the disk, as last looked at.
    free_bytes: AtomicU64,
    free_bytes_min: u64,
    /// The same for commands without payloads: those that make room are among them.
    free_bytes_small_min: u64,
    stopping: AtomicBool,
}

impl Intake {
    pub(crate) fn new(options: &crate::Options) -> Arc<Self> {
        Arc::new(Self {
            waiting: AtomicUsize::new(0),
            waiting_max: options.proposals_bytes_max,
            command_bytes_max: options.link_message_bytes_max.saturating_sub(1 << 20),
            free_bytes: AtomicU64::new(u64::MAX),
            free_bytes_min: options.free_bytes_propose_min,
            free_bytes_small_min: options.free_bytes_append_min,
            stopping: AtomicBool::new(false),
        })
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(crate) fn set_free_bytes(&self, free: u64) {
        self.free_bytes.store(free, Ordering::Relaxed);
    }

    pub(crate) fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn admit(&self, size: usize, carries: bool) -> Result<(), ProposeError> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(ProposeError::Stopping);
        }
        if size > self.command_bytes_max {
            return Err(ProposeError::TooLarge { size, limit: self.command_bytes_max });
        }
        self.check_disk(carries)?;
        let before = self.waiting.fetch_add(size, Ordering::AcqRel);
        if before > 0 && before + size > self.waiting_max {
            self.waiting.fetch_sub(size, Ordering::AcqRel);
            let limit = self.waiting_max;
            return Err(ProposeError::Overloaded { waiting: before, limit });
        }
        Ok(())
    }

    /// Whether there is room for a command, which carries payloads or doesn't.
    fn check_disk(&self, carries: bool) -> Result<(), ProposeError> {
        let limit = if carries { self.free_bytes_min } else { self.free_bytes_small_min };
        let free = self.free_bytes();
        if free < limit { Err(ProposeError::DiskFull { free, limit }) } else { Ok(()) }
    }

    fn release(&self, size: usize) {
        self.waiting.fetch_sub(size, Ordering::AcqRel);
    }
}

/// A command that waits for its entry, or for its outcome.
struct Waiting {
    size: usize,
    outcome: Option<oneshot::Sender<Outcome>>,
    accepted: Option<oneshot::Sender<()>>,
    intake: Arc<Intake>,
}

impl Waiting {
    fn finish(mut self, outcome: Outcome) {
        if let Some(sender) = self.outcome.take() {
            // The caller may have given up.
            let _ = sender.send(outcome);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.intake.release(self.size);
    }
}

#[derive(Default)]
struct Queue {
    commands: Vec<Command>,
    waiting: Vec<Waiting>,
    bytes: usize,
    closed: bool,
}

/// Gathers a shard's commands.
#[derive(Clone)]
pub(crate) struct Submitter(Arc<SubmitterInner>);

struct SubmitterInner {
    shard: ShardId,
    intake: Arc<Intake>,
    queue: Mutex<Queue>,
    wake: Notify,
    in_flight: AtomicUsize,
    limits: Limits,
}

#[derive(Clone, Copy)]
struct Limits {
    entry_bytes: usize,
    entry_commands: usize,
    in_flight: usize,
}

impl Submitter {
    pub(crate) fn new(shard: ShardId, intake: Arc<Intake>, options: &crate::Options) -> Self {
        let limits = Limits {
            entry_bytes: options.entry_bytes_max,
            entry_commands: options.entry_commands_max,
            in_flight: options.entries_in_flight_max,
        };
        let (queue, wake) = (Mutex::default(), Notify::new());
        let in_flight = AtomicUsize::new(0);
        Self(Arc::new(SubmitterInner { shard, intake, queue, wake, in_flight, limits }))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.0.queue.lock().expect("no code panics while it holds the submit queue")
    }

    /// Queues a command; order is that of the calls.
    pub(crate) fn submit(
        &self,
        progress: &Progress,
        command: Bytes,
        payloads: Vec<Bytes>,
    ) -> Pending {
        if progress.has_failed() {
            return Pending::refused(ProposeError::Failed { shard: self.0.shard });
        }
        let role = *progress.role.borrow();
        if !role.leads {
            return Pending::refused(ProposeError::NotLeader { leader: role.leader });
        }
        let payloads = payloads.into_iter().map(Payload::in_memory).collect();
        let command = Command { bytes: command, payloads };
        let size = command.size();
        let carries = !command.payloads.is_empty();
        if let Err(error) = self.0.intake.admit(size, carries) {
            return Pending::refused(error);
        }
        let (outcome, receiver) = oneshot::channel();
        let (accepted, accepted_receiver) = oneshot::channel();
        let waiting = Waiting {
            size,
            outcome: Some(outcome),
            accepted: Some(accepted),
            intake: self.0.intake.clone(),
        };
        let mut queue = self.lock();
        if queue.closed {
            drop(queue);
            waiting.finish(Err(ProposeError::Stopping));
        } else {
            queue.commands.push(command);
            queue.waiting.push(waiting);
            queue.bytes += size;
            drop(queue);
            self.0.wake.notify_one();
        }
        Pending { outcome: receiver, accepted: Some(accepted_receiver) }
    }

    /// No more commands; those that wait are refused.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut queue = self.lock();
            queue.closed = true;
            queue.commands.clear();
            std::mem::take(&mut queue.waiting)
        };
        waiting.into_iter().for_each(|waiting| waiting.finish(Err(ProposeError::Stopping)));
        self.0.wake.notify_one();
    }

    /// The next entry's commands, up to the limits.
    fn take(&self) -> Option<(Vec<Command>, Vec<Waiting>)> {
        let mut queue = self.lock();
        if queue.commands.is_empty() {
            return None;
        }
        let limits = self.0.limits;
        if queue.bytes <= limits.entry_bytes && queue.commands.len() <= limits.entry_commands {
            queue.bytes = 0;
            return Some((std::mem::take(&mut queue.commands), std::mem::take(&mut queue.waiting)));
        }
        let mut bytes = 0;
        let count = queue
            .commands
            .iter()
            .take(limits.entry_commands)
            .take_while(|command| {
                let first = bytes == 0;
                bytes += command.size();
                first || bytes <= limits.entry_bytes
            })
            .count();
        let commands: Vec<Command> = queue.commands.drain(..count).collect();
        let waiting: Vec<Waiting> = queue.waiting.drain(..count).collect();
        queue.bytes -= commands.iter().map(Command::size).sum::<usize>();
        Some((commands, waiting))
    }

    /// Proposes what is gathered, until the queue is closed.
    /// `free_bytes` looks at the disk.
    pub(crate) async fn run(
        self,
        raft: Raft,
        clock: Arc<ShardClock>,
        free_bytes: impl Fn() -> u64,
    ) {
        loop {
            if self.0.in_flight.load(Ordering::Acquire) < self.0.limits.in_flight
                && let Some((commands, waiting)) = self.take()
            {
                // What was known when a command came may be a second old. One that followers
                // refuse for the same reason would end as unknown.
                self.0.intake.set_free_bytes(free_bytes());
                let carries = commands.iter().any(|command| !command.payloads.is_empty());
                if let Err(error) = self.0.intake.check_disk(carries) {
                    waiting.into_iter().for_each(|waiting| waiting.finish(Err(error.clone())));
                    continue;
                }
                let time_ms = clock.now_ms();
                self.propose(&raft, Proposal { time_ms, commands }, waiting).await;
                continue;
            }
            if self.lock().closed {
                return;
            }
            self.0.wake.notified().await;
        }
    }

    async fn propose(&self, raft: &Raft, proposal: Proposal, mut waiting: Vec<Waiting>) {
        self.0.in_flight.fetch_add(1, Ordering::AcqRel);
        let accepted: Vec<_> = waiting.iter_mut().filter_map(|w| w.accepted.take()).collect();
        let submitter = self.clone();
        let flight = Flight { submitter, waiting };
        let answer = Answer::new(move |result| flight.land(result));
        if raft.client_write_ff(proposal, Some(answer)).await.is_ok() {
            for sender in accepted {
                // Most callers don't wait for this.
                let _ = sender.send(());
            }
        }
    }
}

/// An entry under way. Dropped without an answer, its commands' outcome is unknown.
struct Flight {
    submitter: Submitter,
    waiting: Vec<Waiting>,
}

impl Flight {
    fn land(mut self, result: ClientWriteResult<Types>) {
        let waiting = std::mem::take(&mut self.waiting);
        match result {
            Ok(response) => {
                let id = response.log_id;
                let replies = response.data.0;
                assert_eq!(replies.len(), waiting.len(), "every command has got its reply");
                for (waiting, reply) in waiting.into_iter().zip(replies) {
                    let (index, term) = (LogIndex(id.index), id.leader_id.term);
                    waiting.finish(Ok(Applied { index, term, reply }));
                }
            }
            Err(error) => {
                let error = outcome(&error);
                waiting.into_iter().for_each(|waiting| waiting.finish(Err(error.clone())));
            }
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.submitter.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.submitter.0.wake.notify_one();
    }
}

/// Only a refusal before the entry was appended is surely not done.
fn outcome(error: &ClientWriteError<Types>) -> ProposeError {
    match error {
        ClientWriteError::ForwardToLeader(forward) => {
            ProposeError::NotLeader { leader: forward.leader_id.map(ReplicaId) }
        }
        ClientWriteError::LogEntryDiscarded(_)
        | ClientWriteError::ChangeMembershipError(_)
        | ClientWriteError::PreconditionFailed(_) => ProposeError::Unknown,
    }
}

impl super::Shard {
    /// Queues a command with its payloads. It is in the log in the order of the calls.
    pub fn submit(&self, command: Bytes, payloads: Vec<Bytes>) -> Pending {
        self.0.submitter.submit(&self.0.progress, command, payloads)
    }
}
