//! Appends records: checks them, makes one record batch of each set, proposes it on the leader of
//! its shard, answers.

mod check;
mod gather;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use kontiki_domain::partition::{self, Append, Appended, BatchHeader};
use kontiki_domain::settings::Settings;
use kontiki_domain::shard::{self, decode_outcome};
use kontiki_records::{Batch, Compression, Header, Producer};
use tokio::sync::oneshot;
use tokio::time::Instant;

pub(crate) use self::gather::Gatherer;
use self::gather::{Small, UnderWay};
use crate::catalog::Place;
use crate::core::{Broker, Core};
use crate::error::Error;
use crate::options::bounds;
use crate::route::{Ack, How, Proposed, Routing};

/// When a write is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Acks {
    /// At once; failures are not reported.
    None,
    /// When the leader has taken it into its log.
    Leader,
    /// When a quorum has it on disk.
    #[default]
    Quorum,
}

/// What is behind an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing is known.
    None,
    /// It is in the leader's log, not yet durable.
    Leader,
    /// It is on the disks of a quorum.
    QuorumFsync,
}

/// Records for one partition.
#[derive(Debug, Clone)]
pub struct PartitionRecords {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: u32,
    /// The records.
    pub data: Data,
}

/// Records, plain or encoded.
#[derive(Debug, Clone)]
pub enum Data {
    /// Plain ones; this node encodes them.
    Records(RecordSet),
    /// One record batch, magic 2. Stored unchanged.
    Batch(Bytes),
}

/// A plain record.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Its key, if it has one.
    pub key: Option<Bytes>,
    /// Its value; none is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<Header>,
    /// Milliseconds since 1970; 0 is replaced by the node's time.
    pub timestamp_ms: i64,
}

/// Plain records that are stored as one batch.
#[derive(Debug, Clone)]
pub struct RecordSet {
    /// The records, at least one.
    pub records: Vec<Record>,
    /// How they are compressed.
    pub compression: Compression,
    /// Of an idempotent producer.
    pub producer: Option<Producer>,
}

/// A write.
#[derive(Debug, Clone)]
pub struct Request {
    /// When it is answered.
    pub acks: Acks,
    /// How long it may take; at most [`bounds::TIMEOUT_MS_MAX`].
    pub timeout: Duration,
    /// Whether it is forwarded.
    pub routing: Routing,
    /// 1 ..= [`bounds::PARTITIONS_MAX`].
    pub partitions: Vec<PartitionRecords>,
}

/// What became of the records of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produced {
    /// Offset of the first record, where it is known.
    pub base_offset: Option<u64>,
    /// When it was appended, milliseconds since 1970; 0 where it is not known.
    pub append_time_ms: i64,
    /// The oldest offset of the partition.
    pub log_start_offset: u64,
    /// It had been stored before.
    pub duplicate: bool,
    /// What this answer is worth.
    pub durability: Durability,
}

/// Bytes taken from clients and not answered yet, of the whole node.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit })
    }

    /// Takes bytes; given back when the share is dropped. Whoever comes to an empty budget gets
    /// what it needs.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let before = self.used.fetch_add(bytes, Ordering::AcqRel);
        let share = Share { budget: Arc::clone(self), bytes };
        (before == 0 || before + bytes <= self.limit).then_some(share)
    }
}

/// Bytes of a budget.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl Broker {
    /// Writes. What is written takes its place in the order of its partition before this returns;
    /// the future is the outcome, one for each partition in the order of the request.
    ///
    /// A request that is no request (no partitions, too many, a timeout out of bounds) is refused
    /// as a whole.
    ///
    /// # Errors
    /// The field that is out of bounds, or a limit of the node that is reached.
    pub fn produce(
        &self,
        request: Request,
    ) -> Result<impl Future<Output = Vec<Result<Produced, Error>>> + Send + use<>, Error> {
        let core = Arc::clone(&self.0);
        let begun = Instant::now();
        let share = core.admit(&request)?;
        let Request { acks, timeout, routing, partitions } = request;
        let deadline = begun + timeout;
        let written: Vec<Write> = partitions
            .into_iter()
            .map(|records| core.write(records, acks, routing, deadline))
            .collect();
        Ok(async move {
            let _share = share;
            let results = join_all(written.into_iter().map(|write| write.outcome(deadline))).await;
            core.metrics.produce_seconds.observe(begun.elapsed().as_secs_f64());
            let failures = results.iter().filter(|result| result.is_err()).count();
            core.metrics.produce_failures.inc_by(failures as u64);
            results
        })
    }
}

impl Core {
    fn admit(&self, request: &Request) -> Result<Share, Error> {
        let count = request.partitions.len();
        if count == 0 || count > bounds::PARTITIONS_MAX {
            let expected = format!("1 to {}", bounds::PARTITIONS_MAX);
            return Err(Error::invalid("the number of partitions", count, &expected));
        }
        let timeout = request.timeout.as_millis();
        if timeout == 0 || timeout > u128::from(bounds::TIMEOUT_MS_MAX) {
            let expected = format!("1 to {}", bounds::TIMEOUT_MS_MAX);
            return Err(Error::invalid("timeout_ms", timeout, &expected));
        }
        let bytes: usize = request.partitions.iter().map(|records| records.data.bytes()).sum();
        self.produce_budget.take(bytes).ok_or_else(|| {
            let options = &self.options.produce;
            let name = "broker.produce.in_flight_bytes_max";
            Error::throttled(name, options.in_flight_bytes_max, options.retry_after_ms)
        })
    }

    fn write(
        self: &Arc<Self>,
        records: PartitionRecords,
        acks: Acks,
        routing: Routing,
        deadline: Instant,
    ) -> Write {
        let name = Name { topic: records.topic, number: records.partition };
        let written = self.begin_write(&name, records.data, acks, routing, deadline);
        written.unwrap_or_else(Write::Refused)
    }

    fn begin_write(
        self: &Arc<Self>,
        name: &Name,
        data: Data,
        acks: Acks,
        routing: Routing,
        deadline: Instant,
    ) -> Result<Write, Error> {
        let place = self.catalog.place(&name.topic, name.number)?;
        let settings = self.settings_of(place.topic);
        let acks = acks.with(settings.durability);
        let about = |error: Error| error.about(name);
        if self.is_small(&data, acks, routing)
            && let Data::Records(set) = data
        {
            let name = name.clone();
            let small = Small { place, name, settings, set, deadline };
            return self.write_small(small).map_err(about);
        }
        self.flush(place.partition);
        let batch = self.checked_batch(data, &settings).map_err(about)?;
        let ack = match acks {
            Acks::None | Acks::Leader => Ack::Accepted,
            Acks::Quorum => Ack::Applied,
        };
        let proposed =
            self.propose_batch(place, batch, How { ack, routing, ..How::applied_by(deadline) });
        Ok(Write::UnderWay { proposed, acks, name: name.clone(), _guard: None })
    }

    fn propose_set(
        &self,
        place: Place,
        name: Name,
        settings: &Settings,
        set: RecordSet,
        deadline: Instant,
        guard: Option<UnderWay>,
    ) -> Result<Write, Error> {
        let batch = self.checked_batch(Data::Records(set), settings)?;
        let proposed = self.propose_batch(place, batch, How::applied_by(deadline));
        Ok(Write::UnderWay { proposed, acks: Acks::Quorum, name, _guard: guard })
    }

    fn propose_batch(&self, place: Place, batch: Batch, how: How) -> Proposed {
        let header: BatchHeader = check::domain_header(&batch);
        let append = Append { partition: place.partition, payload: 0, header, leader_term: None };
        let command = shard::Command::from(partition::Command::Append(append)).encode();
        let metrics = &self.metrics;
        metrics.produced_batches.inc();
        metrics.produced_records.inc_by(header.record_count.into());
        metrics.produced_bytes.inc_by(header.bytes.into());
        self.router.propose(place.shard, command, vec![batch.into_bytes()], how)
    }

    /// One record batch of the node's own making, within the limits of its topic.
    pub(crate) fn encode_own<'a>(
        &self,
        records: impl IntoIterator<Item = &'a Record>,
        settings: &Settings,
    ) -> Result<(BatchHeader, Bytes), Error> {
        let batch = self.own_batch(records, settings)?;
        Ok((check::domain_header(&batch), batch.into_bytes()))
    }

    /// One record batch of messages that one queue hands to another.
    pub(crate) fn encode_moved<'a>(
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<(BatchHeader, Bytes), Error> {
        let batch = check::moved_batch(records)?;
        Ok((check::domain_header(&batch), batch.into_bytes()))
    }

    pub(crate) fn settings_of(&self, topic: kontiki_storage::id::TopicId) -> Settings {
        let found = self.catalog.look(|catalog| catalog.topic(topic).map(|topic| topic.settings()));
        found.unwrap_or_default()
    }
}

impl Acks {
    /// A topic may ask for less than the default; a request that asks for still less gets it.
    fn with(self, durability: kontiki_domain::settings::Durability) -> Self {
        use kontiki_domain::settings::Durability::{Leader, QuorumFsync, QuorumMemory};
        match (self, durability) {
            (Self::Quorum, Leader) => Self::Leader,
            // A quorum's memory is not told from its disks: what is on the disks is in memory.
            (acks, Leader | QuorumFsync | QuorumMemory) => acks,
        }
    }
}

impl Data {
    fn bytes(&self) -> usize {
        match self {
            Self::Batch(batch) => batch.len(),
            Self::Records(set) => set.records.iter().map(check::record_bytes).sum(),
        }
    }
}

/// A partition, for people.
#[derive(Debug, Clone)]
struct Name {
    topic: String,
    number: u32,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.number)
    }
}

/// A partition's part of a request.
enum Write {
    Refused(Error),
    UnderWay {
        proposed: Proposed,
        acks: Acks,
        name: Name,
        _guard: Option<UnderWay>,
    },
    /// It shares a batch with others, which a task sees through.
    Gathered {
        answer: oneshot::Receiver<Result<Produced, Error>>,
        name: Name,
    },
}

impl Write {
    async fn outcome(self, deadline: Instant) -> Result<Produced, Error> {
        match self {
            Self::Refused(error) => Err(error),
            Self::UnderWay { proposed, acks: Acks::None, .. } => {
                // It goes on by itself; nobody hears of it.
                tokio::spawn(async move {
                    if let Ok(Err(error)) = tokio::time::timeout_at(deadline, proposed).await {
                        tracing::debug!(%error, "a write without acknowledgement failed");
                    }
                });
                Ok(Produced::unknown(Durability::None))
            }
            Self::UnderWay { mut proposed, acks, name, _guard } => {
                let answer = tokio::time::timeout_at(deadline, &mut proposed).await;
                let answer = answer.unwrap_or_else(|_| Err(proposed.late()));
                let reply = answer.map_err(|error| error.about(&name))?;
                if acks == Acks::Leader {
                    return Ok(Produced::unknown(Durability::Leader));
                }
                let outcome = decode_outcome(&reply)?;
                match outcome.map_err(|rejection| Error::from(rejection).about(&name))? {
                    shard::Reply::Partition(partition::Reply::Appended(appended)) => {
                        Ok(appended.into())
                    }
                    other @ (shard::Reply::Partition(_)
                    | shard::Reply::Catalog(_)
                    | shard::Reply::Queue(_)) => {
                        Err(Error::internal(format!("an append was answered with {other:?}")))
                    }
                }
            }
            Self::Gathered { answer, name } => {
                match tokio::time::timeout_at(deadline, answer).await {
                    Ok(Ok(outcome)) => outcome,
                    // The task has ended, with the process.
                    Ok(Err(_)) => Err(Error::stopping().about(&name)),
                    Err(_) => Err(Error::outcome_unknown("the partition's leader").about(&name)),
                }
            }
        }
    }
}

impl Produced {
    fn unknown(durability: Durability) -> Self {
        Self {
            base_offset: None,
            append_time_ms: 0,
            log_start_offset: 0,
            duplicate: false,
            durability,
        }
    }
}

impl From<Appended> for Produced {
    fn from(appended: Appended) -> Self {
        Self {
            base_offset: Some(appended.base_offset.0),
            append_time_ms: appended.append_time_ms,
            log_start_offset: appended.log_start_offset.0,
            duplicate: appended.duplicate,
            durability: Durability::QuorumFsync,
        }
    }
}
