//! The engine: writes, syncs, what it costs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kontiki_storage::batch::{Op, WriteBatch};
use kontiki_storage::engine::{EngineStats, KeyRange, Order, Row, ScanLimit, Sequence};
use kontiki_storage::{Engine, Error, Family, View};
use rocksdb::statistics::Ticker;
use rocksdb::{Cache, ColumnFamily, DB, ReadOptions, properties};
use tokio::time::Instant;

use crate::mark::Mark;
use crate::options::Options;
use crate::space::Space;
use crate::tuning;
use crate::view::{self, Snapshot, convert};

/// Rows on disk. Closed when it and all its snapshots are dropped.
pub struct RocksEngine {
    store: Arc<Store>,
}

/// What snapshots share with the engine.
pub struct Store {
    pub db: DB,
    dir: PathBuf,
    options: Options,
    /// Statistics live in them.
    db_options: rocksdb::Options,
    cache: Cache,
    space: Space,
    poison: OnceLock<String>,
    mark: Mutex<Marking>,
    wal_bytes: AtomicU64,
    syncs: AtomicU64,
}

struct Marking {
    mark: Mark,
    raised: Instant,
}

impl RocksEngine {
    /// Opens the store of a directory; creates both where they are missing.
    ///
    /// # Errors
    /// I/O, also where it is open already, and for invalid options. [`Error::Corrupt`] where
    /// files are damaged, or where fewer writes are left than were durable.
    pub fn open(dir: &Path, options: Options) -> Result<Arc<Self>, Error> {
        let invalid = |e| std::io::Error::new(std::io::ErrorKind::InvalidInput, e);
        options.validate().map_err(|e| Error::io("checking the options", invalid(e)))?;
        let op = format!("opening {}", dir.display());
        fs::create_dir_all(dir).map_err(|e| Error::io(op.clone(), e))?;
        let exists = dir.join("CURRENT").exists();
        let mark = Mark::open(dir, exists)?;
        if !exists && mark.sequence() > 0 {
            return Err(Error::corrupt(dir.display().to_string(), "its file CURRENT is missing"));
        }
        let cache = tuning::cache(&options);
        let db_options = tuning::database(&options);
        let families = tuning::families(&options, &cache);
        let db =
            DB::open_cf_descriptors(&db_options, dir, families).map_err(|e| convert(&op, &e))?;
        let found = db.latest_sequence_number();
        if found < mark.sequence() {
            let durable = mark.sequence();
            let why = format!("shortened: {durable} changes were durable, {found} are left");
            return Err(Error::corrupt(dir.display().to_string(), why));
        }
        let store = Store {
            db,
            dir: dir.to_owned(),
            space: Space::new(dir, options.free_bytes_min),
            options,
            db_options,
            cache,
            poison: OnceLock::new(),
            mark: Mutex::new(Marking { mark, raised: Instant::now() }),
            wal_bytes: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
        };
        Ok(Arc::new(Self { store: Arc::new(store) }))
    }
}

impl Store {
    pub fn handle(&self, family: Family) -> &ColumnFamily {
        self.db.cf_handle(family.name()).expect("opened with both families")
    }

    fn healthy(&self) -> Result<(), Error> {
        match self.poison.get() {
            Some(why) => Err(Error::Poisoned(why.clone())),
            None => Ok(()),
        }
    }

    fn poisoned_by(&self, error: Error) -> Error {
        // Only the first reason is kept.
        let _ = self.poison.set(error.to_string());
        error
    }

    fn write(&self, batch: WriteBatch) -> Result<Sequence, Error> {
        self.healthy()?;
        let (size, limit) = (batch.bytes() as u64, self.options.batch_bytes_max as u64);
        if size > limit {
            return Err(Error::TooLarge { what: "a write batch", size, limit });
        }
        // Removals make space: they are let through on a full disk.
        if batch.ops().iter().any(|op| matches!(op, Op::Put { .. })) {
            self.space.reserve(size)?;
        }
        let mut changes = rocksdb::WriteBatch::default();
        for op in batch.ops() {
            match op {
                Op::Put { family, key, value } => changes.put_cf(self.handle(*family), key, value),
                Op::Delete { family, key } => changes.delete_cf(self.handle(*family), key),
                Op::DeleteRange { range, .. } if range.is_empty() => {}
                Op::DeleteRange { family, range } => {
                    changes.delete_range_cf(self.handle(*family), &range.start, &range.end);
                }
            }
        }
        self.wal_bytes.fetch_add(changes.size_in_bytes() as u64, Ordering::Relaxed);
        self.db.write(changes).map_err(|e| self.poisoned_by(convert("write", &e)))?;
        Ok(Sequence(self.db.latest_sequence_number()))
    }

    fn sync(&self) -> Result<Sequence, Error> {
        self.healthy()?;
        let sequence = self.db.latest_sequence_number();
        self.db.flush_wal(true).map_err(|e| self.poisoned_by(convert("sync", &e)))?;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.raise_mark(sequence, Duration::from_millis(self.options.mark_interval_ms));
        Ok(Sequence(sequence))
    }

    fn raise_mark(&self, sequence: u64, interval: Duration) {
        let mut marking = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        if marking.raised.elapsed() < interval {
            return;
        }
        marking.raised = Instant::now();
        if let Err(error) = marking.mark.raise(sequence) {
            tracing::warn!(dir = %self.dir.display(), %error, "the mark could not be raised");
        }
    }

    fn stats(&self) -> EngineStats {
        let sum = |name| {
            let value = |f| self.db.property_int_value_cf(self.handle(f), name).ok().flatten();
            Family::ALL.into_iter().filter_map(value).sum::<u64>()
        };
        let ticker = |t| self.db_options.get_ticker_count(t);
        EngineStats {
            disk_bytes: sum(properties::TOTAL_SST_FILES_SIZE) + wal_files(&self.dir),
            memory_bytes: sum(properties::CUR_SIZE_ALL_MEM_TABLES),
            cache_bytes: self.cache.get_usage() as u64,
            wal_bytes: self.wal_bytes.load(Ordering::Relaxed),
            compaction_bytes: ticker(Ticker::FlushWriteBytes) + ticker(Ticker::CompactWriteBytes),
            syncs: self.syncs.load(Ordering::Relaxed),
            // Unknown is not zero: nobody should act on a failed question.
            free_bytes: self.space.free().unwrap_or(u64::MAX),
        }
    }
}

/// Bytes of the write-ahead log's files, for which there is no property.
fn wal_files(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let logs = entries.flatten().filter(|e| e.path().extension().is_some_and(|x| x == "log"));
    logs.filter_map(|e| Some(e.metadata().ok()?.len())).sum()
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.poison.get().is_some() {
            return;
        }
        let sequence = self.db.latest_sequence_number();
        match self.db.flush_wal(true) {
            Ok(()) => self.raise_mark(sequence, Duration::ZERO),
            Err(error) => {
                tracing::warn!(dir = %self.dir.display(), %error, "the last sync failed");
            }
        }
    }
}

impl View for RocksEngine {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Error> {
        view::get(&self.store, family, key, &ReadOptions::default())
    }

    fn scan(
        &self,
        family: Family,
        range: KeyRange,
        order: Order,
        limit: ScanLimit,
    ) -> Result<Vec<Row>, Error> {
        view::scan(&self.store, family, &range, order, limit, ReadOptions::default())
    }
}

impl Engine for RocksEngine {
    fn write(&self, batch: WriteBatch) -> Result<Sequence, Error> {
        self.store.write(batch)
    }

    fn sync(&self) -> BoxFuture<'_, Result<Sequence, Error>> {
        Box::pin(async { self.store.sync() })
    }

    fn snapshot(&self) -> Arc<dyn View> {
        Arc::new(Snapshot::new(Arc::clone(&self.store)))
    }

    fn stats(&self) -> EngineStats {
        self.store.stats()
    }

    fn into_view(self: Arc<Self>) -> Arc<dyn View> {
        self
    }
}
