//! The numbers of failures, for programs. Append-only; the project's documentation lists them.

use std::fmt;

/// A stable number. Below 1,000: the state machines' refusals, with the numbers that they have in
/// the log. From 1,000 on: the broker's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u32);

impl Code {
    /// Whether a state machine has said so.
    pub(crate) fn is_of_a_state_machine(self) -> bool {
        self < Self::INVALID_FIELD
    }

    /// A field of the request is out of bounds.
    pub const INVALID_FIELD: Self = Self(1000);
    /// A record batch is not one, or contradicts itself.
    pub const INVALID_BATCH: Self = Self(1001);
    /// The checksum of a record batch doesn't fit: it was damaged on its way.
    pub const DAMAGED_BATCH: Self = Self(1002);
    /// A record batch, or what it expands to, is too large.
    pub const BATCH_TOO_LARGE: Self = Self(1003);
    /// Something that this release doesn't offer.
    pub const NOT_OFFERED: Self = Self(1004);
    /// No topic of that name.
    pub const UNKNOWN_TOPIC: Self = Self(1010);
    /// No partition of that number.
    pub const UNKNOWN_PARTITION: Self = Self(1011);
    /// The offset is below the log start or above the high watermark.
    pub const OFFSET_OUT_OF_RANGE: Self = Self(1012);
    /// No shard of that number, or no replica of it here.
    pub const UNKNOWN_SHARD: Self = Self(1013);
    /// Too few nodes would be left for the shards of one that is to go.
    pub const TOO_FEW_NODES: Self = Self(1014);
    /// A change of a group's members or leadership is refused.
    pub const CHANGE_REFUSED: Self = Self(1015);
    /// No queue of that name.
    pub const UNKNOWN_QUEUE: Self = Self(1016);
    /// A topic where a queue is expected.
    pub const NOT_A_QUEUE: Self = Self(1017);
    /// A receipt that no receive has given.
    pub const INVALID_RECEIPT: Self = Self(1018);
    /// The lease that a receipt stands for has ended.
    pub const LEASE_ENDED: Self = Self(1019);
    /// A limit of the node is reached.
    pub const THROTTLED: Self = Self(1020);
    /// The disk is nearly full.
    pub const DISK_FULL: Self = Self(1021);
    /// The queue is exclusive, and another consumer's.
    pub const QUEUE_EXCLUSIVE: Self = Self(1022);
    /// No redrive of that number.
    pub const UNKNOWN_REDRIVE: Self = Self(1023);
    /// A redrive has ended before it was done.
    pub const REDRIVE_ENDED: Self = Self(1024);
    /// No queue gets a message that is mandatory.
    pub const RETURNED: Self = Self(1025);
    /// Another consumer is attached to a durable subscription, or has taken it over.
    pub const SUBSCRIPTION_ATTACHED: Self = Self(1026);
    /// An exchange to which clients may not publish.
    pub const INTERNAL_EXCHANGE: Self = Self(1027);
    /// Another node leads.
    pub const NOT_LEADER: Self = Self(1030);
    /// No leader answered in time.
    pub const NO_LEADER: Self = Self(1031);
    /// The node is stopping.
    pub const STOPPING: Self = Self(1032);
    /// Another node can't be reached.
    pub const UNREACHABLE: Self = Self(1033);
    /// The cluster isn't founded, or this node doesn't know the catalog yet.
    pub const NOT_READY: Self = Self(1034);
    /// It can't be told whether it was done.
    pub const OUTCOME_UNKNOWN: Self = Self(1040);
    /// A request was sent, and nobody replied in time.
    pub const NO_REPLY: Self = Self(1041);
    /// Nobody waits for a reply any more.
    pub const NOBODY_WAITS: Self = Self(1042);
    /// The shard's replica on this node is broken.
    pub const SHARD_FAILED: Self = Self(1050);
    /// What is stored is damaged.
    pub const CORRUPT: Self = Self(1051);
    /// Storage failed.
    pub const STORAGE: Self = Self(1052);
    /// A fault of this release.
    pub const INTERNAL: Self = Self(1060);
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
