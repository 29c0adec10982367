//! What the refusals of queues tell.

use kontiki_storage::id::PartitionId;
use minicbor::{Decode, Encode};

/// The queue has as many messages as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Encode, Decode)]
#[error(
    "queue {queue} has {messages} messages and no room for {more} more (length_max is {limit}): \
     try again when some of them are settled, or raise the limit"
)]
pub struct QueueFull {
    /// The queue.
    #[cbor(n(0), with = "crate::codec::id")]
    pub queue: PartitionId,
    /// How many it has.
    #[n(1)]
    pub messages: u64,
    /// How many were sent.
    #[n(2)]
    pub more: u64,
    /// How many it may have.
    #[n(3)]
    pub limit: i64,
}

/// The queue has as many bytes as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Encode, Decode)]
#[error(
    "queue {queue} has {bytes} bytes and no room for {more} more (bytes_max is {limit}): try again \
     when some of its messages are settled, or raise the limit"
)]
pub struct QueueBytes {
    /// The queue.
    #[cbor(n(0), with = "crate::codec::id")]
    pub queue: PartitionId,
    /// How many it has.
    #[n(1)]
    pub bytes: u64,
    /// How many were sent.
    #[n(2)]
    pub more: u32,
    /// How many it may have.
    #[n(3)]
    pub limit: i64,
}

/// The queue moves messages to other queues already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Encode, Decode)]
#[error(
    "redrive {redrive} of queue {queue} is not finished, or messages of it are still on their way: \
     wait for it, or cancel it"
)]
pub struct RedriveUnfinished {
    /// The queue.
    #[cbor(n(0), with = "crate::codec::id")]
    pub queue: PartitionId,
    /// The task.
    #[n(1)]
    pub redrive: u64,
}

/// Some of what another queue hands over is here already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Encode, Decode)]
#[error(
    "queue {queue} has messages of queue {from} up to {next}, and was given those from {first} on: \
     hand over from {next} on"
)]
pub struct TransferOverlap {
    /// The queue.
    #[cbor(n(0), with = "crate::codec::id")]
    pub queue: PartitionId,
    /// The queue that hands over.
    #[cbor(n(1), with = "crate::codec::id")]
    pub from: PartitionId,
    /// The first sequence that was given.
    #[n(2)]
    pub first: u64,
    /// The first sequence that is not here.
    #[n(3)]
    pub next: u64,
}
