//! Records that are there, and that nobody has read: what they cost in memory, and how they are
//! read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use kontiki_figures::{Cost, Latencies};
use tokio::task::JoinSet;

use super::{Bodies, Meter, produce};
use crate::args::{Ground, PeersArgs};
use crate::figures::{Figure, Figures};
use crate::system::{Purpose, Reader as _, Sender as _, System};

/// How long it is looked at, twice a second, after as long a pause: what was done before has an
/// end.
const LOOKS: u32 = 6;
/// Records without an acknowledgement while a log is filled.
const IN_FLIGHT: usize = 1_024;
/// How long a reader may be without a record.
const PATIENCE: Duration = Duration::from_secs(60);

fn records(ground: &Ground) -> u64 {
    if ground.short { 100_000 } else { 500_000 }
}

/// The most that the processes have in memory while nothing is done.
pub async fn memory<S: System>(system: &S) -> Figures {
    let half_second = Duration::from_millis(500);
    tokio::time::sleep(half_second * LOOKS).await;
    let roots = system.children().pids();
    let mut most = 0;
    for _ in 0..LOOKS {
        most = most.max(Cost::of_trees(&roots).rss_bytes);
        tokio::time::sleep(half_second).await;
    }
    [(Figure::RssMbMax, most as f64 / f64::from(1 << 20))].into()
}

/// The same, when messages have been sent to a queue that nobody receives from.
pub async fn waiting<S: System>(
    system: &S,
    name: &str,
    ground: &Ground,
    args: &PeersArgs,
) -> anyhow::Result<Figures> {
    let (messages, batch) = (records(ground), args.batch.max(1) as u64);
    let bodies = Arc::new(Bodies::new(ground.record_bytes));
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for sender in system.senders(name, args.producers.max(1)).await? {
        let (bodies, next) = (Arc::clone(&bodies), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let first = next.fetch_add(batch, Ordering::Relaxed);
                if first >= messages {
                    return anyhow::Ok(());
                }
                let count = batch.min(messages - first);
                sender.send_all((0..count).map(|_| bodies.0.clone()).collect()).await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(memory(system).await)
}

/// Fills a log, and reads all of it.
pub async fn drain<S: System>(system: &S, name: &str, ground: &Ground) -> anyhow::Result<Figures> {
    let records = records(ground);
    let producer = system.producer(name, Purpose::Throughput).await?;
    let body = Bodies::new(ground.record_bytes).0;
    produce::send(&producer, &body, records, IN_FLIGHT, &mut Latencies::default()).await?;
    let meter = Meter::start(system);
    let mut reader = system.reader(name).await?;
    let mut read = 0;
    while read < records {
        let next = tokio::time::timeout(PATIENCE, reader.read()).await;
        let next = next.with_context(|| format!("{read} of {records} records were read"))??;
        read += next.len() as u64;
    }
    let mut figures = meter.stop(records, ground.record_bytes);
    // Nothing is written that is due to the reading.
    figures.remove(&Figure::DiskBytesPerPayloadByte);
    Ok(figures)
}
