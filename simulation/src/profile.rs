//! What a seed decides before anything happens: the size of the cluster, its settings, its network
//! and disks, and which kinds of faults there may be.

use std::time::Duration;

use clap::ValueEnum;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::entropy::fork;
use crate::faults::KINDS;
use crate::workload::{Kind as Work, Side};

/// How much goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// Nothing.
    Calm,
    /// Every kind of fault now and then, never more than the cluster may survive.
    Default,
    /// Faults of network and processes all the time, and more than the cluster can work through:
    /// it may stand still, but must lose nothing.
    Nemesis,
    /// Disks: lost writes, full ones, failing and lying ones, lost ones.
    Disk,
    /// Nodes come and go, shards and leaderships move, while nodes crash.
    Membership,
    /// Some kinds of faults, chosen by the seed, as often as it says.
    Swarm,
}

impl Profile {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Default => "default",
            Self::Nemesis => "nemesis",
            Self::Disk => "disk",
            Self::Membership => "membership",
            Self::Swarm => "swarm",
        }
    }

    /// What it is for.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Calm => "nothing goes wrong",
            Self::Default => "every kind of fault, never more than a cluster may survive",
            Self::Nemesis => "more faults of network and processes than a cluster can work through",
            Self::Disk => "disks lose, damage and refuse data",
            Self::Membership => "nodes come and go, shards move, nodes crash meanwhile",
            Self::Swarm => "kinds of faults and rates chosen by the seed",
        }
    }

    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Calm, Self::Default, Self::Nemesis, Self::Disk, Self::Membership, Self::Swarm];
}

/// What a seed has decided.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The seed.
    pub seed: u64,
    /// The profile.
    pub profile: Profile,
    /// Nodes that found the cluster.
    pub nodes: u32,
    /// What the clients do.
    pub clients: Vec<Work>,
    /// Kinds of faults, by name.
    pub kinds: Vec<&'static str>,
    /// Mean time between faults.
    pub fault_every_ms: u64,
    /// How long faults and clients go on.
    pub work_ms: u64,
    /// Messages take between so long ...
    pub latency_min: Duration,
    /// ... and so long.
    pub latency_max: Duration,
    /// A sync of a disk takes so long.
    pub sync_ms: u64,
    /// Bytes of a payload segment.
    pub segment_bytes: u32,
    /// Of Raft.
    pub raft: kontiki_raft::Options,
    /// Of the broker.
    pub broker: kontiki_broker::Options,
    /// Of membership.
    pub cluster: kontiki_broker::cluster::Options,
}

impl Shape {
    /// What this seed decides.
    #[must_use]
    pub fn new(seed: u64, profile: Profile, nodes: Option<u32>, duration_ms: Option<u64>) -> Self {
        let mut rng = SmallRng::seed_from_u64(fork(seed, "shape"));
        let drawn = *[3, 3, 3, 5].choose(&mut rng).expect("it isn't empty");
        let nodes = nodes.unwrap_or(drawn);
        let kinds = kinds(profile, &mut rng);
        let latency_max = *[2, 4, 10, 30].choose(&mut rng).expect("it isn't empty");
        let fault_every_ms = match profile {
            Profile::Calm | Profile::Default => 4_000,
            Profile::Nemesis => 1_000,
            Profile::Disk | Profile::Membership => 3_000,
            Profile::Swarm => rng.random_range(1_500..8_000),
        };
        let clients = clients(seed, &mut rng);
        let has_streams = clients.contains(&Work::StreamWorker);
        Self {
            seed,
            profile,
            nodes,
            clients,
            kinds,
            fault_every_ms,
            work_ms: duration_ms.unwrap_or(30_000),
            latency_min: Duration::from_micros(500),
            latency_max: Duration::from_millis(latency_max),
            sync_ms: rng.random_range(1..=8),
            segment_bytes: *[128 << 10, 256 << 10, 1 << 20].choose(&mut rng).expect("not empty"),
            raft: raft(&mut rng),
            broker: broker(seed, has_streams, &mut rng),
            cluster: kontiki_broker::cluster::Options {
                shards: rng.random_range(1..=3),
                replication_factor: 3,
                check_ms: rng.random_range(100..=600),
                call_timeout_ms: 1_500,
                leader_return_ms: 3_000,
                leader_keep_ms: 8_000,
                leader_moves_max: 2,
            },
        }
    }

    /// How many nodes may be out of order at a time: as many as a group of three replicas survives.
    #[must_use]
    pub fn budget(&self) -> usize {
        match self.profile {
            Profile::Nemesis => self.nodes as usize,
            Profile::Calm
            | Profile::Default
            | Profile::Disk
            | Profile::Membership
            | Profile::Swarm => 1,
        }
    }
}

fn kinds(profile: Profile, rng: &mut SmallRng) -> Vec<&'static str> {
    let all = KINDS.iter().map(|kind| kind.name);
    match profile {
        Profile::Calm => Vec::new(),
        Profile::Default => all.collect(),
        Profile::Nemesis => KINDS.iter().filter(|kind| !kind.damages).map(|k| k.name).collect(),
        Profile::Disk => {
            let also = ["crash", "power-loss", "cluster-power-loss", "partition"];
            let of_disks = |kind: &&crate::faults::Kind| kind.disk || also.contains(&kind.name);
            KINDS.iter().filter(of_disks).map(|kind| kind.name).collect()
        }
        Profile::Membership => {
            let also = ["crash", "power-loss", "partition", "one-way-partition", "lost-disk"];
            let of_members =
                |kind: &&crate::faults::Kind| kind.membership || also.contains(&kind.name);
            KINDS.iter().filter(of_members).map(|kind| kind.name).collect()
        }
        Profile::Swarm => {
            let share = rng.random_range(0.2..0.8);
            let chosen: Vec<_> = all.filter(|_| rng.random_bool(share)).collect();
            if chosen.is_empty() { vec!["power-loss"] } else { chosen }
        }
    }
}

fn clients(seed: u64, rng: &mut SmallRng) -> Vec<Work> {
    let mut clients = vec![
        Work::IdempotentProducer,
        Work::IdempotentProducer,
        Work::TailingConsumer,
        Work::RewindingConsumer,
        Work::Prober,
        Work::QueueSender,
        Work::QueueWorker,
        Work::QueueWorker,
    ];
    let others = [
        Work::PlainProducer,
        Work::TopicChurn,
        Work::TopicChurn,
        Work::Retention,
        Work::RecordDeleter,
    ];
    clients.extend(others.into_iter().filter(|_| rng.random_bool(0.6)));
    // From a stream of their own and at the end, so that all others are as they were without them.
    let mut rng = SmallRng::seed_from_u64(fork(seed, "sides"));
    let sides = Side::ALL.into_iter().filter(|_| rng.random_bool(0.25));
    clients.extend(sides.flat_map(|side| side.clients().iter().copied()));
    clients
}

/// Small limits, so that what is rare elsewhere (a purged log, a snapshot, a full window) happens
/// all the time.
fn raft(rng: &mut SmallRng) -> kontiki_raft::Options {
    let heartbeat_ms = rng.random_range(50..=180);
    let election = heartbeat_ms * rng.random_range(3..=5);
    let mut pick = |values: &[u64]| *values.choose(rng).expect("it isn't empty");
    kontiki_raft::Options {
        heartbeat_ms,
        heartbeat_gather_ms: heartbeat_ms / 4,
        commit_gather_ms: heartbeat_ms / 8,
        election_timeout_ms_min: election,
        election_timeout_ms_max: election + heartbeat_ms,
        entry_bytes_max: pick(&[16 << 10, 256 << 10, 1 << 20]) as usize,
        entries_in_flight_max: pick(&[1, 2, 4]) as usize,
        append_bytes_max: pick(&[8 << 10, 64 << 10, 1 << 20]) as usize,
        append_window: pick(&[1, 4, 32]) as usize,
        append_timeout_ms: 1_000,
        log_entries_keep: pick(&[5, 50, 500]),
        log_bytes_keep: pick(&[64 << 10, 1 << 20]),
        snapshot_part_bytes: pick(&[4 << 10, 64 << 10]) as usize,
        tail_bytes_max: 1 << 20,
        ..kontiki_raft::Options::default()
    }
}

fn broker(seed: u64, has_streams: bool, rng: &mut SmallRng) -> kontiki_broker::Options {
    let mut options = kontiki_broker::Options::default();
    options.timers.retention_check_ms = rng.random_range(200..=1_000);
    options.timers.expiry_check_ms = 1_000;
    options.timers.topics_check_ms = rng.random_range(100..=500);
    options.route.timeout_ms = 8_000;
    options.route.open_timeout_ms = 500;
    if has_streams {
        let mut rng = SmallRng::seed_from_u64(fork(seed, "streams"));
        let sizes = [4 << 10, 8 << 10, 16 << 10];
        options.queues.receive_bytes_max = *sizes.choose(&mut rng).expect("it isn't empty");
    }
    options
}
