//! Where and when a command stands in its shard's log. The only source of time that a state
//! machine has.

use kontiki_storage::id::LogIndex;

/// The position and time of a command, the same on every replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Index of the Raft entry. Never shown to a client and never used as an offset.
    pub index: LogIndex,
    /// Raft term of the entry; clients know it as the leader epoch.
    pub term: u64,
    /// The leader's clock when it proposed, in milliseconds since 1970, clamped by the Raft
    /// layer so that it never goes back within one shard.
    pub time_ms: i64,
}
