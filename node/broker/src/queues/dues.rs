//! When which queue has something to do: told by the state machines of this node's replicas, looked
//! at by those that lead.
//!
//! Memory: some 60 bytes for each queue that waits for a time or has something to hand over, on
//! each node with a replica of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use kontiki_domain::queue::{QueueState, Queues};
use kontiki_storage::id::{PartitionId, ShardId};
use tokio::sync::Notify;

/// What one queue waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// A tick has something to do from then on, in milliseconds since 1970.
    tick_ms: Option<i64>,
    /// Messages are to be handed over to another queue.
    moving: bool,
    /// A redrive is under way.
    redriving: bool,
}

impl Due {
    pub(crate) fn of(queues: &Queues, queue: PartitionId) -> Self {
        let due = |state: &QueueState| Self {
            tick_ms: state.due_ms,
            moving: state.moving() > 0,
            redriving: queues.redriving(queue).is_some(),
        };
        queues.get(queue).map(due).unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct OfShard {
    known: HashMap<PartitionId, Due>,
    ticks: BTreeSet<(i64, PartitionId)>,
    moving: BTreeSet<PartitionId>,
    redriving: BTreeSet<PartitionId>,
}

impl OfShard {
    fn note(&mut self, queue: PartitionId, due: Due) {
        let former = if due == Due::default() {
            self.known.remove(&queue)
        } else {
            self.known.insert(queue, due)
        };
        if let Some(at) = former.and_then(|former| former.tick_ms) {
            self.ticks.remove(&(at, queue));
        }
        if let Some(at) = due.tick_ms {
            self.ticks.insert((at, queue));
        }
        if due.moving {
            self.moving.insert(queue);
        } else {
            self.moving.remove(&queue);
        }
        if due.redriving {
            self.redriving.insert(queue);
        } else {
            self.redriving.remove(&queue);
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Dues {
    shards: Mutex<BTreeMap<ShardId, OfShard>>,
    changed: Notify,
    moved: Notify,
    redrives: Notify,
}

impl Dues {
    /// All queues of a shard, as they are now.
    pub(crate) fn replace(&self, shard: ShardId, queues: impl Iterator<Item = (PartitionId, Due)>) {
        let mut all = OfShard::default();
        for (queue, due) in queues {
            all.note(queue, due);
        }
        self.shards.lock().expect("nothing panics under this lock").insert(shard, all);
        self.changed.notify_one();
        self.moved.notify_one();
        self.redrives.notify_one();
    }

    /// Some queues of a shard have changed.
    pub(crate) fn note(&self, shard: ShardId, queues: impl Iterator<Item = (PartitionId, Due)>) {
        let mut queues = queues.peekable();
        if queues.peek().is_none() {
            return;
        }
        let mut shards = self.shards.lock().expect("nothing panics under this lock");
        let of_shard = shards.entry(shard).or_default();
        let before = of_shard.ticks.first().map(|(at, _)| *at);
        let redriving = of_shard.redriving.len();
        for (queue, due) in queues {
            of_shard.note(queue, due);
        }
        let earlier = match (before, of_shard.ticks.first()) {
            (Some(before), Some((now, _))) => *now < before,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let moving = !of_shard.moving.is_empty();
        let begun = of_shard.redriving.len() > redriving;
        drop(shards);
        if earlier {
            self.changed.notify_one();
        }
        if moving {
            self.moved.notify_one();
        }
        if begun {
            self.redrives.notify_one();
        }
    }

    /// Queues of a shard for which a tick has something to do at `now_ms`, at most `limit`; and
    /// when the next one has.
    pub(crate) fn due(
        &self,
        shard: ShardId,
        now_ms: i64,
        limit: usize,
    ) -> (Vec<PartitionId>, Option<i64>) {
        let shards = self.shards.lock().expect("nothing panics under this lock");
        let Some(of_shard) = shards.get(&shard) else { return (Vec::new(), None) };
        let due = of_shard.ticks.range(..(now_ms.saturating_add(1), PartitionId(0)));
        let due: Vec<PartitionId> = due.take(limit).map(|(_, queue)| *queue).collect();
        let later = of_shard.ticks.range((now_ms.saturating_add(1), PartitionId(0))..).next();
        (due, later.map(|(at, _)| *at))
    }

    /// Queues of a shard that have something to hand over and are wanted, at most `limit`.
    pub(crate) fn moving(
        &self,
        shard: ShardId,
        limit: usize,
        wanted: impl Fn(&PartitionId) -> bool,
    ) -> Vec<PartitionId> {
        let shards = self.shards.lock().expect("nothing panics under this lock");
        let of_shard = shards.get(&shard);
        let moving = of_shard.into_iter().flat_map(|all| &all.moving);
        moving.filter(|queue| wanted(queue)).take(limit).copied().collect()
    }

    /// Queues of a shard with a redrive under way that are wanted, at most `limit`.
    pub(crate) fn redriving(
        &self,
        shard: ShardId,
        limit: usize,
        wanted: impl Fn(&PartitionId) -> bool,
    ) -> Vec<PartitionId> {
        let shards = self.shards.lock().expect("nothing panics under this lock");
        let of_shard = shards.get(&shard);
        let redriving = of_shard.into_iter().flat_map(|all| &all.redriving);
        redriving.filter(|queue| wanted(queue)).take(limit).copied().collect()
    }

    /// A redrive may have begun.
    pub(crate) async fn redrives(&self) {
        self.redrives.notified().await;
    }

    /// Something is due earlier than it was.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Something is to be handed over.
    pub(crate) async fn moved(&self) {
        self.moved.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId(1);

    fn tick(at: i64) -> Due {
        Due { tick_ms: Some(at), ..Due::default() }
    }

    #[test]
    fn the_earliest_come_first_and_the_last_word_counts() {
        let dues = Dues::default();
        let (one, two) = (PartitionId(1), PartitionId(2));
        dues.note(SHARD, [(one, tick(50)), (two, tick(20))].into_iter());
        assert_eq!(dues.due(SHARD, 19, 9), (vec![], Some(20)));
        assert_eq!(dues.due(SHARD, 20, 9), (vec![two], Some(50)));
        dues.note(SHARD, [(two, tick(60))].into_iter());
        assert_eq!(dues.due(SHARD, 60, 9), (vec![one, two], None));
        dues.note(SHARD, [(one, Due { moving: true, ..Due::default() })].into_iter());
        let moving = || dues.moving(SHARD, 9, |_| true);
        assert_eq!((dues.due(SHARD, 60, 9).0, moving()), (vec![two], vec![one]));
        assert_eq!(dues.moving(SHARD, 9, |queue| *queue != one), vec![]);
        dues.note(SHARD, [(two, Due { redriving: true, ..Due::default() })].into_iter());
        assert_eq!(dues.redriving(SHARD, 9, |_| true), vec![two]);
        dues.note(SHARD, [(two, tick(60))].into_iter());
        assert_eq!(dues.redriving(SHARD, 9, |_| true), vec![]);
        dues.replace(SHARD, std::iter::empty());
        assert_eq!((dues.due(SHARD, 60, 9), moving()), ((vec![], None), vec![]));
    }
}
