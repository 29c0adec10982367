//! Reads records: waits for them, on the leader of each partition.

use std::time::Duration;

use bytes::Bytes;

use crate::core::Broker;
use crate::error::Error;
use crate::options::FetchOptions;
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

/// What all reads of a node share.
#[derive(Debug)]
pub(crate) struct Limits {}

impl Limits {
    pub(crate) fn new(_options: &FetchOptions) -> Self {
        Self {}
    }
}

impl Broker {
    /// Reads, waiting for records where there are none yet. One answer for each partition, in the
    /// order of the request.
    ///
    /// # Errors
    /// The field that is out of bounds, or a limit of the node that is reached.
    pub async fn fetch(&self, request: Request) -> Result<Vec<FetchedPartition>, Error> {
        let _ = request;
        Err(Error::internal("to be written"))
    }

    /// Reads continuously.
    #[must_use]
    pub fn reader(&self) -> (ReaderControl, ReaderOutput) {
        (ReaderControl {}, ReaderOutput {})
    }
}

/// Steers a reader.
#[derive(Debug)]
pub struct ReaderControl {}

impl ReaderControl {
    /// Begins to read a partition, or moves the position.
    ///
    /// # Errors
    /// A field that is out of bounds, or too many partitions.
    pub fn open(&self, partition: FetchPartition) -> Result<(), Error> {
        let _ = partition;
        Ok(())
    }

    /// Stops reading a partition.
    pub fn close(&self, topic: &str, partition: u32) {
        let _ = (topic, partition);
    }

    /// Allows this many more bytes to be sent.
    ///
    /// # Errors
    /// More credit than [`crate::options::bounds::CREDIT_BYTES_MAX`].
    pub fn credit(&self, bytes: u32) -> Result<(), Error> {
        let _ = bytes;
        Ok(())
    }
}

/// What a reader reads.
#[derive(Debug)]
pub struct ReaderOutput {}

impl ReaderOutput {
    /// The next records (or a failure of one partition, which is not read any more then), with the
    /// credit that they have used. `None` when the control is gone and everything was delivered,
    /// or when the node stops.
    pub async fn next(&mut self) -> Option<(FetchedPartition, u32)> {
        None
    }
}
