//! All nodes are killed with SIGKILL at once, as by a power cut, and started again on what they
//! have stored: how long until a record is acknowledged again.

use std::time::Instant;

use clap::Args;
use kontiki_figures::Latencies;

use super::BenchArgs;
use super::produce::{Load, TOPIC};
use super::report::Report;

/// Options of `bench restart`.
#[derive(Debug, Clone, Default, Args)]
pub struct RestartArgs {
    /// Records that are stored before.
    #[arg(long)]
    records: Option<u64>,
}

/// Produces, kills, starts. The one latency of the report is from the start to the first
/// acknowledgement.
pub async fn run(args: &BenchArgs, own: &RestartArgs) -> anyhow::Result<Report> {
    let records = args.records(own.records, 250_000, 1_000_000);
    let mut cluster = args.cluster().await?;
    let client = cluster.client()?;
    cluster.topic(&client, TOPIC, 1).await?;
    let mut load = Load::start(&client, 1, args.record_bytes, None).await?;
    load.send(records, 8_192, &mut Latencies::default()).await?;
    drop(load);
    cluster.kill_all()?;
    let begun = Instant::now();
    cluster.start_again().await?;
    let client = cluster.client()?;
    let mut load = Load::start(&client, 1, args.record_bytes, None).await?;
    load.send(1, 1, &mut Latencies::default()).await?;
    let mut latencies = Latencies::default();
    latencies.note(begun.elapsed());
    let mib = (records * args.record_bytes as u64) >> 20;
    let name = format!("restart after {mib} MiB");
    let mut report = Report::new(name, args.nodes, args.record_bytes);
    report.latencies(&latencies);
    report.rss_mb_max = Some(cluster.cost().rss_bytes as f64 / f64::from(1 << 20));
    Ok(report)
}
