//! The producer: records in, batches out, each record stored once and in order.
//!
//! | module | what it does |
//! |---|---|
//! | `accumulator` | gathers records of one partition into batches |
//! | `pipeline` | decides about sequences, order and repetition; pure |
//! | `lane` | one task for each partition: takes batches, sends them, waits |
//! | `route` | chooses the node that a partition's batches go to |
//! | `answer` | judges what a node says |
//! | `writes` | one produce stream for each node |
//! | `identity` | the producer's id and epoch |
//! | `delivery` | what a record's sender waits for |
//! | `partitioner`, `topic` | which partition a record goes to |

mod accumulator;
mod answer;
mod delivery;
mod identity;
mod lane;
mod options;
mod partitioner;
mod pipeline;
mod refill;
mod route;
mod topic;
mod writes;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kontiki_proto::v1;
use kontiki_records::Limits;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

pub use delivery::{Delivered, Delivery};
pub use options::{Acks, ProducerOptions};

use accumulator::Parts;
use identity::Identity;
use topic::Topic;
use writes::Job;

use crate::{Client, Error, NewRecord};

/// What a request takes around its batch, at most.
const AROUND_BATCH_BYTES: usize = 4 << 10;
/// A lingering batch isn't waited for longer than this when the buffer is full.
const LINGER_WHEN_FULL_MS: u64 = 100;

/// What all tasks of a producer share.
#[derive(Debug)]
pub(crate) struct Core {
    client: Client,
    options: ProducerOptions,
    limits: Limits,
    delivery_timeout: Duration,
    buffer: Arc<Semaphore>,
    identity: Option<Identity>,
    links: Mutex<HashMap<Arc<str>, mpsc::Sender<Job>>>,
    fenced: OnceLock<Error>,
    closing: AtomicBool,
    partitions: AtomicUsize,
}

impl Core {
    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn fence(&self, error: Option<&Error>) {
        let fallback = || Error::new(v1::ErrorKind::Fenced, "the producer is fenced");
        self.fenced.get_or_init(|| error.cloned().unwrap_or_else(fallback));
    }

    fn fenced(&self) -> Option<Error> {
        self.fenced.get().cloned()
    }

    fn count_partition(&self) -> Result<(), Error> {
        let max = self.options.partitions_max;
        if self.partitions.fetch_add(1, Ordering::Relaxed) < max {
            return Ok(());
        }
        self.partitions.fetch_sub(1, Ordering::Relaxed);
        let message = format!(
            "the producer writes to {max} partitions already, its limit (partitions_max): use \
             another producer, or raise the limit"
        );
        Err(Error::new(v1::ErrorKind::Throttled, message))
    }

    /// The stream to a node.
    fn link(&self, address: &Arc<str>) -> mpsc::Sender<Job> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(address).filter(|link| !link.is_closed()) {
            return link.clone();
        }
        let (sender, jobs) = mpsc::channel(crate::link::QUEUE_MAX);
        tokio::spawn(writes::run(self.client.clone(), address.clone(), jobs));
        links.insert(address.clone(), sender.clone());
        sender
    }
}

/// Sends records. Clones are cheap and share everything; records of one partition keep the order in
/// which `send` was called.
///
/// When the last clone is dropped, what was handed in is still sent in the background;
/// [`Producer::close`] waits for it.
#[derive(Debug, Clone)]
pub struct Producer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    core: Arc<Core>,
    topics: RwLock<HashMap<Arc<str>, Arc<Topic>>>,
}

impl Producer {
    pub(crate) async fn new(client: Client, options: ProducerOptions) -> Result<Self, Error> {
        options.validate()?;
        let identity = if options.idempotent { Some(Identity::new(&client).await?) } else { None };
        let batch_bytes_max = client.options().message_bytes_max - AROUND_BATCH_BYTES;
        let batch_bytes_max = u32::try_from(batch_bytes_max).unwrap_or(u32::MAX);
        let core = Core {
            limits: Limits { batch_bytes_max, ..Limits::default() },
            delivery_timeout: Duration::from_millis(options.delivery_timeout_ms),
            buffer: Arc::new(Semaphore::new(options.buffer_bytes_max)),
            identity,
            links: Mutex::default(),
            fenced: OnceLock::new(),
            closing: AtomicBool::new(false),
            partitions: AtomicUsize::new(0),
            client,
            options,
        };
        let inner = Inner { core: Arc::new(core), topics: RwLock::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Hands a record over. Waits while the buffer is full, and for the metadata of a topic that is
    /// new to the producer; then returns at once. The delivery tells what becomes of the record.
    ///
    /// Calls that run at the same time have no order among each other.
    ///
    /// # Errors
    /// NOT_FOUND, if there is no such topic or partition; INVALID, if the record can't be encoded
    /// or is larger than the buffer; FENCED, if a newer instance of this producer has taken over;
    /// UNAVAILABLE, if the producer is closed, or nobody knows the topic's partitions. The record
    /// was not sent then.
    pub async fn send(&self, record: NewRecord) -> Result<Delivery, Error> {
        let core = &self.inner.core;
        if let Some(error) = core.fenced() {
            return Err(error);
        }
        if core.is_closing() {
            return Err(Error::closed());
        }
        let topic = self.topic(&record.topic).await?;
        let parts = Parts {
            timestamp_ms: record.timestamp_ms.unwrap_or_else(now_ms),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &record.headers,
        };
        let bytes = parts.bytes_max();
        let room = self.room(bytes).await?;
        let partition = topic.partition(&record, &core.client).await?;
        let lane = topic.lane(partition, core)?;
        let pushed = lane.accumulator().push(Instant::now(), parts)?;
        // The room belongs to the batch now, and comes back with it.
        room.forget();
        if pushed.wake {
            lane.wake();
        }
        Ok(pushed.delivery)
    }

    /// Sends what was handed in before this call, without lingering, and waits until all of it has
    /// an outcome; look at the deliveries to see which.
    ///
    /// # Errors
    /// FENCED, if a newer instance of this producer has taken over.
    pub async fn flush(&self) -> Result<(), Error> {
        let mut unsettled = Vec::new();
        for lane in self.lanes() {
            let mut accumulator = lane.accumulator();
            accumulator.seal();
            unsettled.extend(accumulator.unsettled());
            drop(accumulator);
            lane.wake();
        }
        for batch in unsettled {
            // One after the other: the last one decides when it is over anyway.
            let _ = Delivery::new(batch, 0).await;
        }
        self.inner.core.fenced().map_or(Ok(()), Err)
    }

    /// Flushes, and refuses what other clones send from now on.
    ///
    /// # Errors
    /// As [`Producer::flush`].
    pub async fn close(self) -> Result<(), Error> {
        self.inner.close();
        self.flush().await
    }

    /// The id and newest epoch; none if the producer is not idempotent.
    pub async fn identity(&self) -> Option<(u64, u32)> {
        match &self.inner.core.identity {
            Some(identity) => Some(identity.newest().await),
            None => None,
        }
    }

    fn lanes(&self) -> Vec<Arc<lane::LaneShared>> {
        self.inner.lanes()
    }

    async fn topic(&self, name: &Arc<str>) -> Result<Arc<Topic>, Error> {
        {
            let topics = self.inner.topics.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(topic) = topics.get(name) {
                return Ok(topic.clone());
            }
        }
        let client = &self.inner.core.client;
        let known = client.cache().partitions(name).filter(|_| !client.cache().is_stale(name));
        let count = match known {
            Some((count, _)) => count,
            None => client.refresh(name).await?,
        };
        let seed = RandomState::new().build_hasher().finish();
        let topic = Topic::new(name.clone(), count, (seed >> 32) as u32);
        let mut topics = self.inner.topics.write().unwrap_or_else(PoisonError::into_inner);
        Ok(topics.entry(name.clone()).or_insert_with(|| Arc::new(topic)).clone())
    }

    /// Room in the buffer for a record.
    async fn room(&self, bytes: usize) -> Result<tokio::sync::SemaphorePermit<'_>, Error> {
        let core = &self.inner.core;
        let max = core.options.buffer_bytes_max;
        if bytes > max {
            return Err(Error::invalid(format!(
                "a record takes up to {bytes} bytes, the limit (buffer_bytes_max) is {max}: send \
                 it in parts, or raise the limit"
            )));
        }
        let bytes = u32::try_from(bytes).expect("the buffer has at most 1 GiB");
        if let Ok(room) = core.buffer.try_acquire_many(bytes) {
            return Ok(room);
        }
        if core.options.linger_ms > LINGER_WHEN_FULL_MS {
            for lane in self.lanes() {
                if lane.accumulator().seal() {
                    lane.wake();
                }
            }
        }
        core.buffer.acquire_many(bytes).await.map_err(|_| Error::closed())
    }
}

impl Inner {
    fn close(&self) {
        self.core.closing.store(true, Ordering::Release);
        self.lanes().iter().for_each(|lane| lane.wake());
    }

    fn lanes(&self) -> Vec<Arc<lane::LaneShared>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.values().flat_map(|topic| topic.lanes()).collect()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
