//! What goes wrong, one file for each family of faults.
//!
//! The seed decides when which kind of fault begins; what it hits is decided when it begins, by
//! random numbers of its own, so that leaving one out changes no other. A fault that would put more
//! nodes out of order than the cluster may survive is left out, and says so in the trace.

mod clocks;
mod crash;
mod damage;
mod delay;
mod disks;
mod flap;
mod members;
mod partition;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::cluster::Cluster;
use crate::entropy::fork;
use crate::history::Ms;
use crate::profile::Shape;
use crate::report::PlannedFault;

/// A fault, from its beginning to its end.
pub trait Fault {
    /// It begins, if it may. Says what exactly happens; or why nothing does, and then it may be
    /// tried again until it is over.
    ///
    /// # Errors
    /// Why it can't begin now.
    fn begin(&mut self, cluster: &mut Cluster, number: usize) -> Result<String, String>;

    /// A millisecond has passed while it lasts.
    fn tick(&mut self, _: &mut Cluster, _: usize) {}

    /// It is over.
    fn end(&mut self, _: &mut Cluster, _: usize) {}
}

/// A kind of fault.
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// What happens.
    pub about: &'static str,
    /// A replica loses what it has promised to keep.
    pub damages: bool,
    /// It is about disks.
    pub disk: bool,
    /// It is about who is a member, and what is where.
    pub membership: bool,
    /// It lasts between so many milliseconds ...
    pub lasts: (u64, u64),
    /// One of them, with random numbers of its own.
    pub make: fn(SmallRng) -> Box<dyn Fault>,
}

/// All kinds.
pub const KINDS: &[Kind] = &[
    partition::ISOLATE,
    partition::SPLIT,
    partition::ONE_WAY,
    flap::FLAP,
    delay::LATENCY,
    delay::REORDER,
    delay::LOSS,
    delay::SLOW_NODE,
    crash::CRASH,
    crash::POWER_LOSS,
    crash::TORN_WRITE,
    crash::CRASH_IN_SNAPSHOT,
    crash::CLUSTER_POWER_LOSS,
    disks::FULL,
    disks::SLOW_DISK,
    disks::SYNC_ERROR,
    damage::BIT_FLIP,
    damage::LOST_DISK,
    clocks::JUMP,
    clocks::DRIFT,
    members::ADD_NODE,
    members::REMOVE_NODE,
    members::MOVE_SHARD,
    members::TRANSFER,
];

/// Most kinds are none of these.
const PLAIN: Kind = Kind {
    name: "",
    about: "",
    damages: false,
    disk: false,
    membership: false,
    lasts: (500, 6_000),
    make: |_| unreachable!("every kind says how it is made"),
};

struct Scheduled {
    planned: PlannedFault,
    fault: Box<dyn Fault>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    Lasts,
    Over,
}

/// Who makes faults happen when their time has come.
pub struct Nemesis {
    scheduled: Vec<Scheduled>,
}

impl Nemesis {
    /// The faults that a seed has decided on, between two times, without those that are dropped.
    #[must_use]
    pub fn new(shape: &Shape, from: Ms, dropped: &[usize]) -> Self {
        let mut rng = SmallRng::seed_from_u64(fork(shape.seed, "nemesis"));
        let mut scheduled = Vec::new();
        let kinds: Vec<&Kind> =
            KINDS.iter().filter(|kind| shape.kinds.contains(&kind.name)).collect();
        let mut at = from;
        let end = from + shape.work_ms;
        let mut number = 0;
        while let Some(kind) = kinds.choose(&mut rng) {
            at += rng.random_range(shape.fault_every_ms / 4..shape.fault_every_ms * 7 / 4);
            if at >= end {
                break;
            }
            let until = (at + rng.random_range(kind.lasts.0..=kind.lasts.1)).min(end);
            if !dropped.contains(&number) {
                let own = fork(shape.seed, &format!("fault {number}"));
                let (name, detail) = (kind.name.to_owned(), kind.about.to_owned());
                scheduled.push(Scheduled {
                    planned: PlannedFault { number, at, until, name, detail },
                    fault: (kind.make)(SmallRng::seed_from_u64(own)),
                    state: State::Waits,
                });
            }
            number += 1;
        }
        Self { scheduled }
    }

    /// What is planned; what has happened already says exactly what.
    #[must_use]
    pub fn plan(&self) -> Vec<PlannedFault> {
        self.scheduled.iter().map(|scheduled| scheduled.planned.clone()).collect()
    }

    /// It is so late now.
    pub fn tick(&mut self, cluster: &mut Cluster) {
        let now = cluster.now();
        for scheduled in &mut self.scheduled {
            let planned = &mut scheduled.planned;
            let number = planned.number;
            if scheduled.state == State::Waits && now >= planned.at {
                match scheduled.fault.begin(cluster, number) {
                    Ok(detail) => {
                        cluster.note(Some(number), &planned.name, &detail);
                        planned.detail = detail;
                        scheduled.state = State::Lasts;
                    }
                    Err(why) if now >= planned.until => {
                        let name = format!("{} left out", planned.name);
                        cluster.note(Some(number), &name, &why);
                        planned.detail = format!("left out: {why}");
                        scheduled.state = State::Over;
                    }
                    Err(_) => {}
                }
            }
            if scheduled.state == State::Lasts {
                if now >= planned.until {
                    scheduled.fault.end(cluster, number);
                    cluster.recover(number);
                    cluster.note(Some(number), &format!("{} over", planned.name), "");
                    scheduled.state = State::Over;
                } else {
                    scheduled.fault.tick(cluster, number);
                }
            }
        }
    }

    /// Whether none is left.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.scheduled.iter().all(|scheduled| scheduled.state == State::Over)
    }
}

/// A node that may be put out of order for a fault.
fn victim(cluster: &Cluster, rng: &mut SmallRng) -> Result<u32, String> {
    let up: Vec<u32> = cluster.up().collect();
    let node = *up.choose(rng).ok_or("no node is up")?;
    // Half of the time the one that leads something: there is more to lose.
    let shard = rng.random_range(0..=cluster.shape.cluster.shards);
    let node = if rng.random_bool(0.5) { cluster.leader(shard).unwrap_or(node) } else { node };
    if cluster.may_impair(node) {
        Ok(node)
    } else {
        Err("too many nodes would be out of order".to_owned())
    }
}
