//! From the producer to the consumer, at a steady rate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut as _, BytesMut};
use clap::Args;
use kontiki_client::{ConsumerOptions, NewRecord, Position, ProducerOptions};
use kontiki_figures::{Cost, Latencies};

use super::BenchArgs;
use super::produce::{TOPIC, noise};
use super::report::Report;

/// Options of `bench e2e`.
#[derive(Debug, Clone, Args)]
pub struct E2eArgs {
    /// Records per second.
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// Seconds.
    #[arg(long)]
    seconds: Option<u64>,
}

impl Default for E2eArgs {
    fn default() -> Self {
        Self { rate: 5_000, seconds: None }
    }
}

/// Each value begins with the time at which it was due, so that a producer that falls behind
/// doesn't make the latencies look better than they are.
pub async fn run(args: &BenchArgs, own: &E2eArgs) -> anyhow::Result<Report> {
    let seconds = own.seconds.unwrap_or(if args.short { 5 } else { 30 });
    let records = own.rate * seconds;
    let cluster = args.cluster().await?;
    let client = cluster.client()?;
    cluster.topic(&client, TOPIC, 1).await?;
    let options = ProducerOptions { linger_ms: 0, ..Default::default() };
    let producer = client.producer(options).await?;
    let mut consumer = client.consumer(ConsumerOptions::default())?;
    consumer.assign(TOPIC, 0, Position::Earliest).await?;
    let (cluster_before, client_before) = (cluster.cost(), Cost::own());
    let epoch = Instant::now();
    let (topic, noise): (Arc<str>, _) = (TOPIC.into(), noise(args.record_bytes));
    let rate = own.rate;
    let sender = tokio::spawn(async move {
        for number in 0..records {
            let due = Duration::from_nanos(number * 1_000_000_000 / rate);
            if let Some(early) = due.checked_sub(epoch.elapsed()).filter(|e| e.as_micros() > 500) {
                tokio::time::sleep(early).await;
            }
            let mut value = BytesMut::with_capacity(noise.len().max(8));
            value.put_u64(u64::try_from(due.as_nanos()).unwrap_or(u64::MAX));
            value.extend_from_slice(noise.get(8..).unwrap_or_default());
            let record = NewRecord::new(Arc::clone(&topic), value.freeze()).partition(0);
            // That it is consumed says that it was stored.
            drop(producer.send(record).await?);
        }
        producer.flush().await
    });
    let mut latencies = Latencies::default();
    let mut read = 0;
    while read < records {
        for record in consumer.next().await?.records {
            let stamp = record.value.as_deref().and_then(|value| value.first_chunk::<8>());
            let due = stamp.map(|stamp| Duration::from_nanos(u64::from_be_bytes(*stamp)));
            if let Some(due) = due {
                latencies.note(epoch.elapsed().saturating_sub(due));
            }
            read += 1;
        }
    }
    let elapsed = epoch.elapsed().as_secs_f64();
    sender.await??;
    let spent = cluster.cost().since(cluster_before);
    let client_spent = Cost::own().since(client_before);
    let mut report = Report::new("e2e", args.nodes, args.record_bytes);
    report.rate(read, elapsed);
    report.latencies(&latencies);
    report.costs(read, spent, client_spent);
    Ok(report)
}
