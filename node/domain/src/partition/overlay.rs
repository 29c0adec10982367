//! Rows as they will be once a batch is in the engine: several commands share one engine write,
//! and each must see what those before it did.

use std::collections::BTreeMap;

use bytes::Bytes;
use kontiki_storage::batch::Op;
use kontiki_storage::engine::{KeyRange, Order, Row, ScanLimit};
use kontiki_storage::{Error, Family, View, WriteBatch};

/// Most bytes that one step of a scan brings into memory. One row is read whatever its size.
const STEP_BYTES: usize = 1 << 20;

fn contains(range: &KeyRange, key: &[u8]) -> bool {
    range.start.as_ref() <= key && key < range.end.as_ref()
}

/// The value of a state row. Cost: the number of changes in the batch.
pub(super) fn get(
    view: &dyn View,
    batch: &WriteBatch,
    wanted: &[u8],
) -> Result<Option<Bytes>, Error> {
    for op in batch.ops().iter().rev() {
        match op {
            Op::Put { family: Family::State, key, value } if key.as_ref() == wanted => {
                return Ok(Some(value.clone()));
            }
            Op::Delete { family: Family::State, key } if key.as_ref() == wanted => {
                return Ok(None);
            }
            Op::DeleteRange { family: Family::State, range } if contains(range, wanted) => {
                return Ok(None);
            }
            Op::Put { .. } | Op::Delete { .. } | Op::DeleteRange { .. } => {}
        }
    }
    view.get(Family::State, wanted)
}

/// The first state rows of a range, in order: at least one if there is any, at most `rows`.
pub(super) fn scan(
    view: &dyn View,
    batch: &WriteBatch,
    range: KeyRange,
    rows: usize,
) -> Result<Vec<Row>, Error> {
    assert!(rows > 0, "a scan of no rows would never end");
    let Changes { mut changed, removed } = changes(batch, &range);
    let mut rest = range;
    loop {
        let limit = ScanLimit { rows, bytes: STEP_BYTES };
        let stored = view.scan(Family::State, rest.clone(), Order::Forward, limit)?;
        let last = stored.last().map(|(key, _)| key.clone());
        let mut merged: BTreeMap<Bytes, Bytes> = stored.into_iter().collect();
        merged.retain(|key, _| !removed.iter().any(|range| contains(range, key)));
        // Beyond the last stored row of this step there may be stored rows not read yet.
        let later = match &last {
            Some(last) => changed.split_off(&rest.after(last).start),
            None => BTreeMap::new(),
        };
        for (key, value) in std::mem::replace(&mut changed, later) {
            match value {
                Some(value) => merged.insert(key, value),
                None => merged.remove(&key),
            };
        }
        if !merged.is_empty() || last.is_none() {
            return Ok(merged.into_iter().take(rows).collect());
        }
        rest = rest.after(&last.expect("checked above"));
    }
}

struct Changes {
    /// The last change of each row; `None` = removed.
    changed: BTreeMap<Bytes, Option<Bytes>>,
    /// Ranges of which all stored rows are removed.
    removed: Vec<KeyRange>,
}

fn changes(batch: &WriteBatch, within: &KeyRange) -> Changes {
    let mut changed: BTreeMap<Bytes, Option<Bytes>> = BTreeMap::new();
    let mut removed = Vec::new();
    for op in batch.ops() {
        match op {
            Op::Put { family: Family::State, key, value } if contains(within, key) => {
                changed.insert(key.clone(), Some(value.clone()));
            }
            Op::Delete { family: Family::State, key } if contains(within, key) => {
                changed.insert(key.clone(), None);
            }
            Op::DeleteRange { family: Family::State, range } => {
                changed.retain(|key, _| !contains(range, key));
                removed.push(range.clone());
            }
            Op::Put { .. } | Op::Delete { .. } | Op::DeleteRange { .. } => {}
        }
    }
    Changes { changed, removed }
}
