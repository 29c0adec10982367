//! From the producer to the consumer, at a steady rate.

use std::time::Duration;

use kontiki_figures::Latencies;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Bodies, Meter};
use crate::args::Ground;
use crate::figures::{Figures, of_latencies};
use crate::system::{Producer, Purpose, Reader as _, System};

/// Records without an acknowledgement, at most: some seconds of them.
const UNCONFIRMED_MAX: usize = 20_000;

/// Each body begins with the time at which it was due, so that a producer that falls behind
/// doesn't make the latencies look better than they are.
pub async fn run<S: System>(
    system: &S,
    name: &str,
    ground: &Ground,
    rate: u64,
) -> anyhow::Result<Figures> {
    let rate = rate.max(1);
    let records = rate * if ground.short { 5 } else { 30 };
    let mut reader = system.reader(name).await?;
    let producer = system.producer(name, Purpose::Latency).await?;
    let bodies = Bodies::new(ground.record_bytes);
    let meter = Meter::start(system);
    let epoch = Instant::now();
    let (confirms, mut unconfirmed) = mpsc::channel(UNCONFIRMED_MAX);
    let sending = tokio::spawn(async move {
        for number in 0..records {
            let due = Duration::from_nanos(number * 1_000_000_000 / rate);
            if let Some(early) = due.checked_sub(epoch.elapsed()).filter(|e| e.as_micros() > 500) {
                tokio::time::sleep(early).await;
            }
            let confirm = producer.send(bodies.due(due)).await?;
            if confirms.send(confirm).await.is_err() {
                break;
            }
        }
        anyhow::Ok(producer)
    });
    let confirming = tokio::spawn(async move {
        while let Some(confirm) = unconfirmed.recv().await {
            S::Producer::confirmed(confirm).await?;
        }
        anyhow::Ok(())
    });
    let mut latencies = Latencies::default();
    let reading = async {
        let mut read = 0;
        while read < records {
            for due in reader.read().await? {
                latencies.note(epoch.elapsed().saturating_sub(due));
                read += 1;
            }
        }
        anyhow::Ok(())
    };
    // Nobody waits for records that can't be sent.
    tokio::try_join!(async { sending.await? }, async { confirming.await? }, reading)?;
    let mut figures = meter.stop(records, ground.record_bytes);
    figures.extend(of_latencies(&latencies));
    Ok(figures)
}
