//! Rows as they will be once the batch is in the engine, for commands that look at many of them.
//!
//! Like `partition/overlay`, but what the batch has is sorted once and not at each question.

use std::collections::BTreeMap;

use bytes::Bytes;
use kontiki_storage::batch::Op;
use kontiki_storage::engine::{KeyRange, Order, Row, ScanLimit};
use kontiki_storage::{Error, Family, View, WriteBatch};

/// Most bytes that one step of a scan brings into memory. One row is read whatever its size.
const STEP_BYTES: usize = 1 << 20;

/// The changes of a batch, sorted. Memory: what the batch has.
#[derive(Debug, Clone, Default)]
pub(super) struct Pending {
    /// How many changes of the batch are in here.
    ops: usize,
    changed: BTreeMap<Bytes, Option<Bytes>>,
    removed: Vec<KeyRange>,
}

fn contains(range: &KeyRange, key: &[u8]) -> bool {
    range.start.as_ref() <= key && key < range.end.as_ref()
}

impl Pending {
    /// To be called before a command: what earlier ones left in `batch` may have been written.
    pub(super) fn begin(&mut self, batch: &WriteBatch) {
        if batch.is_empty() {
            *self = Self::default();
        }
    }

    fn catch_up(&mut self, batch: &WriteBatch) {
        let ops = batch.ops();
        assert!(self.ops <= ops.len(), "another batch than before");
        for op in &ops[self.ops..] {
            match op {
                Op::Put { family: Family::State, key, value } => {
                    self.changed.insert(key.clone(), Some(value.clone()));
                }
                Op::Delete { family: Family::State, key } => {
                    self.changed.insert(key.clone(), None);
                }
                Op::DeleteRange { family: Family::State, range } => {
                    let gone = self.changed.range(range.start.clone()..range.end.clone());
                    let gone: Vec<Bytes> = gone.map(|(key, _)| key.clone()).collect();
                    for key in gone {
                        self.changed.remove(&key);
                    }
                    self.removed.push(range.clone());
                }
                Op::Put { .. } | Op::Delete { .. } | Op::DeleteRange { .. } => {}
            }
        }
        self.ops = ops.len();
    }

    fn is_removed(&self, key: &[u8]) -> bool {
        self.removed.iter().any(|range| contains(range, key))
    }

    /// The value of a row.
    pub(super) fn get(
        &mut self,
        view: &dyn View,
        batch: &WriteBatch,
        key: &[u8],
    ) -> Result<Option<Bytes>, Error> {
        self.catch_up(batch);
        if let Some(value) = self.changed.get(key) {
            return Ok(value.clone());
        }
        if self.is_removed(key) {
            return Ok(None);
        }
        view.get(Family::State, key)
    }

    /// The first rows of a range, at most `rows`; fewer than that only at its end.
    pub(super) fn scan(
        &mut self,
        view: &dyn View,
        batch: &WriteBatch,
        range: KeyRange,
        rows: usize,
    ) -> Result<Vec<Row>, Error> {
        assert!(rows > 0, "a scan of no rows would never end");
        self.catch_up(batch);
        let mut found = Vec::new();
        let mut rest = range.clone();
        // Where the changes that are not merged yet begin.
        let mut from = range.start.clone();
        loop {
            let limit = ScanLimit { rows, bytes: STEP_BYTES };
            let stored = view.scan(Family::State, rest.clone(), Order::Forward, limit)?;
            let (to, ended) = match stored.last() {
                Some((last, _)) => (rest.after(last).start, false),
                None => (range.end.clone(), true),
            };
            let mut changes = self.changed.range(from.clone()..to.clone()).peekable();
            for (key, value) in stored {
                while let Some((changed, value)) = changes.next_if(|(changed, _)| **changed < key) {
                    found.extend(value.clone().map(|value| (changed.clone(), value)));
                }
                match changes.next_if(|(changed, _)| **changed == key) {
                    Some((_, value)) => found.extend(value.clone().map(|value| (key, value))),
                    None if self.is_removed(&key) => {}
                    None => found.push((key, value)),
                }
            }
            for (changed, value) in changes {
                found.extend(value.clone().map(|value| (changed.clone(), value)));
            }
            if found.len() >= rows || ended {
                found.truncate(rows);
                return Ok(found);
            }
            rest.start = to.clone();
            from = to;
        }
    }

    /// The last row of a range.
    pub(super) fn last(
        &mut self,
        view: &dyn View,
        batch: &WriteBatch,
        range: &KeyRange,
    ) -> Result<Option<Row>, Error> {
        self.catch_up(batch);
        let newest = self.changed.range(range.start.clone()..range.end.clone()).rev();
        let newest = newest.filter_map(|(key, value)| Some((key.clone(), value.clone()?))).next();
        let mut rest = range.clone();
        // One row first: behind it there may be many that were removed, which cost as much as rows.
        let mut rows = 1;
        loop {
            let limit = ScanLimit { rows, bytes: STEP_BYTES };
            rows = 16;
            let stored = view.scan(Family::State, rest.clone(), Order::Reverse, limit)?;
            let Some((last, _)) = stored.last() else { return Ok(newest) };
            rest = rest.before(last);
            for (key, value) in stored {
                if newest.as_ref().is_some_and(|(newest, _)| *newest >= key) {
                    return Ok(newest);
                }
                if !self.changed.contains_key(&key) && !self.is_removed(&key) {
                    return Ok(Some((key, value)));
                }
            }
        }
    }
}
