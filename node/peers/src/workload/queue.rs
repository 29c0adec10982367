//! A work queue: messages are sent, received and acknowledged, all at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{Bodies, Meter};
use crate::args::{Ground, PeersArgs};
use crate::figures::{Figures, Latencies};
use crate::system::{Sender, System, Worker};

struct Load {
    bodies: Bodies,
    messages: u64,
    batch: u64,
    epoch: Instant,
    next: AtomicU64,
    settled: AtomicU64,
    done: Notify,
    latencies: Mutex<Latencies>,
}

/// It ends when the last message is acknowledged.
pub async fn run<S: System>(
    system: &S,
    name: &str,
    ground: &Ground,
    args: &PeersArgs,
) -> anyhow::Result<Figures> {
    let messages = if ground.short { 60_000 } else { 500_000 };
    let senders = system.senders(name, args.producers.max(1)).await?;
    let batch = u16::try_from(args.batch.max(1)).context("--batch is at most 65535")?;
    let workers = system.workers(name, args.consumers.max(1), batch).await?;
    let load = Arc::new(Load {
        bodies: Bodies::new(ground.record_bytes),
        messages,
        batch: batch.into(),
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
    figures.extend(latencies.figures());
    Ok(figures)
}

async fn send<S: Sender>(load: Arc<Load>, sender: S) -> anyhow::Result<()> {
    loop {
        let first = load.next.fetch_add(load.batch, Ordering::Relaxed);
        if first >= load.messages {
            return Ok(());
        }
        let count = load.batch.min(load.messages - first);
        let due = load.epoch.elapsed();
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
