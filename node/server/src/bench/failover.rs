//! Producing while the leader is killed with SIGKILL: how long nothing is acknowledged, and whether
//! everything that was is there, once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use kontiki_client::{Client, ConsumerOptions, Delivery, NewRecord, Position, ProducerOptions};
use kontiki_figures::Latencies;

use super::BenchArgs;
use super::cluster::Cluster;
use super::produce::TOPIC;
use super::report::Report;

/// Options of `bench failover`.
#[derive(Debug, Clone, Args)]
pub struct FailoverArgs {
    /// Records sent and not acknowledged, at most.
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// Kills, each on a cluster of its own.
    #[arg(long, default_value_t = 1)]
    kills: u32,
}

impl Default for FailoverArgs {
    fn default() -> Self {
        Self { in_flight: 64, kills: 1 }
    }
}

/// The gap of each kill is one latency of the report.
pub async fn run(args: &BenchArgs, own: &FailoverArgs) -> anyhow::Result<Report> {
    let mut report = Report::new("failover", args.nodes, args.record_bytes);
    report.in_flight = Some(own.in_flight);
    let mut gaps = Latencies::default();
    let (mut lost, mut duplicated, mut longest) = (0, 0, Duration::ZERO);
    for _ in 0..own.kills.max(1) {
        let kill = one(args, own.in_flight.max(1)).await?;
        gaps.note(kill.gap);
        longest = longest.max(kill.gap);
        lost += kill.lost;
        duplicated += kill.duplicated;
    }
    report.latencies(&gaps);
    report.longest_gap_ms = Some(longest.as_secs_f64() * 1_000.0);
    report.lost = Some(lost);
    report.duplicated = Some(duplicated);
    Ok(report)
}

struct Kill {
    gap: Duration,
    lost: u64,
    duplicated: u64,
}

async fn one(args: &BenchArgs, window: usize) -> anyhow::Result<Kill> {
    let mut cluster = args.cluster().await?;
    let client = cluster.client()?;
    cluster.topic(&client, TOPIC, 1).await?;
    let (before, after) = if args.short { (1_000, 3_000) } else { (3_000, 6_000) };
    let options = ProducerOptions { linger_ms: 0, ..Default::default() };
    let producer = client.producer(options).await?;
    let topic: Arc<str> = TOPIC.into();
    let mut waiting: VecDeque<(u64, Delivery)> = VecDeque::new();
    let mut acknowledged: BTreeMap<u64, Option<u64>> = BTreeMap::new();
    let (mut number, mut gap, mut killed) = (0_u64, Duration::ZERO, false);
    let (begun, mut last) = (Instant::now(), Instant::now());
    while begun.elapsed() < Duration::from_millis(before + after) {
        if !killed && begun.elapsed() >= Duration::from_millis(before) {
            kill_leader(&mut cluster, &client).await?;
            killed = true;
        }
        while waiting.len() < window {
            let mut value = number.to_be_bytes().to_vec();
            value.resize(args.record_bytes.max(8), 0x5a);
            let record = NewRecord::new(Arc::clone(&topic), Bytes::from(value)).partition(0);
            waiting.push_back((number, producer.send(record).await?));
            number += 1;
        }
        if let Some((number, delivery)) = waiting.pop_front() {
            acknowledged.insert(number, delivery.await?.offset);
            gap = gap.max(last.elapsed());
            last = Instant::now();
        }
    }
    for (number, delivery) in waiting {
        acknowledged.insert(number, delivery.await?.offset);
    }
    let (lost, duplicated) = compare(&client, &acknowledged).await?;
    Ok(Kill { gap, lost, duplicated })
}

async fn kill_leader(cluster: &mut Cluster, client: &Client) -> anyhow::Result<()> {
    let metadata = client.metadata(&[TOPIC]).await?;
    let partition = metadata.topics.first().and_then(|topic| topic.partitions.first());
    let leader = partition.context("the topic has no partition")?.leader;
    cluster.kill(leader)
}

/// Reads everything: what is missing, and what is there twice or elsewhere than was said.
async fn compare(
    client: &Client,
    acknowledged: &BTreeMap<u64, Option<u64>>,
) -> anyhow::Result<(u64, u64)> {
    let mut consumer = client.consumer(ConsumerOptions::default())?;
    consumer.assign(TOPIC, 0, Position::Earliest).await?;
    let mut found: BTreeMap<u64, u64> = BTreeMap::new();
    let mut duplicated = 0;
    loop {
        let fetched = consumer.next().await?;
        for record in &fetched.records {
            let stamp = record.value.as_deref().and_then(|value| value.first_chunk::<8>());
            let number = u64::from_be_bytes(*stamp.context("a record without its number")?);
            if found.insert(number, record.offset).is_some() {
                duplicated += 1;
            }
        }
        if fetched.next_offset >= fetched.high_watermark {
            break;
        }
    }
    let is_lost = |(number, offset): &(&u64, &Option<u64>)| match (found.get(number), offset) {
        (None, _) => true,
        (Some(found), Some(said)) => found != said,
        (Some(_), None) => false,
    };
    let lost = acknowledged.iter().filter(is_lost).count();
    Ok((lost as u64, duplicated))
}
