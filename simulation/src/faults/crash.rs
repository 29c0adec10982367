//! Processes that are killed and machines that lose power, at the worst moment where there is one.

use rand::Rng as _;
use rand::rngs::SmallRng;

use super::{Fault, Kind, PLAIN, victim};
use crate::check::Deed;
use crate::cluster::{Cluster, Ending, host};

/// A process is killed; what it has written is there.
pub const CRASH: Kind = Kind {
    name: "crash",
    about: "a node's process is killed, and started again",
    make: |rng| Box::new(Crash { rng, how: How::Kill, node: 0, since: 0 }),
    ..PLAIN
};

/// A machine loses power while something isn't synced yet.
pub const POWER_LOSS: Kind = Kind {
    name: "power-loss",
    about: "a node's machine loses power: some of what was not synced is lost",
    make: |rng| Box::new(Crash { rng, how: How::Power, node: 0, since: 0 }),
    ..PLAIN
};

/// A machine loses power in the middle of a write.
pub const TORN_WRITE: Kind = Kind {
    name: "torn-write",
    about: "a node's machine loses power in the middle of its last write",
    make: |rng| Box::new(Crash { rng, how: How::Torn, node: 0, since: 0 }),
    ..PLAIN
};

/// A machine loses power just after it has taken a snapshot over.
pub const CRASH_IN_SNAPSHOT: Kind = Kind {
    name: "crash-in-snapshot",
    about: "a node's machine loses power when it has just installed a snapshot",
    lasts: (4_000, 10_000),
    make: |rng| Box::new(Crash { rng, how: How::InSnapshot, node: 0, since: 0 }),
    ..PLAIN
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Kill,
    Power,
    Torn,
    InSnapshot,
}

struct Crash {
    rng: SmallRng,
    how: How,
    node: u32,
    since: usize,
}

impl Crash {
    /// Whether the moment has come: something is at stake.
    fn is_moment(&mut self, cluster: &Cluster) -> bool {
        match self.how {
            How::Kill => true,
            How::Power | How::Torn => {
                let unsynced = cluster.nodes[&self.node].disk().faults().unsynced();
                unsynced.writes + unsynced.appends > 0
            }
            How::InSnapshot => {
                let probes = cluster.probes.lock().expect("no code panics under this lock");
                let new = &probes[self.since.min(probes.len())..];
                let installed = new.iter().rev().find_map(|probe| match probe.deed {
                    Deed::Installed { .. } => Some(probe.node),
                    Deed::Leads { .. } | Deed::Applied { .. } | Deed::Opened { .. } => None,
                });
                self.since = probes.len();
                if let Some(node) = installed {
                    self.node = node;
                }
                installed.is_some()
            }
        }
    }
}

impl Fault for Crash {
    fn begin(&mut self, cluster: &mut Cluster, number: usize) -> Result<String, String> {
        if self.node == 0 && self.how != How::InSnapshot {
            self.node = victim(cluster, &mut self.rng)?;
        }
        if self.how == How::InSnapshot && self.since == 0 {
            self.since = cluster.probes.lock().expect("no code panics under this lock").len();
        }
        if !self.is_moment(cluster) {
            return Err("nothing was at stake".to_owned());
        }
        let node = self.node;
        if !cluster.up().any(|up| up == node) || !cluster.may_impair(node) {
            self.node = 0;
            return Err("too many nodes would be out of order".to_owned());
        }
        cluster.impair(node, number);
        let ending = match self.how {
            How::Kill => Ending::Killed,
            How::Torn => Ending::TornWrite,
            How::Power | How::InSnapshot => Ending::PowerLoss { seed: self.rng.random() },
        };
        cluster.end(node, ending);
        Ok(host(node))
    }

    fn end(&mut self, cluster: &mut Cluster, _: usize) {
        cluster.start(self.node);
    }
}

/// All machines lose power at once.
pub const CLUSTER_POWER_LOSS: Kind = Kind {
    name: "cluster-power-loss",
    about: "all machines lose power at once, and come back one by one",
    lasts: (500, 3_000),
    make: |rng| Box::new(Blackout { rng, nodes: Vec::new() }),
    ..PLAIN
};

struct Blackout {
    rng: SmallRng,
    nodes: Vec<u32>,
}

impl Fault for Blackout {
    fn begin(&mut self, cluster: &mut Cluster, _: usize) -> Result<String, String> {
        self.nodes = cluster.up().collect();
        for node in self.nodes.clone() {
            cluster.end(node, Ending::PowerLoss { seed: self.rng.random() });
        }
        Ok(format!("{:?}", self.nodes))
    }

    fn end(&mut self, cluster: &mut Cluster, _: usize) {
        for node in self.nodes.clone() {
            let at = cluster.now() + self.rng.random_range(0..2_000);
            cluster.start_at(node, at);
        }
    }
}
