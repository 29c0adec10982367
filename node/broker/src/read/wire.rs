//! Reads and their answers as bytes between nodes: one version byte, then CBOR with numbers that
//! are only ever appended to.

mod select;

use bytes::Bytes;
use kontiki_domain::codec::{self, Undecodable};
use kontiki_domain::queue::RedriveTask;
use kontiki_storage::id::NodeId;
use minicbor::{Decode, Encode};

pub(crate) use self::select::{
    Attach, Attached, Holding, Positions, Select, SelectPart, Selected, SelectedPart,
};
use crate::error::{Code, Error, Kind};

/// The version byte in front of requests and answers.
const VERSION: u8 = 1;

/// What is asked of the leader of a shard. Partitions are named by their ids.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Request {
    /// Records.
    #[n(0)]
    Fetch(#[n(0)] Fetch),
    /// Offsets.
    #[n(1)]
    Offsets(#[n(0)] Vec<OffsetQuery>),
    /// Where logs begin and end, and how large they are.
    #[n(2)]
    Sizes(#[n(0)] Vec<u64>),
    /// Messages of a queue, leased to the caller.
    #[n(3)]
    Receive(#[n(0)] Receive),
    /// Messages of a queue, without a lease.
    #[n(4)]
    Peek(#[n(0)] Peek),
    /// How many messages queues have.
    #[n(5)]
    Queues(#[n(0)] Vec<u64>),
    /// Records that match a filter.
    #[n(8)]
    Select(#[n(0)] Select),
    /// How far a durable subscription has come.
    #[n(9)]
    Positions(#[n(0)] Positions),
    /// Who is attached to a durable subscription; asked of the catalog's leader.
    #[n(10)]
    Attach(#[n(0)] Attach),
    /// Something about a queue's consumers. Earlier releases refuse it; whoever asks goes on.
    #[n(6)]
    Consumer(#[n(0)] Consumer),
    /// The tasks of a queue that move messages to other queues.
    #[n(11)]
    Redrives(#[n(0)] u64),
}

/// See [`Request::Receive`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Receive {
    #[n(0)]
    pub(crate) queue: u64,
    #[n(1)]
    pub(crate) max: u32,
    /// 0: as long as the queue says.
    #[n(2)]
    pub(crate) lease_ms: i64,
    #[n(3)]
    pub(crate) wait_ms: u32,
    /// Whose they are to be, if that is said.
    #[n(4)]
    pub(crate) consumer: Option<String>,
    /// That consumer's priority; `None`: 0.
    #[n(5)]
    pub(crate) priority: Option<i32>,
}

/// See [`Request::Consumer`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Consumer {
    #[n(0)]
    pub(crate) queue: u64,
    /// Its id; nobody's where the queue was declared.
    #[n(1)]
    pub(crate) consumer: String,
    #[n(2)]
    pub(crate) says: Says,
}

/// What is said of a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Says {
    /// It is there, though it doesn't ask for messages.
    #[n(0)]
    There,
    /// It has gone.
    #[n(1)]
    Gone,
    /// The queue was declared by somebody.
    #[n(2)]
    Declared,
}

/// See [`Request::Peek`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Peek {
    #[n(0)]
    pub(crate) queue: u64,
    #[n(1)]
    pub(crate) from: u64,
    #[n(2)]
    pub(crate) max: u32,
}

/// One message of an answer. Its record is in one of the answer's payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Delivered {
    #[n(0)]
    pub(crate) offset: u64,
    #[n(1)]
    pub(crate) lease: u64,
    #[n(2)]
    pub(crate) until_ms: i64,
    #[n(3)]
    pub(crate) acquired: u32,
    #[n(4)]
    pub(crate) failed: u32,
    /// When it was stored, in milliseconds since 1970.
    #[n(5)]
    pub(crate) append_time_ms: i64,
    /// How it stands; 0 where it is leased to the caller.
    #[n(6)]
    pub(crate) standing: u8,
    /// Which payload, a record batch.
    #[n(7)]
    pub(crate) payload: u32,
    /// Which record of that batch.
    #[n(8)]
    pub(crate) number: u32,
}

/// How many messages a queue has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct QueueCounts {
    #[n(0)]
    pub(crate) available: u64,
    #[n(1)]
    pub(crate) leased: u64,
    #[n(2)]
    pub(crate) scheduled: u64,
    #[n(3)]
    pub(crate) moving: u64,
    #[n(4)]
    pub(crate) bytes: u64,
    /// When the oldest message was stored, in milliseconds since 1970; 0: there is none.
    #[n(5)]
    pub(crate) oldest_ms: i64,
    /// The offset that the next message gets.
    #[n(6)]
    pub(crate) end_offset: u64,
    #[n(7)]
    pub(crate) totals: [u64; 8],
    /// Missing in answers of earlier releases, and where nothing is known of consumers.
    #[n(8)]
    pub(crate) consumers: Option<QueueConsumers>,
}

/// What is known of a queue's consumers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct QueueConsumers {
    /// How many there are.
    #[n(0)]
    pub(crate) count: u32,
    /// The one that gets messages, where it is only one.
    #[n(1)]
    pub(crate) active: Option<String>,
    /// The number of a `BreakerState`.
    #[n(2)]
    pub(crate) breaker: u8,
}

/// One part of [`Response::Queues`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum QueuePart {
    #[n(0)]
    Done(#[n(0)] QueueCounts),
    #[n(1)]
    Failed(#[n(0)] Failed),
}

/// See [`Request::Fetch`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Fetch {
    #[n(0)]
    pub(crate) partitions: Vec<FetchPart>,
    /// Wait for this much; 0 is the same as not to wait.
    #[n(1)]
    pub(crate) min_bytes: u32,
    /// At most this much of all partitions, but at least one batch. 0: no batches at all, only
    /// offsets; it waits until any partition has something after its offset.
    #[n(2)]
    pub(crate) max_bytes: u32,
    #[n(3)]
    pub(crate) wait_ms: u32,
}

/// One partition of a [`Fetch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct FetchPart {
    #[n(0)]
    pub(crate) partition: u64,
    #[n(1)]
    pub(crate) offset: u64,
    #[n(2)]
    pub(crate) max_bytes: u32,
}

/// One query of [`Request::Offsets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct OffsetQuery {
    #[n(0)]
    pub(crate) partition: u64,
    #[n(1)]
    pub(crate) at: At,
}

/// Which offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) enum At {
    #[n(0)]
    Earliest,
    #[n(1)]
    Latest,
    #[n(2)]
    Timestamp(#[n(0)] i64),
}

/// The answer to a [`Request`] of the same name: one part for each partition, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Response {
    #[n(0)]
    Fetched(#[n(0)] Vec<FetchedPart>),
    #[n(1)]
    Offsets(#[n(0)] Vec<FoundPart>),
    #[n(2)]
    Sizes(#[n(0)] Vec<SizePart>),
    #[n(3)]
    Received(#[n(0)] Vec<Delivered>),
    #[n(4)]
    Peeked {
        #[n(0)]
        messages: Vec<Delivered>,
        /// Where to go on; `None`: there is no more.
        #[n(1)]
        next: Option<u64>,
    },
    #[n(5)]
    Queues(#[n(0)] Vec<QueuePart>),
    /// Only of partitions of which there is something to say.
    #[n(8)]
    Selected(#[n(0)] Vec<SelectedPart>),
    /// One for each partition; `None`: nothing is noted.
    #[n(9)]
    Positions(#[n(0)] Vec<Option<u64>>),
    #[n(10)]
    Attached(#[n(0)] Attached),
    #[n(6)]
    Noted,
    /// Oldest first, with their numbers.
    #[n(11)]
    Redrives(#[n(0)] Vec<(u64, RedriveTask)>),
}

/// One partition's part of [`Response::Fetched`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum FetchedPart {
    #[n(0)]
    Done(#[n(0)] Fetched),
    #[n(1)]
    Failed(#[n(0)] Failed),
}

/// What there is in a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Fetched {
    #[n(0)]
    pub(crate) high_watermark: u64,
    #[n(1)]
    pub(crate) log_start_offset: u64,
    #[n(2)]
    pub(crate) leader_epoch: u64,
    #[n(3)]
    pub(crate) next_offset: u64,
    /// How many of the answer's payloads, after those of the parts before, are its batches.
    #[n(4)]
    pub(crate) batches: u32,
}

/// One part of [`Response::Offsets`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum FoundPart {
    #[n(0)]
    Done(#[n(0)] Found),
    #[n(1)]
    Failed(#[n(0)] Failed),
}

/// An offset, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Found {
    #[n(0)]
    pub(crate) offset: Option<u64>,
    #[n(1)]
    pub(crate) timestamp_ms: Option<i64>,
    #[n(2)]
    pub(crate) leader_epoch: u64,
}

/// One part of [`Response::Sizes`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum SizePart {
    #[n(0)]
    Done(#[n(0)] Size),
    #[n(1)]
    Failed(#[n(0)] Failed),
}

/// Where a log begins and ends, and how large it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Size {
    #[n(0)]
    pub(crate) log_start_offset: u64,
    #[n(1)]
    pub(crate) high_watermark: u64,
    #[n(2)]
    pub(crate) bytes: u64,
}

/// A failure that concerns one partition.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Failed {
    #[n(0)]
    kind: u32,
    #[n(1)]
    code: u32,
    #[n(2)]
    detail: String,
    #[n(3)]
    leader: Option<u32>,
    #[n(4)]
    retry_after_ms: u32,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self {
            kind: error.kind.number(),
            code: error.code.0,
            detail: error.detail,
            leader: error.leader.map(|leader| leader.0),
            retry_after_ms: error.retry_after_ms,
        }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        let error = Self::new(Kind::from_number(failed.kind), Code(failed.code), failed.detail);
        Self { leader: failed.leader.map(NodeId), retry_after_ms: failed.retry_after_ms, ..error }
    }
}

macro_rules! part {
    ($part:ident($done:ident)) => {
        impl From<Result<$done, Error>> for $part {
            fn from(outcome: Result<$done, Error>) -> Self {
                match outcome {
                    Ok(done) => Self::Done(done),
                    Err(error) => Self::Failed(error.into()),
                }
            }
        }

        impl From<$part> for Result<$done, Error> {
            fn from(part: $part) -> Self {
                match part {
                    $part::Done(done) => Ok(done),
                    $part::Failed(failed) => Err(failed.into()),
                }
            }
        }
    };
}

part!(FetchedPart(Fetched));
part!(FoundPart(Found));
part!(SizePart(Size));
part!(QueuePart(QueueCounts));

impl Request {
    pub(crate) fn encode(&self) -> Bytes {
        codec::encode(VERSION, self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Undecodable> {
        codec::decode(VERSION, bytes)
    }
}

impl Response {
    pub(crate) fn encode(&self) -> Bytes {
        codec::encode(VERSION, self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Undecodable> {
        codec::decode(VERSION, bytes)
    }
}

#[cfg(test)]
#[path = "wire_test.rs"]
mod tests;
