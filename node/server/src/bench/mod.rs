//! `kontiki bench`: what this release does on this machine, as figures that can be compared within
//! one run.
//!
//! Each workload starts a cluster of its own processes on loopback and in a folder of its own, so
//! that it can count what the nodes cost: CPU seconds, bytes written, resident memory. Absolute
//! rates depend on the disk and on whatever else the machine does; the raw disk is measured in the
//! same run, to be divided by.

mod cluster;
mod consume;
mod disk;
mod e2e;
mod failover;
mod partitions;
#[cfg(feature = "peers")]
mod peers;
mod produce;
mod queue;
mod report;
mod restart;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use self::cluster::Cluster;
use self::report::{Report, Run};

/// Measure.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    workload: Workload,
    /// Nodes of the cluster that is measured.
    #[arg(long, global = true, default_value_t = 3)]
    nodes: u32,
    /// Where the cluster's data goes; a folder below it is made, and removed afterwards. What is
    /// measured is the disk that this is on.
    #[arg(long, global = true, default_value = ".")]
    dir: PathBuf,
    /// Another kontiki binary to measure instead of this one.
    #[arg(long, global = true)]
    binary: Option<PathBuf>,
    /// A kontiki binary to compare with: each of them is measured by turns, and the ratios of each
    /// turn are shown.
    #[arg(long, global = true, value_name = "OTHER_BINARY")]
    compare: Option<PathBuf>,
    /// How often; a figure is then the median, with the range. Default: 3 with --compare and for
    /// peers, otherwise 1.
    #[arg(long, global = true, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    repetitions: Option<u32>,
    /// Bytes of a record's value.
    #[arg(long, global = true, default_value_t = 1024)]
    record_bytes: usize,
    /// A run that takes seconds instead of a minute.
    #[arg(long, global = true)]
    short: bool,
    /// A configuration file for the nodes.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Clone, Subcommand)]
enum Workload {
    /// This disk alone: append and fdatasync, one writer, by size.
    Disk,
    /// Producing: one producer, every record acknowledged by a quorum that has synced it.
    Produce(produce::ProduceArgs),
    /// Reading a backlog from the first record to the last.
    Consume(consume::ConsumeArgs),
    /// From the producer to the consumer, at a steady rate.
    E2e(e2e::E2eArgs),
    /// A work queue: send, receive, acknowledge.
    Queue(queue::QueueArgs),
    /// Producing while the leader is killed with SIGKILL.
    Failover(failover::FailoverArgs),
    /// All nodes are killed at once and started again.
    Restart(restart::RestartArgs),
    /// Many topics that do nothing.
    Partitions(partitions::PartitionsArgs),
    /// The same work on RabbitMQ and NATS JetStream, three nodes each, by turns with ours: one
    /// table with ratios. Not part of `all`.
    #[cfg(feature = "peers")]
    Peers(kontiki_peers::PeersArgs),
    /// All of these, and one table.
    All,
}

/// Runs a workload and prints what came of it.
///
/// # Errors
/// The cluster doesn't start, or the disk can't be written.
pub async fn run(args: BenchArgs, json: bool) -> anyhow::Result<()> {
    #[cfg(feature = "peers")]
    if let Workload::Peers(own) = &args.workload {
        // It has a table of its own.
        anyhow::ensure!(
            args.compare.is_none(),
            "--compare is for our own workloads, not for peers"
        );
        return peers::run(&args, own, json).await;
    }
    let repetitions = args.repetitions();
    let mut systems = vec![args.clone()];
    systems.extend(args.compare.clone().map(|other| BenchArgs { binary: Some(other), ..args }));
    let mut runs = Vec::new();
    for repetition in 1..=repetitions {
        for (system, args) in systems.iter().enumerate() {
            for report in once(args).await? {
                let binary = args.binary()?.display().to_string();
                let run = Run { repetition, system, binary, report };
                if json {
                    println!("{}", serde_json::to_string(&run)?);
                }
                runs.push(run);
            }
        }
    }
    if !json {
        print!("{}", report::table(&runs));
    }
    Ok(())
}

async fn once(args: &BenchArgs) -> anyhow::Result<Vec<Report>> {
    Ok(match &args.workload {
        Workload::Disk => disk::run(&args.dir, args.short)?,
        Workload::Produce(own) => produce::run(args, own).await?,
        Workload::Consume(own) => vec![consume::run(args, own).await?],
        Workload::E2e(own) => vec![e2e::run(args, own).await?],
        Workload::Queue(own) => vec![queue::run(args, own).await?],
        Workload::Failover(own) => vec![failover::run(args, own).await?],
        Workload::Restart(own) => vec![restart::run(args, own).await?],
        Workload::Partitions(own) => vec![partitions::run(args, own).await?],
        #[cfg(feature = "peers")]
        Workload::Peers(_) => unreachable!("it is not one of ours"),
        Workload::All => all(args).await?,
    })
}

async fn all(args: &BenchArgs) -> anyhow::Result<Vec<Report>> {
    let mut reports = disk::run(&args.dir, args.short)?;
    let raw = disk::reference_mb_per_s(&reports);
    reports.extend(produce::run(args, &produce::ProduceArgs::default()).await?);
    reports.push(consume::run(args, &consume::ConsumeArgs::default()).await?);
    reports.push(e2e::run(args, &e2e::E2eArgs::default()).await?);
    reports.push(queue::run(args, &queue::QueueArgs::default()).await?);
    reports.push(failover::run(args, &failover::FailoverArgs::default()).await?);
    reports.push(restart::run(args, &restart::RestartArgs::default()).await?);
    reports.push(partitions::run(args, &partitions::PartitionsArgs::default()).await?);
    for report in &mut reports {
        report.raw_disk_mb_per_s = raw;
    }
    Ok(reports)
}

impl BenchArgs {
    async fn cluster(&self) -> anyhow::Result<Cluster> {
        Cluster::start(&self.binary()?, &self.dir, self.nodes, self.config.as_deref()).await
    }

    /// The binary that is measured.
    fn binary(&self) -> anyhow::Result<PathBuf> {
        match &self.binary {
            Some(binary) => Ok(binary.clone()),
            None => std::env::current_exe().context("where this binary is"),
        }
    }

    fn repetitions(&self) -> u32 {
        #[cfg(feature = "peers")]
        let is_compared = self.compare.is_some() || matches!(self.workload, Workload::Peers(_));
        #[cfg(not(feature = "peers"))]
        let is_compared = self.compare.is_some();
        self.repetitions.unwrap_or(if is_compared { 3 } else { 1 })
    }

    /// A number of records that takes seconds, or the better part of a minute.
    fn records(&self, asked: Option<u64>, short: u64, long: u64) -> u64 {
        asked.unwrap_or(if self.short { short } else { long })
    }
}
