//! A work queue: messages are sent, received and acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{BufMut as _, Bytes, BytesMut};
use clap::Args;
use kontiki_client::{Client, Sender, SenderOptions, v1};
use kontiki_figures::{Cost, Latencies};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::BenchArgs;
use super::produce::noise;
use super::report::Report;

const QUEUE: &str = "bench";
/// How long a receive waits.
const WAIT_MS: u32 = 2_000;
/// Messages in one send while a backlog is made.
const BACKLOG_BATCH: u32 = 500;

/// Options of `bench queue`.
#[derive(Debug, Clone, Args)]
pub struct QueueArgs {
    /// Messages.
    #[arg(long)]
    messages: Option<u64>,
    /// Sends under way at a time.
    #[arg(long, default_value_t = 64)]
    senders: usize,
    /// Messages in one send.
    #[arg(long, default_value_t = 16)]
    send_batch: u32,
    /// Send with calls, each of which is a stream of HTTP/2, and not over one stream of requests.
    #[arg(long)]
    calls: bool,
    /// Receivers; each settles what it has received before it receives more.
    #[arg(long, default_value_t = 16)]
    receivers: usize,
    /// Messages that one receive takes at most.
    #[arg(long, default_value_t = 64)]
    receive_batch: u32,
    /// Messages per second; 0: as many as go.
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Messages that wait in the queue before and behind which the others are sent and received.
    #[arg(long, default_value_t = 0)]
    depth: u64,
    /// All messages are due in the same moment, so many seconds from the beginning; they have to
    /// be sent by then. Latencies are counted from that moment.
    #[arg(long, conflicts_with_all = ["rate", "depth"])]
    due_in: Option<u64>,
}

impl Default for QueueArgs {
    fn default() -> Self {
        Self {
            messages: None,
            senders: 64,
            send_batch: 16,
            calls: false,
            receivers: 16,
            receive_batch: 64,
            rate: 0,
            depth: 0,
            due_in: None,
        }
    }
}

/// When all messages are due: from the beginning, and by the clock.
#[derive(Debug, Clone, Copy)]
struct Due {
    after: Duration,
    at_ms: i64,
}

impl Due {
    fn from_now(seconds: u64) -> anyhow::Result<Self> {
        let after = Duration::from_secs(seconds);
        let at = (SystemTime::now() + after).duration_since(UNIX_EPOCH)?;
        Ok(Self { after, at_ms: i64::try_from(at.as_millis())? })
    }
}

/// Each body begins with the time at which its message was due to be sent.
struct Load {
    client: Client,
    /// Absent: by calls.
    sender: Option<Sender>,
    epoch: Instant,
    noise: Bytes,
    messages: u64,
    rate: u64,
    due: Option<Due>,
    next: AtomicU64,
    received: AtomicU64,
    latencies: Mutex<Latencies>,
}

pub async fn run(args: &BenchArgs, own: &QueueArgs) -> anyhow::Result<Report> {
    let messages = args.records(own.messages, 200_000, 1_000_000);
    let cluster = args.cluster().await?;
    let client = cluster.client()?;
    let request = v1::CreateQueueRequest { queue: QUEUE.to_owned(), ..Default::default() };
    client.admin().create_queue(request).await?;
    let noise = Bytes::from(noise(args.record_bytes));
    let due = own.due_in.map(Due::from_now).transpose()?;
    let sender = match own.calls {
        true => None,
        false => Some(client.sender(QUEUE, SenderOptions::default()).await?),
    };
    let load = |messages, rate| Load {
        client: client.clone(),
        sender: sender.clone(),
        epoch: Instant::now(),
        noise: noise.clone(),
        messages,
        rate,
        due,
        next: AtomicU64::new(0),
        received: AtomicU64::new(0),
        latencies: Mutex::new(Latencies::default()),
    };
    if own.depth > 0 {
        let backlog = Arc::new(load(own.depth, 0));
        join(own.senders, |_| send(Arc::clone(&backlog), BACKLOG_BATCH)).await?;
    }
    let load = Arc::new(load(messages, own.rate));
    let (cluster_before, client_before) = (cluster.cost(), Cost::own());
    let sending = join(own.senders, |_| send(Arc::clone(&load), own.send_batch));
    let receiving = join(own.receivers, |_| receive(Arc::clone(&load), own.receive_batch));
    tokio::try_join!(sending, receiving)?;
    let waited = due.map_or(Duration::ZERO, |due| due.after);
    let elapsed = load.epoch.elapsed().saturating_sub(waited).as_secs_f64();
    let spent = cluster.cost().since(cluster_before);
    let client_spent = Cost::own().since(client_before);
    let name = match own {
        QueueArgs { due_in: Some(_), .. } => format!("queue, {messages} due at once"),
        QueueArgs { depth: 0, .. } => "queue".to_owned(),
        QueueArgs { depth, .. } => format!("queue, {depth} deep"),
    };
    let mut report = Report::new(name, args.nodes, args.record_bytes);
    report.in_flight = Some(own.senders * own.send_batch as usize);
    report.rate(messages, elapsed);
    // Behind a backlog, what is received was sent long before.
    if own.depth == 0 {
        report.latencies(&*load.latencies.lock().await);
    }
    report.costs(messages, spent, client_spent);
    report.written(messages, spent);
    Ok(report)
}

async fn join<F>(count: usize, task: impl Fn(usize) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut tasks: JoinSet<_> = (0..count).map(task).collect();
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

async fn send(load: Arc<Load>, batch: u32) -> anyhow::Result<()> {
    let admin = load.client.admin();
    loop {
        let first = load.next.fetch_add(batch.into(), Ordering::Relaxed);
        if first >= load.messages {
            return Ok(());
        }
        if let Some(Due { after, .. }) = load.due
            && load.epoch.elapsed() > after
        {
            anyhow::bail!("{first} messages were sent when they were due: give it more --due-in");
        }
        let last = load.messages.min(first + u64::from(batch));
        let mut due = load.epoch.elapsed();
        if let Some(nanos) = (first * 1_000_000_000).checked_div(load.rate) {
            due = Duration::from_nanos(nanos);
            if let Some(early) = due.checked_sub(load.epoch.elapsed()) {
                tokio::time::sleep(early).await;
            }
        }
        let due = load.due.map_or(due, |all| all.after);
        let message = |_| {
            let mut body = BytesMut::with_capacity(load.noise.len().max(8));
            body.put_u64(u64::try_from(due.as_nanos()).unwrap_or(u64::MAX));
            body.extend_from_slice(load.noise.get(8..).unwrap_or_default());
            let deliver_at_ms = load.due.map(|due| due.at_ms);
            v1::OutgoingMessage { body: body.freeze(), deliver_at_ms, ..Default::default() }
        };
        let messages = (first..last).map(message).collect();
        let queue = QUEUE.to_owned();
        match &load.sender {
            Some(sender) => drop(sender.send(messages).await?.await?),
            None => {
                admin.send(v1::SendRequest { queue, messages, ..Default::default() }).await?;
            }
        }
    }
}

async fn receive(load: Arc<Load>, batch: u32) -> anyhow::Result<()> {
    let admin = load.client.admin();
    while load.received.load(Ordering::Relaxed) < load.messages {
        let request = v1::ReceiveRequest {
            queue: QUEUE.to_owned(),
            max_messages: batch,
            wait_ms: WAIT_MS,
            ..Default::default()
        };
        let messages = admin.receive(request).await?.messages;
        if messages.is_empty() {
            continue;
        }
        let now = load.epoch.elapsed();
        let count = messages.len() as u64;
        let mut latencies = load.latencies.lock().await;
        for message in &messages {
            if let Some(stamp) = message.body.first_chunk::<8>() {
                let due = Duration::from_nanos(u64::from_be_bytes(*stamp));
                latencies.note(now.saturating_sub(due));
            }
        }
        drop(latencies);
        let receipts = messages.into_iter().map(|message| message.receipt).collect();
        let request =
            v1::AcknowledgeRequest { queue: QUEUE.to_owned(), receipts, even_if_ended: false };
        let answer = admin.acknowledge(request).await?;
        if let Some(error) = answer.results.into_iter().find_map(|result| result.error) {
            anyhow::bail!("a message was not acknowledged: {}", error.message);
        }
        load.received.fetch_add(count, Ordering::Relaxed);
    }
    Ok(())
}
