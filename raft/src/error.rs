//! Errors of the consensus layer, as callers see them.

use kontiki_storage::id::{NodeId, ReplicaId, ShardId};

/// Why a command was not (surely) applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another replica leads. The command was not proposed.
    #[error("this node doesn't lead the shard")]
    NotLeader {
        /// The leader, where it is known.
        leader: Option<ReplicaId>,
    },
    /// Too much waits already. The command was not proposed.
    #[error("{waiting} bytes of commands wait already, raft.proposals_bytes_max is {limit}")]
    Overloaded {
        /// What waits.
        waiting: usize,
        /// The limit.
        limit: usize,
    },
    /// The disk is nearly full. The command was not proposed.
    #[error("{free} bytes are free on the disk, raft.free_bytes_propose_min is {limit}")]
    DiskFull {
        /// What is free.
        free: u64,
        /// The limit.
        limit: u64,
    },
    /// The command is larger than a message between nodes may be. It was not proposed.
    #[error("a command of {size} bytes; at most {limit} fit into a message between nodes")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The node is stopping. The command was not proposed.
    #[error("this node is stopping")]
    Stopping,
    /// The command may have been applied, or may be applied later, or never.
    #[error("leadership was lost while the command was under way; its outcome is not known")]
    Unknown,
    /// This replica is broken. The command was not proposed.
    #[error("shard {shard} has failed on this node; its replica has to be rebuilt")]
    Failed {
        /// Which one.
        shard: ShardId,
    },
}

/// Why a read can't be served here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Another replica leads.
    #[error("this node doesn't lead the shard")]
    NotLeader {
        /// The leader, where it is known.
        leader: Option<ReplicaId>,
    },
    /// A quorum didn't confirm the leadership in time.
    #[error("no quorum of the shard's replicas answers")]
    NoQuorum,
    /// The node is stopping, or the replica is broken.
    #[error("the shard's replica on this node has stopped")]
    Stopped,
}

/// Why a change of members or of leadership was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ControlError {
    /// Another replica leads.
    #[error("this node doesn't lead the shard")]
    NotLeader {
        /// The leader, where it is known.
        leader: Option<ReplicaId>,
    },
    /// No replica of that shard is here.
    #[error("node {node} has no replica of shard {shard}")]
    NoReplica {
        /// This node.
        node: NodeId,
        /// The shard asked for.
        shard: ShardId,
    },
    /// Another replica of the shard is here already.
    #[error("node {node} has replica {present} of shard {shard} already")]
    Present {
        /// This node.
        node: NodeId,
        /// The shard.
        shard: ShardId,
        /// The replica that is here.
        present: ReplicaId,
    },
    /// Another change is under way, or the change makes no sense; the text says which.
    #[error("{0}")]
    Refused(String),
    /// The replica has stopped.
    #[error("the shard's replica on this node has stopped")]
    Stopped,
    /// Storage failed.
    #[error(transparent)]
    Storage(std::sync::Arc<kontiki_storage::Error>),
}

/// What ends the process: going on would risk what has been promised.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FatalError {
    /// A write or a sync failed. Never retried: the kernel may have dropped the data.
    #[error("storage failed: {0}; restart the node, replace the disk if it happens again")]
    Storage(std::sync::Arc<kontiki_storage::Error>),
    /// The consensus library gave up on a shard.
    #[error("Raft of shard {shard} stopped: {why}; restart the node")]
    Raft {
        /// Which shard.
        shard: ShardId,
        /// What it said.
        why: String,
    },
}

/// Why the node's Raft can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting.
    #[error(transparent)]
    Options(#[from] crate::options::InvalidOption),
    /// Storage.
    #[error(transparent)]
    Storage(#[from] kontiki_storage::Error),
    /// openraft refused to start a shard.
    #[error("Raft of shard {shard} doesn't start: {why}")]
    Raft {
        /// Which shard.
        shard: ShardId,
        /// What it said.
        why: String,
    },
}

/// Storage errors travel through openraft as `io::Error`s.
pub(crate) fn io(error: kontiki_storage::Error) -> std::io::Error {
    std::io::Error::other(error)
}

/// Bytes in storage that don't decode are corruption.
pub(crate) fn corrupt(what: &str, error: &crate::codec::DecodeError) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, format!("{what}: {error}"))
}
