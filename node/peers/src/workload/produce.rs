//! One producer, a bounded number of records without an acknowledgement.

use std::collections::VecDeque;

use bytes::Bytes;
use kontiki_figures::Latencies;
use tokio::time::Instant;

use super::{Bodies, Meter};
use crate::args::Ground;
use crate::figures::{Figures, of_latencies};
use crate::system::{Producer, Purpose, System};

/// A tenth of the records come before, and aren't counted.
pub async fn run<S: System>(
    system: &S,
    name: &str,
    ground: &Ground,
    window: usize,
) -> anyhow::Result<Figures> {
    let (short, long) = match window {
        ..=1 => (2_000, 10_000),
        2..=99 => (30_000, 200_000),
        100..=4_999 => (100_000, 500_000),
        5_000.. => (150_000, 1_000_000),
    };
    let records = if ground.short { short } else { long };
    let producer = system.producer(name, Purpose::Throughput).await?;
    let body = Bodies::new(ground.record_bytes).0;
    send(&producer, &body, records / 10, window.max(1), &mut Latencies::default()).await?;
    let mut latencies = Latencies::default();
    let meter = Meter::start(system);
    send(&producer, &body, records, window.max(1), &mut latencies).await?;
    let mut figures = meter.stop(records, ground.record_bytes);
    figures.extend(of_latencies(&latencies));
    Ok(figures)
}

/// Sends so many records, and waits until all are acknowledged.
pub(super) async fn send<P: Producer>(
    producer: &P,
    body: &Bytes,
    records: u64,
    window: usize,
    latencies: &mut Latencies,
) -> anyhow::Result<()> {
    let mut waiting: VecDeque<(Instant, P::Confirm)> = VecDeque::with_capacity(window);
    for sent in 0.. {
        if sent >= records || waiting.len() == window {
            let Some((started, confirm)) = waiting.pop_front() else { break };
            P::confirmed(confirm).await?;
            latencies.note(started.elapsed());
        }
        if sent < records {
            let started = Instant::now();
            waiting.push_back((started, producer.send(body.clone()).await?));
        }
    }
    Ok(())
}
