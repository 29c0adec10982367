//! Tasks that move waiting messages of a queue to other queues, because an operator wants so: what
//! they are to do, how far they are, and the row that says both.

use bytes::Bytes;
use kontiki_storage::Error;
use kontiki_storage::id::{Offset, ShardId};
use minicbor::{Decode, Encode};

use crate::catalog::validate_name;
use crate::codec;
use crate::filter::{FILTER_BYTES_MAX, FilterText};
use crate::rejection::Rejection;

const VERSION: u8 = 1;

/// What a task may be told, and how many of them are remembered.
pub mod limits {
    /// Headers that one task sets, and that it removes.
    pub const HEADERS_MAX: usize = 64;
    /// Their names and values together, in bytes.
    pub const HEADER_BYTES_MAX: usize = 16_384;
    /// Tasks that have ended and are remembered.
    pub const ENDED_MAX: usize = 10;
    /// Longest reason for a failure, in bytes.
    pub const FAILURE_BYTES_MAX: usize = 1_024;
}

/// What is to be moved, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct RedriveSpec {
    /// The name of the queue to move to; `None`: to the one that each message came from.
    #[n(0)]
    pub target: Option<String>,
    /// Only messages that match; `None`: all.
    #[n(1)]
    pub filter: Option<FilterText>,
    /// Messages in a second at most; 0: as many as go.
    #[n(2)]
    pub per_second: u32,
    /// Messages at most; 0: any number.
    #[n(3)]
    pub max: u64,
    /// Only count.
    #[n(4)]
    pub dry_run: bool,
    /// Headers that messages get on their way, in place of those of the same names.
    #[n(5)]
    pub set_headers: Vec<(String, minicbor::bytes::ByteVec)>,
    /// Names of headers that messages lose on their way.
    #[n(6)]
    pub remove_headers: Vec<String>,
}

/// What a task is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum RedriveStatus {
    /// It goes on.
    #[n(0)]
    Running,
    /// It has looked at all messages that waited when it began, or moved as many as it may.
    #[n(1)]
    Completed,
    /// It was cancelled, and is about to end.
    #[n(2)]
    Cancelling,
    /// It was cancelled, and moves nothing any more.
    #[n(3)]
    Cancelled,
    /// It can't go on.
    #[n(4)]
    Failed,
}

impl RedriveStatus {
    /// Whether the task has not ended.
    #[must_use]
    pub fn is_under_way(self) -> bool {
        match self {
            Self::Running | Self::Cancelling => true,
            Self::Completed | Self::Cancelled | Self::Failed => false,
        }
    }
}

/// How far a task is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct RedriveProgress {
    /// Messages that were looked at.
    #[n(0)]
    pub examined: u64,
    /// Those of them that were put on their way; with `dry_run`: that would be.
    #[n(1)]
    pub moved: u64,
    /// Those of them that can't be moved: nobody knows where to.
    #[n(2)]
    pub stranded: u64,
    /// Those of them on which the filter could not be evaluated.
    #[n(3)]
    pub filter_errors: u64,
}

/// One step of a task.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RedriveStep {
    /// The task.
    #[n(0)]
    pub redrive: u64,
    /// Where the task is.
    #[cbor(n(1), with = "crate::codec::id")]
    pub from: Offset,
    /// Where it is afterwards: further on.
    #[cbor(n(2), with = "crate::codec::id")]
    pub to: Offset,
    /// What was counted on the way; `moved` counts with `dry_run` only.
    #[n(3)]
    pub counted: RedriveProgress,
    /// What is moved.
    #[n(4)]
    pub moves: Vec<RedriveMove>,
    /// Why the task can't go on: then nothing else of the step counts.
    #[n(5)]
    pub failure: Option<String>,
}

/// Messages that go to one queue. Those that don't wait any more are left out.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RedriveMove {
    /// The queue's name.
    #[n(0)]
    pub target: String,
    /// The messages.
    #[cbor(n(1), with = "crate::codec::id")]
    pub offsets: Vec<Offset>,
}

/// The row of a task.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RedriveTask {
    /// What it is to do.
    #[n(0)]
    pub spec: RedriveSpec,
    /// What it is doing.
    #[n(1)]
    pub status: RedriveStatus,
    /// All messages before are done with.
    #[cbor(n(2), with = "crate::codec::id")]
    pub position: Offset,
    /// It ends here: what was sent later is not its concern.
    #[cbor(n(3), with = "crate::codec::id")]
    pub end: Offset,
    /// How far it is.
    #[n(4)]
    pub progress: RedriveProgress,
    /// When it began, in milliseconds since 1970.
    #[n(5)]
    pub started_ms: i64,
    /// When it last changed, in milliseconds since 1970.
    #[n(6)]
    pub changed_ms: i64,
    /// Not to go on before, in milliseconds since 1970: it keeps its rate.
    #[n(7)]
    pub not_before_ms: i64,
    /// The outbox had all that it moved when it was so long.
    #[n(8)]
    pub outbox_end: u64,
    /// Why it failed.
    #[n(9)]
    pub failure: Option<String>,
}

impl RedriveSpec {
    /// Whether messages have other headers afterwards.
    #[must_use]
    pub fn edits(&self) -> bool {
        !self.set_headers.is_empty() || !self.remove_headers.is_empty()
    }

    pub(super) fn validate(&self) -> Result<(), Rejection> {
        let Self { target, filter, set_headers, remove_headers, .. } = self;
        if let Some(target) = target {
            validate_name(target)?;
        }
        let at_most = |field: &str, count: usize, limit: usize| {
            let expected = format!("at most {limit}");
            if count <= limit { Ok(()) } else { Err(Rejection::invalid(field, count, &expected)) }
        };
        let text = filter.as_ref().map_or(0, |filter| filter.text.len());
        at_most("the bytes of the filter", text, FILTER_BYTES_MAX)?;
        at_most("the number of headers to set", set_headers.len(), limits::HEADERS_MAX)?;
        at_most("the number of headers to remove", remove_headers.len(), limits::HEADERS_MAX)?;
        let set = set_headers.iter().map(|(name, value)| name.len() + value.len());
        let bytes = set.chain(remove_headers.iter().map(String::len)).sum();
        at_most("the bytes of the headers", bytes, limits::HEADER_BYTES_MAX)
    }
}

impl RedriveTask {
    pub(super) fn encode(&self) -> Bytes {
        codec::encode(VERSION, self)
    }

    pub(super) fn decode(shard: ShardId, row: &[u8]) -> Result<Self, Error> {
        codec::decode(VERSION, row)
            .map_err(|fault| Error::corrupt_row(shard, "redrive", fault.to_string()))
    }
}
