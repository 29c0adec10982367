//! A cluster that is measured, seen from its clients: what ours and each peer's have in common.

mod nats;
mod ours;
mod rabbitmq;

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _};

pub use self::nats::Nats;
pub use self::ours::Ours;
pub use self::rabbitmq::RabbitMq;
use crate::children::Children;

/// How long a cluster may take to be ready.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long one that receives waits for something.
const RECEIVE_WAIT: Duration = Duration::from_secs(2);

/// What records go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What is read in order: a topic, a stream; a queue of RabbitMQ.
    Log,
    /// What is received and acknowledged, each message once.
    Queue,
}

/// What a producer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// As much as goes. Its connection is with the leader.
    Throughput,
    /// As soon as it goes. Its connection is with the leader.
    Latency,
    /// To live on while the leader is killed. Its connection is with another node, except where
    /// the client chooses by itself.
    Failover,
}

/// A running cluster.
pub trait System: Sized {
    /// Sends single records.
    type Producer: Producer;
    /// Sends messages of a queue.
    type Sender: Sender;
    /// Receives messages of a queue.
    type Worker: Worker;
    /// Reads a log.
    type Reader: Reader;

    /// Its processes.
    fn children(&self) -> &Children;
    /// Makes a log or a queue, on three replicas.
    async fn create(&mut self, name: &str, kind: Kind) -> anyhow::Result<()>;
    /// Removes it with all that is in it.
    async fn delete(&mut self, name: &str, kind: Kind) -> anyhow::Result<()>;
    /// A producer on a connection of its own.
    async fn producer(&self, name: &str, purpose: Purpose) -> anyhow::Result<Self::Producer>;
    /// Senders on one connection.
    async fn senders(&self, name: &str, count: usize) -> anyhow::Result<Vec<Self::Sender>>;
    /// Workers on one connection, each of which holds `batch` messages at most.
    async fn workers(
        &self,
        name: &str,
        count: usize,
        batch: u16,
    ) -> anyhow::Result<Vec<Self::Worker>>;
    /// Reads from the first record on.
    async fn reader(&self, name: &str) -> anyhow::Result<Self::Reader>;
    /// SIGKILL to the leader of a log.
    async fn kill_leader(&mut self, name: &str) -> anyhow::Result<()>;
}

/// Sends single records. Order is kept.
pub trait Producer: Send + Sync + 'static {
    /// What will be known of a record.
    type Confirm: Send + 'static;
    /// How long a record is waited for before it is sent again, while nodes fail: where the client
    /// does that by itself, longer than it takes.
    const ATTEMPT: Duration;

    /// Sends a record.
    fn send(&self, body: Bytes) -> impl Future<Output = anyhow::Result<Self::Confirm>> + Send;
    /// Waits until it is acknowledged.
    fn confirmed(confirm: Self::Confirm) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Sends messages of a queue.
pub trait Sender: Send + 'static {
    /// Sends some, and waits until all are acknowledged.
    fn send_all(&self, bodies: Vec<Bytes>) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Receives messages of a queue.
pub trait Worker: Send + 'static {
    /// The next ones, as soon as there is one, by their times (see [`stamp`]); none where none came
    /// for [`RECEIVE_WAIT`].
    fn receive(&mut self) -> impl Future<Output = anyhow::Result<Vec<Duration>>> + Send;
    /// Acknowledges all of them.
    fn acknowledge(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Reads a log.
pub trait Reader: Send + 'static {
    /// The next records, as soon as there is one, by their times.
    fn read(&mut self) -> impl Future<Output = anyhow::Result<Vec<Duration>>> + Send;
}

/// Peers send messages one by one, all of a send before they wait for the first.
impl<P: Producer> Sender for P {
    async fn send_all(&self, bodies: Vec<Bytes>) -> anyhow::Result<()> {
        let mut confirms = Vec::with_capacity(bodies.len());
        for body in bodies {
            confirms.push(self.send(body).await?);
        }
        for confirm in confirms {
            P::confirmed(confirm).await?;
        }
        Ok(())
    }
}

/// The time that a body begins with: when it was due to be sent, from the workload's beginning on.
fn stamp(body: &[u8]) -> Duration {
    body.first_chunk::<8>()
        .map_or(Duration::ZERO, |at| Duration::from_nanos(u64::from_be_bytes(*at)))
}

/// What has come of a stream, `max` at most: waits for the first, and takes what there is.
async fn gather<S: Stream + Unpin>(
    stream: &mut S,
    max: usize,
    wait: Duration,
) -> anyhow::Result<Vec<S::Item>> {
    let Ok(first) = tokio::time::timeout(wait, stream.next()).await else { return Ok(Vec::new()) };
    let Some(first) = first else { anyhow::bail!("the subscription has ended") };
    let mut all = vec![first];
    while all.len() < max {
        match stream.next().now_or_never().flatten() {
            Some(item) => all.push(item),
            None => break,
        }
    }
    Ok(all)
}
