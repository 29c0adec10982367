//! Moves live payloads out of segments that are mostly dead, and removes segments that are dead.
//!
//! The order matters: a copy is durable before a row refers to it, and the row is durable before
//! the original goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::accounting::{Accounting, Relocation, current_space};
use crate::batch::WriteBatch;
use crate::engine::{Engine, Family, Order, ScanLimit};
use crate::error::Error;
use crate::id::{SegmentId, ShardId};
use crate::key::{self, Space};
use crate::payload::{PayloadLocation, PayloadRef, Payloads, SegmentInfo};
use crate::row::BatchRow;

/// References read at once.
const REFERENCES: usize = 1_024;

/// Payloads whose rows are switched while a shard's lock is held once.
const LOCKED: usize = 256;

const FORWARD: Order = Order::Forward;

/// When and how fast payloads are moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// A sealed segment with a smaller live share than this is emptied. 0 to 1.
    pub live_share_min: f64,
    /// Bytes moved in one step.
    pub bytes_per_step: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { live_share_min: 0.5, bytes_per_step: 8 << 20 }
    }
}

/// What one step did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of payloads moved.
    pub moved_bytes: u64,
    /// Segments removed.
    pub removed_segments: u64,
    /// Shards with a payload that can't be read.
    pub damaged: Vec<ShardId>,
}

/// Empties and removes segments.
///
/// A segment is removed when nothing in it has been live at the end of one step and still isn't at
/// the next, and no pin keeps it: whoever has read a row before its payload was moved can still
/// read the payload for that long.
pub struct Compactor {
    engine: Arc<dyn Engine>,
    payloads: Arc<dyn Payloads>,
    accounting: Arc<Accounting>,
    options: Options,
    /// Segments that had nothing live at the end of the last step.
    dead: Mutex<BTreeSet<SegmentId>>,
}

/// A live payload of a sparse segment.
struct Live {
    space: Space,
    owner: Bytes,
    from: PayloadLocation,
    payload: Bytes,
}

/// What a step has found to do.
#[derive(Default)]
struct Work {
    live: Vec<Live>,
    bytes: u64,
    /// Shards that are damaged: the rest of their payloads isn't looked at.
    damaged: BTreeSet<ShardId>,
}

impl Compactor {
    /// Over one node's storage.
    pub fn new(
        engine: Arc<dyn Engine>,
        payloads: Arc<dyn Payloads>,
        accounting: Arc<Accounting>,
        options: Options,
    ) -> Self {
        Self { engine, payloads, accounting, options, dead: Mutex::default() }
    }

    /// One bounded step over the segments below `floor` (the first that a log may refer to; none:
    /// no log refers to any). Calls must not overlap.
    ///
    /// `with_shard_lock` runs a function while nothing else writes applied rows of a shard; where
    /// it doesn't run it, the shard's payloads are left where they are.
    ///
    /// # Errors
    /// Storage errors. Damaged rows and payloads are none: they are in the result.
    pub async fn step(
        &self,
        floor: Option<SegmentId>,
        with_shard_lock: &(dyn Fn(ShardId, &mut dyn FnMut()) + Send + Sync),
    ) -> Result<Progress, Error> {
        let mut sealed = self.payloads.segments();
        sealed.retain(|segment| segment.sealed && floor.is_none_or(|floor| segment.id < floor));
        let removed_segments = self.remove_dead(&sealed).await?;
        // Before payloads are copied: that may fail for want of the space that these have.
        self.note_dead(&sealed);
        let work = self.find(self.sparse(&sealed))?;
        let mut progress = Progress {
            removed_segments,
            damaged: work.damaged.iter().copied().collect(),
            ..Progress::default()
        };
        if !work.live.is_empty() {
            let copied = self.copy(&work.live)?;
            // Rows refer to what is durable only.
            self.payloads.sync().await?;
            progress.moved_bytes = self.switch(copied, with_shard_lock)?;
        }
        self.note_dead(&sealed);
        Ok(progress)
    }

    fn lock_dead(&self) -> MutexGuard<'_, BTreeSet<SegmentId>> {
        self.dead.lock().expect("no code panics while it holds the dead")
    }

    fn is_dead(&self, segment: SegmentId) -> bool {
        self.accounting.live_bytes(segment) == 0
    }

    fn note_dead(&self, sealed: &[SegmentInfo]) {
        let dead = sealed.iter().map(|segment| segment.id).filter(|id| self.is_dead(*id));
        *self.lock_dead() = dead.collect();
    }

    /// Removes those that have been dead for a step.
    async fn remove_dead(&self, sealed: &[SegmentInfo]) -> Result<u64, Error> {
        let dead = std::mem::take(&mut *self.lock_dead());
        let ids = sealed.iter().map(|segment| segment.id);
        let dead: Vec<_> = ids.filter(|id| dead.contains(id) && self.is_dead(*id)).collect();
        if dead.is_empty() {
            return Ok(0);
        }
        // A crash must not bring back rows that refer to what is gone.
        self.engine.sync().await?;
        let mut removed = 0;
        let mut batch = WriteBatch::new();
        for id in dead {
            if self.payloads.remove(id)? {
                batch.delete_range(Family::State, key::payload_refs(id));
                removed += 1;
            }
        }
        if removed > 0 {
            self.engine.write(batch)?;
        }
        Ok(removed)
    }

    /// Segments that are worth emptying, the emptiest first.
    fn sparse(&self, sealed: &[SegmentInfo]) -> Vec<SegmentId> {
        let share = |segment: &SegmentInfo| {
            self.accounting.live_bytes(segment.id) as f64 / segment.bytes.max(1) as f64
        };
        let mut sparse: Vec<_> = sealed
            .iter()
            .map(|segment| (share(segment), segment.id))
            .filter(|(share, _)| *share > 0.0 && *share < self.options.live_share_min)
            .collect();
        sparse.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        sparse.into_iter().map(|(_, id)| id).collect()
    }

    /// Reads live payloads, as many as may be moved in a step.
    fn find(&self, segments: Vec<SegmentId>) -> Result<Work, Error> {
        let mut work = Work::default();
        for segment in segments {
            let mut range = key::payload_refs(segment);
            let (mut references, mut dangling) = (0, Vec::new());
            loop {
                let limit = ScanLimit::rows(REFERENCES);
                let rows = self.engine.scan(Family::State, range.clone(), FORWARD, limit)?;
                let Some((last, _)) = rows.last() else { break };
                range = range.after(last);
                references += rows.len();
                for (reference, owner) in rows {
                    if work.bytes >= self.options.bytes_per_step {
                        return Ok(work);
                    }
                    let offset = key::payload_ref_of(&reference).map(|(_, offset)| offset);
                    let offset = offset.expect("the range has references only");
                    if !self.look_at(segment, offset, owner, &mut work)? {
                        dangling.push(offset);
                    }
                }
            }
            if references == dangling.len() || !dangling.is_empty() {
                self.accounting.forget(self.engine.as_ref(), segment, &dangling)?;
            }
        }
        Ok(work)
    }

    /// Reads one payload if it is live; returns whether its owner refers to it.
    fn look_at(
        &self,
        segment: SegmentId,
        offset: u32,
        owner: Bytes,
        work: &mut Work,
    ) -> Result<bool, Error> {
        let Some(space) = key::space_of(&owner) else { return Ok(false) };
        if work.damaged.contains(&space.shard) {
            return Ok(true);
        }
        match self.read(segment, offset, &owner, space) {
            Ok(Read::Live(from, payload)) => {
                work.bytes += u64::from(from.length);
                work.live.push(Live { space, owner, from, payload });
                Ok(true)
            }
            Ok(Read::Elsewhere) => Ok(true),
            Ok(Read::Dangling) => Ok(false),
            Err(error) if error.is_corrupt() => {
                tracing::error!(shard = %space.shard, %error, "a payload can't be moved");
                work.damaged.insert(space.shard);
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    fn read(
        &self,
        segment: SegmentId,
        offset: u32,
        owner: &Bytes,
        space: Space,
    ) -> Result<Read, Error> {
        let Some(value) = self.engine.get(Family::State, owner)? else {
            return Ok(Read::Dangling);
        };
        let from = match BatchRow::decode(&value)?.payload {
            PayloadRef::Stored(at) if (at.segment, at.offset) == (segment, offset) => at,
            PayloadRef::Stored(_) | PayloadRef::Inline(_) => return Ok(Read::Dangling),
        };
        // Others come in, or are about to be deleted.
        if current_space(self.engine.as_ref(), space.shard)? != space {
            return Ok(Read::Elsewhere);
        }
        Ok(Read::Live(from, self.payloads.read(from)?))
    }

    /// Appends the payloads to the newest segment.
    fn copy(&self, live: &[Live]) -> Result<BTreeMap<Space, Vec<Relocation>>, Error> {
        let mut by_space: BTreeMap<Space, Vec<&Live>> = BTreeMap::new();
        for one in live {
            by_space.entry(one.space).or_default().push(one);
        }
        let mut copied = BTreeMap::new();
        for (space, live) in by_space {
            let payloads: Vec<_> = live.iter().map(|one| one.payload.clone()).collect();
            let locations = self.payloads.append(space.shard, &payloads)?;
            assert_eq!(locations.len(), live.len(), "every payload has got its location");
            let relocation = |(one, to): (&Live, PayloadLocation)| Relocation {
                owner: one.owner.clone(),
                from: one.from,
                to,
            };
            copied.insert(space, live.into_iter().zip(locations).map(relocation).collect());
        }
        Ok(copied)
    }

    /// Makes rows refer to the copies, where they still refer to what was copied.
    fn switch(
        &self,
        copied: BTreeMap<Space, Vec<Relocation>>,
        with_shard_lock: &(dyn Fn(ShardId, &mut dyn FnMut()) + Send + Sync),
    ) -> Result<u64, Error> {
        let mut moved = 0;
        for (space, relocations) in copied {
            for some in relocations.chunks(LOCKED) {
                let mut result = Ok(0);
                with_shard_lock(space.shard, &mut || {
                    result = self.accounting.relocate(self.engine.as_ref(), space, some);
                });
                moved += result?;
            }
        }
        Ok(moved)
    }
}

/// What an owner says of a payload.
enum Read {
    Live(PayloadLocation, Bytes),
    /// It is of a state that isn't the current one.
    Elsewhere,
    /// The owner is gone, or refers to something else.
    Dangling,
}

#[cfg(test)]
#[path = "compaction_test.rs"]
mod tests;
