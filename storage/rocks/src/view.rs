//! Reads, from the store as it is or from a snapshot.

use std::sync::Arc;

use bytes::Bytes;
use kontiki_storage::engine::{KeyRange, Order, Row, ScanLimit};
use kontiki_storage::{Error, Family, View};
use rocksdb::{DB, ErrorKind, ReadOptions, SnapshotWithThreadMode};

use crate::engine::Store;

type DbSnapshot<'a> = SnapshotWithThreadMode<'a, DB>;

self_cell::self_cell!(
    struct Cell {
        owner: Arc<Store>,
        #[not_covariant]
        dependent: DbSnapshot,
    }
);

/// The rows of one moment. Keeps the store open.
pub struct Snapshot(Cell);

impl Snapshot {
    pub fn new(store: Arc<Store>) -> Self {
        Self(Cell::new(store, |store| store.db.snapshot()))
    }
}

impl View for Snapshot {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.0.with_dependent(|store, snapshot| {
            let mut read = ReadOptions::default();
            read.set_snapshot(snapshot);
            get(store, family, key, &read)
        })
    }

    fn scan(
        &self,
        family: Family,
        range: KeyRange,
        order: Order,
        limit: ScanLimit,
    ) -> Result<Vec<Row>, Error> {
        self.0.with_dependent(|store, snapshot| {
            let mut read = ReadOptions::default();
            read.set_snapshot(snapshot);
            scan(store, family, &range, order, limit, read)
        })
    }
}

pub fn get(
    store: &Store,
    family: Family,
    key: &[u8],
    read: &ReadOptions,
) -> Result<Option<Bytes>, Error> {
    let found = store.db.get_pinned_cf_opt(store.handle(family), key, read);
    let value = found.map_err(|e| failure("read", family, &e))?;
    Ok(value.map(|v| Bytes::copy_from_slice(&v)))
}

pub fn scan(
    store: &Store,
    family: Family,
    range: &KeyRange,
    order: Order,
    limit: ScanLimit,
    mut read: ReadOptions,
) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    if range.is_empty() || limit.rows == 0 {
        return Ok(rows);
    }
    read.set_iterate_lower_bound(range.start.as_ref());
    read.set_iterate_upper_bound(range.end.as_ref());
    let mut at = store.db.raw_iterator_cf_opt(store.handle(family), read);
    match order {
        Order::Forward => at.seek_to_first(),
        Order::Reverse => at.seek_to_last(),
    }
    let mut bytes = 0usize;
    while let Some((key, value)) = at.item() {
        // The row that reaches a limit is the last one.
        bytes = bytes.saturating_add(key.len() + value.len());
        rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        if rows.len() >= limit.rows || bytes >= limit.bytes {
            return Ok(rows);
        }
        match order {
            Order::Forward => at.next(),
            Order::Reverse => at.prev(),
        }
    }
    // An iterator also ends where it can't read on.
    at.status().map_err(|e| failure("scan", family, &e))?;
    Ok(rows)
}

/// What RocksDB reports, in the words of the contract.
pub fn failure(op: &str, family: Family, error: &rocksdb::Error) -> Error {
    convert(&format!("{op} of {} rows", family.name()), error)
}

pub fn convert(op: &str, error: &rocksdb::Error) -> Error {
    if error.kind() == ErrorKind::Corruption {
        Error::corrupt(format!("the store ({op})"), error.to_string())
    } else {
        Error::io(op, std::io::Error::other(error.to_string()))
    }
}
