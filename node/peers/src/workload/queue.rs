//! A work queue: messages are sent, received and acknowledged, all at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use kontiki_figures::Latencies;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Bodies, Meter};
use crate::args::{Ground, PeersArgs};
use crate::figures::{Figures, of_latencies};
use crate::system::{Sender, System, Worker};

struct Load {
    bodies: Bodies,
    messages: u64,
    /// Of one send.
    batch: u64,
    /// Messages per second; 0: as many as go.
    rate: u64,
    epoch: Instant,
    next: AtomicU64,
    settled: AtomicU64,
    done: Notify,
    latencies: Mutex<Latencies>,
}

/// It ends when the last message is acknowledged. With a rate, messages are sent one by one, each
/// when it is due; without, in batches, and the queue may grow.
pub async fn run<S: System>(
    system: &S,
    name: &str,
    ground: &Ground,
    args: &PeersArgs,
    rate: u64,
) -> anyhow::Result<Figures> {
    let messages = match (rate, ground.short) {
        (0, true) => 60_000,
        (0, false) => 500_000,
        (rate, true) => rate * 5,
        (rate, false) => rate * 30,
    };
    let senders = system.senders(name, args.producers.max(1)).await?;
    let batch = u16::try_from(args.batch.max(1)).context("--batch is at most 65535")?;
    let workers = system.workers(name, args.consumers.max(1), batch).await?;
    let load = Arc::new(Load {
        bodies: Bodies::new(ground.record_bytes),
        messages,
        batch: if rate == 0 { batch.into() } else { 1 },
        rate,
        epoch: Instant::now(),
        next: AtomicU64::new(0),
        settled: AtomicU64::new(0),
        done: Notify::new(),
        latencies: Mutex::default(),
    });
    let meter = Meter::start(system);
    let mut tasks = JoinSet::new();
    for sender in senders {
        tasks.spawn(send(Arc::clone(&load), sender));
    }
    for worker in workers {
        tasks.spawn(work(Arc::clone(&load), worker));
    }
    loop {
        tokio::select! {
            () = load.done.notified() => break,
            Some(ended) = tasks.join_next() => ended??,
        }
    }
    let mut figures = meter.stop(messages, ground.record_bytes);
    tasks.shutdown().await;
    let latencies = load.latencies.lock().unwrap_or_else(PoisonError::into_inner);
    figures.extend(of_latencies(&latencies));
    Ok(figures)
}

async fn send<S: Sender>(load: Arc<Load>, sender: S) -> anyhow::Result<()> {
    loop {
        let first = load.next.fetch_add(load.batch, Ordering::Relaxed);
        if first >= load.messages {
            return Ok(());
        }
        let count = load.batch.min(load.messages - first);
        let mut due = load.epoch.elapsed();
        if let Some(nanos) = (first * 1_000_000_000).checked_div(load.rate) {
            due = Duration::from_nanos(nanos);
            if let Some(early) = due.checked_sub(load.epoch.elapsed()) {
                tokio::time::sleep(early).await;
            }
        }
        sender.send_all((0..count).map(|_| load.bodies.due(due)).collect()).await?;
    }
}

async fn work<W: Worker>(load: Arc<Load>, mut worker: W) -> anyhow::Result<()> {
    loop {
        let received = worker.receive().await?;
        let now = load.epoch.elapsed();
        {
            let mut latencies = load.latencies.lock().unwrap_or_else(PoisonError::into_inner);
            for due in &received {
                latencies.note(now.saturating_sub(*due));
            }
        }
        if received.is_empty() {
            continue;
        }
        worker.acknowledge().await?;
        let count = received.len() as u64;
        if load.settled.fetch_add(count, Ordering::Relaxed) + count >= load.messages {
            load.done.notify_one();
        }
    }
}
