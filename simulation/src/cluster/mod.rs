//! A cluster in one thread: its nodes, what connects them, and what can be done to them between two
//! moments of simulated time.
//!
//! `node` is one node, `net` its connections, `clock` its clock, `operator` the person who adds and
//! removes nodes, `links` what is cut between them, `health` whether everything is as it should be,
//! `dump` what is on the disks, `logs` what the nodes log.

mod clock;
mod dump;
mod health;
mod links;
mod logs;
mod net;
mod node;
mod operator;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use kontiki_storage::memory::Keep;
use turmoil::Sim;

pub use self::logs::capture as capture_logs;
pub use self::net::Connector;
pub use self::node::{CLIENT_PORT, Node, PEER_PORT, Probes, host};
pub use self::operator::{Operator, Order};
use crate::entropy::{EPOCH_S, fork};
use crate::history::Ms;
use crate::profile::Shape;
use crate::trace::{Event, Trace};

/// One step of simulated time.
pub const TICK: Duration = Duration::from_millis(1);

/// Entries that a replica may be behind at a moment at which others write.
pub const LAG_MAX: u64 = 100;

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It is killed; what it has written is there, and its connections are closed.
    Killed,
    /// The machine loses power: what was not synced may be lost, and peers hear nothing.
    PowerLoss {
        /// Decides how much of what wasn't synced survives.
        seed: u64,
    },
    /// As a power loss, in the middle of the last write: that one is lost, what was before isn't.
    TornWrite,
    /// As a power loss; and the disk is gone.
    DiskLost,
}

/// The cluster, and the world that it is in.
pub struct Cluster {
    /// What the seed has decided.
    pub shape: Arc<Shape>,
    /// Everything that happens.
    pub trace: Trace,
    /// What replicas did.
    pub probes: Probes,
    /// All nodes that ever were.
    pub nodes: BTreeMap<u32, Arc<Node>>,
    /// What happened how often.
    pub seen: BTreeMap<String, u64>,
    /// Who adds and removes nodes.
    pub operator: Operator,
    /// Nodes that have been removed for good.
    pub removed: BTreeSet<u32>,
    /// Nodes that are out of order, by the numbers of the faults that they are out of order for.
    impaired: BTreeMap<u32, BTreeSet<usize>>,
    /// Nodes that have lost data, until the cluster is whole again.
    pub damaged: BTreeSet<u32>,
    /// Nodes with bits flipped on their disks: what they have there can't be compared.
    pub flipped: BTreeSet<u32>,
    links: links::Links,
    sim: Sim<'static>,
    down: BTreeMap<u32, Ms>,
    clients: Vec<String>,
}

impl Cluster {
    /// Nodes that have just been started.
    #[must_use]
    pub fn new(shape: Shape, trace: Trace) -> Self {
        let shape = Arc::new(shape);
        let sim = turmoil::Builder::new()
            .rng_seed(fork(shape.seed, "network"))
            .epoch(UNIX_EPOCH + Duration::from_secs(EPOCH_S))
            .simulation_duration(Duration::from_secs(100_000))
            .tick_duration(TICK)
            .tcp_capacity(65_536)
            .enable_random_order()
            .min_message_latency(shape.latency_min)
            .max_message_latency(shape.latency_max)
            .build();
        let mut cluster = Self {
            operator: Operator::default(),
            probes: Probes::default(),
            nodes: BTreeMap::new(),
            seen: BTreeMap::new(),
            removed: BTreeSet::new(),
            impaired: BTreeMap::new(),
            damaged: BTreeSet::new(),
            flipped: BTreeSet::new(),
            links: links::Links::default(),
            down: BTreeMap::new(),
            clients: Vec::new(),
            sim,
            trace,
            shape,
        };
        for id in 1..=cluster.shape.nodes {
            cluster.add_node(id, true);
        }
        cluster
    }

    /// A new machine, which founds the cluster with others or wants to join it.
    pub fn add_node(&mut self, id: u32, founds: bool) {
        let node = Arc::new(Node::new(id, &self.shape, founds, &self.trace, &self.probes));
        self.nodes.insert(id, Arc::clone(&node));
        self.sim.host(host(id), move || Arc::clone(&node).live());
    }

    /// A client on a machine of its own.
    pub fn add_client(
        &mut self,
        name: &str,
        work: impl Future<Output = turmoil::Result> + 'static,
    ) {
        self.clients.push(name.to_owned());
        self.sim.client(name, work);
    }

    /// A millisecond passes. What a node wants for itself (to end) is done.
    ///
    /// # Errors
    /// A client failed.
    pub fn step(&mut self) -> Result<(), String> {
        let now = self.sim.elapsed() + TICK;
        crate::entropy::set_now(now);
        self.trace.set_now(u64::try_from(now.as_millis()).expect("a run is short"));
        self.sim.step().map_err(|error| error.to_string())?;
        let doomed: Vec<(u32, String)> =
            self.up().filter_map(|node| Some((node, self.nodes[&node].take_fate()?))).collect();
        for (node, why) in doomed {
            self.note(None, "node-ends", &format!("n{node}: {why}"));
            self.end(node, Ending::Killed);
            // Whoever runs it starts it again.
            self.down.insert(node, self.now() + 300);
        }
        let now = self.now();
        let due: Vec<u32> =
            self.down.iter().filter(|(_, at)| **at <= now).map(|(node, _)| *node).collect();
        for node in due {
            self.start(node);
        }
        Ok(())
    }

    /// Simulated milliseconds since the beginning.
    #[must_use]
    pub fn now(&self) -> Ms {
        self.trace.now()
    }

    /// Nodes that run.
    pub fn up(&self) -> impl Iterator<Item = u32> + '_ {
        let here = |node: &u32| !self.down.contains_key(node) && !self.removed.contains(node);
        self.nodes.keys().copied().filter(here)
    }

    /// Nodes that are members, or want to be.
    pub fn members(&self) -> impl Iterator<Item = u32> + '_ {
        self.nodes.keys().copied().filter(|node| !self.removed.contains(node))
    }

    /// Something is said of a fault, and counted.
    pub fn note(&mut self, number: Option<usize>, name: &str, detail: &str) {
        *self.seen.entry(name.to_owned()).or_default() += 1;
        let (name, detail) = (name.to_owned(), detail.to_owned());
        self.trace.add(Event::Fault { number, name, detail });
    }

    /// A node's process ends, until it is [started](Self::start).
    pub fn end(&mut self, id: u32, ending: Ending) {
        let name = host(id);
        let others: Vec<String> = self.others(id);
        let polite = ending == Ending::Killed;
        if !polite {
            self.silence(&name, &others, true);
        }
        self.nodes[&id].forget();
        self.sim.crash(name.as_str());
        let faults = self.nodes[&id].disk().faults();
        let unsynced = faults.unsynced();
        match ending {
            Ending::Killed => faults.crash(Keep::ALL),
            Ending::PowerLoss { seed } => drop(faults.crash_seeded(seed)),
            Ending::TornWrite => faults.crash(Keep {
                writes: unsynced.writes.saturating_sub(1),
                appends: unsynced.appends.saturating_sub(1),
            }),
            Ending::DiskLost => self.nodes[&id].replace_disk(),
        }
        if !polite && unsynced.writes > 0 {
            *self.seen.entry("unsynced writes lost".to_owned()).or_default() += 1;
        }
        if !polite {
            // What was under way to it or from it is lost; the machine itself is reachable.
            self.silence(&name, &others, false);
        }
        self.down.insert(id, Ms::MAX);
    }

    /// It is to be started at this time.
    pub fn start_at(&mut self, id: u32, at: Ms) {
        if let Some(when) = self.down.get_mut(&id) {
            *when = at;
        }
    }

    /// A node's process starts on what is on its disk.
    pub fn start(&mut self, id: u32) {
        if self.down.remove(&id).is_some() && !self.removed.contains(&id) {
            self.sim.bounce(host(id).as_str());
            self.note(None, "node-starts", &host(id));
        }
    }

    /// A node that was removed is switched off for good.
    pub fn retire(&mut self, id: u32) {
        if !self.down.contains_key(&id) {
            self.end(id, Ending::Killed);
        }
        self.removed.insert(id);
        self.damaged.remove(&id);
    }

    /// All hosts but one: nodes and clients.
    #[must_use]
    pub fn others(&self, id: u32) -> Vec<String> {
        let nodes = self.nodes.keys().filter(|node| **node != id).map(|node| host(*node));
        nodes.chain(self.clients.iter().cloned()).collect()
    }

    /// The simulated network.
    pub fn network(&mut self) -> &mut Sim<'static> {
        &mut self.sim
    }

    /// Whether one more node may be out of order.
    #[must_use]
    pub fn may_impair(&self, node: u32) -> bool {
        let impaired: BTreeSet<u32> =
            self.impaired.keys().copied().chain(self.damaged.iter().copied()).collect();
        impaired.contains(&node) || impaired.len() < self.shape.budget()
    }

    /// A node is out of order because of a fault.
    pub fn impair(&mut self, node: u32, fault: usize) {
        self.impaired.entry(node).or_default().insert(fault);
    }

    /// It isn't any more, because of this one.
    pub fn recover(&mut self, fault: usize) {
        self.impaired.retain(|_, faults| {
            faults.remove(&fault);
            !faults.is_empty()
        });
    }

    /// The node that leads a shard, if one says so.
    #[must_use]
    pub fn leader(&self, shard: u32) -> Option<u32> {
        self.up().find(|node| {
            let statuses = self.nodes[node].broker().map(|broker| broker.shard_statuses());
            statuses.is_some_and(|all| all.iter().any(|s| s.shard.0 == shard && s.ready))
        })
    }

    /// Everything is repaired: links, disks, clocks; nodes that are down are started.
    pub fn repair(&mut self) {
        self.repair_links();
        for node in self.nodes.values() {
            node.clock.correct();
            node.set_sync_ms(self.shape.sync_ms);
            let faults = node.disk().faults();
            for device in
                [kontiki_storage::memory::Device::Rows, kontiki_storage::memory::Device::Payloads]
            {
                faults.set_full(device, false);
            }
        }
        self.impaired.clear();
        for node in self.down.keys().copied().collect::<Vec<_>>() {
            self.start(node);
        }
    }
}
