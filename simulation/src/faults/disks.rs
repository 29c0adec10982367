//! Disks that are full, slow, or fail to sync.

use rand::Rng as _;
use rand::rngs::SmallRng;

use kontiki_storage::memory::Device;

use super::{Fault, Kind, PLAIN, victim};
use crate::cluster::{Cluster, host};

/// A disk has no space.
pub const FULL: Kind = Kind {
    name: "disk-full",
    about: "a node's disk has no space for a while",
    disk: true,
    make: |rng| Box::new(Full { rng, node: 0 }),
    ..PLAIN
};

struct Full {
    rng: SmallRng,
    node: u32,
}

impl Fault for Full {
    fn begin(&mut self, cluster: &mut Cluster, number: usize) -> Result<String, String> {
        self.node = victim(cluster, &mut self.rng)?;
        cluster.impair(self.node, number);
        set_full(cluster, self.node, true);
        Ok(host(self.node))
    }

    fn end(&mut self, cluster: &mut Cluster, _: usize) {
        set_full(cluster, self.node, false);
    }
}

fn set_full(cluster: &Cluster, node: u32, full: bool) {
    let faults = cluster.nodes[&node].disk().faults();
    faults.set_full(Device::Rows, full);
    faults.set_full(Device::Payloads, full);
}

/// A disk is slow.
pub const SLOW_DISK: Kind = Kind {
    name: "slow-disk",
    about: "syncs of a node's disk take up to three seconds",
    disk: true,
    make: |rng| Box::new(SlowDisk { rng, node: 0 }),
    ..PLAIN
};

struct SlowDisk {
    rng: SmallRng,
    node: u32,
}

impl Fault for SlowDisk {
    fn begin(&mut self, cluster: &mut Cluster, number: usize) -> Result<String, String> {
        self.node = victim(cluster, &mut self.rng)?;
        cluster.impair(self.node, number);
        let ms = self.rng.random_range(100..3_000);
        cluster.nodes[&self.node].set_sync_ms(ms);
        Ok(format!("{}, {ms} ms", host(self.node)))
    }

    fn end(&mut self, cluster: &mut Cluster, _: usize) {
        let ms = cluster.shape.sync_ms;
        cluster.nodes[&self.node].set_sync_ms(ms);
    }
}

/// A sync fails: the node has to end, and what was not synced is lost.
pub const SYNC_ERROR: Kind = Kind {
    name: "sync-error",
    about: "a sync of a node's disk fails, and loses what it should have kept",
    disk: true,
    lasts: (500, 2_000),
    make: |rng| Box::new(SyncError { rng }),
    ..PLAIN
};

struct SyncError {
    rng: SmallRng,
}

impl Fault for SyncError {
    fn begin(&mut self, cluster: &mut Cluster, number: usize) -> Result<String, String> {
        let node = victim(cluster, &mut self.rng)?;
        cluster.impair(node, number);
        let device = if self.rng.random_bool(0.5) { Device::Rows } else { Device::Payloads };
        cluster.nodes[&node].disk().faults().fail_next_sync(device);
        Ok(format!("{}, {device:?}", host(node)))
    }
}
