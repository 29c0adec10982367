//! Producing while the leader is killed with SIGKILL: how long nothing is acknowledged.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Bodies;
use crate::args::Ground;
use crate::figures::{Figure, Figures};
use crate::system::{Producer, Purpose, System};

/// Records sent and not acknowledged, at most.
pub const IN_FLIGHT: usize = 64;
/// After how long without an acknowledgement it is given up.
const GAP_MAX: Duration = Duration::from_secs(60);
/// How long a producer pauses that was refused.
const PAUSE: Duration = Duration::from_millis(10);
/// For how long, after the gap, acknowledgements must have come.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// When something was acknowledged.
struct Gaps {
    last: Instant,
    longest: Duration,
    /// When the last gap ended that was worth being called one.
    resumed: Instant,
}

impl Gaps {
    fn acknowledged(&mut self) {
        let gap = self.last.elapsed();
        self.last = Instant::now();
        self.longest = self.longest.max(gap);
        if gap > Duration::from_millis(100) {
            self.resumed = self.last;
        }
    }
}

/// Each record is sent again until it is acknowledged. Some may be stored twice, where the client
/// can't tell.
pub async fn run<S: System>(
    system: &mut S,
    name: &str,
    ground: &Ground,
) -> anyhow::Result<Figures> {
    let (before, after) = if ground.short { (1, 3) } else { (3, 6) };
    let producer = Arc::new(system.producer(name, Purpose::Failover).await?);
    let body = Bodies::new(ground.record_bytes).0;
    let now = Instant::now();
    let gaps = Arc::new(Mutex::new(Gaps { last: now, longest: Duration::ZERO, resumed: now }));
    let mut tasks = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        tasks.spawn(repeat(Arc::clone(&producer), body.clone(), Arc::clone(&gaps)));
    }
    tokio::time::sleep(Duration::from_secs(before)).await;
    {
        // What comes before, and the first connection, is not the leader's failure.
        let mut gaps = gaps.lock().unwrap_or_else(PoisonError::into_inner);
        anyhow::ensure!(gaps.last > now, "nothing is acknowledged, before anything was killed");
        gaps.longest = Duration::ZERO;
    }
    system.kill_leader(name).await?;
    let killed = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut gaps = gaps.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = gaps.last.elapsed();
        gaps.longest = gaps.longest.max(waiting);
        let flows = waiting < Duration::from_millis(100) && gaps.resumed.elapsed() > AFTERWARDS;
        if killed.elapsed() > Duration::from_secs(after) && flows || waiting > GAP_MAX {
            break;
        }
    }
    tasks.shutdown().await;
    let gaps = gaps.lock().unwrap_or_else(PoisonError::into_inner);
    Ok([(Figure::LongestGapMs, gaps.longest.as_secs_f64() * 1_000.0)].into())
}

async fn repeat<P: Producer>(producer: Arc<P>, body: Bytes, gaps: Arc<Mutex<Gaps>>) {
    loop {
        let attempt = async { P::confirmed(producer.send(body.clone()).await?).await };
        match tokio::time::timeout(P::ATTEMPT, attempt).await {
            Ok(Ok(())) => gaps.lock().unwrap_or_else(PoisonError::into_inner).acknowledged(),
            Ok(Err(_)) => tokio::time::sleep(PAUSE).await,
            Err(_) => {}
        }
    }
}
