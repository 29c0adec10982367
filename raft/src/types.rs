//! The openraft types, bound once. Nothing outside of this crate names one.

use std::fmt;

use bytes::Bytes;
use kontiki_storage::payload::{PayloadLocation, PayloadRef};
use openraft::impls::{EmptyNode, leader_id_std};

/// One shard's Raft. `leader_id_std`: at most one leader in a term.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Types {}

impl openraft::RaftTypeConfig for Types {
    type D = Proposal;
    type R = Replies;
    type NodeId = u64;
    type Node = EmptyNode;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = EntryPayload;
    type Entry = Entry;
    type AsyncRuntime = openraft::impls::TokioRuntime;
    type Responder<T>
        = crate::shard::Answer<T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(crate) type LeaderId = leader_id_std::LeaderId<u64, u64>;
pub(crate) type CommittedLeaderId = <LeaderId as openraft::vote::RaftLeaderId>::Committed;
pub(crate) type LogId = openraft::LogId<CommittedLeaderId>;
pub(crate) type Vote = openraft::impls::Vote<LeaderId>;
pub(crate) type Membership = openraft::Membership<u64, EmptyNode>;
pub(crate) type StoredMembership = openraft::StoredMembership<CommittedLeaderId, u64, EmptyNode>;
pub(crate) type EntryPayload = openraft::EntryPayload<Proposal, u64, EmptyNode>;
pub(crate) type Entry = openraft::Entry<CommittedLeaderId, EntryPayload>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<CommittedLeaderId, u64, EmptyNode>;
pub(crate) type Snapshot =
    openraft::storage::Snapshot<CommittedLeaderId, u64, EmptyNode, crate::snapshot::SnapshotData>;
pub(crate) type Raft = openraft::Raft<Types, crate::replica::StateMachine>;
pub(crate) type AppendRequest = openraft::raft::AppendEntriesRequest<Types>;
pub(crate) type AppendResult = openraft::raft::StreamAppendResult<Types>;
pub(crate) type VoteRequest = openraft::raft::VoteRequest<Types>;
pub(crate) type VoteResponse = openraft::raft::VoteResponse<Types>;
pub(crate) type TransferRequest = openraft::raft::TransferLeaderRequest<Types>;

/// What one Raft entry carries: the commands of many callers, and the leader's time.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The leader's clock when it proposed, milliseconds since 1970; clamped when it is applied.
    pub(crate) time_ms: i64,
    pub(crate) commands: Vec<Command>,
}

/// One command with its payloads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Command {
    pub(crate) bytes: Bytes,
    pub(crate) payloads: Vec<Payload>,
}

/// A payload on its way: in memory, in a segment of this node, or both.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    /// Present while the entry is in the tail, or when it has been read for a follower.
    pub(crate) bytes: Option<Bytes>,
    /// Where this node has stored it; `None` for one that is stored inside the log row.
    pub(crate) location: Option<PayloadLocation>,
}

impl Payload {
    pub(crate) fn in_memory(bytes: Bytes) -> Self {
        Self { bytes: Some(bytes), location: None }
    }

    pub(crate) fn len(&self) -> usize {
        match (&self.location, &self.bytes) {
            (Some(location), _) => location.length as usize,
            (None, Some(bytes)) => bytes.len(),
            (None, None) => unreachable!("a payload is in memory or has a location"),
        }
    }

    /// As the state machine refers to it.
    pub(crate) fn reference(&self) -> PayloadRef {
        match (&self.location, &self.bytes) {
            (Some(location), _) => PayloadRef::Stored(*location),
            (None, Some(bytes)) => PayloadRef::Inline(bytes.clone()),
            (None, None) => unreachable!("a payload is in memory or has a location"),
        }
    }
}

/// Two payloads are equal when their content is: where each node keeps them doesn't matter.
impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        match (&self.bytes, &other.bytes) {
            (Some(mine), Some(theirs)) => mine == theirs,
            (None, _) | (_, None) => self.location == other.location,
        }
    }
}

impl Proposal {
    /// Bytes of the commands and payloads, for limits.
    pub(crate) fn size(&self) -> usize {
        self.commands.iter().map(Command::size).sum()
    }
}

impl Command {
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.payloads.iter().map(Payload::len).sum::<usize>()
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands, {} bytes", self.commands.len(), self.size())
    }
}

/// The replies to the commands of one entry, in their order; empty for entries without commands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replies(pub(crate) Vec<Bytes>);

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId { leader_id: CommittedLeaderId::new(term), index }
}

/// Bytes that an entry holds in memory.
pub(crate) fn entry_size(entry: &Entry) -> usize {
    const OVERHEAD: usize = 96;
    match &entry.payload {
        EntryPayload::Blank => OVERHEAD,
        EntryPayload::Normal(proposal) => {
            OVERHEAD
                + proposal
                    .commands
                    .iter()
                    .map(|command| {
                        let held = command.payloads.iter().filter_map(|p| p.bytes.as_ref());
                        OVERHEAD + command.bytes.len() + held.map(Bytes::len).sum::<usize>()
                    })
                    .sum::<usize>()
        }
        EntryPayload::Membership(_) => OVERHEAD * 4,
    }
}
