//! Links that come and go.

use rand::Rng as _;
use rand::rngs::SmallRng;

use super::{Fault, Kind, PLAIN, victim};
use crate::cluster::{Cluster, host};
use crate::history::Ms;

/// A node's links are cut and mended, again and again.
pub const FLAP: Kind = Kind {
    name: "flapping-link",
    about: "the links of a node are cut and mended again and again",
    lasts: (2_000, 8_000),
    make: |rng| Box::new(Flap { rng, node: 0, cut: false, next: 0 }),
    ..PLAIN
};

struct Flap {
    rng: SmallRng,
    node: u32,
    cut: bool,
    next: Ms,
}

impl Fault for Flap {
    fn begin(&mut self, cluster: &mut Cluster, number: usize) -> Result<String, String> {
        self.node = victim(cluster, &mut self.rng)?;
        cluster.impair(self.node, number);
        self.tick(cluster, number);
        Ok(host(self.node))
    }

    fn tick(&mut self, cluster: &mut Cluster, number: usize) {
        if cluster.now() < self.next {
            return;
        }
        self.next = cluster.now() + self.rng.random_range(50..700);
        self.cut = !self.cut;
        cluster.mend(number);
        if self.cut {
            let name = host(self.node);
            for other in cluster.others(self.node) {
                if self.rng.random_bool(0.7) {
                    cluster.cut(&name, &other, number);
                    cluster.cut(&other, &name, number);
                }
            }
        }
    }

    fn end(&mut self, cluster: &mut Cluster, number: usize) {
        cluster.mend(number);
    }
}
