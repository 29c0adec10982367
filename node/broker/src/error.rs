//! What a caller of the broker is told when something was not (surely) done.
//!
//! Not for what a peer or the disk said: that is translated here, once. A gateway maps the eleven
//! kinds to its wire in one exhaustive match and shows code and detail as they are.

use std::time::Duration;

use kontiki_storage::id::NodeId;

mod code;
mod consensus;
mod rejection;
mod wire;

pub use code::Code;

/// What kind of failure it is; decides what a caller may do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The request breaks a rule or a limit; sending it again can't help.
    Invalid,
    /// The topic, partition, node, shard or offset does not exist.
    NotFound,
    /// The thing to be created is already there.
    Exists,
    /// The caller may not do this.
    Denied,
    /// A newer producer epoch has taken over; this producer must stop.
    Fenced,
    /// The state is not the one that the request assumes.
    Conflict,
    /// Another node leads. Not done.
    NotLeader,
    /// A limit is reached for now. Not done.
    Throttled,
    /// Not done, and may succeed later.
    Unavailable,
    /// It can't be told whether it was done.
    Unknown,
    /// A fault of this node; nothing wrong was stored and nothing wrong was returned.
    Internal,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Invalid,
        Self::NotFound,
        Self::Exists,
        Self::Denied,
        Self::Fenced,
        Self::Conflict,
        Self::NotLeader,
        Self::Throttled,
        Self::Unavailable,
        Self::Unknown,
        Self::Internal,
    ];

    /// Its name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Exists => "exists",
            Self::Denied => "denied",
            Self::Fenced => "fenced",
            Self::Conflict => "conflict",
            Self::NotLeader => "not_leader",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
            Self::Internal => "internal",
        }
    }

    /// Its number between nodes, which is also that of `kontiki.v1.ErrorKind`.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Invalid => 1,
            Self::NotFound => 2,
            Self::Exists => 3,
            Self::Denied => 4,
            Self::Fenced => 5,
            Self::Conflict => 6,
            Self::NotLeader => 7,
            Self::Throttled => 8,
            Self::Unavailable => 9,
            Self::Unknown => 10,
            Self::Internal => 11,
        }
    }

    /// The kind of a number; one that a newer release may have added is [`Kind::Internal`].
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        Self::ALL.into_iter().find(|kind| kind.number() == number).unwrap_or(Self::Internal)
    }
}

/// A failure, for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    /// What kind it is.
    pub kind: Kind,
    /// A stable number for programs.
    pub code: Code,
    /// For people: what happened, to which thing, what to do.
    pub detail: String,
    /// With [`Kind::NotLeader`]: the node that leads, where it is known.
    pub leader: Option<NodeId>,
    /// With [`Kind::Throttled`] and [`Kind::Unavailable`]: when to try again, in milliseconds; 0
    /// where there is nothing to say.
    pub retry_after_ms: u32,
}

impl Error {
    /// A failure without hints.
    #[must_use]
    pub fn new(kind: Kind, code: Code, detail: impl Into<String>) -> Self {
        Self { kind, code, detail: detail.into(), leader: None, retry_after_ms: 0 }
    }

    /// A field of the request is out of bounds.
    #[must_use]
    pub fn invalid(field: &str, value: impl std::fmt::Display, expected: &str) -> Self {
        let detail = format!("{field} is {value}, expected {expected}: correct it and ask again");
        Self::new(Kind::Invalid, Code::INVALID_FIELD, detail)
    }

    /// There is no topic of that name.
    #[must_use]
    pub fn unknown_topic(name: &str) -> Self {
        let detail = format!("topic {name} does not exist: create it, or correct the name");
        Self::new(Kind::NotFound, Code::UNKNOWN_TOPIC, detail)
    }

    /// The topic has fewer partitions.
    #[must_use]
    pub fn unknown_partition(topic: &str, partition: u32, count: usize) -> Self {
        let detail = format!(
            "topic {topic} has no partition {partition}: it has {count}, counted from 0; add \
             partitions, or correct the number"
        );
        Self::new(Kind::NotFound, Code::UNKNOWN_PARTITION, detail)
    }

    /// A limit of the node is reached; nothing was done.
    #[must_use]
    pub fn throttled(limit_name: &str, limit: usize, retry_after_ms: u32) -> Self {
        let detail = format!(
            "this node is at its limit {limit_name} = {limit}: try again after {retry_after_ms} \
             ms, and send less at a time if it happens often"
        );
        Self { retry_after_ms, ..Self::new(Kind::Throttled, Code::THROTTLED, detail) }
    }

    /// Another node leads; nothing was done.
    #[must_use]
    pub fn not_leader(thing: &str, leader: Option<NodeId>) -> Self {
        let detail = match leader {
            Some(node) => format!("this node doesn't lead {thing}: ask node {node}"),
            None => format!("this node doesn't lead {thing}, and no leader is known: try again"),
        };
        Self { leader, ..Self::new(Kind::NotLeader, Code::NOT_LEADER, detail) }
    }

    /// Time was up before anything was done.
    #[must_use]
    pub fn not_done_in_time(thing: &str) -> Self {
        let detail = format!(
            "{thing} had no leader that answered in time; nothing was done: try again, and look at \
             the state of the cluster if it goes on"
        );
        Self::new(Kind::Unavailable, Code::NO_LEADER, detail)
    }

    /// Time was up, or the connection broke, when it may have been done.
    #[must_use]
    pub fn outcome_unknown(thing: &str) -> Self {
        let detail = format!(
            "{thing} was asked and did not answer in time; the request may be done now, later or \
             never: an idempotent producer may send it again, others have to look first"
        );
        Self::new(Kind::Unknown, Code::OUTCOME_UNKNOWN, detail)
    }

    /// The node is stopping; nothing was done.
    #[must_use]
    pub fn stopping() -> Self {
        let detail = "this node is stopping; nothing was done: ask another node";
        Self::new(Kind::Unavailable, Code::STOPPING, detail)
    }

    /// A fault of this release.
    #[must_use]
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(Kind::Internal, Code::INTERNAL, detail)
    }

    /// The same with the thing that it is about in front.
    #[must_use]
    pub fn about(mut self, thing: impl std::fmt::Display) -> Self {
        self.detail = format!("{thing}: {}", self.detail);
        self
    }

    /// When to try again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        (self.retry_after_ms > 0).then(|| Duration::from_millis(self.retry_after_ms.into()))
    }
}

#[cfg(test)]
#[path = "error_test.rs"]
mod tests;
