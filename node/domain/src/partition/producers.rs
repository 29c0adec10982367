//! The producers of a shard's partitions: of all of them when they last appended, of those in
//! recent use also what is remembered of them.
//!
//! Memory: some 30 bytes for each producer of each partition, which `producers_max` bounds, and
//! some 200 bytes for each of the [`CACHED_MAX`] in recent use. What is not cached is read from
//! its row, so the cache never decides about a result.

use std::collections::{BTreeMap, BTreeSet};

use kontiki_storage::engine::{Order, ScanLimit};
use kontiki_storage::id::{PartitionId, ProducerId};
use kontiki_storage::key::{self, Space};
use kontiki_storage::{Error, Family, View, WriteBatch};

use super::overlay;
use super::sequence::ProducerState;

/// How many producers of a shard are kept in memory whole.
const CACHED_MAX: usize = 16_384;
/// Rows read in one step while a shard is loaded.
const LOAD_ROWS: usize = 4_096;

type Id = (PartitionId, ProducerId);

/// A map that forgets: when half of the limit is new, the older half goes.
#[derive(Debug, Clone, Default)]
struct Cache {
    /// `None`: known to have no row.
    recent: BTreeMap<Id, Option<ProducerState>>,
    former: BTreeMap<Id, Option<ProducerState>>,
}

impl Cache {
    fn get(&self, id: &Id) -> Option<&Option<ProducerState>> {
        self.recent.get(id).or_else(|| self.former.get(id))
    }

    /// Returns whether others were forgotten.
    fn insert(&mut self, id: Id, state: Option<ProducerState>, limit: usize) -> bool {
        self.recent.insert(id, state);
        if self.recent.len() < limit.div_ceil(2) {
            return false;
        }
        let former = std::mem::replace(&mut self.former, std::mem::take(&mut self.recent));
        !former.is_empty()
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Producers {
    space: Space,
    /// Per partition, by the time of the last append: who is to be forgotten first.
    ages: BTreeMap<PartitionId, BTreeSet<(i64, ProducerId)>>,
    count: usize,
    cache: Cache,
    cached_max: usize,
    /// Something may be in the batch that is neither in the cache nor in the engine.
    batch_knows_more: bool,
}

impl Producers {
    pub(super) fn load(view: &dyn View, space: Space) -> Result<Self, Error> {
        let mut producers = Self {
            space,
            ages: BTreeMap::new(),
            count: 0,
            cache: Cache::default(),
            cached_max: CACHED_MAX,
            batch_knows_more: false,
        };
        let mut range = key::all_producers(space);
        loop {
            let limit = ScanLimit::rows(LOAD_ROWS);
            let rows = view.scan(Family::State, range.clone(), Order::Forward, limit)?;
            let Some((last, _)) = rows.last() else { break };
            range = range.after(last);
            for (row_key, value) in &rows {
                let id = key::producer_of(row_key);
                let (partition, producer) = id.ok_or_else(|| {
                    Error::corrupt_row(space.shard, "producer", "its key is too short")
                })?;
                let state = ProducerState::decode(space.shard, value)?;
                producers.note(partition, (state.last_append_ms(), producer));
            }
        }
        Ok(producers)
    }

    /// To be called before a command: what earlier ones left in `batch` may have been written.
    pub(super) fn begin(&mut self, batch: &WriteBatch) {
        if batch.is_empty() {
            self.batch_knows_more = false;
        }
    }

    /// How many there are in all partitions.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// How many there are in a partition.
    pub(super) fn count_in(&self, partition: PartitionId) -> usize {
        self.ages.get(&partition).map_or(0, BTreeSet::len)
    }

    /// Who appended least recently in a partition, and when.
    pub(super) fn oldest(&self, partition: PartitionId) -> Option<(i64, ProducerId)> {
        self.ages.get(&partition).and_then(|ages| ages.first().copied())
    }

    /// What is remembered of a producer, pending changes included.
    pub(super) fn get(
        &mut self,
        view: &dyn View,
        batch: &WriteBatch,
        partition: PartitionId,
        producer: ProducerId,
    ) -> Result<Option<ProducerState>, Error> {
        let id = (partition, producer);
        if let Some(known) = self.cache.get(&id) {
            return Ok(known.clone());
        }
        let row_key = key::producer(self.space, partition, producer);
        let row = if self.batch_knows_more {
            overlay::get(view, batch, &row_key)?
        } else {
            view.get(Family::State, &row_key)?
        };
        let state = row.map(|row| ProducerState::decode(self.space.shard, &row)).transpose()?;
        self.keep(id, state.clone());
        Ok(state)
    }

    /// Replaces what was remembered of a producer, `former`, by `state`.
    pub(super) fn put(
        &mut self,
        batch: &mut WriteBatch,
        id: Id,
        former_append_ms: Option<i64>,
        state: ProducerState,
    ) {
        let (partition, producer) = id;
        if let Some(former_ms) = former_append_ms {
            self.forget(partition, (former_ms, producer));
        }
        self.note(partition, (state.last_append_ms(), producer));
        let row_key = key::producer(self.space, partition, producer);
        batch.put(Family::State, row_key, state.encode());
        self.keep(id, Some(state));
    }

    /// Removes the producer that appended least recently in a partition.
    pub(super) fn remove_oldest(&mut self, batch: &mut WriteBatch, partition: PartitionId) {
        let oldest = self.oldest(partition).expect("asked for only where there is one");
        self.forget(partition, oldest);
        batch.delete(Family::State, key::producer(self.space, partition, oldest.1));
        self.keep((partition, oldest.1), None);
    }

    fn keep(&mut self, id: Id, state: Option<ProducerState>) {
        self.batch_knows_more |= self.cache.insert(id, state, self.cached_max);
    }

    fn note(&mut self, partition: PartitionId, age: (i64, ProducerId)) {
        let fresh = self.ages.entry(partition).or_default().insert(age);
        assert!(fresh, "partition {partition} has producer {} twice", age.1);
        self.count += 1;
    }

    fn forget(&mut self, partition: PartitionId, age: (i64, ProducerId)) {
        let ages = self.ages.get_mut(&partition);
        let ages = ages.expect("a producer that is known is noted in its partition");
        assert!(ages.remove(&age), "partition {partition} lacks producer {}", age.1);
        if ages.is_empty() {
            self.ages.remove(&partition);
        }
        self.count -= 1;
    }

    /// Whether both remember the same of the same producers; what is cached doesn't count.
    #[cfg(test)]
    pub(super) fn same(&self, other: &Self) -> bool {
        self.ages == other.ages && self.count == other.count
    }

    /// Makes the cache small, so that a test sees what it forgets.
    #[cfg(test)]
    pub(super) fn set_cached_max(&mut self, limit: usize) {
        self.cached_max = limit;
    }
}
