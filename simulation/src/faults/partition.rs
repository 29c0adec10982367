//! Hosts that don't hear of each other.

use rand::Rng as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;

use super::{Fault, Kind, PLAIN, victim};
use crate::cluster::{Cluster, host};

/// One node and all others don't hear of each other.
pub const ISOLATE: Kind = Kind {
    name: "partition",
    about: "one node is cut off from the others, and maybe from clients",
    make: |rng| Box::new(Isolate { rng }),
    ..PLAIN
};

struct Isolate {
    rng: SmallRng,
}

impl Fault for Isolate {
    fn begin(&mut self, cluster: &mut Cluster, number: usize) -> Result<String, String> {
        let node = victim(cluster, &mut self.rng)?;
        let from_clients = self.rng.random_bool(0.5);
        let name = host(node);
        cluster.impair(node, number);
        for other in others(cluster, node, from_clients) {
            cluster.cut(&name, &other, number);
            cluster.cut(&other, &name, number);
        }
        Ok(format!("{name} alone{}", if from_clients { ", without clients" } else { "" }))
    }

    fn end(&mut self, cluster: &mut Cluster, number: usize) {
        cluster.mend(number);
    }
}

/// Two halves of the nodes don't hear of each other.
pub const SPLIT: Kind = Kind {
    name: "split",
    about: "the nodes fall into two groups that don't hear of each other",
    make: |rng| Box::new(Split { rng }),
    ..PLAIN
};

struct Split {
    rng: SmallRng,
}

impl Fault for Split {
    fn begin(&mut self, cluster: &mut Cluster, number: usize) -> Result<String, String> {
        let mut nodes: Vec<u32> = cluster.members().collect();
        nodes.shuffle(&mut self.rng);
        let most = cluster.shape.budget().min(nodes.len() / 2).max(1);
        let (few, many) = nodes.split_at(self.rng.random_range(1..=most));
        if !few.iter().all(|node| cluster.may_impair(*node)) {
            return Err("too many nodes would be out of order".to_owned());
        }
        for one in few {
            cluster.impair(*one, number);
            for other in many {
                cluster.cut(&host(*one), &host(*other), number);
                cluster.cut(&host(*other), &host(*one), number);
            }
        }
        Ok(format!("{few:?} | {many:?}"))
    }

    fn end(&mut self, cluster: &mut Cluster, number: usize) {
        cluster.mend(number);
    }
}

/// Messages go in one direction only.
pub const ONE_WAY: Kind = Kind {
    name: "one-way-partition",
    about: "one node hears the others and isn't heard, or the other way round",
    make: |rng| Box::new(OneWay { rng }),
    ..PLAIN
};

struct OneWay {
    rng: SmallRng,
}

impl Fault for OneWay {
    fn begin(&mut self, cluster: &mut Cluster, number: usize) -> Result<String, String> {
        let node = victim(cluster, &mut self.rng)?;
        let (deaf, clients) = (self.rng.random_bool(0.5), self.rng.random_bool(0.5));
        let all = self.rng.random_bool(0.7);
        let name = host(node);
        cluster.impair(node, number);
        for other in others(cluster, node, clients) {
            if !all && self.rng.random_bool(0.5) {
                continue;
            }
            if deaf {
                cluster.cut(&other, &name, number);
            } else {
                cluster.cut(&name, &other, number);
            }
        }
        Ok(format!("{name} {}", if deaf { "hears nothing" } else { "is not heard" }))
    }

    fn end(&mut self, cluster: &mut Cluster, number: usize) {
        cluster.mend(number);
    }
}

fn others(cluster: &Cluster, node: u32, clients: bool) -> Vec<String> {
    let mut others = cluster.others(node);
    others.retain(|name| clients || name.starts_with('n'));
    others
}
