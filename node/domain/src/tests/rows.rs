//! Rows in a map.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use kontiki_storage::batch::{Op, Reference};
use kontiki_storage::engine::{KeyRange, Order, Row, ScanLimit};
use kontiki_storage::payload::PayloadLocation;
use kontiki_storage::{Error, Family, View, WriteBatch};

#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    rows: BTreeMap<(Family, Bytes), Bytes>,
    /// Who refers to which payload.
    pub live: BTreeMap<PayloadLocation, Bytes>,
    /// Those that are deleted: an engine that removes them later passes over them.
    deleted: BTreeSet<(Family, Bytes)>,
    /// How often it was looked.
    pub looks: Arc<AtomicUsize>,
    /// How many deleted rows were passed over.
    pub passed: Arc<AtomicUsize>,
}

impl Rows {
    pub(crate) fn write(&mut self, mut batch: WriteBatch) {
        for reference in batch.take_references() {
            match reference {
                Reference::Acquire(at, owner) => {
                    assert!(self.live.insert(at, owner).is_none(), "{at:?} acquired twice");
                }
                Reference::Release(at) => {
                    assert!(self.live.remove(&at).is_some(), "{at:?} released twice");
                }
            }
        }
        for op in batch.into_ops() {
            match op {
                Op::Put { family, key, value } => {
                    self.deleted.remove(&(family, key.clone()));
                    self.rows.insert((family, key), value);
                }
                Op::Delete { family, key } => {
                    self.rows.remove(&(family, key.clone()));
                    self.deleted.insert((family, key));
                }
                Op::DeleteRange { family, range } => {
                    self.rows.retain(|(of, key), _| {
                        *of != family || *key < range.start || *key >= range.end
                    });
                }
            }
        }
    }
}

impl Rows {
    /// Takes the values of some rows away; there must be some.
    pub(crate) fn empty(&mut self, which: impl Fn(&[u8]) -> bool) {
        let mut some = false;
        for (_, value) in self.rows.iter_mut().filter(|((_, key), _)| which(key)) {
            some |= !std::mem::take(value).is_empty();
        }
        assert!(some, "there was nothing to take away");
    }

    pub(crate) fn all(&self) -> Vec<Row> {
        self.rows.iter().map(|((_, key), value)| (key.clone(), value.clone())).collect()
    }
}

impl View for Rows {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.looks.fetch_add(1, Relaxed);
        Ok(self.rows.get(&(family, Bytes::copy_from_slice(key))).cloned())
    }

    fn scan(
        &self,
        family: Family,
        range: KeyRange,
        order: Order,
        limit: ScanLimit,
    ) -> Result<Vec<Row>, Error> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        self.looks.fetch_add(1, Relaxed);
        let ends = (family, range.start.clone())..(family, range.end.clone());
        let mut found = self.rows.range(ends.clone()).map(|(key, _)| key.clone());
        let last = match order {
            Order::Forward => found.nth(limit.rows - 1),
            Order::Reverse => found.nth_back(limit.rows - 1),
        };
        let between = match (last, order) {
            (Some(last), Order::Forward) => ends.start..last,
            (Some(last), Order::Reverse) => last..ends.end,
            (None, _) => ends,
        };
        self.passed.fetch_add(self.deleted.range(between).count(), Relaxed);
        let rows = self.rows.range((family, range.start)..(family, range.end));
        let rows = rows.map(|((_, key), value)| (key.clone(), value.clone()));
        let mut bytes = 0;
        let fits = move |(key, value): &Row| {
            let full = bytes >= limit.bytes;
            bytes += key.len() + value.len();
            !full
        };
        Ok(match order {
            Order::Forward => rows.take(limit.rows).take_while(fits).collect(),
            Order::Reverse => rows.rev().take(limit.rows).take_while(fits).collect(),
        })
    }
}
