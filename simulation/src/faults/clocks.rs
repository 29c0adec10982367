//! Clocks that are wrong. The clock of a node says what time records have and when they have
//! expired; leases and elections don't depend on it.

use rand::Rng as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

use super::{Fault, Kind, PLAIN};
use crate::cluster::{Cluster, host};

/// A clock jumps, forward or back, and stays so.
pub const JUMP: Kind = Kind {
    name: "clock-jump",
    about: "a node's clock jumps by up to an hour, forward or back",
    make: |rng| Box::new(Jump { rng }),
    ..PLAIN
};

struct Jump {
    rng: SmallRng,
}

impl Fault for Jump {
    fn begin(&mut self, cluster: &mut Cluster, _: usize) -> Result<String, String> {
        let node = any(cluster, &mut self.rng)?;
        let far = *[500, 5_000, 60_000, 3_600_000].choose(&mut self.rng).expect("not empty");
        let ms = self.rng.random_range(-far..far);
        cluster.nodes[&node].clock.jump(ms);
        Ok(format!("{}, {ms} ms", host(node)))
    }
}

/// A clock runs at another speed for a while.
pub const DRIFT: Kind = Kind {
    name: "clock-drift",
    about: "a node's clock runs up to a tenth faster or slower",
    make: |rng| Box::new(Drift { rng, node: 0 }),
    ..PLAIN
};

struct Drift {
    rng: SmallRng,
    node: u32,
}

impl Fault for Drift {
    fn begin(&mut self, cluster: &mut Cluster, _: usize) -> Result<String, String> {
        self.node = any(cluster, &mut self.rng)?;
        let ppm = self.rng.random_range(-100_000..100_000);
        cluster.nodes[&self.node].clock.drift(ppm);
        Ok(format!("{}, {ppm} millionths", host(self.node)))
    }

    fn end(&mut self, cluster: &mut Cluster, _: usize) {
        cluster.nodes[&self.node].clock.drift(0);
    }
}

fn any(cluster: &Cluster, rng: &mut SmallRng) -> Result<u32, String> {
    let nodes: Vec<u32> = cluster.members().collect();
    nodes.choose(rng).copied().ok_or_else(|| "there is no node".to_owned())
}
