//! One producer, a bounded number of records without an acknowledgement.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use clap::Args;
use kontiki_client::{Client, Delivery, NewRecord, Producer, ProducerOptions};
use kontiki_figures::{Cost, Latencies};

use super::BenchArgs;
use super::report::Report;

/// The topic that is written to.
pub const TOPIC: &str = "bench";

/// Options of `bench produce`.
#[derive(Debug, Clone, Default, Args)]
pub struct ProduceArgs {
    /// Records sent and not acknowledged, at most; may be given several times. Default 1, 64, 1024
    /// and 8192, one run each.
    #[arg(long)]
    in_flight: Vec<usize>,
    /// Records of each run.
    #[arg(long)]
    records: Option<u64>,
    /// Partitions of the topic, written to by turns.
    #[arg(long, default_value_t = 1)]
    partitions: u32,
    /// How long a record may wait for others, in milliseconds.
    #[arg(long)]
    linger_ms: Option<u64>,
}

/// Runs one measurement for each window, all on one cluster.
pub async fn run(args: &BenchArgs, own: &ProduceArgs) -> anyhow::Result<Vec<Report>> {
    let windows = match own.in_flight.as_slice() {
        [] => vec![1, 64, 1_024, 8_192],
        windows => windows.to_vec(),
    };
    let cluster = args.cluster().await?;
    let client = cluster.client()?;
    let partitions = own.partitions.max(1);
    cluster.topic(&client, TOPIC, partitions).await?;
    let mut reports = Vec::new();
    for window in windows {
        let (short, long) = match window {
            ..=1 => (2_000, 10_000),
            2..=99 => (40_000, 200_000),
            100..=4_999 => (150_000, 750_000),
            5_000.. => (250_000, 1_500_000),
        };
        let records = args.records(own.records, short, long);
        let mut load = Load::start(&client, partitions, args.record_bytes, own.linger_ms).await?;
        load.send(records / 10, window, &mut Latencies::default()).await?;
        let mut latencies = Latencies::default();
        let (cluster_before, client_before) = (cluster.cost(), Cost::own());
        let begun = Instant::now();
        load.send(records, window, &mut latencies).await?;
        let elapsed = begun.elapsed().as_secs_f64();
        let spent = cluster.cost().since(cluster_before);
        let client_spent = Cost::own().since(client_before);
        let mut report = Report::new("produce", args.nodes, args.record_bytes);
        report.in_flight = Some(window);
        report.rate(records, elapsed);
        report.latencies(&latencies);
        report.costs(records, spent, client_spent);
        report.written(records, spent);
        reports.push(report);
    }
    Ok(reports)
}

/// A producer and what it sends.
pub struct Load {
    producer: Producer,
    topic: Arc<str>,
    partitions: u32,
    value: Bytes,
    sent: u64,
}

impl Load {
    /// Values that no compression would help with, all the same.
    pub async fn start(
        client: &Client,
        partitions: u32,
        record_bytes: usize,
        linger_ms: Option<u64>,
    ) -> anyhow::Result<Self> {
        let mut options = ProducerOptions::default();
        if let Some(linger_ms) = linger_ms {
            options.linger_ms = linger_ms;
        }
        let producer = client.producer(options).await?;
        let value = Bytes::from(noise(record_bytes));
        Ok(Self { producer, topic: TOPIC.into(), partitions, value, sent: 0 })
    }

    /// Sends records, at most `window` without an acknowledgement, and waits for all of them.
    pub async fn send(
        &mut self,
        records: u64,
        window: usize,
        latencies: &mut Latencies,
    ) -> anyhow::Result<()> {
        let mut waiting: VecDeque<(Instant, Delivery)> = VecDeque::with_capacity(window);
        for _ in 0..records {
            if waiting.len() == window {
                landed(&mut waiting, latencies).await?;
            }
            let partition = u32::try_from(self.sent % u64::from(self.partitions))?;
            let record = NewRecord::new(Arc::clone(&self.topic), self.value.clone());
            let record = record.partition(partition);
            let started = Instant::now();
            waiting.push_back((started, self.producer.send(record).await?));
            self.sent += 1;
        }
        while !waiting.is_empty() {
            landed(&mut waiting, latencies).await?;
        }
        Ok(())
    }
}

/// Waits for the oldest record.
async fn landed(
    waiting: &mut VecDeque<(Instant, Delivery)>,
    latencies: &mut Latencies,
) -> anyhow::Result<()> {
    let Some((started, delivery)) = waiting.pop_front() else { return Ok(()) };
    delivery.await?;
    latencies.note(started.elapsed());
    Ok(())
}

/// Bytes that don't compress, the same at every call (xorshift).
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    std::iter::repeat_with(|| (next() >> 56) as u8).take(bytes).collect()
}
