//! What many callers want of one queue becomes one command while an earlier one is under way.
//!
//! A lone wish goes at once; nothing here waits for time to pass. One command of a kind is under
//! way at a time for each queue, so a node proposes in the order of the calls, also where some of
//! them are refused.
//!
//! Memory: what waits is bounded by what the node takes from clients at all.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::BoxFuture;
use kontiki_storage::id::PartitionId;

use super::send::BATCH_BYTES;
use crate::catalog::Place;
use crate::core::Core;

/// What can share a command with others of its kind.
pub(crate) trait Pooled: Sized + Send + 'static {
    /// Messages, and bytes.
    fn size(&self) -> Size;

    /// The pools of this kind.
    fn pools(core: &Core) -> &Pools<Self>;

    /// One command for all of them. Everybody is answered when it ends.
    fn propose(core: Arc<Core>, place: Place, all: Vec<Self>) -> BoxFuture<'static, ()>;
}

/// How much of a command something takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// What waits, by queue. A queue is here while something of it is under way.
pub(crate) struct Pools<T>(Mutex<HashMap<PartitionId, VecDeque<T>>>);

impl<T> Default for Pools<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> fmt::Debug for Pools<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools").finish_non_exhaustive()
    }
}

impl<T> Pools<T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<PartitionId, VecDeque<T>>> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl Core {
    /// Takes its place behind what was wanted before.
    pub(super) fn pool<T: Pooled>(self: &Arc<Self>, place: Place, wish: T) {
        let queue = place.partition;
        {
            let mut open = T::pools(self).lock();
            if let Some(waiting) = open.get_mut(&queue) {
                waiting.push_back(wish);
                return;
            }
            open.insert(queue, VecDeque::new());
        }
        let open = Open { core: Arc::clone(self), queue, ended: false, kind: PhantomData::<T> };
        tokio::spawn(open.run(place, wish));
    }
}

/// The task of a queue. Whatever becomes of it, nobody waits for it when it has ended.
struct Open<T: Pooled> {
    core: Arc<Core>,
    queue: PartitionId,
    /// The queue isn't its own any more.
    ended: bool,
    kind: PhantomData<T>,
}

impl<T: Pooled> Open<T> {
    async fn run(mut self, place: Place, first: T) {
        let mut all = vec![first];
        while !all.is_empty() {
            T::propose(Arc::clone(&self.core), place, all).await;
            all = self.next(place);
        }
    }

    /// What goes into the next command; nothing: the task ends.
    fn next(&mut self, place: Place) -> Vec<T> {
        let most = self.most(place);
        let mut open = T::pools(&self.core).lock();
        let Some(waiting) = open.get_mut(&self.queue) else { return Vec::new() };
        let count = fitting(waiting.iter().map(Pooled::size), most);
        let all: Vec<T> = waiting.drain(..count).collect();
        if all.is_empty() {
            open.remove(&self.queue);
            self.ended = true;
        }
        all
    }

    fn most(&self, place: Place) -> Size {
        let options = &self.core.options.queues;
        // No larger than one send may be.
        let batch = self.core.settings_of(place.topic).message_bytes_max as usize;
        let bytes = options.gather_bytes_max.min(batch.saturating_sub(BATCH_BYTES));
        Size { messages: options.gather_messages_max, bytes }
    }
}

impl<T: Pooled> Drop for Open<T> {
    fn drop(&mut self) {
        if !self.ended {
            T::pools(&self.core).lock().remove(&self.queue);
        }
    }
}

/// How many of them fit into a command, at least one.
fn fitting(sizes: impl Iterator<Item = Size>, most: Size) -> usize {
    let mut sum = Size::default();
    sizes
        .enumerate()
        .take_while(|(number, size)| {
            sum.messages += size.messages;
            sum.bytes += size.bytes;
            *number == 0 || (sum.messages <= most.messages && sum.bytes <= most.bytes)
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_limits_and_the_first_always_fits() {
        let most = Size { messages: 10, bytes: 100 };
        let fits = |sizes: &[(usize, usize)]| {
            let sizes =
                sizes.iter().map(|(messages, bytes)| Size { messages: *messages, bytes: *bytes });
            fitting(sizes, most)
        };
        assert_eq!(fits(&[]), 0);
        assert_eq!(fits(&[(50, 1_000), (1, 1)]), 1);
        assert_eq!(fits(&[(5, 10), (5, 10), (1, 10)]), 2);
        assert_eq!(fits(&[(1, 60), (1, 40), (1, 0), (1, 1)]), 3);
    }
}
