//! What makes a disk in memory fail.

use std::time::Duration;

use bytes::Bytes;

use super::Disk;
use crate::engine::{Family, KeyRange};
use crate::payload::PayloadLocation;

/// Which of the two stores of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The engine's rows.
    Rows,
    /// The payloads.
    Payloads,
}

/// How many writes that were not synced survive a crash, counted from the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Batches of rows.
    pub writes: usize,
    /// Calls that appended payloads.
    pub appends: usize,
}

impl Keep {
    /// All that was not synced is lost.
    pub const SYNCED: Self = Self { writes: 0, appends: 0 };
    /// Only the process died.
    pub const ALL: Self = Self { writes: usize::MAX, appends: usize::MAX };
}

#[derive(Debug, Default)]
pub(super) struct Switches {
    pub fail_sync: bool,
    pub full: bool,
    pub lie: bool,
    pub delay: Duration,
}

/// Makes a disk fail. Clones are of the same disk. Switches stay as they are over crashes.
#[derive(Debug, Clone)]
pub struct Faults {
    disk: Disk,
}

impl Faults {
    pub(super) fn new(disk: Disk) -> Self {
        Self { disk }
    }

    fn switch(&self, device: Device, change: impl FnOnce(&mut Switches)) {
        match device {
            Device::Rows => change(&mut self.disk.rows().condition.switches),
            Device::Payloads => change(&mut self.disk.payloads().condition.switches),
        }
    }

    /// The machine stops. What was synced and `keep` of what was written later remains; handles
    /// of before refuse everything with [`Error::Stopped`](crate::Error::Stopped).
    pub fn crash(&self, keep: Keep) {
        self.disk.rows().crash(keep.writes);
        self.disk.payloads().crash(keep.appends);
    }

    /// [`crash`](Self::crash) that keeps as much as a number says: the same one each time.
    /// Returns what was kept.
    pub fn crash_seeded(&self, seed: u64) -> Keep {
        let unsynced = self.unsynced();
        let pick = |salt: u64, of: usize| {
            let number = mix(seed ^ salt) % (of as u64 + 1);
            usize::try_from(number).expect("it is not more than a usize")
        };
        let keep = Keep {
            writes: pick(0x57_72, unsynced.writes),
            appends: pick(0x41_70, unsynced.appends),
        };
        self.crash(keep);
        keep
    }

    /// How many writes are not synced.
    #[must_use]
    pub fn unsynced(&self) -> Keep {
        Keep { writes: self.disk.rows().unsynced(), appends: self.disk.payloads().unsynced() }
    }

    /// The next sync fails and poisons its store. What was not synced is lost when the store is
    /// opened anew.
    pub fn fail_next_sync(&self, device: Device) {
        self.switch(device, |switches| switches.fail_sync = true);
    }

    /// The disk has no space, or has some again. Batches that only delete are still taken.
    pub fn set_full(&self, device: Device, full: bool) {
        self.switch(device, |switches| switches.full = full);
    }

    /// Syncs succeed and do nothing, or are honest again.
    pub fn set_lying_sync(&self, device: Device, lie: bool) {
        self.switch(device, |switches| switches.lie = lie);
    }

    /// Syncs take effect, and return, so much later, by tokio's clock.
    pub fn set_sync_delay(&self, device: Device, delay: Duration) {
        self.switch(device, |switches| switches.delay = delay);
    }

    /// Damages a row: reads of it fail until it is written again.
    pub fn corrupt_row(&self, family: Family, key: &[u8]) {
        self.disk.rows().corrupt(family, Bytes::copy_from_slice(key));
    }

    /// The keys of all rows of a family, in order: to choose one to damage.
    #[must_use]
    pub fn row_keys(&self, family: Family) -> Vec<Bytes> {
        let all = KeyRange::new(Vec::new(), vec![0xff; 64]);
        self.disk.rows().keys(family, &all)
    }

    /// The payloads that are stored, in order: to choose one to damage.
    #[must_use]
    pub fn payload_locations(&self) -> Vec<PayloadLocation> {
        self.disk.payloads().locations()
    }

    /// Flips a bit of a stored payload. Returns false where there is none, or an empty one.
    pub fn corrupt_payload(&self, location: PayloadLocation) -> bool {
        self.disk.payloads().corrupt(location)
    }
}

/// Spreads a number over all 64 bits (the finalizer of SplitMix64).
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
