//! Reads records: waits for them, on the leader of each partition.

mod gather;
mod limits;
mod reader;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

pub(crate) use self::limits::{Allowed, Limits, Shares};
pub use self::reader::{ReaderControl, ReaderOutput};
use crate::core::{Broker, Core};
use crate::error::Error;
use crate::options::bounds;
use crate::read::Part;
use crate::route::Routing;

/// What is wanted of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: u32,
    /// The first offset wanted.
    pub offset: u64,
    /// Bytes of this partition; 0 is the default. One batch is always returned.
    pub max_bytes: u32,
}

/// A read.
#[derive(Debug, Clone)]
pub struct Request {
    /// 1 ..= [`crate::options::bounds::PARTITIONS_MAX`].
    pub partitions: Vec<FetchPartition>,
    /// Wait for this much; 0 is 1.
    pub min_bytes: u32,
    /// At most this much in all; 0 is the default.
    pub max_bytes: u32,
    /// How long to wait for `min_bytes`.
    pub max_wait: Duration,
    /// Whether it is forwarded.
    pub routing: Routing,
}

/// What there is in a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Everything below it is durable on a quorum.
    pub high_watermark: u64,
    /// The oldest offset.
    pub log_start_offset: u64,
    /// Raft term of the shard.
    pub leader_epoch: u64,
    /// Whole batches, in order, with their offsets and leader epochs; the first one may begin
    /// before the offset that was asked for.
    pub batches: Vec<Bytes>,
    /// Where to go on.
    pub next_offset: u64,
}

/// One partition's part of an answer.
#[derive(Debug, Clone)]
pub struct FetchedPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: u32,
    /// What there is, or why nothing can be said.
    pub outcome: Result<Fetched, Error>,
}

impl Broker {
    /// Reads, waiting for records where there are none yet. One answer for each partition, in the
    /// order of the request. Where a partition has failed, the others are not waited for.
    ///
    /// # Errors
    /// The field that is out of bounds, or a limit of the node that is reached.
    pub async fn fetch(&self, request: Request) -> Result<Vec<FetchedPartition>, Error> {
        let begun = Instant::now();
        let outcomes = gather::fetch(&self.0, &request).await?;
        let metrics = &self.0.metrics;
        metrics.fetch_seconds.observe(begun.elapsed().as_secs_f64());
        for outcome in &outcomes {
            self.0.count(outcome);
        }
        let named = request.partitions.into_iter().zip(outcomes);
        let answer = |(asked, outcome): (FetchPartition, Result<Fetched, Error>)| {
            FetchedPartition { topic: asked.topic, partition: asked.partition, outcome }
        };
        Ok(named.map(answer).collect())
    }

    /// Reads continuously. Nothing is read unless [`ReaderOutput::next`] is polled.
    #[must_use]
    pub fn reader(&self) -> (ReaderControl, ReaderOutput) {
        reader::new(Arc::clone(&self.0))
    }
}

impl Core {
    fn count(&self, outcome: &Result<Fetched, Error>) {
        match outcome {
            Ok(fetched) => {
                let bytes: usize = fetched.batches.iter().map(Bytes::len).sum();
                self.metrics.fetched_batches.inc_by(fetched.batches.len() as u64);
                self.metrics.fetched_bytes.inc_by(bytes as u64);
            }
            Err(_) => {
                self.metrics.fetch_failures.inc();
            }
        }
    }
}

impl FetchPartition {
    /// At most this much of the partition.
    fn bytes_max(&self) -> Result<u32, Error> {
        match self.max_bytes {
            0 => Ok(bounds::PARTITION_BYTES_DEFAULT),
            bytes if bytes <= bounds::FETCH_BYTES_MAX => Ok(bytes),
            bytes => {
                let expected = format!("0 to {}", bounds::FETCH_BYTES_MAX);
                let error = Error::invalid("max_bytes", bytes, &expected);
                Err(error.about(format_args!("{}/{}", self.topic, self.partition)))
            }
        }
    }
}

impl From<Part> for Fetched {
    fn from(Part { fetched, batches }: Part) -> Self {
        Self {
            high_watermark: fetched.high_watermark,
            log_start_offset: fetched.log_start_offset,
            leader_epoch: fetched.leader_epoch,
            batches,
            next_offset: fetched.next_offset,
        }
    }
}
