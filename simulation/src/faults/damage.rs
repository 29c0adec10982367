//! Disks that lose what was promised to be on them. One node at a time, and only while the others
//! are whole: what two of three replicas have lost, no cluster brings back.

use rand::Rng as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

use kontiki_storage::Family;

use super::{Fault, Kind, PLAIN, victim};
use crate::cluster::{Cluster, Ending, host};

/// Bits change on a disk.
pub const BIT_FLIP: Kind = Kind {
    name: "bit-flip",
    about: "stored records or rows of a node are damaged",
    damages: true,
    disk: true,
    lasts: (3_000, 8_000),
    make: |rng| Box::new(BitFlip { rng }),
    ..PLAIN
};

struct BitFlip {
    rng: SmallRng,
}

impl Fault for BitFlip {
    fn begin(&mut self, cluster: &mut Cluster, _: usize) -> Result<String, String> {
        whole(cluster)?;
        // Damage may lie there unnoticed: always the same node, so that others have it all.
        let node = match cluster.flipped.first() {
            Some(node) => *node,
            None => victim(cluster, &mut self.rng)?,
        };
        if !cluster.up().any(|up| up == node) {
            return Err("the node whose bits flip is not up".to_owned());
        }
        let faults = cluster.nodes[&node].disk().faults();
        let what = if self.rng.random_bool(0.5) {
            let locations = faults.payload_locations();
            let Some(location) = locations.choose(&mut self.rng) else {
                return Err("no payload is stored".to_owned());
            };
            if !faults.corrupt_payload(*location) {
                return Err("an empty payload".to_owned());
            }
            format!("payload {location:?}")
        } else {
            let family = if self.rng.random_bool(0.5) { Family::Log } else { Family::State };
            let mut keys = faults.row_keys(family);
            // What belongs to the node and not to a shard can't be rebuilt by the others.
            keys.retain(|key| kontiki_raft::inspect::is_of_a_replica(key));
            let Some(key) = keys.choose(&mut self.rng) else {
                return Err("no row is stored".to_owned());
            };
            faults.corrupt_row(family, key);
            format!("{family:?} row {}", key.escape_ascii())
        };
        cluster.flipped.insert(node);
        Ok(format!("{}, {what}", host(node)))
    }
}

/// A disk is gone.
pub const LOST_DISK: Kind = Kind {
    name: "lost-disk",
    about: "a node loses power, and comes back with an empty disk",
    damages: true,
    disk: true,
    lasts: (500, 4_000),
    make: |rng| Box::new(LostDisk { rng, node: 0 }),
    ..PLAIN
};

struct LostDisk {
    rng: SmallRng,
    node: u32,
}

impl Fault for LostDisk {
    fn begin(&mut self, cluster: &mut Cluster, number: usize) -> Result<String, String> {
        whole(cluster)?;
        let node = victim(cluster, &mut self.rng)?;
        if cluster.flipped.iter().any(|flipped| *flipped != node) {
            return Err("another node may be damaged".to_owned());
        }
        self.node = node;
        cluster.impair(node, number);
        cluster.damaged.insert(node);
        cluster.end(node, Ending::DiskLost);
        cluster.flipped.remove(&node);
        Ok(host(node))
    }

    fn end(&mut self, cluster: &mut Cluster, _: usize) {
        cluster.start(self.node);
    }
}

fn whole(cluster: &Cluster) -> Result<(), String> {
    if !cluster.damaged.is_empty() {
        return Err("a node is being rebuilt".to_owned());
    }
    match cluster.ailments(0).into_iter().next() {
        Some(why) => Err(why),
        None => Ok(()),
    }
}
