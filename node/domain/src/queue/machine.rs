//! The queues of a shard, in memory.
//!
//! Memory: some 600 bytes for each queue, and some 200 for each message that is in flight. A group
//! that was passed over for fair shares has some 150, one of which it is known where to look some
//! 40, and there are at most 1,024 of each in a queue.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kontiki_storage::engine::{KeyRange, Order, Row, ScanLimit};
use kontiki_storage::id::{Offset, PartitionId};
use kontiki_storage::key::{self, Space, queue as keys};
use kontiki_storage::{Error, Family, View, WriteBatch};

use super::begins::Begins;
use super::held::{Held, Place};
use super::pending::Pending;
use super::redrive::RedriveTask;
use super::state::QueueState;
use crate::effect::Effect;
use crate::stamp::Stamp;

/// Rows read in one step while a shard is loaded.
const LOAD_ROWS: usize = 4_096;

/// The queues of one shard.
#[derive(Debug, Clone)]
pub struct Queues {
    space: Space,
    queues: BTreeMap<PartitionId, Box<Queue>>,
    pub(crate) pending: PendingRows,
}

/// What the batch has that the engine hasn't.
#[derive(Debug, Clone, Default)]
pub(crate) struct PendingRows(pub(super) Pending);

/// One queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Queue {
    pub state: QueueState,
    pub held: BTreeMap<Offset, Held>,
    /// When something happens to held messages by itself.
    pub deadlines: BTreeSet<(i64, Offset)>,
    /// Messages to be delivered again now, by class.
    pub returned: BTreeSet<(u8, Offset)>,
    /// Messages to be delivered again later, by that time.
    pub paused: BTreeSet<(i64, Offset)>,
    /// Held messages by FIFO group: as long as there are any, no later one is delivered.
    pub groups: BTreeMap<u64, BTreeSet<Offset>>,
    /// Groups that wait before the cursor and may go on, by their next message.
    pub free: BTreeMap<Offset, u64>,
    /// The same by group.
    pub free_groups: BTreeMap<u64, Offset>,
    /// In a queue with fair groups: those that were passed over, by how many of them are in flight
    /// and the next message.
    pub shares: BTreeSet<(usize, Offset)>,
    /// Where to look for rows.
    pub begins: Begins,
    /// Tasks that move messages, by number: some may be forgotten.
    pub redrives: BTreeSet<u64>,
    /// The one that is under way.
    pub redriving: Option<u64>,
}

/// What a command looks at and adds to.
pub(super) struct Work<'a> {
    pub space: Space,
    pub id: PartitionId,
    pub view: &'a dyn View,
    pub stamp: Stamp,
    pub batch: &'a mut WriteBatch,
    pub pending: &'a mut Pending,
    pub effects: &'a mut Vec<Effect>,
}

impl Work<'_> {
    pub(super) fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.pending.get(self.view, self.batch, key)
    }

    pub(super) fn scan(&mut self, range: KeyRange, rows: usize) -> Result<Vec<Row>, Error> {
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        self.pending.scan(self.view, self.batch, range, rows)
    }

    pub(super) fn first(&mut self, range: KeyRange) -> Result<Option<Row>, Error> {
        Ok(self.scan(range, 1)?.pop())
    }

    pub(super) fn last(&mut self, range: &KeyRange) -> Result<Option<Row>, Error> {
        self.pending.last(self.view, self.batch, range)
    }

    pub(super) fn put(&mut self, key: Bytes, value: Bytes) {
        self.batch.put(Family::State, key, value);
    }

    pub(super) fn delete(&mut self, key: Bytes) {
        self.batch.delete(Family::State, key);
    }

    pub(super) fn corrupt(&self, what: &'static str, why: impl Into<String>) -> Error {
        Error::corrupt_row(self.space.shard, what, why)
    }
}

impl Queue {
    /// Takes a held message, or one that changes its place, into memory and its row.
    pub(super) fn hold(&mut self, work: &mut Work<'_>, offset: Offset, held: Held) {
        self.index(offset, held);
        work.put(keys::held(work.space, work.id, offset), held.encode());
    }

    fn index(&mut self, offset: Offset, held: Held) {
        let known = self.held.insert(offset, held);
        assert!(known.is_none(), "message {offset} is held twice");
        if let Some(deadline) = held.deadline_ms() {
            self.deadlines.insert((deadline, offset));
            self.state.wake_at(deadline);
        }
        match held.place {
            Place::Leased { .. } => {}
            Place::Returned { due_ms: None } => {
                self.returned.insert((held.message.class, offset));
            }
            Place::Returned { due_ms: Some(due_ms) } => {
                self.paused.insert((due_ms, offset));
            }
        }
        if let Some(group) = held.message.group {
            self.groups.entry(group).or_default().insert(offset);
            self.note_in_flight(group, |now| now - 1);
        }
    }

    /// Takes a held message out of memory; its row is to be deleted or put again by the caller.
    pub(super) fn let_go(&mut self, offset: Offset) -> Held {
        let held = self.held.remove(&offset).expect("the caller has found it");
        if let Some(deadline) = held.deadline_ms() {
            self.deadlines.remove(&(deadline, offset));
        }
        match held.place {
            Place::Leased { .. } => {}
            Place::Returned { due_ms: None } => {
                self.returned.remove(&(held.message.class, offset));
            }
            Place::Returned { due_ms: Some(due_ms) } => {
                self.paused.remove(&(due_ms, offset));
            }
        }
        if let Some(group) = held.message.group
            && let Some(offsets) = self.groups.get_mut(&group)
        {
            offsets.remove(&offset);
            if offsets.is_empty() {
                self.groups.remove(&group);
            }
            self.note_in_flight(group, |now| now + 1);
        }
        held
    }

    /// Lets a FIFO group go on at a message before the cursor.
    pub(super) fn free(&mut self, work: &mut Work<'_>, group: u64, offset: Offset) {
        self.free.insert(offset, group);
        self.free_groups.insert(group, offset);
        let row = keys::free_group(work.space, work.id, offset);
        work.put(row, Bytes::copy_from_slice(&group.to_be_bytes()));
    }

    /// The group doesn't go on at that message any more.
    pub(super) fn unfree(&mut self, work: &mut Work<'_>, offset: Offset) {
        let group = self.free.remove(&offset).expect("the caller has found it");
        self.free_groups.remove(&group);
        work.delete(keys::free_group(work.space, work.id, offset));
    }

    pub(super) fn put(&mut self, work: &mut Work<'_>) {
        self.state.paused = self.paused.len() as u64;
        let state = &self.state;
        assert_eq!(
            state.leased + self.returned_all(),
            self.held.len() as u64,
            "a queue miscounts what it holds"
        );
        work.batch.put(Family::State, keys::queue(work.space, work.id), state.encode());
    }

    /// Where to look for what waits for a time that has not come.
    pub(super) fn scheduled_from(&self) -> (i64, Offset) {
        let behind = self.state.due_through.map(|(ms, offset)| (ms, Offset(offset + 1)));
        behind.map_or(self.begins.dues.get(), |behind| behind.max(self.begins.dues.get()))
    }

    /// It was looked: nothing waits for a time before this one.
    pub(super) fn scheduled_begins_at(&mut self, due: (i64, Offset)) {
        if self.state.overdue == 0 {
            self.begins.dues.begin_at(due);
        }
    }

    fn returned_all(&self) -> u64 {
        self.state.returned
    }
}

impl Queues {
    /// Reads all queues of a shard from their rows.
    ///
    /// # Errors
    /// Of storage.
    pub fn load(view: &dyn View, space: Space) -> Result<Self, Error> {
        let mut queues: BTreeMap<PartitionId, Box<Queue>> = BTreeMap::new();
        let short = || Error::corrupt_row(space.shard, "queue", "its key is too short");
        each(view, keys::queues(space), |row_key, value| {
            let id = key::partition_of(row_key).ok_or_else(short)?;
            let state = QueueState::decode(space.shard, value)?;
            queues.insert(id, Box::new(Queue { state, ..Queue::default() }));
            Ok(())
        })?;
        each(view, keys::all_held(space), |row_key, value| {
            let id = key::partition_of(row_key).ok_or_else(short)?;
            let offset = keys::offset_of(row_key).ok_or_else(short)?;
            let queue = queues.get_mut(&id).ok_or_else(short)?;
            let due_ms = queue.state.due_ms;
            queue.index(offset, Held::decode(space.shard, value)?);
            queue.state.due_ms = due_ms;
            Ok(())
        })?;
        each(view, keys::all_free_groups(space), |row_key, value| {
            let id = key::partition_of(row_key).ok_or_else(short)?;
            let offset = keys::offset_of(row_key).ok_or_else(short)?;
            let group = u64::from_be_bytes(value.try_into().map_err(|_| short())?);
            let queue = queues.get_mut(&id).ok_or_else(short)?;
            queue.free.insert(offset, group);
            queue.free_groups.insert(group, offset);
            if queue.state.passed > 0 {
                queue.shares.insert((queue.in_flight(group), offset));
            }
            Ok(())
        })?;
        each(view, keys::all_redrives(space), |row_key, value| {
            let id = key::partition_of(row_key).ok_or_else(short)?;
            let number = keys::offset_of(row_key).ok_or_else(short)?.0;
            let queue = queues.get_mut(&id).ok_or_else(short)?;
            queue.redrives.insert(number);
            if RedriveTask::decode(space.shard, value)?.status.is_under_way() {
                queue.redriving = Some(number);
            }
            Ok(())
        })?;
        Ok(Self { space, queues, pending: PendingRows::default() })
    }

    /// To be called before a command.
    pub(crate) fn begin(&mut self, batch: &WriteBatch) {
        self.pending.0.begin(batch);
    }

    /// The state of a queue.
    pub fn get(&self, queue: PartitionId) -> Option<&QueueState> {
        self.queues.get(&queue).map(|queue| &queue.state)
    }

    /// The task of a queue that moves messages, if one is under way.
    pub fn redriving(&self, queue: PartitionId) -> Option<u64> {
        self.queues.get(&queue).and_then(|queue| queue.redriving)
    }

    /// All queues, by id.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionId, &QueueState)> {
        self.queues.iter().map(|(id, queue)| (*id, &queue.state))
    }

    /// How many queues there are.
    pub fn count(&self) -> usize {
        self.queues.len()
    }

    pub(crate) fn create(&mut self, queue: PartitionId, batch: &mut WriteBatch) {
        let made = Queue::default();
        batch.put(Family::State, keys::queue(self.space, queue), made.state.encode());
        self.queues.insert(queue, Box::new(made));
    }

    /// Settings of a queue have changed: a tick is to look what follows from it.
    pub(crate) fn wake(&mut self, queue: PartitionId, time_ms: i64, batch: &mut WriteBatch) {
        if let Some(known) = self.queues.get_mut(&queue) {
            known.state.wake_at(time_ms);
            batch.put(Family::State, keys::queue(self.space, queue), known.state.encode());
        }
    }

    /// Removes everything that a queue keeps besides its batches.
    pub(crate) fn delete(&mut self, queue: PartitionId, batch: &mut WriteBatch) {
        if self.queues.remove(&queue).is_some() {
            for range in keys::rows_of(self.space, queue) {
                batch.delete_range(Family::State, range);
            }
        }
    }

    pub(super) fn parts(&mut self, queue: PartitionId) -> Option<(&mut Queue, &mut Pending)> {
        let Self { queues, pending, .. } = self;
        Some((queues.get_mut(&queue)?, &mut pending.0))
    }

    /// Whether both are the same state.
    #[cfg(test)]
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.queues == other.queues
    }
}

fn each(
    view: &dyn View,
    mut range: KeyRange,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    loop {
        let limit = ScanLimit::rows(LOAD_ROWS);
        let rows = view.scan(Family::State, range.clone(), Order::Forward, limit)?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        range = range.after(last);
        for (row_key, value) in &rows {
            take(row_key, value)?;
        }
    }
}
