//! For whoever wants to know what replicas do, as they do it: a simulation.

use kontiki_storage::id::{ReplicaId, ShardId};

/// An entry that a replica has applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppliedEntry {
    /// Its place in the log.
    pub index: u64,
    /// The term in which it was proposed.
    pub term: u64,
    /// Digest of what it says, payloads included; the same wherever a node keeps them.
    pub entry: u64,
    /// Digest of the replies.
    pub replies: u64,
}

/// Hears what the replicas of one node do.
pub trait Probe: Send + Sync {
    /// Whether anybody wants [`applied`](Self::applied): its digests cost time.
    fn wants_applied(&self) -> bool {
        false
    }

    /// A replica leads, in a term.
    fn leads(&self, _: ShardId, _: ReplicaId, _term: u64) {}

    /// It has applied an entry, and written what that has changed.
    fn applied(&self, _: ShardId, _: ReplicaId, _: AppliedEntry) {}

    /// It has taken over a snapshot, and applies the entry at this index next.
    fn installed(&self, _: ShardId, _: ReplicaId, _next: u64) {}

    /// It has opened its state, as the disk has it, and applies the entry at this index next.
    fn opened(&self, _: ShardId, _: ReplicaId, _next: u64) {}
}

/// Nobody wants to know.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProbe;

impl Probe for NoProbe {}
