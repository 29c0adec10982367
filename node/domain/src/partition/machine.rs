//! The state machine of a data shard, in memory.
//!
//! Memory: the row of every partition, some 400 bytes each, and what [`super::producers`] keeps.

use std::collections::BTreeMap;

use kontiki_storage::engine::{Order, ScanLimit};
use kontiki_storage::id::{PartitionId, TopicId};
use kontiki_storage::key::{self, Space};
use kontiki_storage::{Error, Family, View, WriteBatch};

use super::producers::Producers;
use super::state::{PartitionState, Phase};
use crate::queue::Queues;
use crate::rejection::Rejection;
use crate::settings::Settings;

/// How long the trace of a deleted partition is kept, in milliseconds: a delayed command to create
/// it arrives earlier than that.
pub const DELETED_KEPT_MS: i64 = 24 * 3_600_000;

/// Rows read in one step while a shard is loaded.
const LOAD_ROWS: usize = 1_024;

/// A partition that clients may use.
pub(super) fn live(
    rows: &BTreeMap<PartitionId, Box<PartitionState>>,
    partition: PartitionId,
) -> Result<&PartitionState, Rejection> {
    let found = rows.get(&partition).map(AsRef::as_ref);
    found.filter(|state| state.is_live()).ok_or(Rejection::UnknownPartition { partition })
}

/// The partitions of one shard.
#[derive(Debug, Clone)]
pub struct Partitions {
    pub(crate) space: Space,
    pub(crate) rows: BTreeMap<PartitionId, Box<PartitionState>>,
    pub(super) producers: Producers,
    pub(crate) queues: Queues,
}

impl Partitions {
    /// Reads the state from its rows.
    ///
    /// # Errors
    /// Of storage; rows that contradict themselves are corrupt.
    pub fn load(view: &dyn View, space: Space) -> Result<Self, Error> {
        let mut rows = BTreeMap::new();
        let mut range = key::partitions(space);
        loop {
            let limit = ScanLimit::rows(LOAD_ROWS);
            let page = view.scan(Family::State, range.clone(), Order::Forward, limit)?;
            let Some((last, _)) = page.last() else { break };
            range = range.after(last);
            for (row_key, value) in &page {
                let id = key::partition_of(row_key).ok_or_else(|| {
                    Error::corrupt_row(space.shard, "partition", "its key is too short")
                })?;
                rows.insert(id, Box::new(PartitionState::decode(space.shard, value)?));
            }
        }
        let producers = Producers::load(view, space)?;
        Ok(Self { space, rows, producers, queues: Queues::load(view, space)? })
    }

    /// Which state of which shard this is.
    pub fn space(&self) -> Space {
        self.space
    }

    /// A partition, in any phase.
    pub fn get(&self, partition: PartitionId) -> Option<&PartitionState> {
        self.rows.get(&partition).map(AsRef::as_ref)
    }

    /// All partitions, deleted ones included, by id.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionId, &PartitionState)> {
        self.rows.iter().map(|(id, state)| (*id, state.as_ref()))
    }

    /// The queues among them.
    pub fn queues(&self) -> &Queues {
        &self.queues
    }

    /// How many producers all partitions remember together.
    pub fn producers_count(&self) -> usize {
        self.producers.count()
    }

    /// Whether a command to expire would find anything to forget.
    pub fn expiry_due(&self, now_ms: i64) -> bool {
        self.iter().any(|(id, state)| self.forgettable(id, state, now_ms))
    }

    /// Whether a partition, or its least recent producer, can be forgotten.
    pub(super) fn forgettable(&self, id: PartitionId, state: &PartitionState, now_ms: i64) -> bool {
        match state.phase {
            Phase::Live => self.producers.oldest(id).is_some_and(|(last_ms, _)| {
                last_ms.saturating_add(state.settings.producer_expiry_ms) <= now_ms
            }),
            Phase::Deleting { .. } => false,
            Phase::Deleted { since_ms } => since_ms.saturating_add(DELETED_KEPT_MS) <= now_ms,
        }
    }

    pub(crate) fn live(&self, partition: PartitionId) -> Result<&PartitionState, Rejection> {
        live(&self.rows, partition)
    }

    /// For commands that have checked that it exists.
    pub(super) fn row_mut(&mut self, partition: PartitionId) -> &mut PartitionState {
        self.rows.get_mut(&partition).expect("the command has looked it up before")
    }

    /// Puts the row of a partition, as it is in memory, into the batch.
    pub(super) fn put(&self, partition: PartitionId, batch: &mut WriteBatch) {
        let state = self.rows.get(&partition).expect("the command has changed it before");
        Self::put_row(self.space, partition, state, batch);
    }

    pub(crate) fn put_row(
        space: Space,
        partition: PartitionId,
        state: &PartitionState,
        batch: &mut WriteBatch,
    ) {
        batch.put(Family::State, key::partition(space, partition), state.encode());
    }

    /// The trace of a partition that was deleted before it was created.
    pub(super) fn never_created(now_ms: i64) -> PartitionState {
        let state = PartitionState::new(TopicId(0), Settings::default(), 0, now_ms);
        PartitionState { phase: Phase::Deleted { since_ms: now_ms }, ..state }
    }

    /// Whether both are the same state.
    #[cfg(test)]
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.rows == other.rows
            && self.producers.same(&other.producers)
            && self.queues.same(&other.queues)
    }

    /// Makes the cache of producers small, so that a test sees what it forgets.
    #[cfg(test)]
    pub(crate) fn set_producers_cached_max(&mut self, limit: usize) {
        self.producers.set_cached_max(limit);
    }
}
