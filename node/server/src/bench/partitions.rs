//! Many topics or queues that do nothing: what they cost to create, and to have.

use std::time::{Duration, Instant};

use clap::Args;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use kontiki_client::{Admin, v1};
use kontiki_figures::Latencies;

use super::BenchArgs;
use super::report::Report;

/// Topics created at a time.
const AT_ONCE: usize = 32;

/// Options of `bench partitions`.
#[derive(Debug, Clone, Default, Args)]
pub struct PartitionsArgs {
    /// Topics, of one partition each.
    #[arg(long)]
    topics: Option<u64>,
    /// Queues in place of topics, each of which is used once: a message is sent, received and
    /// acknowledged.
    #[arg(long)]
    queues: bool,
    /// Seconds for which the idle cluster is watched.
    #[arg(long)]
    seconds: Option<u64>,
}

/// Creates topics, then watches.
pub async fn run(args: &BenchArgs, own: &PartitionsArgs) -> anyhow::Result<Report> {
    let topics = args.records(own.topics, 1_000, 10_000);
    let seconds = own.seconds.unwrap_or(if args.short { 5 } else { 30 });
    let cluster = args.cluster().await?;
    let client = cluster.client()?;
    let mut latencies = Latencies::default();
    let begun = Instant::now();
    let mut created = stream::iter(0..topics)
        .map(|number| {
            let admin = client.admin();
            async move {
                let started = Instant::now();
                if own.queues {
                    queue(&admin, format!("queue-{number:06}")).await?;
                } else {
                    let topic = format!("topic-{number:06}");
                    let request =
                        v1::CreateTopicRequest { topic, partitions: 1, ..Default::default() };
                    admin.create_topic(request).await?;
                }
                Ok::<Duration, anyhow::Error>(started.elapsed())
            }
        })
        .buffer_unordered(AT_ONCE);
    while let Some(latency) = created.try_next().await? {
        latencies.note(latency);
    }
    let elapsed = begun.elapsed().as_secs_f64();
    // What creation has left to be done in the background is not idleness.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = cluster.cost();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let spent = cluster.cost().since(before);
    let what = if own.queues { "queues" } else { "topics" };
    let mut report = Report::new(format!("{topics} {what}, idle"), args.nodes, 0);
    report.records_per_s = Some(topics as f64 / elapsed);
    report.latencies(&latencies);
    report.cluster_cpu_share = Some(spent.cpu_s / seconds as f64);
    report.rss_mb_max = Some(spent.rss_bytes as f64 / f64::from(1 << 20));
    Ok(report)
}

/// Creates a queue, and uses it once.
async fn queue(admin: &Admin, queue: String) -> anyhow::Result<()> {
    let request = v1::CreateQueueRequest { queue: queue.clone(), ..Default::default() };
    admin.create_queue(request).await?;
    let messages = vec![v1::OutgoingMessage { body: "used".into(), ..Default::default() }];
    admin.send(v1::SendRequest { queue: queue.clone(), messages, ..Default::default() }).await?;
    let request =
        v1::ReceiveRequest { queue: queue.clone(), wait_ms: 10_000, ..Default::default() };
    let received = admin.receive(request).await?.messages;
    anyhow::ensure!(received.len() == 1, "{queue} has not delivered its message");
    let receipts = received.into_iter().map(|message| message.receipt).collect();
    let answer =
        admin.acknowledge(v1::AcknowledgeRequest { queue, receipts, even_if_ended: false }).await?;
    let refused = answer.results.into_iter().find_map(|result| result.error);
    anyhow::ensure!(refused.is_none(), "not acknowledged: {refused:?}");
    Ok(())
}
