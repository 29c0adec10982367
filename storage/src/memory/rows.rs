//! Rows of one family in several versions: a snapshot and a crash see those of an earlier write.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::engine::{KeyRange, Order, Row, ScanLimit};

/// The value that a write gave a key; none where it was deleted.
type Version = (u64, Option<Bytes>);

/// Rows by key, each with its versions in ascending order of their writes.
#[derive(Debug, Default)]
pub struct Rows {
    map: BTreeMap<Bytes, Vec<Version>>,
}

fn at(versions: &[Version], sequence: u64) -> Option<&Bytes> {
    versions.iter().rev().find(|(written, _)| *written <= sequence)?.1.as_ref()
}

impl Rows {
    /// The value after a write.
    pub fn get(&self, key: &[u8], sequence: u64) -> Option<&Bytes> {
        at(self.map.get(key)?, sequence)
    }

    /// Rows after a write.
    pub fn scan(
        &self,
        range: &KeyRange,
        order: Order,
        limit: ScanLimit,
        sequence: u64,
    ) -> Vec<Row> {
        if range.is_empty() {
            return Vec::new();
        }
        let bounds = (Bound::Included(range.start.as_ref()), Bound::Excluded(range.end.as_ref()));
        let rows = self.map.range::<[u8], _>(bounds);
        let live = |(key, versions): (&Bytes, &Vec<Version>)| {
            Some((key.clone(), at(versions, sequence)?.clone()))
        };
        match order {
            Order::Forward => limited(rows.filter_map(live), limit),
            Order::Reverse => limited(rows.rev().filter_map(live), limit),
        }
    }

    /// Gives a key a value, or none, by a write that is not older than those before.
    pub fn set(&mut self, key: Bytes, value: Option<Bytes>, sequence: u64) {
        let versions = self.map.entry(key).or_default();
        match versions.last_mut() {
            Some((written, last)) if *written == sequence => *last = value,
            Some(_) | None => versions.push((sequence, value)),
        }
    }

    /// Keys of a range that have a value after the newest write.
    pub fn keys(&self, range: &KeyRange) -> Vec<Bytes> {
        let all = ScanLimit { rows: usize::MAX, bytes: usize::MAX };
        let rows = self.scan(range, Order::Forward, all, u64::MAX);
        rows.into_iter().map(|(key, _)| key).collect()
    }

    /// Forgets what writes after this one did to a key.
    pub fn undo(&mut self, key: &[u8], sequence: u64) {
        if let Some(versions) = self.map.get_mut(key) {
            versions.retain(|(written, _)| *written <= sequence);
            if versions.is_empty() {
                self.map.remove(key);
            }
        }
    }

    /// Forgets versions of a key that nobody who sees this write, or a later one, can see.
    pub fn forget(&mut self, key: &[u8], sequence: u64) {
        if let Some(versions) = self.map.get_mut(key) {
            let newest = versions.iter().rposition(|(written, _)| *written <= sequence);
            versions.drain(..newest.unwrap_or(0));
            if matches!(versions.as_slice(), [(written, None)] if *written <= sequence) {
                self.map.remove(key);
            }
        }
    }

    /// Bytes of keys and of all versions.
    pub fn bytes(&self) -> u64 {
        let value = |version: &Version| version.1.as_ref().map_or(0, Bytes::len);
        let row = |(key, versions): (&Bytes, &Vec<Version>)| {
            key.len() + versions.iter().map(value).sum::<usize>()
        };
        self.map.iter().map(|entry| row(entry) as u64).sum()
    }
}

fn limited(rows: impl Iterator<Item = Row>, limit: ScanLimit) -> Vec<Row> {
    let mut found = Vec::new();
    let mut bytes = 0_usize;
    for (key, value) in rows {
        if found.len() >= limit.rows {
            break;
        }
        bytes = bytes.saturating_add(key.len() + value.len());
        found.push((key, value));
        if bytes >= limit.bytes {
            break;
        }
    }
    found
}
