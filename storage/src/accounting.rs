//! Which payloads are live: turns the references in a batch into rows, in the same write.
//!
//! For each payload that a row refers to there is a row that names its owner, and for each segment
//! and state the sum of live bytes. Compaction reads both.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;

use crate::batch::{Reference, WriteBatch};
use crate::engine::{Engine, Family, Order, ScanLimit, Sequence, View};
use crate::error::Error;
use crate::id::{SegmentId, ShardId};
use crate::key::{self, Space};
use crate::payload::{PayloadLocation, PayloadRef};
use crate::row::BatchRow;

/// Rows handled at once when a whole state is deleted.
const DELETE_ROWS: usize = 1_024;

type Live = BTreeMap<(SegmentId, Space), u64>;

/// A shard's current state.
///
/// # Errors
/// Storage errors.
pub fn current_space(view: &dyn View, shard: ShardId) -> Result<Space, Error> {
    let generation = match view.get(Family::State, &key::generation(shard))? {
        None => key::FIRST_GENERATION,
        Some(row) => key::decode_generation(&row)?,
    };
    Ok(Space { shard, generation })
}

/// Live bytes of every segment, in memory and as rows. Memory: some 50 bytes for each segment and
/// shard with live payloads in it.
#[derive(Debug)]
pub struct Accounting {
    live: Mutex<Live>,
    /// Held while payloads of a state are moved, and while a state is deleted: neither may find
    /// rows that the other is about to change.
    moving: Mutex<()>,
}

/// A payload that has been copied to another place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relocation {
    /// The key of the row that refers to it.
    pub owner: Bytes,
    /// Where it was.
    pub from: PayloadLocation,
    /// Where it is too, durably.
    pub to: PayloadLocation,
}

impl Accounting {
    /// Reads the sums of an engine.
    ///
    /// # Errors
    /// Storage errors.
    pub fn open(view: &dyn View) -> Result<Self, Error> {
        let mut live = Live::new();
        let mut range = key::segments_live();
        loop {
            let rows =
                view.scan(Family::State, range.clone(), Order::Forward, ScanLimit::rows(4_096))?;
            let Some((last, _)) = rows.last() else { break };
            range = range.after(last);
            for (row_key, value) in rows {
                let at = key::segment_live_of(&row_key);
                let bytes = <[u8; 8]>::try_from(value.as_ref()).map(u64::from_be_bytes);
                let (Some(at), Ok(bytes)) = (at, bytes) else {
                    return Err(Error::corrupt("a live-bytes row", "it doesn't decode"));
                };
                live.insert(at, bytes);
            }
        }
        Ok(Self { live: Mutex::new(live), moving: Mutex::new(()) })
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().expect("no code panics while it holds the sums")
    }

    fn lock_moving(&self) -> MutexGuard<'_, ()> {
        self.moving.lock().expect("no code panics while it moves payloads")
    }

    /// Live bytes of a segment over all states.
    #[must_use]
    pub fn live_bytes(&self, segment: SegmentId) -> u64 {
        let first = Space { shard: ShardId(0), generation: 0 };
        let from = (segment, first);
        let sums = self.lock();
        sums.range(from..).take_while(|((of, _), _)| *of == segment).map(|(_, bytes)| bytes).sum()
    }

    /// Writes a batch whose references belong to one state. Calls for one state must not overlap.
    ///
    /// # Errors
    /// As [`Engine::write`].
    ///
    /// # Panics
    /// Where more is released than was acquired: a row was released twice.
    pub fn write(
        &self,
        engine: &dyn Engine,
        space: Space,
        mut batch: WriteBatch,
    ) -> Result<Sequence, Error> {
        let references = batch.take_references();
        if references.is_empty() {
            return engine.write(batch);
        }
        let mut changes: BTreeMap<SegmentId, i64> = BTreeMap::new();
        for reference in references {
            match reference {
                Reference::Acquire(at, owner) => {
                    batch.put(Family::State, key::payload_ref(at.segment, at.offset), owner);
                    *changes.entry(at.segment).or_default() += i64::from(at.length);
                }
                Reference::Release(at) => {
                    batch.delete(Family::State, key::payload_ref(at.segment, at.offset));
                    *changes.entry(at.segment).or_default() -= i64::from(at.length);
                }
            }
        }
        let mut sums = self.lock();
        let mut new = Vec::with_capacity(changes.len());
        for (segment, change) in changes {
            let before = sums.get(&(segment, space)).copied().unwrap_or(0);
            let after = before.checked_add_signed(change);
            let after = after.expect("a payload is released once, by the state that acquired it");
            let row = key::segment_live(segment, space);
            if after == 0 {
                batch.delete(Family::State, row);
            } else {
                batch.put(Family::State, row, Bytes::copy_from_slice(&after.to_be_bytes()));
            }
            new.push((segment, after));
        }
        drop(sums);
        let sequence = engine.write(batch)?;
        sums = self.lock();
        for (segment, after) in new {
            if after == 0 {
                sums.remove(&(segment, space));
            } else {
                sums.insert((segment, space), after);
            }
        }
        Ok(sequence)
    }

    /// Makes rows of a state refer to copies of their payloads; leaves those alone that have
    /// changed since the copies were made, and all of them where the state is not its shard's
    /// current one any more. Returns the bytes that were moved. Nothing else may write rows of the
    /// state meanwhile, except for a deletion of all.
    ///
    /// # Errors
    /// As [`Engine::write`].
    pub fn relocate(
        &self,
        engine: &dyn Engine,
        space: Space,
        relocations: &[Relocation],
    ) -> Result<u64, Error> {
        let _moving = self.lock_moving();
        if current_space(engine, space.shard)? != space {
            return Ok(0);
        }
        let mut batch = WriteBatch::new();
        let mut moved = 0;
        for Relocation { owner, from, to } in relocations {
            assert_eq!((from.length, from.crc), (to.length, to.crc), "a copy is what was copied");
            assert_eq!(key::space_of(owner), Some(space), "a payload stays in its state");
            let Some(value) = engine.get(Family::State, owner)? else { continue };
            let mut row = BatchRow::decode(&value)?;
            if row.payload != PayloadRef::Stored(*from) {
                continue;
            }
            row.payload = PayloadRef::Stored(*to);
            batch.put(Family::State, owner.clone(), row.encode());
            batch.release(*from);
            batch.acquire(*to, owner.clone());
            moved += u64::from(to.length);
        }
        if moved > 0 {
            self.write(engine, space, batch)?;
        }
        Ok(moved)
    }

    /// Removes references to payloads of a segment, by offset, that no row has any more, and the
    /// segment's sums where that was all: an undecodable row that was deleted leaves such behind.
    ///
    /// # Errors
    /// As [`Engine::write`].
    pub fn forget(
        &self,
        engine: &dyn Engine,
        segment: SegmentId,
        dangling: &[u32],
    ) -> Result<(), Error> {
        let _moving = self.lock_moving();
        let mut batch = WriteBatch::new();
        for offset in dangling {
            batch.delete(Family::State, key::payload_ref(segment, *offset));
        }
        engine.write(batch)?;
        let refs = key::payload_refs(segment);
        if !engine.scan(Family::State, refs, Order::Forward, ScanLimit::rows(1))?.is_empty() {
            return Ok(());
        }
        let mut sums = self.lock();
        let of = |shard, generation| (segment, Space { shard, generation });
        let all = of(ShardId(0), 0)..=of(ShardId(u32::MAX), u32::MAX);
        let gone: Vec<_> = sums.range(all).map(|(at, _)| *at).collect();
        let mut batch = WriteBatch::new();
        for at in gone {
            sums.remove(&at);
            batch.delete(Family::State, key::segment_live(at.0, at.1));
        }
        drop(sums);
        engine.write(batch).map(|_| ())
    }

    /// Deletes all rows of a state and releases its payloads, in bounded steps; goes on where an
    /// interrupted deletion stopped. Rows that are damaged are deleted unread: compaction gives
    /// back the bytes of their payloads when it finds that the owners are gone.
    ///
    /// # Errors
    /// As [`Engine::write`].
    pub fn delete_space(&self, engine: &dyn Engine, space: Space) -> Result<(), Error> {
        let limit = ScanLimit { rows: DELETE_ROWS, bytes: 4 << 20 };
        loop {
            let _moving = self.lock_moving();
            let owners = key::payload_owners(space);
            let rows = match engine.scan(Family::State, owners, Order::Forward, limit) {
                Err(error) if error.is_corrupt() => break,
                rows => rows?,
            };
            if rows.is_empty() {
                break;
            }
            let mut batch = WriteBatch::new();
            for (owner, value) in rows {
                // A row that doesn't decode has no payload that could be released; its bytes
                // are given back when compaction finds that the owner is gone.
                if let Ok(BatchRow { payload: PayloadRef::Stored(at), .. }) =
                    BatchRow::decode(&value)
                    && self.refers(engine, at, &owner)?
                {
                    batch.release(at);
                }
                batch.delete(Family::State, owner);
            }
            self.write(engine, space, batch)?;
        }
        let _moving = self.lock_moving();
        let mut batch = WriteBatch::new();
        batch.delete_range(Family::State, key::space_rows(space));
        let mut gone = Vec::new();
        for (segment, of) in self.lock().keys().filter(|(_, of)| *of == space) {
            batch.delete(Family::State, key::segment_live(*segment, *of));
            gone.push((*segment, *of));
        }
        engine.write(batch)?;
        let mut sums = self.lock();
        for at in gone {
            sums.remove(&at);
        }
        Ok(())
    }

    fn refers(
        &self,
        engine: &dyn Engine,
        at: PayloadLocation,
        owner: &Bytes,
    ) -> Result<bool, Error> {
        let found = engine.get(Family::State, &key::payload_ref(at.segment, at.offset))?;
        Ok(found.as_ref() == Some(owner))
    }
}
