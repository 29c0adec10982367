//! What clients asked, and what they were answered: all that a client can know of a cluster.
//!
//! Knows neither the cluster nor the simulation, so that histories of real clusters can be checked
//! as well.

pub mod linearizable;
mod recorder;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::recorder::Recorder;

/// Simulated milliseconds since the beginning of the run.
pub type Ms = u64;

/// A client: it has one session, and does one thing after the other unless its operations overlap
/// in their times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientId(pub u32);

/// An operation: unique in a run, in the order of invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OpId(pub u64);

/// A partition of a topic, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Part {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
}

/// The name of a record: no two records of a run have the same one, and the numbers of a client
/// grow in the order in which it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordName {
    /// Who sent it.
    pub client: u32,
    /// Which of its records, from 0.
    pub number: u64,
}

/// What a producer promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Producer {
    /// Its records are stored once, however often they are sent.
    pub idempotent: bool,
    /// Counts the producers of one client.
    pub session: u32,
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// One record, acknowledged by a quorum.
    Produce {
        /// Where.
        at: Part,
        /// By whom.
        producer: Producer,
        /// What.
        record: RecordName,
        /// CRC-32C of its value.
        checksum: u32,
    },
    /// Records from an offset.
    Fetch {
        /// Where.
        at: Part,
        /// The first offset that is wanted.
        from: u64,
    },
    /// The log start offset.
    Earliest {
        /// Where.
        at: Part,
    },
    /// The high watermark.
    Latest {
        /// Where.
        at: Part,
    },
    /// Deletes records below an offset.
    DeleteRecords {
        /// Where.
        at: Part,
        /// The first that stays.
        before: u64,
    },
    /// Makes a topic.
    CreateTopic {
        /// Its name.
        topic: String,
        /// Its partitions.
        partitions: u32,
        /// Settings that are not the defaults.
        settings: BTreeMap<String, String>,
    },
    /// Changes settings of a topic.
    AlterTopic {
        /// Its name.
        topic: String,
        /// What is set.
        settings: BTreeMap<String, String>,
    },
    /// Deletes a topic.
    DeleteTopic {
        /// Its name.
        topic: String,
    },
    /// Looks at a topic.
    DescribeTopic {
        /// Its name.
        topic: String,
    },
    /// Gives a topic more partitions.
    AddPartitions {
        /// Its name.
        topic: String,
        /// How many it is to have.
        partitions: u32,
    },
    /// One message to a queue. Its name is its deduplication id, too: it may be sent again.
    Send {
        /// The queue.
        queue: String,
        /// What.
        message: RecordName,
        /// Its FIFO group.
        group: Option<u64>,
        /// Not to be delivered for so long.
        delay_ms: Option<u32>,
    },
    /// Messages from a queue.
    Receive {
        /// The queue.
        queue: String,
        /// How many at most.
        max: u32,
    },
    /// Ends or changes a lease.
    Settle {
        /// The queue.
        queue: String,
        /// Which message.
        message_id: String,
        /// Which of its deliveries.
        delivery: u32,
        /// How.
        action: Action,
    },
    /// One message to an exchange. Its name is its deduplication id, too: it may be published
    /// again.
    Publish {
        /// The exchange.
        exchange: String,
        /// The routing key.
        key: String,
        /// What.
        message: RecordName,
        /// The node that was asked, and no other; `None`: any.
        through: Option<u32>,
    },
    /// Binds a queue to an exchange. Asked once: what is not answered may be done at any time.
    Bind {
        /// Which.
        binding: Bound,
    },
    /// Takes a binding back, asked once.
    Unbind {
        /// Which.
        binding: Bound,
    },
    /// Begins to move the messages of a queue back to where they came from.
    StartRedrive {
        /// The queue.
        queue: String,
    },
    /// What became of a queue's redrives.
    ListRedrives {
        /// The queue.
        queue: String,
    },
    /// Opens a durable subscription.
    Subscribe {
        /// From where, if not from where it is.
        reset: Option<Reset>,
    },
    /// What comes next of the subscription that is open.
    Follow,
    /// Ends the subscription that is open.
    Unsubscribe {
        /// What was acknowledged: everything below these offsets.
        acknowledged: Vec<(Part, u64)>,
    },
    /// How many messages a queue has, and has had.
    Count {
        /// The queue.
        queue: String,
    },
}

/// A binding that comes and goes; each is made once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bound {
    /// The exchange.
    pub exchange: String,
    /// The key, or the pattern.
    pub key: String,
    /// The queue.
    pub queue: String,
}

/// What is to become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Action {
    /// It is done.
    Acknowledge,
    /// It is delivered again.
    Release,
    /// It is delivered again, and has failed.
    Fail,
    /// It stays leased.
    Extend,
    /// It is dead-lettered.
    Reject,
}

/// Where a subscription is begun anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reset {
    /// At the first records.
    Earliest,
    /// At the end.
    Latest,
}

/// A message as it was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its id in its queue.
    pub message_id: String,
    /// Its name; `None`: it isn't one of ours.
    pub message: Option<RecordName>,
    /// How often it was delivered, this time included.
    pub number: u32,
    /// When it was stored, by the shard's clock.
    pub sent_ms: i64,
    /// When it was leased, by the shard's clock.
    pub granted_ms: i64,
    /// Until when, by the shard's clock.
    pub until_ms: i64,
    /// Where it was before, if it is a dead letter.
    pub dead: Option<DeadLetter>,
}

/// What a dead letter says about the queue that gave it up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Which queue.
    pub from: String,
    /// How often it was delivered there.
    pub deliveries: u32,
    /// When it was given up, by the clock of that queue's shard.
    pub failed_ms: i64,
}

impl Call {
    /// What kind of operation it is: `produce`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Produce { .. } => "produce",
            Self::Fetch { .. } => "fetch",
            Self::Earliest { .. } => "earliest",
            Self::Latest { .. } => "latest",
            Self::DeleteRecords { .. } => "delete-records",
            Self::CreateTopic { .. } => "create-topic",
            Self::AlterTopic { .. } => "alter-topic",
            Self::DeleteTopic { .. } => "delete-topic",
            Self::DescribeTopic { .. } => "describe-topic",
            Self::AddPartitions { .. } => "add-partitions",
            Self::Send { .. } => "send",
            Self::Receive { .. } => "receive",
            Self::Settle { .. } => "settle",
            Self::Publish { .. } => "publish",
            Self::Bind { .. } => "bind",
            Self::Unbind { .. } => "unbind",
            Self::StartRedrive { .. } => "start-redrive",
            Self::ListRedrives { .. } => "list-redrives",
            Self::Subscribe { .. } => "subscribe",
            Self::Follow => "follow",
            Self::Unsubscribe { .. } => "unsubscribe",
            Self::Count { .. } => "count",
        }
    }
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Where.
    pub offset: u64,
    /// Its name; `None`: it isn't one of ours.
    pub record: Option<RecordName>,
    /// CRC-32C of its value.
    pub checksum: u32,
    /// Its timestamp.
    pub timestamp_ms: i64,
}

/// What an operation gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Call::Produce`].
    Produced {
        /// Where it is; `None`: a repetition of a record whose place isn't remembered any more.
        offset: Option<u64>,
    },
    /// To [`Call::Fetch`].
    Fetched {
        /// What was there, in order.
        records: Vec<Seen>,
        /// One after the last offset that may be read.
        high_watermark: u64,
        /// The first that is there.
        log_start: u64,
        /// Where to go on.
        next: u64,
    },
    /// To [`Call::Earliest`] and [`Call::Latest`].
    Offset(u64),
    /// To [`Call::DeleteRecords`].
    LogStart(u64),
    /// To [`Call::CreateTopic`], [`Call::DescribeTopic`].
    Topic {
        /// Never given out twice.
        id: u64,
        /// Its partitions.
        partitions: u32,
        /// All settings; empty where the answer has none.
        settings: BTreeMap<String, String>,
    },
    /// To [`Call::AlterTopic`]: all settings.
    Settings(BTreeMap<String, String>),
    /// To [`Call::AddPartitions`].
    Partitions(u32),
    /// To [`Call::DeleteTopic`], [`Call::Bind`], [`Call::Unbind`], [`Call::StartRedrive`],
    /// [`Call::Subscribe`] and [`Call::Unsubscribe`].
    Done,
    /// To [`Call::Send`].
    Sent {
        /// Its id in its queue.
        message_id: String,
        /// It had been sent before.
        duplicate: bool,
    },
    /// To [`Call::Receive`].
    Received(Vec<Delivery>),
    /// To [`Call::Settle`].
    Settled {
        /// False: the lease had ended.
        done: bool,
        /// Until when it is leased now, by the shard's clock; 0 where it isn't.
        until_ms: i64,
    },
    /// To [`Call::Publish`].
    Published {
        /// How many queues have it.
        queues: u32,
    },
    /// To [`Call::ListRedrives`].
    Redrives {
        /// One has not ended.
        under_way: bool,
        /// How many have failed.
        failed: u64,
        /// Messages that could not be moved.
        stranded: u64,
    },
    /// To [`Call::Follow`]: records of one partition; `None` where none came in time.
    Followed(Option<(Part, Vec<Seen>)>),
    /// To [`Call::Count`].
    Counted(Counts),
}

/// What a queue says about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Messages that can be received, or are to be at a time.
    pub waiting: u64,
    /// Messages that consumers have.
    pub leased: u64,
    /// Messages on their way to another queue.
    pub moving: u64,
    /// Since it was created: messages that were stored,
    pub sent: u64,
    /// deliveries,
    pub delivered: u64,
    /// messages that were acknowledged,
    pub acknowledged: u64,
    /// dropped,
    pub dropped: u64,
    /// moved to another queue.
    pub moved: u64,
}

/// Why an operation surely was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The error's kind, as in `kontiki.v1.ErrorKind` without its prefix: `NOT_FOUND`.
    pub kind: String,
    /// For people.
    pub text: String,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was done.
    Ok(Answer),
    /// It was not done, and never will be.
    Refused(Refusal),
    /// Nobody told: it was done, will be, or never will be.
    Unknown(String),
}

/// An operation with its times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// Which.
    pub id: OpId,
    /// Whose.
    pub client: ClientId,
    /// What.
    pub call: Call,
    /// When it began.
    pub invoked: Ms,
    /// When and how it ended; `None`: not before the end of the run.
    pub returned: Option<(Ms, Outcome)>,
}

impl Op {
    /// The answer, where it was done.
    #[must_use]
    pub fn answer(&self) -> Option<(Ms, &Answer)> {
        match &self.returned {
            Some((at, Outcome::Ok(answer))) => Some((*at, answer)),
            Some((_, Outcome::Refused(_) | Outcome::Unknown(_))) | None => None,
        }
    }

    /// Whether it may have been done, or may still be.
    #[must_use]
    pub fn may_be_done(&self) -> bool {
        !matches!(self.returned, Some((_, Outcome::Refused(_))))
    }
}

/// All operations of a run, in the order of their invocation. Within a millisecond the order of
/// invocations and returns is not known; what returned before another was invoked did so in an
/// earlier millisecond.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The operations; the id of each is its place.
    pub ops: Vec<Op>,
}
