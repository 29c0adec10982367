//! What many callers want of one queue becomes one command while an earlier one is under way.
//!
//! A lone wish goes at once; nothing here waits for time to pass. One command of a kind is under
//! way at a time for each queue, so a node proposes in the order of the calls, also where some of
//! them are refused.
//!
//! Memory: `broker.queues.waiting_max` messages of each kind wait at most, each of some 100 bytes
//! beside its record; records are bounded by what the node takes from clients at all.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::BoxFuture;
use kontiki_storage::id::PartitionId;

use super::send::BATCH_BYTES;
use crate::catalog::Place;
use crate::core::Core;
use crate::error::Error;

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

/// What waits, by queue.
pub(crate) struct Pools<T>(Mutex<Waiting<T>>);

struct Waiting<T> {
    /// A queue is here while something of it is under way.
    queues: HashMap<PartitionId, VecDeque<T>>,
    /// In all of them.
    messages: usize,
}

/// What is to be done with a wish.
#[derive(Debug, PartialEq, Eq)]
enum Entered<T> {
    /// Nothing of its queue is under way: it goes at once.
    Goes(T),
    Waits,
    /// Too many wait already.
    Full,
}

impl<T> Default for Pools<T> {
    fn default() -> Self {
        Self(Mutex::new(Waiting { queues: HashMap::new(), messages: 0 }))
    }
}

impl<T: Pooled> Waiting<T> {
    fn enter(&mut self, queue: PartitionId, wish: T, most: usize) -> Entered<T> {
        let Some(waiting) = self.queues.get_mut(&queue) else {
            self.queues.insert(queue, VecDeque::new());
            return Entered::Goes(wish);
        };
        let messages = wish.size().messages;
        if self.messages + messages > most {
            return Entered::Full;
        }
        self.messages += messages;
        waiting.push_back(wish);
        Entered::Waits
    }

    /// As many as fit into a command. None: the queue is nobody's any more.
    fn take(&mut self, queue: PartitionId, most: Size) -> Vec<T> {
        let Some(waiting) = self.queues.get_mut(&queue) else { return Vec::new() };
        let count = fitting(waiting.iter().map(Pooled::size), most);
        let all: Vec<T> = waiting.drain(..count).collect();
        self.messages -= all.iter().map(|wish| wish.size().messages).sum::<usize>();
        if all.is_empty() {
            self.queues.remove(&queue);
        }
        all
    }

    fn drop_queue(&mut self, queue: PartitionId) {
        let dropped = self.queues.remove(&queue).unwrap_or_default();
        self.messages -= dropped.iter().map(|wish| wish.size().messages).sum::<usize>();
    }
}

impl<T> fmt::Debug for Pools<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools").finish_non_exhaustive()
    }
}

impl<T> Pools<T> {
    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl Core {
    /// Takes its place behind what was wanted before; refused as throttled where too much waits.
    pub(super) fn pool<T: Pooled>(self: &Arc<Self>, place: Place, wish: T) -> Result<(), Error> {
        let queue = place.partition;
        let most = self.options.queues.waiting_max;
        let entered = T::pools(self).lock().enter(queue, wish, most);
        match entered {
            Entered::Goes(wish) => {
                let core = Arc::clone(self);
                let open = Open { core, queue, ended: false, kind: PhantomData::<T> };
                tokio::spawn(open.run(place, wish));
                Ok(())
            }
            Entered::Waits => Ok(()),
            Entered::Full => {
                let retry_ms = self.options.produce.retry_after_ms;
                Err(Error::throttled("broker.queues.waiting_max", most, retry_ms))
            }
        }
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
        let all = T::pools(&self.core).lock().take(self.queue, most);
        self.ended = all.is_empty();
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
            T::pools(&self.core).lock().drop_queue(self.queue);
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

    /// So many messages.
    #[derive(Debug, PartialEq, Eq)]
    struct Wish(usize);

    impl Pooled for Wish {
        fn size(&self) -> Size {
            Size { messages: self.0, bytes: 0 }
        }

        fn pools(_: &Core) -> &Pools<Self> {
            unreachable!("there is no node")
        }

        fn propose(_: Arc<Core>, _: Place, _: Vec<Self>) -> BoxFuture<'static, ()> {
            unreachable!("there is no node")
        }
    }

    #[test]
    fn what_waits_is_bounded_over_all_queues_and_taken_in_its_order() {
        let (one, other) = (PartitionId(1), PartitionId(2));
        let pools = Pools::default();
        let mut waiting = pools.lock();
        let most = Size { messages: 5, bytes: 0 };
        assert_eq!(waiting.enter(one, Wish(100), 10), Entered::Goes(Wish(100)));
        assert_eq!(waiting.enter(one, Wish(4), 10), Entered::Waits);
        assert_eq!(waiting.enter(other, Wish(1), 10), Entered::Goes(Wish(1)));
        assert_eq!(waiting.enter(other, Wish(5), 10), Entered::Waits);
        assert_eq!(waiting.enter(one, Wish(2), 10), Entered::Full);
        assert_eq!(waiting.enter(one, Wish(1), 10), Entered::Waits);
        assert_eq!(waiting.take(one, most), [Wish(4), Wish(1)]);
        assert_eq!(waiting.enter(one, Wish(5), 10), Entered::Waits, "there is room again");
        waiting.drop_queue(other);
        assert_eq!(waiting.messages, 5);
        assert_eq!(waiting.take(one, most), [Wish(5)]);
        assert_eq!(waiting.take(one, most), []);
        assert_eq!(waiting.enter(one, Wish(7), 0), Entered::Goes(Wish(7)), "it was let go");
    }

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
