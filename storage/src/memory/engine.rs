//! The engine in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::rows::Rows;
use super::{Condition, Disk};
use crate::batch::{Op, WriteBatch};
use crate::engine::{Engine, EngineStats, Family, KeyRange, Order, Row, ScanLimit, Sequence, View};
use crate::error::Error;

/// The keys that a write touched.
type Touched = (u64, Vec<(Family, Bytes)>);

/// The rows of a disk.
#[derive(Debug, Default)]
pub(super) struct RowsDevice {
    pub(super) condition: Condition,
    log: Rows,
    state: Rows,
    /// The last write.
    written: u64,
    /// The last write that a crash keeps.
    durable: u64,
    /// Writes after `durable`.
    unsynced: VecDeque<Touched>,
    /// Keys with versions that can be forgotten once nobody sees what was before the write.
    outdated: VecDeque<(u64, Family, Bytes)>,
    /// How many snapshots there are of each write.
    snapshots: BTreeMap<u64, usize>,
    corrupt: BTreeSet<(Family, Bytes)>,
    written_bytes: u64,
}

impl RowsDevice {
    fn rows(&self, family: Family) -> &Rows {
        match family {
            Family::Log => &self.log,
            Family::State => &self.state,
        }
    }

    fn rows_mut(&mut self, family: Family) -> &mut Rows {
        match family {
            Family::Log => &mut self.log,
            Family::State => &mut self.state,
        }
    }

    pub(super) fn keys(&self, family: Family, range: &KeyRange) -> Vec<Bytes> {
        self.rows(family).keys(range)
    }

    pub(super) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    pub(super) fn crash(&mut self, keep: usize) {
        self.condition.reopen();
        self.lose(keep);
    }

    fn lose(&mut self, keep: usize) {
        while self.unsynced.len() > keep {
            let (sequence, keys) = self.unsynced.pop_back().expect("it is longer than that");
            for (family, key) in keys {
                self.rows_mut(family).undo(&key, sequence - 1);
            }
            self.written = sequence - 1;
        }
        self.durable = self.written;
        self.unsynced.clear();
        self.snapshots.clear();
        let written = self.written;
        self.outdated.retain(|(sequence, ..)| *sequence <= written);
        self.forget();
    }

    pub(super) fn corrupt(&mut self, family: Family, key: Bytes) {
        self.corrupt.insert((family, key));
    }

    fn open(&mut self) -> u64 {
        let (epoch, lost) = self.condition.reopen();
        if lost {
            self.lose(0);
        }
        self.snapshots.clear();
        self.written_bytes = 0;
        epoch
    }

    fn set(&mut self, family: Family, key: Bytes, value: Option<Bytes>, keys: &mut Touched) {
        self.corrupt.remove(&(family, key.clone()));
        self.outdated.push_back((keys.0, family, key.clone()));
        keys.1.push((family, key.clone()));
        self.rows_mut(family).set(key, value, keys.0);
    }

    fn write(&mut self, batch: WriteBatch) -> Sequence {
        self.written += 1;
        self.written_bytes += batch.bytes() as u64;
        let mut touched: Touched = (self.written, Vec::with_capacity(batch.ops().len()));
        for op in batch.into_ops() {
            match op {
                Op::Put { family, key, value } => self.set(family, key, Some(value), &mut touched),
                Op::Delete { family, key } => self.set(family, key, None, &mut touched),
                Op::DeleteRange { family, range } => {
                    for key in self.rows(family).keys(&range) {
                        self.set(family, key, None, &mut touched);
                    }
                }
            }
        }
        self.unsynced.push_back(touched);
        Sequence(self.written)
    }

    fn sync(&mut self, sequence: u64) {
        self.durable = self.durable.max(sequence);
        while self.unsynced.front().is_some_and(|(written, _)| *written <= sequence) {
            self.unsynced.pop_front();
        }
        self.forget();
    }

    fn forget(&mut self) {
        let oldest = self.snapshots.keys().next().copied().unwrap_or(u64::MAX);
        let horizon = oldest.min(self.durable);
        while self.outdated.front().is_some_and(|(sequence, ..)| *sequence <= horizon) {
            let (_, family, key) = self.outdated.pop_front().expect("it has a front");
            self.rows_mut(family).forget(&key, horizon);
        }
    }

    fn check(&self, family: Family, key: &Bytes) -> Result<(), Error> {
        if !self.corrupt.is_empty() && self.corrupt.contains(&(family, key.clone())) {
            let what = format!("row {} of the {}", key.escape_ascii(), family.name());
            return Err(Error::corrupt(what, "it was told to be"));
        }
        Ok(())
    }

    fn get(&self, family: Family, key: &[u8], sequence: u64) -> Result<Option<Bytes>, Error> {
        if !self.corrupt.is_empty() {
            self.check(family, &Bytes::copy_from_slice(key))?;
        }
        Ok(self.rows(family).get(key, sequence).cloned())
    }

    fn scan(
        &self,
        family: Family,
        range: &KeyRange,
        order: Order,
        limit: ScanLimit,
        sequence: u64,
    ) -> Result<Vec<Row>, Error> {
        let rows = self.rows(family).scan(range, order, limit, sequence);
        for (key, _) in &rows {
            self.check(family, key)?;
        }
        Ok(rows)
    }
}

/// An engine whose rows are in memory.
#[derive(Debug)]
pub struct MemoryEngine {
    disk: Disk,
    epoch: u64,
}

impl MemoryEngine {
    /// Opens the rows of a disk; engines that were opened on it before are stale.
    #[must_use]
    pub fn open(disk: &Disk) -> Arc<Self> {
        let epoch = disk.rows().open();
        Arc::new(Self { disk: disk.clone(), epoch })
    }
}

impl View for MemoryEngine {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let device = self.disk.rows();
        device.condition.alive(self.epoch)?;
        device.get(family, key, u64::MAX)
    }

    fn scan(
        &self,
        family: Family,
        range: KeyRange,
        order: Order,
        limit: ScanLimit,
    ) -> Result<Vec<Row>, Error> {
        let device = self.disk.rows();
        device.condition.alive(self.epoch)?;
        device.scan(family, &range, order, limit, u64::MAX)
    }
}

impl Engine for MemoryEngine {
    fn write(&self, batch: WriteBatch) -> Result<Sequence, Error> {
        let mut device = self.disk.rows();
        device.condition.writable(self.epoch)?;
        if batch.ops().iter().any(|op| matches!(op, Op::Put { .. })) {
            device.condition.space("write")?;
        }
        Ok(device.write(batch))
    }

    fn sync(&self) -> BoxFuture<'_, Result<Sequence, Error>> {
        // Before the future is polled: a sync covers what was written before the call.
        let (sequence, delay) = {
            let device = self.disk.rows();
            (device.written, device.condition.switches.delay)
        };
        Box::pin(async move {
            self.disk.rows().condition.writable(self.epoch)?;
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let mut device = self.disk.rows();
            if device.condition.synced(self.epoch, "rows")? {
                device.sync(sequence);
            }
            Ok(Sequence(sequence))
        })
    }

    fn snapshot(&self) -> Arc<dyn View> {
        let mut device = self.disk.rows();
        let sequence = device.written;
        if device.condition.epoch == self.epoch {
            *device.snapshots.entry(sequence).or_default() += 1;
        }
        drop(device);
        Arc::new(Snapshot { disk: self.disk.clone(), epoch: self.epoch, sequence })
    }

    fn stats(&self) -> EngineStats {
        let device = self.disk.rows();
        let memory_bytes = device.log.bytes() + device.state.bytes();
        EngineStats {
            memory_bytes,
            wal_bytes: device.written_bytes,
            syncs: device.condition.syncs,
            free_bytes: device.condition.free_bytes(),
            ..EngineStats::default()
        }
    }

    fn into_view(self: Arc<Self>) -> Arc<dyn View> {
        self
    }
}

struct Snapshot {
    disk: Disk,
    epoch: u64,
    sequence: u64,
}

impl View for Snapshot {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let device = self.disk.rows();
        device.condition.alive(self.epoch)?;
        device.get(family, key, self.sequence)
    }

    fn scan(
        &self,
        family: Family,
        range: KeyRange,
        order: Order,
        limit: ScanLimit,
    ) -> Result<Vec<Row>, Error> {
        let device = self.disk.rows();
        device.condition.alive(self.epoch)?;
        device.scan(family, &range, order, limit, self.sequence)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let mut device = self.disk.rows();
        if device.condition.epoch != self.epoch {
            return;
        }
        if let Some(count) = device.snapshots.get_mut(&self.sequence) {
            *count -= 1;
            if *count == 0 {
                device.snapshots.remove(&self.sequence);
                device.forget();
            }
        }
    }
}

/// Looks at a disk beside its engine.
pub(super) struct Look(pub(super) Disk);

impl View for Look {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.0.rows().get(family, key, u64::MAX)
    }

    fn scan(
        &self,
        family: Family,
        range: KeyRange,
        order: Order,
        limit: ScanLimit,
    ) -> Result<Vec<Row>, Error> {
        self.0.rows().scan(family, &range, order, limit, u64::MAX)
    }
}
