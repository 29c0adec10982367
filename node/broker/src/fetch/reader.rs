//! Reads continuously: what a client has opened, as far as its credit goes.
//!
//! A partition that has something is *ready*, and the ready ones are read by turns, one message at
//! a time. For each of the others there is a *probe*: a read without records that waits on the
//! leader until there is something. Everything happens while [`ReaderOutput::next`] is polled: a
//! reader that nobody polls does nothing, and holds one message at most.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::{AbortHandle, Aborted, BoxFuture, abortable};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use kontiki_storage::id::{PartitionId, ShardId};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{FetchPartition, Fetched, FetchedPartition};
use crate::core::Core;
use crate::error::{Error, Kind};
use crate::options::bounds;
use crate::read::Part;
use crate::read::wire::{Fetch, FetchPart};
use crate::route::Routing;

pub(super) fn new(core: Arc<Core>) -> (ReaderControl, ReaderOutput) {
    let shared = Arc::new(Shared { state: Mutex::default(), news: Notify::new() });
    let control = ReaderControl { core: Arc::clone(&core), shared: Arc::clone(&shared) };
    (control, ReaderOutput { core, shared, probes: FuturesUnordered::new(), reading: None })
}

/// Steers a reader. When it is dropped, the reader ends.
pub struct ReaderControl {
    core: Arc<Core>,
    shared: Arc<Shared>,
}

/// What a reader reads.
pub struct ReaderOutput {
    core: Arc<Core>,
    shared: Arc<Shared>,
    probes: FuturesUnordered<BoxFuture<'static, Result<Probed, Aborted>>>,
    reading: Option<BoxFuture<'static, Read>>,
}

struct Shared {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<u64, Open>,
    names: HashMap<(String, u32), u64>,
    /// Those that have something, or of which it isn't known.
    ready: VecDeque<u64>,
    /// Those that wait to be probed.
    idle: Vec<u64>,
    /// Those whose probes are under way.
    probes: HashMap<u64, AbortHandle>,
    /// Number of the last one that was opened.
    last: u64,
    credit: u64,
    closed: bool,
}

/// A partition from one opening to the next.
#[derive(Debug, Clone)]
struct Open {
    topic: String,
    partition: u32,
    offset: u64,
    max_bytes: u32,
}

/// The end of a probe, or of a pause.
struct Probed {
    number: u64,
    outcome: Result<Fetched, Error>,
}

/// The end of a read.
struct Read {
    number: u64,
    outcome: Result<Fetched, Error>,
}

impl State {
    fn open(&mut self, open: Open, limit: usize) -> Result<(), Error> {
        let name = (open.topic.clone(), open.partition);
        if !self.names.contains_key(&name) && self.names.len() >= limit {
            let name = "broker.fetch.stream_partitions_max";
            let detail = format!(
                "{limit} partitions are open, which is {name}: close some, or read with several \
                 streams"
            );
            return Err(Error::new(Kind::Invalid, crate::error::Code::THROTTLED, detail));
        }
        self.last += 1;
        // What is under way for the former opening finds nothing any more.
        if let Some(former) = self.names.insert(name, self.last) {
            self.forget(former);
        }
        self.open.insert(self.last, open);
        self.ready.push_back(self.last);
        Ok(())
    }

    fn close(&mut self, topic: String, partition: u32) {
        if let Some(number) = self.names.remove(&(topic, partition)) {
            self.forget(number);
        }
    }

    fn forget(&mut self, number: u64) {
        if let Some(probe) = self.probes.remove(&number) {
            probe.abort();
        }
        self.open.remove(&number);
        self.ready.retain(|ready| *ready != number);
        self.idle.retain(|idle| *idle != number);
    }

    fn add_credit(&mut self, bytes: u32) -> Result<(), Error> {
        let sum = self.credit + u64::from(bytes);
        if sum > bounds::CREDIT_BYTES_MAX {
            let expected = format!(
                "at most {} together with the {} that are left",
                bounds::CREDIT_BYTES_MAX,
                self.credit
            );
            return Err(Error::invalid("credit", bytes, &expected));
        }
        self.credit = sum;
        Ok(())
    }

    /// What is to be read next, if there is credit, and how much of it.
    fn next_read(&mut self, message_bytes: u32) -> Option<(u64, Open, u32)> {
        if self.credit == 0 {
            return None;
        }
        let credit = u32::try_from(self.credit).unwrap_or(u32::MAX);
        let number = self.ready.pop_front()?;
        let open = self.open.get(&number).cloned().expect("what is forgotten isn't ready");
        let bytes = message_bytes.min(open.max_bytes).min(credit);
        Some((number, open, bytes))
    }

    /// Records were read: the position moves, and the credit is used. Returns how much of it.
    fn deliver(&mut self, number: u64, fetched: &Fetched) -> u32 {
        let used: u64 = fetched.batches.iter().map(|batch| batch.len() as u64).sum();
        self.credit = self.credit.saturating_sub(used);
        self.moved(number, fetched);
        u32::try_from(used).unwrap_or(u32::MAX)
    }

    /// It is known where a partition ends.
    fn moved(&mut self, number: u64, fetched: &Fetched) {
        let Some(open) = self.open.get_mut(&number) else { return };
        open.offset = fetched.next_offset;
        if fetched.high_watermark > open.offset {
            self.ready.push_back(number);
        } else {
            self.idle.push(number);
        }
    }

    fn take_failed(&mut self, number: u64) -> Option<Open> {
        let open = self.open.get(&number)?.clone();
        self.close(open.topic.clone(), open.partition);
        Some(open)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

impl ReaderControl {
    /// Begins to read a partition, or moves the position.
    ///
    /// # Errors
    /// A field that is out of bounds, or too many partitions.
    pub fn open(&self, partition: FetchPartition) -> Result<(), Error> {
        let max_bytes = partition.bytes_max()?;
        let FetchPartition { topic, partition, offset, max_bytes: _ } = partition;
        let open = Open { topic, partition, offset, max_bytes };
        let limit = self.core.options.fetch.stream_partitions_max;
        self.shared.state().open(open, limit)?;
        self.shared.news.notify_one();
        Ok(())
    }

    /// Stops reading a partition.
    pub fn close(&self, topic: &str, partition: u32) {
        self.shared.state().close(topic.to_owned(), partition);
    }

    /// Allows this many more bytes to be sent.
    ///
    /// # Errors
    /// More credit than [`bounds::CREDIT_BYTES_MAX`].
    pub fn credit(&self, bytes: u32) -> Result<(), Error> {
        self.shared.state().add_credit(bytes)?;
        self.shared.news.notify_one();
        Ok(())
    }
}

impl Drop for ReaderControl {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.news.notify_one();
    }
}

impl ReaderOutput {
    /// The next records (or a failure of one partition, which is not read any more then), with the
    /// credit that they have used. `None` when the control is gone, or when the node stops. What
    /// passes by itself, as a change of the leader, is not told: the partition is asked again.
    ///
    /// Nothing is lost where the future is dropped before it has finished.
    pub async fn next(&mut self) -> Option<(FetchedPartition, u32)> {
        let core = Arc::clone(&self.core);
        let stopped = core.stopped();
        tokio::pin!(stopped);
        loop {
            self.begin();
            if self.shared.state().closed || core.is_stopping() {
                return None;
            }
            tokio::select! {
                biased;
                read = wait_for(&mut self.reading), if self.reading.is_some() => {
                    self.reading = None;
                    if let Some(output) = self.read(read) {
                        return Some(output);
                    }
                }
                Some(probed) = self.probes.next(), if !self.probes.is_empty() => {
                    if let Some(output) = probed.ok().and_then(|probed| self.probed(probed)) {
                        return Some(output);
                    }
                }
                () = self.shared.news.notified() => {}
                () = &mut stopped => return None,
            }
        }
    }

    /// Begins what can be begun.
    fn begin(&mut self) {
        let mut state = self.shared.state();
        if self.reading.is_none() {
            let message_bytes = self.core.options.fetch.stream_message_bytes;
            if let Some((number, open, bytes)) = state.next_read(message_bytes) {
                self.reading = Some(Box::pin(read(Arc::clone(&self.core), number, open, bytes)));
            }
        }
        while let Some(number) = state.idle.pop() {
            let open = state.open.get(&number).cloned().expect("what is forgotten isn't idle");
            let (probe, handle) = abortable(probe(Arc::clone(&self.core), number, open));
            state.probes.insert(number, handle);
            self.probes.push(Box::pin(probe));
        }
    }

    fn read(&mut self, Read { number, outcome }: Read) -> Option<(FetchedPartition, u32)> {
        let fetched = match outcome {
            Ok(fetched) => fetched,
            Err(error) => return self.failed(number, error),
        };
        let mut state = self.shared.state();
        // Closed or moved meanwhile: it isn't wanted any more.
        let open = state.open.get(&number)?.clone();
        let used = state.deliver(number, &fetched);
        drop(state);
        if fetched.batches.is_empty() {
            return None;
        }
        let outcome = Ok(fetched);
        self.core.count(&outcome);
        Some((FetchedPartition { topic: open.topic, partition: open.partition, outcome }, used))
    }

    fn probed(&mut self, Probed { number, outcome }: Probed) -> Option<(FetchedPartition, u32)> {
        self.shared.state().probes.remove(&number);
        match outcome {
            Ok(fetched) => {
                self.shared.state().moved(number, &fetched);
                None
            }
            Err(error) => self.failed(number, error),
        }
    }

    /// Tries again later, or gives up a partition and says so.
    fn failed(&mut self, number: u64, error: Error) -> Option<(FetchedPartition, u32)> {
        let mut state = self.shared.state();
        if passes(&error) {
            let open = state.open.get(&number)?.clone();
            tracing::debug!(%error, topic = open.topic, "a reader asks again");
            let pause = error.retry_after().unwrap_or_else(|| self.pause());
            let (paused, handle) = abortable(paused(number, open, pause));
            state.probes.insert(number, handle);
            self.probes.push(Box::pin(paused));
            return None;
        }
        let open = state.take_failed(number)?;
        drop(state);
        let outcome = Err(error.about(format_args!("{}/{}", open.topic, open.partition)));
        self.core.count(&outcome);
        Some((FetchedPartition { topic: open.topic, partition: open.partition, outcome }, 0))
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(self.core.options.route.retry_ms)
    }
}

/// The future, which stays where it is if this one is dropped.
async fn wait_for(reading: &mut Option<BoxFuture<'static, Read>>) -> Read {
    reading.as_mut().expect("asked for only where there is one").await
}

/// Whether it may be different in a moment.
fn passes(error: &Error) -> bool {
    match error.kind {
        Kind::NotLeader | Kind::Throttled | Kind::Unavailable | Kind::Unknown => true,
        Kind::Invalid
        | Kind::NotFound
        | Kind::Exists
        | Kind::Denied
        | Kind::Fenced
        | Kind::Conflict
        | Kind::Internal => false,
    }
}

async fn read(core: Arc<Core>, number: u64, open: Open, bytes: u32) -> Read {
    let timeout = Duration::from_millis(core.options.route.timeout_ms);
    Read { number, outcome: ask(&core, &open, bytes, Duration::ZERO, timeout).await }
}

async fn probe(core: Arc<Core>, number: u64, open: Open) -> Probed {
    let timeout = Duration::from_millis(core.options.route.timeout_ms);
    Probed { number, outcome: ask(&core, &open, 0, core.fetch.check(), timeout).await }
}

/// After it, the partition is read at once.
async fn paused(number: u64, open: Open, pause: Duration) -> Probed {
    tokio::time::sleep(pause).await;
    let unknown =
        Fetched { next_offset: open.offset, high_watermark: u64::MAX, ..Fetched::default() };
    Probed { number, outcome: Ok(unknown) }
}

async fn ask(
    core: &Arc<Core>,
    open: &Open,
    max_bytes: u32,
    wait: Duration,
    timeout: Duration,
) -> Result<Fetched, Error> {
    let place = core.catalog.place(&open.topic, open.partition)?;
    let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(bounds::WAIT_MS_MAX);
    let fetch = fetch(place.partition, open, max_bytes, wait_ms.min(bounds::WAIT_MS_MAX));
    let deadline = Instant::now() + wait + timeout;
    let part = asked(core, place.shard, fetch, deadline).await?;
    Ok(part.into())
}

fn fetch(partition: PartitionId, open: &Open, max_bytes: u32, wait_ms: u32) -> Fetch {
    let part = FetchPart { partition: partition.0, offset: open.offset, max_bytes: open.max_bytes };
    Fetch { partitions: vec![part], min_bytes: 1, max_bytes, wait_ms }
}

async fn asked(
    core: &Arc<Core>,
    shard: ShardId,
    fetch: Fetch,
    deadline: Instant,
) -> Result<Part, Error> {
    let mut parts = core.read_records(shard, fetch, deadline, Routing::Forward).await?;
    parts.pop().expect("as many parts as partitions")
}

#[cfg(test)]
#[path = "reader_test.rs"]
mod tests;
