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
use crate::id::SegmentId;
use crate::key::{self, Space};
use crate::payload::{PayloadLocation, PayloadRef};
use crate::row::BatchRow;

/// Rows handled at once when a whole state is deleted.
const DELETE_ROWS: usize = 1_024;

type Live = BTreeMap<(SegmentId, Space), u64>;

/// Live bytes of every segment, in memory and as rows. Memory: some 50 bytes for each segment and
/// shard with live payloads in it.
#[derive(Debug)]
pub struct Accounting {
    live: Mutex<Live>,
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
        Ok(Self { live: Mutex::new(live) })
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().expect("no code panics while it holds the sums")
    }

    /// Live bytes of a segment over all states.
    #[must_use]
    pub fn live_bytes(&self, segment: SegmentId) -> u64 {
        let first = Space { shard: crate::id::ShardId(0), generation: 0 };
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

    /// Deletes all rows of a state and releases its payloads, in bounded steps; goes on where an
    /// interrupted deletion stopped.
    ///
    /// # Errors
    /// As [`Engine::write`].
    pub fn delete_space(&self, engine: &dyn Engine, space: Space) -> Result<(), Error> {
        let limit = ScanLimit { rows: DELETE_ROWS, bytes: 4 << 20 };
        loop {
            let owners = key::payload_owners(space);
            let rows = engine.scan(Family::State, owners, Order::Forward, limit)?;
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
