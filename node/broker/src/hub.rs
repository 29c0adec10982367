//! Who waits for a partition to change, and is told. Hints only: whoever waits looks again from
//! time to time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use kontiki_storage::id::PartitionId;
use tokio::sync::Notify;

/// Locks that partitions are spread over.
const PARTS: usize = 16;

type Waiters = HashMap<PartitionId, Vec<(u64, Arc<Notify>)>>;

/// Waiters by partition. Memory: some 100 bytes for each waiter and partition; how many there
/// are is limited by those who wait.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    parts: [Mutex<Waiters>; PARTS],
    waiting: AtomicUsize,
    next: AtomicU64,
}

impl Hub {
    fn part(&self, partition: PartitionId) -> MutexGuard<'_, Waiters> {
        let part = &self.parts[(partition.0 % PARTS as u64) as usize];
        part.lock().expect("nothing panics under this lock")
    }

    /// Hears of every change of these partitions from now on.
    pub(crate) fn watch(self: &Arc<Self>, partitions: Vec<PartitionId>) -> Watch {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let notify = Arc::new(Notify::new());
        self.waiting.fetch_add(1, Ordering::SeqCst);
        for partition in &partitions {
            self.part(*partition).entry(*partition).or_default().push((id, Arc::clone(&notify)));
        }
        Watch { hub: Arc::clone(self), id, notify, partitions }
    }

    /// A partition has grown, shrunk or gone.
    pub(crate) fn changed(&self, partition: PartitionId) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        for (_, notify) in self.part(partition).get(&partition).into_iter().flatten() {
            notify.notify_one();
        }
    }

    /// Anything may have changed: a snapshot came in, or a leadership moved.
    pub(crate) fn all_changed(&self) {
        for part in &self.parts {
            let part = part.lock().expect("nothing panics under this lock");
            for (_, notify) in part.values().flatten() {
                notify.notify_one();
            }
        }
    }
}

/// One waiter. Forgotten when it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    hub: Arc<Hub>,
    id: u64,
    notify: Arc<Notify>,
    partitions: Vec<PartitionId>,
}

impl Watch {
    /// Something has changed since the watch began, or since this returned last.
    pub(crate) async fn changed(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for partition in &self.partitions {
            let mut part = self.hub.part(*partition);
            if let Some(waiters) = part.get_mut(partition) {
                waiters.retain(|(id, _)| *id != self.id);
                if waiters.is_empty() {
                    part.remove(partition);
                }
            }
        }
        self.hub.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_between_watching_and_waiting_is_not_lost() {
        let hub = Arc::new(Hub::default());
        let watch = hub.watch(vec![PartitionId(1), PartitionId(2)]);
        hub.changed(PartitionId(2));
        watch.changed().await;
        hub.all_changed();
        watch.changed().await;
    }

    #[test]
    fn who_has_gone_is_forgotten() {
        let hub = Arc::new(Hub::default());
        let (first, second) = (hub.watch(vec![PartitionId(1)]), hub.watch(vec![PartitionId(1)]));
        assert_eq!(hub.part(PartitionId(1))[&PartitionId(1)].len(), 2);
        drop(first);
        assert_eq!(hub.part(PartitionId(1))[&PartitionId(1)].len(), 1);
        drop(second);
        assert!(hub.part(PartitionId(1)).is_empty());
        assert_eq!(hub.waiting.load(Ordering::SeqCst), 0);
    }
}
