//! What systems are given to do. The same code for all of them; each works on a log or a queue of
//! its own, that is removed afterwards.

mod backlog;
mod e2e;
mod failover;
mod produce;
mod queue;

use std::time::Duration;

use anyhow::Context as _;
use bytes::{BufMut as _, Bytes, BytesMut};
use kontiki_figures::Cost;
use tokio::time::Instant;

use crate::args::{Ground, PeersArgs, Work};
use crate::figures::{Figure, Figures, of_costs};
use crate::memory::PeakMemory;
use crate::system::{Kind, System};

/// A measurement: a workload with what tells its runs apart.
#[derive(Debug, Clone, Copy)]
pub enum Task {
    /// Nothing is done.
    Idle,
    /// Messages wait in a queue, and nothing else is done.
    Waiting,
    /// At most so many without an acknowledgement.
    Produce(usize),
    /// As many as go.
    Queue,
    /// At a steady rate.
    PacedQueue,
    Drain,
    E2e,
    Failover,
}

impl Task {
    /// Those that are asked for, in the order of the table. The one that kills comes last.
    pub fn all(args: &PeersArgs) -> Vec<Self> {
        let mut works = args.workloads.clone();
        works.sort_unstable();
        works.dedup();
        let of = |work| match work {
            Work::Memory => vec![Self::Idle, Self::Waiting],
            Work::Produce => args.in_flight.iter().copied().map(Self::Produce).collect(),
            Work::Queue => vec![Self::Queue, Self::PacedQueue],
            Work::Drain => vec![Self::Drain],
            Work::E2e => vec![Self::E2e],
            Work::Failover => vec![Self::Failover],
        };
        works.into_iter().flat_map(of).collect()
    }

    /// What it is called in the table.
    pub fn name(self, args: &PeersArgs) -> String {
        match self {
            Self::Idle => "memory, idle".to_owned(),
            Self::Waiting => "memory, a backlog waits".to_owned(),
            Self::Produce(window) => format!("produce, {window} in flight"),
            Self::Queue => {
                format!("queue, {} producers, {} consumers", args.producers, args.consumers)
            }
            Self::PacedQueue => format!("queue, {}/s", args.queue_rate),
            Self::Drain => "drain".to_owned(),
            Self::E2e => format!("end to end, {}/s", args.rate),
            Self::Failover => format!("failover, {} in flight", failover::IN_FLIGHT),
        }
    }

    /// Does it.
    pub async fn run<S: System>(
        self,
        system: &mut S,
        ground: &Ground,
        args: &PeersArgs,
    ) -> anyhow::Result<Figures> {
        let kind = match self {
            Self::Idle | Self::Waiting | Self::Queue | Self::PacedQueue => Kind::Queue,
            Self::Produce(_) | Self::Drain | Self::E2e | Self::Failover => Kind::Log,
        };
        let name = match self {
            Self::Idle => "idle".to_owned(),
            Self::Waiting => "waiting".to_owned(),
            Self::Produce(window) => format!("produce-{window}"),
            Self::Queue => "queue".to_owned(),
            Self::PacedQueue => "paced-queue".to_owned(),
            Self::Drain => "drain".to_owned(),
            Self::E2e => "e2e".to_owned(),
            Self::Failover => "failover".to_owned(),
        };
        system.create(&name, kind).await.with_context(|| format!("creating {name}"))?;
        let figures = match self {
            Self::Idle => backlog::memory(system).await,
            Self::Waiting => backlog::waiting(system, &name, ground, args).await?,
            Self::Produce(window) => produce::run(system, &name, ground, window).await?,
            Self::Queue => queue::run(system, &name, ground, args, 0).await?,
            Self::PacedQueue => {
                queue::run(system, &name, ground, args, args.queue_rate.max(1)).await?
            }
            Self::Drain => backlog::drain(system, &name, ground).await?,
            Self::E2e => e2e::run(system, &name, ground, args.rate).await?,
            // Its cluster isn't whole afterwards; it goes with what is in it.
            Self::Failover => return failover::run(system, &name, ground).await,
        };
        system.delete(&name, kind).await.with_context(|| format!("removing {name}"))?;
        Ok(figures)
    }
}

/// Counts what is spent from its beginning on.
struct Meter {
    roots: Vec<u32>,
    cluster: Cost,
    client: Cost,
    memory: PeakMemory,
    begun: Instant,
}

impl Meter {
    fn start(system: &impl System) -> Self {
        let roots = system.children().pids();
        Self {
            memory: PeakMemory::watch(roots.clone()),
            cluster: Cost::of_trees(&roots),
            client: Cost::own(),
            roots,
            begun: Instant::now(),
        }
    }

    /// What it was for so many records.
    fn stop(self, records: u64, record_bytes: usize) -> Figures {
        let elapsed = self.begun.elapsed().as_secs_f64();
        let mut cluster = Cost::of_trees(&self.roots).since(self.cluster);
        cluster.rss_bytes = cluster.rss_bytes.max(self.memory.bytes());
        let client = Cost::own().since(self.client);
        let mut figures = of_costs(records, record_bytes, cluster, client);
        figures.insert(Figure::RecordsPerS, records as f64 / elapsed);
        figures
    }
}

/// Makes bodies: a time, and then bytes that don't compress.
struct Bodies(Bytes);

impl Bodies {
    fn new(record_bytes: usize) -> Self {
        Self(noise(record_bytes).into())
    }

    fn due(&self, due: Duration) -> Bytes {
        let mut body = BytesMut::with_capacity(self.0.len().max(8));
        body.put_u64(u64::try_from(due.as_nanos()).unwrap_or(u64::MAX));
        body.extend_from_slice(self.0.get(8..).unwrap_or_default());
        body.freeze()
    }
}

/// Bytes that don't compress, the same at every call (xorshift).
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    std::iter::repeat_with(|| (next() >> 56) as u8).take(bytes).collect()
}
