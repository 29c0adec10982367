//! Messages that take long, overtake each other or get lost, and nodes that are slow.

use std::time::Duration;

use rand::Rng as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

use super::{Fault, Kind, PLAIN, victim};
use crate::cluster::{Cluster, host};

/// Messages take long.
pub const LATENCY: Kind = Kind {
    name: "latency-spike",
    about: "messages of a node take up to a second",
    make: |rng| Box::new(Delay { rng, node: 0, max_ms: 1_000 }),
    ..PLAIN
};

/// Messages on different connections overtake each other.
pub const REORDER: Kind = Kind {
    name: "reordering",
    about: "messages of a node take between half a millisecond and 150",
    make: |rng| Box::new(Delay { rng, node: 0, max_ms: 150 }),
    ..PLAIN
};

struct Delay {
    rng: SmallRng,
    node: u32,
    max_ms: u64,
}

impl Fault for Delay {
    fn begin(&mut self, cluster: &mut Cluster, number: usize) -> Result<String, String> {
        self.node = victim(cluster, &mut self.rng)?;
        cluster.impair(self.node, number);
        let max = self.rng.random_range(self.max_ms / 4..self.max_ms);
        let (name, others) = (host(self.node), cluster.others(self.node));
        cluster.set_latency(&name, &others, Duration::from_millis(max));
        Ok(format!("{name}, up to {max} ms"))
    }

    fn end(&mut self, cluster: &mut Cluster, _: usize) {
        let (name, others) = (host(self.node), cluster.others(self.node));
        let latency = cluster.shape.latency_max;
        cluster.set_latency(&name, &others, latency);
    }
}

/// Messages get lost, and their connections with them.
pub const LOSS: Kind = Kind {
    name: "loss",
    about: "some messages of a node are lost, which breaks their connections",
    make: |rng| Box::new(Loss { rng, node: 0 }),
    ..PLAIN
};

struct Loss {
    rng: SmallRng,
    node: u32,
}

impl Fault for Loss {
    fn begin(&mut self, cluster: &mut Cluster, number: usize) -> Result<String, String> {
        self.node = victim(cluster, &mut self.rng)?;
        cluster.impair(self.node, number);
        let share = *[0.001, 0.01, 0.05].choose(&mut self.rng).expect("it isn't empty");
        let (name, others) = (host(self.node), cluster.others(self.node));
        cluster.set_loss(&name, &others, share);
        Ok(format!("{name}, {share} of all messages"))
    }

    fn end(&mut self, cluster: &mut Cluster, _: usize) {
        let (name, others) = (host(self.node), cluster.others(self.node));
        cluster.set_loss(&name, &others, 0.0);
    }
}

/// A node is slow in everything.
pub const SLOW_NODE: Kind = Kind {
    name: "slow-node",
    about: "a node's network and disk are slow",
    make: |rng| Box::new(Slow { rng, node: 0 }),
    ..PLAIN
};

struct Slow {
    rng: SmallRng,
    node: u32,
}

impl Fault for Slow {
    fn begin(&mut self, cluster: &mut Cluster, number: usize) -> Result<String, String> {
        self.node = victim(cluster, &mut self.rng)?;
        cluster.impair(self.node, number);
        let (network, disk) = (self.rng.random_range(20..200), self.rng.random_range(20..400));
        let (name, others) = (host(self.node), cluster.others(self.node));
        cluster.set_latency(&name, &others, Duration::from_millis(network));
        cluster.nodes[&self.node].set_sync_ms(disk);
        Ok(format!("{name}, messages up to {network} ms, syncs {disk} ms"))
    }

    fn end(&mut self, cluster: &mut Cluster, _: usize) {
        let (name, others) = (host(self.node), cluster.others(self.node));
        let (latency, sync) = (cluster.shape.latency_max, cluster.shape.sync_ms);
        cluster.set_latency(&name, &others, latency);
        cluster.nodes[&self.node].set_sync_ms(sync);
    }
}
