//! What receivers of a queue wait for is asked for in the same entry that brings it.
//!
//! A desk that has receivers and nothing for them leaves its next command here. Whoever submits a
//! command on the leader that may bring them something submits that one right behind it: a message
//! to a queue that somebody waits for is stored and leased by one commit instead of two.
//!
//! Memory: one command for each queue that is waited for, 10 bytes for each of its receivers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use kontiki_domain::queue::Brings;
use kontiki_raft::{Pending, Shard};
use kontiki_storage::id::PartitionId;
use tokio::sync::oneshot;

/// The commands, by queue.
#[derive(Debug, Default)]
pub(crate) struct Prepared(Mutex<HashMap<PartitionId, Order>>);

#[derive(Debug)]
struct Order {
    command: Bytes,
    /// There are messages that wait until others are settled.
    turns: bool,
    submitted: oneshot::Sender<Pending>,
}

impl Prepared {
    fn lock(&self) -> MutexGuard<'_, HashMap<PartitionId, Order>> {
        self.0.lock().expect("nothing panics under this lock")
    }

    /// Leaves a command; a queue has one at a time. `turns`: there are messages that wait until
    /// others are settled.
    pub(crate) fn leave(self: &Arc<Self>, queue: PartitionId, command: Bytes, turns: bool) -> Left {
        let (sender, submitted) = oneshot::channel();
        self.lock().insert(queue, Order { command, turns, submitted: sender });
        Left { prepared: Arc::clone(self), queue, submitted }
    }

    /// Whether one is left for a queue.
    #[cfg(test)]
    pub(crate) fn is_left(&self, queue: PartitionId) -> bool {
        self.lock().contains_key(&queue)
    }

    /// A command has been submitted that may bring a queue's receivers something.
    pub(crate) fn follow(&self, replica: &Shard, brings: Brings) {
        let order = {
            let mut orders = self.lock();
            match brings {
                Brings::Messages(queue) => orders.remove(&queue),
                Brings::Turns(queue) => match orders.get(&queue) {
                    Some(order) if order.turns => orders.remove(&queue),
                    Some(_) | None => None,
                },
            }
        };
        let Some(order) = order else { return };
        let pending = replica.submit(order.command, Vec::new());
        // The desk may have ended: its receivers get nothing, and the lease ends by itself.
        let _ = order.submitted.send(pending);
    }
}

/// A command that was left. Taken back as it is dropped.
#[derive(Debug)]
pub(crate) struct Left {
    prepared: Arc<Prepared>,
    queue: PartitionId,
    submitted: oneshot::Receiver<Pending>,
}

impl Left {
    /// Resolves when it has been submitted.
    pub(crate) async fn submitted(&mut self) -> Pending {
        match (&mut self.submitted).await {
            Ok(pending) => pending,
            // Taken back, which only its owner does.
            Err(_) => std::future::pending().await,
        }
    }

    /// Takes it back, unless it has been submitted.
    pub(crate) async fn take_back(&mut self) -> Option<Pending> {
        let taken = self.prepared.lock().remove(&self.queue);
        match taken {
            Some(_) => None,
            // It has been, or is being so right now.
            None => (&mut self.submitted).await.ok(),
        }
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        self.prepared.lock().remove(&self.queue);
    }
}
