//! What receivers of a queue wait for is asked for in the same entry that brings it.
//!
//! A desk that has receivers and nothing for them leaves its next command here. Whoever submits a
//! command on the leader that may bring them something submits that one right behind it: a message
//! to a queue that somebody waits for is stored and leased by one commit instead of two. Where
//! nothing is left at that moment, for the desk is busy, it is told when it comes to leave
//! something, and asks at once.
//!
//! Memory: one command for each queue that is waited for, 10 bytes for each of its receivers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use kontiki_domain::queue::Brings;
use kontiki_raft::{Pending, Shard};
use kontiki_storage::id::PartitionId;
use tokio::sync::oneshot;

/// The commands, by queue.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    queues: Mutex<HashMap<PartitionId, OfQueue>>,
    desks: AtomicU64,
}

/// A queue that has a desk.
#[derive(Debug)]
struct OfQueue {
    /// Which desk: another one may have come before this one's end.
    desk: u64,
    order: Option<Order>,
    missed: Missed,
}

#[derive(Debug)]
struct Order {
    command: Bytes,
    /// There are messages that wait until others are settled.
    turns: bool,
    submitted: oneshot::Sender<Pending>,
}

/// What was submitted after the desk asked last, with nothing behind it.
#[derive(Debug, Default)]
struct Missed {
    messages: bool,
    turns: bool,
}

impl Prepared {
    fn lock(&self) -> MutexGuard<'_, HashMap<PartitionId, OfQueue>> {
        self.queues.lock().expect("nothing panics under this lock")
    }

    /// A queue has a desk from now on, until what is returned is dropped.
    pub(crate) fn open(self: &Arc<Self>, queue: PartitionId) -> Place {
        let desk = self.desks.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(queue, OfQueue { desk, order: None, missed: Missed::default() });
        Place(At { prepared: Arc::clone(self), queue, desk })
    }

    /// Whether a command is left for a queue.
    #[cfg(test)]
    pub(crate) fn is_left(&self, queue: PartitionId) -> bool {
        self.lock().get(&queue).is_some_and(|of_queue| of_queue.order.is_some())
    }

    /// A command has been submitted that may bring receivers something.
    pub(crate) fn follow(&self, replica: &Shard, brings: Brings) {
        let (Brings::Messages(queue) | Brings::Turns(queue)) = brings;
        let order = {
            let mut queues = self.lock();
            let Some(of_queue) = queues.get_mut(&queue) else { return };
            let order = of_queue.order.take_if(|order| match brings {
                Brings::Messages(_) => true,
                Brings::Turns(_) => order.turns,
            });
            match (&order, brings) {
                (Some(_), _) => of_queue.missed = Missed::default(),
                (None, Brings::Messages(_)) => of_queue.missed.messages = true,
                (None, Brings::Turns(_)) => of_queue.missed.turns = true,
            }
            order
        };
        let Some(order) = order else { return };
        let pending = replica.submit(order.command, Vec::new());
        // The desk may have ended: its receivers get nothing, and the lease ends by itself.
        let _ = order.submitted.send(pending);
    }
}

/// Which desk it is.
#[derive(Debug, Clone)]
struct At {
    prepared: Arc<Prepared>,
    queue: PartitionId,
    desk: u64,
}

impl At {
    /// Looks at what there is of the desk, unless another one has come.
    fn with<T>(&self, look: impl FnOnce(&mut OfQueue) -> T) -> Option<T> {
        let mut queues = self.prepared.lock();
        queues.get_mut(&self.queue).filter(|of_queue| of_queue.desk == self.desk).map(look)
    }
}

/// Where a desk leaves its commands.
#[derive(Debug)]
pub(crate) struct Place(At);

impl Place {
    /// The desk asks now: what was submitted before has something behind it.
    pub(crate) fn ask(&self) {
        self.0.with(|of_queue| of_queue.missed = Missed::default());
    }

    /// Leaves a command, one at a time. `turns`: there are messages that wait until others are
    /// settled. `None`: something is under way already that it should go behind.
    pub(crate) fn leave(&self, command: Bytes, turns: bool) -> Option<Left> {
        let (sender, submitted) = oneshot::channel();
        let left = self.0.with(|of_queue| {
            let missed = of_queue.missed.messages || turns && of_queue.missed.turns;
            if !missed {
                of_queue.order = Some(Order { command, turns, submitted: sender });
            }
            !missed
        });
        left.unwrap_or(true).then(|| Left { at: self.0.clone(), submitted })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let At { prepared, queue, desk } = &self.0;
        let mut queues = prepared.lock();
        if queues.get(queue).is_some_and(|of_queue| of_queue.desk == *desk) {
            queues.remove(queue);
        }
    }
}

/// A command that was left. Taken back as it is dropped.
#[derive(Debug)]
pub(crate) struct Left {
    at: At,
    submitted: oneshot::Receiver<Pending>,
}

impl Left {
    /// Resolves when it has been submitted.
    pub(crate) async fn submitted(&mut self) -> Pending {
        match (&mut self.submitted).await {
            Ok(pending) => pending,
            // Taken back, which only its owner does; or another desk has come.
            Err(_) => std::future::pending().await,
        }
    }

    /// Takes it back, unless it has been submitted.
    pub(crate) async fn take_back(&mut self) -> Option<Pending> {
        match self.at.with(|of_queue| of_queue.order.take()).flatten() {
            Some(_) => None,
            // It has been, or is being so right now.
            None => (&mut self.submitted).await.ok(),
        }
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        self.at.with(|of_queue| of_queue.order = None);
    }
}
