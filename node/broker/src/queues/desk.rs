//! Receivers of one queue share commands: on the leader, one task for each queue that somebody
//! waits for asks for all of them at a time, and again when something has come.
//!
//! Memory: some 300 bytes for each receiver that waits, of whom there are at most
//! `broker.fetch.waiting_max` on a node.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kontiki_domain::partition::read as partitions;
use kontiki_domain::queue::{
    Acquire, Action, Command, Grant, QueueState, Reply, Settlement, read as queues,
};
use kontiki_domain::shard::{self, decode_outcome};
use kontiki_raft::Shard;
use kontiki_storage::id::PartitionId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::core::Core;
use crate::error::{Code, Error, Kind};
use crate::hub::Watch;

/// Receivers whose wishes are not taken over by the task yet.
const QUEUED_MAX: usize = 4_096;
/// Messages that one command leases.
const LEASED_AT_ONCE: u32 = 4_096;
/// How long the task of a queue waits for another receiver.
const IDLE: Duration = Duration::from_secs(1);
/// How often what should be announced is looked at nevertheless.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How long a queue that the catalog knows, but its shard doesn't yet, is waited for.
const CREATION: Duration = Duration::from_secs(2);

/// What one receiver wants.
pub(crate) struct Wish {
    pub(crate) max: u32,
    /// 0: as long as the queue says.
    pub(crate) lease_ms: i64,
    pub(crate) until: Instant,
    pub(crate) answer: oneshot::Sender<Result<Vec<Grant>, Error>>,
}

/// The tasks, by queue.
#[derive(Debug, Default)]
pub(crate) struct Desks(Mutex<HashMap<PartitionId, mpsc::Sender<Wish>>>);

impl Core {
    /// Asks for messages of a queue that is led here.
    pub(crate) fn wish(
        self: &Arc<Self>,
        replica: &Shard,
        queue: PartitionId,
        wish: Wish,
    ) -> Result<(), Error> {
        let mut desks = self.desks.0.lock().expect("nothing panics under this lock");
        let desk = desks.entry(queue).or_insert_with(|| self.open(replica, queue));
        match desk.try_send(wish) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                let retry_ms = self.options.fetch.retry_after_ms;
                Err(Error::throttled("receivers of one queue", QUEUED_MAX, retry_ms))
            }
            // Its task has ended with a panic.
            Err(mpsc::error::TrySendError::Closed(wish)) => {
                *desk = self.open(replica, queue);
                desk.try_send(wish).map_err(|_| Error::internal("a task that ends at once"))
            }
        }
    }

    fn open(self: &Arc<Self>, replica: &Shard, queue: PartitionId) -> mpsc::Sender<Wish> {
        let (sender, wishes) = mpsc::channel(QUEUED_MAX);
        let desk = Desk {
            core: Arc::clone(self),
            replica: replica.clone(),
            queue,
            wishes,
            waiting: VecDeque::new(),
            tried: None,
            opened: Instant::now(),
        };
        tokio::spawn(desk.run());
        sender
    }
}

struct Desk {
    core: Arc<Core>,
    replica: Shard,
    queue: PartitionId,
    wishes: mpsc::Receiver<Wish>,
    waiting: VecDeque<Wish>,
    /// The queue, as it was when there was nothing for anybody.
    tried: Option<QueueState>,
    opened: Instant,
}

impl Desk {
    async fn run(mut self) {
        let watch = self.core.hub.watch(vec![self.queue]);
        while self.somebody_waits().await {
            if self.core.is_stopping() {
                self.refuse(&Error::stopping());
                continue;
            }
            let role = self.replica.role();
            if !role.leads {
                let leader = role.leader.map(|replica| replica.node());
                let thing = format!("shard {}", self.replica.id());
                // Another replica of the shard on this node would have a desk of its own.
                self.close();
                self.refuse(&Error::not_leader(&thing, leader));
                return;
            }
            match self.look() {
                Ok(Some(state)) => {
                    let same = self.tried.as_ref() == Some(&state);
                    if state.counts().available == 0 || same {
                        if self.wait(&watch).await {
                            self.tried = None;
                        }
                    } else {
                        self.acquire().await;
                    }
                }
                Ok(None) => {
                    self.wait(&watch).await;
                }
                Err(error) => self.refuse(&error),
            }
        }
    }

    /// Takes over new wishes, and lets those go that have waited long enough. Ends when there have
    /// been none for a while.
    async fn somebody_waits(&mut self) -> bool {
        loop {
            while let Ok(wish) = self.wishes.try_recv() {
                self.waiting.push_back(wish);
            }
            let now = Instant::now();
            let mut kept = VecDeque::with_capacity(self.waiting.len());
            for wish in self.waiting.drain(..) {
                if wish.answer.is_closed() {
                    continue;
                }
                // Whoever doesn't wait is asked for once.
                if wish.until <= now && self.tried.is_some() {
                    let _ = wish.answer.send(Ok(Vec::new()));
                } else {
                    kept.push_back(wish);
                }
            }
            self.waiting = kept;
            if !self.waiting.is_empty() {
                return true;
            }
            self.tried = None;
            match tokio::time::timeout(IDLE, self.wishes.recv()).await {
                Ok(Some(wish)) => self.waiting.push_back(wish),
                Ok(None) => return false,
                Err(_) => {
                    let mut desks = self.core.desks.0.lock().expect("nothing panics under it");
                    // Nobody can send another wish while the lock is held.
                    if self.wishes.is_empty() {
                        desks.remove(&self.queue);
                        return false;
                    }
                }
            }
        }
    }

    /// Takes no more wishes.
    fn close(&mut self) {
        let mut desks = self.core.desks.0.lock().expect("nothing panics under this lock");
        desks.remove(&self.queue);
        drop(desks);
        self.wishes.close();
        while let Ok(wish) = self.wishes.try_recv() {
            self.waiting.push_back(wish);
        }
    }

    fn refuse(&mut self, error: &Error) {
        for wish in self.waiting.drain(..) {
            // Whoever asked may have gone.
            let _ = wish.answer.send(Err(error.clone()));
        }
    }

    /// The queue, if it is here.
    fn look(&self) -> Result<Option<QueueState>, Error> {
        let (view, space) = self.replica.view();
        let partition = partitions::partition(view.as_ref(), space, self.queue)?;
        match partition {
            Some(state) if state.queue.is_none() => {
                Err(kontiki_domain::Rejection::NotAQueue(self.queue).into())
            }
            Some(state) if state.is_live() => Ok(queues::queue(view.as_ref(), space, self.queue)?),
            Some(_) => Err(gone()),
            None => {
                let known = |catalog: &kontiki_domain::catalog::Catalog| {
                    catalog.partition(self.queue).is_some()
                };
                if !self.core.catalog.look(known) {
                    return Err(gone());
                }
                if self.opened.elapsed() < CREATION {
                    return Ok(None);
                }
                let detail = "it is being created: try again";
                let error = Error::new(Kind::Unavailable, Code::NOT_READY, detail);
                Err(Error { retry_after_ms: 200, ..error })
            }
        }
    }

    /// Until something has changed, or the first receiver has waited long enough. Returns whether
    /// everything is to be tried again although nothing is known to have changed.
    async fn wait(&mut self, watch: &Watch) -> bool {
        let now = Instant::now();
        if self.tried.is_none() {
            // There was nothing to ask for: that counts as having asked.
            self.tried = self.look().ok().flatten();
        }
        let first = self.waiting.iter().map(|wish| wish.until).min();
        let until = first.unwrap_or(now + LOOK_AGAIN).min(now + LOOK_AGAIN);
        let mut role = self.replica.watch();
        role.mark_unchanged();
        tokio::select! {
            () = watch.changed() => false,
            _ = role.changed() => true,
            () = self.core.stopped() => true,
            wish = self.wishes.recv() => {
                self.waiting.extend(wish);
                false
            }
            () = tokio::time::sleep_until(until) => Instant::now() >= now + LOOK_AGAIN,
        }
    }

    async fn acquire(&mut self) {
        let mut left = LEASED_AT_ONCE;
        let mut wanted = Vec::new();
        for wish in &self.waiting {
            if left == 0 {
                break;
            }
            let max = wish.max.min(left);
            left -= max;
            wanted.push(Acquire { max, lease_ms: wish.lease_ms });
        }
        let command = shard::Command::from(Command::Acquire { queue: self.queue, wanted });
        let shard = self.replica.id();
        let granted = match self.replica.submit(command.encode(), Vec::new()).await {
            Ok(applied) => decode_outcome(&applied.reply).map_err(Error::from),
            Err(error) => Err(Error::propose(shard, &error)),
        };
        let granted = granted.and_then(|outcome| {
            let reply = outcome.map_err(Error::from)?;
            let shard::Reply::Queue(Reply::Acquired(granted)) = reply else {
                return Err(Error::internal(format!("an acquisition was answered with {reply:?}")));
            };
            Ok(granted)
        });
        match granted {
            Ok(granted) => self.distribute(granted),
            Err(error) => self.refuse(&error),
        }
    }

    fn distribute(&mut self, granted: Vec<Vec<Grant>>) {
        let mut again = VecDeque::new();
        let mut unwanted = Vec::new();
        let nothing = granted.iter().all(Vec::is_empty);
        for grants in granted {
            let wish = self.waiting.pop_front().expect("one list for each wish");
            if grants.is_empty() {
                again.push_back(wish);
            } else if let Err(Ok(grants)) = wish.answer.send(Ok(grants)) {
                unwanted.extend(grants);
            }
        }
        again.append(&mut self.waiting);
        self.waiting = again;
        self.tried = if nothing { self.look().ok().flatten() } else { None };
        if !unwanted.is_empty() {
            self.give_back(&unwanted);
        }
    }

    /// Whoever asked has gone: others may have the messages at once.
    fn give_back(&self, grants: &[Grant]) {
        let action = Action::Release { delay_ms: None, failed: false };
        let settlement =
            |grant: &Grant| Settlement { offset: grant.offset, lease: grant.lease, action };
        let settlements = grants.iter().map(settlement).collect();
        let command = Command::Settle { queue: self.queue, settlements, reasons: Vec::new() };
        let pending = self.replica.submit(shard::Command::from(command).encode(), Vec::new());
        tokio::spawn(async move {
            if let Err(error) = pending.await {
                tracing::debug!(%error, "messages that nobody wants come back after their lease");
            }
        });
    }
}

fn gone() -> Error {
    let detail = "it is deleted: correct the name, or stop receiving from it";
    Error::new(Kind::NotFound, Code::UNKNOWN_QUEUE, detail)
}
