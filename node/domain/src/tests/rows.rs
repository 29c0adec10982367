//! Rows in a map.

use std::collections::BTreeMap;

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
                    self.rows.insert((family, key), value);
                }
                Op::Delete { family, key } => {
                    self.rows.remove(&(family, key));
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
    pub(crate) fn all(&self) -> Vec<Row> {
        self.rows.iter().map(|((_, key), value)| (key.clone(), value.clone())).collect()
    }
}

impl View for Rows {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Error> {
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
