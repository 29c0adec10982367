//! Reads a backlog from the first record to the last.

use std::time::Instant;

use clap::Args;
use kontiki_client::{Consumer, ConsumerOptions, Position};
use kontiki_figures::{Cost, Latencies};

use super::BenchArgs;
use super::produce::{Load, TOPIC};
use super::report::Report;

/// Options of `bench consume`.
#[derive(Debug, Clone, Default, Args)]
pub struct ConsumeArgs {
    /// Records of the backlog.
    #[arg(long)]
    records: Option<u64>,
}

/// Produces a backlog, then measures reading it.
pub async fn run(args: &BenchArgs, own: &ConsumeArgs) -> anyhow::Result<Report> {
    let records = args.records(own.records, 250_000, 1_500_000);
    let cluster = args.cluster().await?;
    let client = cluster.client()?;
    cluster.topic(&client, TOPIC, 1).await?;
    let mut load = Load::start(&client, 1, args.record_bytes, None).await?;
    load.send(records, 8_192, &mut Latencies::default()).await?;
    drop(load);
    let mut consumer = client.consumer(ConsumerOptions::default())?;
    let (cluster_before, client_before) = (cluster.cost(), Cost::own());
    let begun = Instant::now();
    consumer.assign(TOPIC, 0, Position::Earliest).await?;
    let read = read_all(&mut consumer, records).await?;
    let elapsed = begun.elapsed().as_secs_f64();
    let spent = cluster.cost().since(cluster_before);
    let client_spent = Cost::own().since(client_before);
    let mut report = Report::new("consume", args.nodes, args.record_bytes);
    report.rate(read, elapsed);
    report.costs(read, spent, client_spent);
    Ok(report)
}

async fn read_all(consumer: &mut Consumer, records: u64) -> anyhow::Result<u64> {
    let mut read = 0;
    while read < records {
        let fetched = consumer.next().await?;
        for record in &fetched.records {
            anyhow::ensure!(record.offset == read, "offset {} after {read}", record.offset);
            read += 1;
        }
    }
    Ok(read)
}
