//! An engine and payload segments in memory, on a [`Disk`] that loses and damages data as real ones
//! do, when it is told to.
//!
//! The disk outlives the handles: after a [crash](Faults::crash) handles of before refuse
//! everything, and new ones that are opened on it find what a crash has left. At most one engine
//! and one payload store are in use at a time; opening one makes older handles of the same kind
//! stale. Nothing here is random or depends on time, except for syncs that were told to take some.

mod engine;
mod faults;
mod payloads;
mod rows;

use std::sync::{Arc, Mutex, MutexGuard};

pub use engine::MemoryEngine;
pub use faults::{Device, Faults, Keep};
pub use payloads::{MemoryPayloads, Options};

use crate::error::Error;

/// What survives a crash of one node. Clones are the same disk.
#[derive(Clone, Default)]
pub struct Disk {
    rows: Arc<Mutex<engine::RowsDevice>>,
    payloads: Arc<Mutex<payloads::PayloadsDevice>>,
}

impl Disk {
    /// An empty disk without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What makes it fail.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults::new(self.clone())
    }

    /// Looks at the rows as they are, synced or not, without making handles stale; also while a
    /// node has the disk open.
    #[must_use]
    pub fn look(&self) -> impl crate::engine::View + use<> {
        engine::Look(self.clone())
    }

    fn rows(&self) -> MutexGuard<'_, engine::RowsDevice> {
        self.rows.lock().expect("no code panics while it holds the rows")
    }

    fn payloads(&self) -> MutexGuard<'_, payloads::PayloadsDevice> {
        self.payloads.lock().expect("no code panics while it holds the payloads")
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").finish_non_exhaustive()
    }
}

/// What both devices have: which handle is the newest, and how they are told to fail.
#[derive(Debug, Default)]
struct Condition {
    /// Handles of other epochs are stale.
    epoch: u64,
    /// Why the newest handle is poisoned.
    poison: Option<String>,
    switches: faults::Switches,
    syncs: u64,
}

impl Condition {
    fn alive(&self, epoch: u64) -> Result<(), Error> {
        if self.epoch == epoch { Ok(()) } else { Err(Error::Stopped) }
    }

    fn writable(&self, epoch: u64) -> Result<(), Error> {
        self.alive(epoch)?;
        match &self.poison {
            Some(why) => Err(Error::Poisoned(why.clone())),
            None => Ok(()),
        }
    }

    fn space(&self, op: &'static str) -> Result<(), Error> {
        if self.switches.full { Err(Error::Full { op, free: 0, limit: 1 }) } else { Ok(()) }
    }

    fn free_bytes(&self) -> u64 {
        if self.switches.full { 0 } else { u64::MAX }
    }

    /// The end of a sync: whether it takes effect.
    fn synced(&mut self, epoch: u64, device: &str) -> Result<bool, Error> {
        self.writable(epoch)?;
        if std::mem::take(&mut self.switches.fail_sync) {
            let error = Error::io(
                format!("syncing the {device} in memory"),
                std::io::Error::other("it was told to fail"),
            );
            self.poison = Some(error.to_string());
            return Err(error);
        }
        self.syncs += 1;
        Ok(!self.switches.lie)
    }

    /// A new handle, and whether what was not synced is lost: after a failed sync it is.
    fn reopen(&mut self) -> (u64, bool) {
        self.epoch += 1;
        self.syncs = 0;
        (self.epoch, self.poison.take().is_some())
    }
}

#[cfg(test)]
mod memory_test;
