//! Nodes that come and go, shards and leaderships that move: what operators do, at bad times.

use rand::Rng as _;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};

use super::{Fault, Kind, PLAIN};
use crate::cluster::{CLIENT_PORT, Cluster, Order, PEER_PORT, host};

/// A node more is the most.
const NODES_MAX: usize = 7;
/// A node less is the least.
const NODES_MIN: usize = 3;

const MEMBERS: Kind = Kind { membership: true, lasts: (3_000, 6_000), ..PLAIN };

/// A node joins.
pub const ADD_NODE: Kind = Kind {
    name: "add-node",
    about: "a new node joins the cluster",
    make: |rng| Box::new(AddNode { rng }),
    ..MEMBERS
};

struct AddNode {
    rng: SmallRng,
}

impl Fault for AddNode {
    fn begin(&mut self, cluster: &mut Cluster, _: usize) -> Result<String, String> {
        free(cluster)?;
        if cluster.members().count() >= NODES_MAX {
            return Err(format!("there are {NODES_MAX} nodes already"));
        }
        let node = cluster.nodes.keys().last().map_or(1, |last| last + 1);
        cluster.add_node(node, false);
        if self.rng.random_bool(0.5) {
            let name = host(node);
            cluster.operator.order(Order::AddNode {
                node,
                client_address: format!("{name}:{CLIENT_PORT}"),
                peer_address: format!("{name}:{PEER_PORT}"),
            });
        }
        Ok(host(node))
    }
}

/// A node leaves; what is on it moves away first.
pub const REMOVE_NODE: Kind = Kind {
    name: "remove-node",
    about: "a node leaves the cluster; what is on it moves away first",
    make: |rng| Box::new(RemoveNode { rng }),
    ..MEMBERS
};

struct RemoveNode {
    rng: SmallRng,
}

impl Fault for RemoveNode {
    fn begin(&mut self, cluster: &mut Cluster, _: usize) -> Result<String, String> {
        free(cluster)?;
        let members: Vec<u32> = cluster.members().collect();
        if members.len() <= NODES_MIN {
            return Err(format!("there are no more than {NODES_MIN} nodes"));
        }
        let node = *members.choose(&mut self.rng).expect("it isn't empty");
        cluster.operator.order(Order::RemoveNode { node });
        Ok(host(node))
    }
}

/// A shard moves to other nodes.
pub const MOVE_SHARD: Kind = Kind {
    name: "move-shard",
    about: "a shard moves to other nodes, or all are spread anew",
    make: |rng| Box::new(MoveShard { rng }),
    ..MEMBERS
};

struct MoveShard {
    rng: SmallRng,
}

impl Fault for MoveShard {
    fn begin(&mut self, cluster: &mut Cluster, _: usize) -> Result<String, String> {
        free(cluster)?;
        if self.rng.random_bool(0.3) {
            cluster.operator.order(Order::Rebalance);
            return Ok("all shards are spread anew".to_owned());
        }
        let mut nodes: Vec<u32> = cluster.members().collect();
        nodes.shuffle(&mut self.rng);
        nodes.truncate(cluster.shape.cluster.replication_factor as usize);
        let shard = self.rng.random_range(0..=cluster.shape.cluster.shards);
        let detail = format!("shard {shard} to {nodes:?}");
        cluster.operator.order(Order::MoveShard { shard, nodes });
        Ok(detail)
    }
}

/// A leadership is handed over.
pub const TRANSFER: Kind = Kind {
    name: "transfer-leadership",
    about: "a shard's leadership is handed to another node",
    lasts: (500, 1_500),
    make: |rng| Box::new(Transfer { rng }),
    ..MEMBERS
};

struct Transfer {
    rng: SmallRng,
}

impl Fault for Transfer {
    fn begin(&mut self, cluster: &mut Cluster, _: usize) -> Result<String, String> {
        free(cluster)?;
        let nodes: Vec<u32> = cluster.members().collect();
        let to = *nodes.choose(&mut self.rng).ok_or("there is no node")?;
        let shard = self.rng.random_range(0..=cluster.shape.cluster.shards);
        cluster.operator.order(Order::Transfer { shard, to });
        Ok(format!("shard {shard} to n{to}"))
    }
}

fn free(cluster: &Cluster) -> Result<(), String> {
    if cluster.operator.is_busy() { Err("the operator is busy".to_owned()) } else { Ok(()) }
}
