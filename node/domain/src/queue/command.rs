//! What can be asked of a queue, as it stands in the Raft log.
//!
//! Numbers are only ever appended, as for [`crate::partition::Command`].

use kontiki_storage::id::{Offset, PartitionId};
use minicbor::{Decode, Encode};

use super::redrive::{RedriveSpec, RedriveStep};
use crate::partition::BatchHeader;

/// A command for a queue of a data shard.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// Stores messages.
    #[n(0)]
    Enqueue(#[n(0)] Enqueue),
    /// Leases messages to consumers, in the order of the list.
    #[n(1)]
    Acquire {
        /// The queue.
        #[cbor(n(0), with = "crate::codec::id")]
        queue: PartitionId,
        /// Who wants how many.
        #[n(1)]
        wanted: Vec<Acquire>,
    },
    /// Ends or changes leases.
    #[n(2)]
    Settle {
        /// The queue.
        #[cbor(n(0), with = "crate::codec::id")]
        queue: PartitionId,
        /// Which, and how.
        #[n(1)]
        settlements: Vec<Settlement>,
        /// What consumers say about failures, by their places in the list above, in order; only
        /// about [`Action::Reject`] and about [`Action::Release`] as failed.
        #[cbor(n(2), skip_if = "are_none")]
        reasons: Vec<Reason>,
    },
    /// Does what has become due: leases that end, delays that are over, messages that expire, ids
    /// that are forgotten.
    #[n(3)]
    Tick {
        /// The queue.
        #[cbor(n(0), with = "crate::codec::id")]
        queue: PartitionId,
        /// How many of them at most, at least 1.
        #[n(1)]
        limit: u32,
    },
    /// Removes waiting messages that were there when the purge began. Those in flight stay.
    #[n(4)]
    Purge {
        /// The queue.
        #[cbor(n(0), with = "crate::codec::id")]
        queue: PartitionId,
        /// Only messages below this offset.
        #[cbor(n(1), with = "crate::codec::id")]
        before: Offset,
        /// How many at most, at least 1.
        #[n(2)]
        limit: u32,
    },
    /// What is in the outbox up to a sequence is in the other queue: it leaves this one.
    #[n(5)]
    Transferred {
        /// The queue.
        #[cbor(n(0), with = "crate::codec::id")]
        queue: PartitionId,
        /// The last sequence that has arrived.
        #[n(1)]
        through: u64,
        /// Set where they arrived nowhere: no queue is to have them, and they are dropped.
        #[n(2)]
        dropped: Option<Dropped>,
    },
    /// Puts waiting messages, oldest first, into the outbox: they are to be moved to another queue
    /// because an operator wants so.
    #[n(6)]
    Divert {
        /// The queue.
        #[cbor(n(0), with = "crate::codec::id")]
        queue: PartitionId,
        /// These messages; those that don't wait any more are left out.
        #[cbor(n(1), with = "crate::codec::id")]
        offsets: Vec<Offset>,
        /// The name of the queue to move them to.
        #[n(2)]
        target: String,
    },
    /// Begins to move messages that wait now to other queues, as a task that outlives whoever
    /// wants it. A queue has one at a time.
    #[n(7)]
    StartRedrive {
        /// The queue.
        #[cbor(n(0), with = "crate::codec::id")]
        queue: PartitionId,
        /// What is to be moved, and how.
        #[n(1)]
        spec: RedriveSpec,
    },
    /// Takes such a task one step on, once: a step that doesn't begin where the task is has no
    /// effect.
    #[n(8)]
    StepRedrive {
        /// The queue.
        #[cbor(n(0), with = "crate::codec::id")]
        queue: PartitionId,
        /// The step.
        #[n(1)]
        step: RedriveStep,
    },
    /// Ends such a task, unless it has ended. What was moved stays moved.
    #[n(9)]
    CancelRedrive {
        /// The queue.
        #[cbor(n(0), with = "crate::codec::id")]
        queue: PartitionId,
        /// The number of the task.
        #[n(1)]
        redrive: u64,
    },
}

/// What a command may bring the receivers of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brings {
    /// Messages that were not there before.
    Messages(PartitionId),
    /// The turn of messages that wait until others are settled.
    Turns(PartitionId),
}

impl Command {
    /// Whose receivers may get something by it, at once.
    #[must_use]
    pub fn brings(&self) -> Option<Brings> {
        match self {
            Self::Enqueue(enqueue) => Some(Brings::Messages(enqueue.queue)),
            Self::Settle { queue, .. } => Some(Brings::Turns(*queue)),
            Self::Acquire { .. }
            | Self::Tick { .. }
            | Self::Purge { .. }
            | Self::Transferred { .. }
            | Self::Divert { .. }
            | Self::StartRedrive { .. }
            | Self::StepRedrive { .. }
            | Self::CancelRedrive { .. } => None,
        }
    }
}

/// A variant's fields are references already.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the derive passes a reference to it")]
fn are_none(reasons: &&Vec<Reason>) -> bool {
    reasons.is_empty()
}

/// See [`Command::Enqueue`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Enqueue {
    /// Where to.
    #[cbor(n(0), with = "crate::codec::id")]
    pub queue: PartitionId,
    /// Which of the entry's payloads is the record batch.
    #[n(1)]
    pub payload: u16,
    /// What the state machine must know about the batch.
    #[n(2)]
    pub header: BatchHeader,
    /// What its messages ask for, by their number in the batch, in order; those that ask for
    /// nothing are not in the list.
    #[n(3)]
    pub attributes: Vec<Attributes>,
    /// Set where the messages come from another queue's outbox.
    #[n(4)]
    pub origin: Option<Origin>,
}

/// What one message of a batch asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Attributes {
    /// Its number in the batch, from 0.
    #[n(0)]
    pub number: u32,
    /// Not to be delivered before, in milliseconds since 1970. Overrides the queue's delay.
    #[n(1)]
    pub deliver_at_ms: Option<i64>,
    /// Not to be delivered from then on, in milliseconds since 1970.
    #[n(2)]
    pub expires_at_ms: Option<i64>,
    /// Higher is delivered first; more than the queue's maximum counts as that.
    #[n(3)]
    pub priority: u8,
    /// Stands for the name of its group.
    #[n(4)]
    pub group: Option<u64>,
    /// Stands for its deduplication id.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub deduplication: Option<[u8; 16]>,
    /// Not to be delivered for so long from when it is stored. Overrides the queue's delay; a
    /// moment in `deliver_at_ms` overrides this.
    #[n(6)]
    pub delay_ms: Option<i64>,
    /// Not to be delivered after so long from when it is stored; the earlier of this and
    /// `expires_at_ms` counts.
    #[n(7)]
    pub time_to_live_ms: Option<i64>,
}

/// Where messages come from that another queue hands over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Origin {
    /// That queue. It may be the one that gets them: then there is no other one to have them, and
    /// they come back, to its end.
    #[cbor(n(0), with = "crate::codec::id")]
    pub queue: PartitionId,
    /// The sequence of the first message in that queue's outbox; the others follow.
    #[n(1)]
    pub first_sequence: u64,
    /// Set where other queues get the same messages: they stay in the outbox until
    /// [`Command::Transferred`] says that all of them have arrived.
    #[n(2)]
    pub shared: Option<Shared>,
}

/// See [`Origin::shared`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Shared {
    /// They are.
    #[n(0)]
    Yes,
}

/// See [`Command::Transferred`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Dropped {
    /// An exchange has led them nowhere, or they have come round to a queue by themselves.
    #[n(0)]
    Unroutable,
}

/// One consumer's wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Acquire {
    /// How many messages at most, at least 1.
    #[n(0)]
    pub max: u32,
    /// How long to lease them; 0 = as long as the queue says.
    #[n(1)]
    pub lease_ms: i64,
}

/// What is to become of one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Settlement {
    /// The message.
    #[cbor(n(0), with = "crate::codec::id")]
    pub offset: Offset,
    /// The lease under which it was delivered.
    #[n(1)]
    pub lease: u64,
    /// What to do.
    #[n(2)]
    pub action: Action,
}

/// What a consumer says about deliveries that failed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Reason {
    /// The first of the settlements that it is about, from 0.
    #[n(0)]
    pub first: u32,
    /// How many of them, at least 1.
    #[n(1)]
    pub count: u32,
    /// The class of the error, see [`super::is_class`]; empty: none.
    #[n(2)]
    pub class: String,
    /// A text for people, at most [`super::ERROR_BYTES_MAX`]; may be empty.
    #[n(3)]
    pub error: String,
}

/// What to do with a leased message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Action {
    /// It is done, and never delivered again.
    #[n(0)]
    Acknowledge,
    /// It is to be delivered again.
    #[n(1)]
    Release {
        /// After so many milliseconds; `None` = after the backoff of the error's class or of the
        /// queue if it failed, at once otherwise.
        #[n(0)]
        delay_ms: Option<i64>,
        /// Whether this attempt failed.
        #[n(1)]
        failed: bool,
    },
    /// It is to be moved to the dead-letter queue, or dropped where there is none.
    #[n(2)]
    Reject,
    /// The lease ends so many milliseconds from now.
    #[n(3)]
    Extend {
        /// At least 1.
        #[n(0)]
        lease_ms: i64,
    },
    /// Nobody was given it: it is to be delivered again at once, and that it was leased doesn't
    /// count as an attempt.
    #[n(4)]
    Return,
    /// It is done, whoever has it now: also where this lease has ended, and the message waits again
    /// or is leased to somebody else. In a FIFO queue it is [`Action::Acknowledge`].
    #[n(5)]
    Delete,
}

/// Why a message is moved to another queue.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Transfer {
    /// A consumer rejected it.
    #[n(0)]
    Rejected,
    /// Its time was over.
    #[n(1)]
    Expired,
    /// The queue was full.
    #[n(2)]
    MaxLength,
    /// It had all of its attempts.
    #[n(3)]
    AttemptsExhausted,
    /// An operator wants it there.
    #[n(4)]
    Diverted {
        /// The queue.
        #[n(0)]
        target: String,
    },
    /// The same, by a task that changes headers on the way.
    #[n(5)]
    Redriven {
        /// The queue.
        #[n(0)]
        target: String,
        /// The number of the task, whose row says which headers.
        #[n(1)]
        redrive: u64,
    },
}

impl Transfer {
    /// The queue that an operator wants the message in; `None`: it is a dead letter.
    #[must_use]
    pub fn wanted(&self) -> Option<&str> {
        match self {
            Self::Diverted { target } | Self::Redriven { target, .. } => Some(target),
            Self::Rejected | Self::Expired | Self::MaxLength | Self::AttemptsExhausted => None,
        }
    }
}
