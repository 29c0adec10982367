//! What sends the records of one partition: one task for each partition that is written to.
//!
//! It takes batches that are due, stamps them, and keeps up to the window of them under way on the
//! stream to the partition's leader. All decisions about order and repetition are
//! [`Pipeline`]'s; this is the part with clocks and connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use kontiki_proto::v1;
use kontiki_records::{Batch, Limits, Producer as RecordsProducer};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::accumulator::{Accumulator, Gathered};
use super::delivery::{Delivered, Ticket};
use super::pipeline::{Answer, Ended, Ending, Pipeline, Stamp, Step};
use super::route::Router;
use super::topic::Topic;
use super::writes::Job;
use super::{Core, answer};
use crate::Error;
use crate::backoff::Backoff;
use crate::link::GRACE;

/// How long a node may be silent before others are asked whether it still leads.
const SILENT_MAX: Duration = Duration::from_secs(2);
/// How long until that is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// How long finding out about a leader may hold a partition up.
const LOOKUP_MAX: Duration = Duration::from_secs(3);

/// What the producer and the task of a partition share.
#[derive(Debug)]
pub(crate) struct LaneShared {
    pub(crate) partition: u32,
    accumulator: Mutex<Accumulator>,
    wake: Notify,
}

impl LaneShared {
    pub(crate) fn new(partition: u32, core: &Core) -> Self {
        let options = &core.options;
        let linger = Duration::from_millis(options.linger_ms);
        let (limits, buffer) = (core.limits, core.buffer.clone());
        let accumulator = Accumulator::new(partition, limits, options.batch_bytes, linger, buffer);
        Self { partition, accumulator: Mutex::new(accumulator), wake: Notify::new() }
    }

    pub(crate) fn accumulator(&self) -> MutexGuard<'_, Accumulator> {
        self.accumulator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task has to look again.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }
}

/// A batch as it is sent.
#[derive(Debug)]
struct Sending {
    records: u32,
    bytes: Bytes,
    ticket: Ticket,
    deadline: Instant,
    /// How often a node didn't know the topic.
    not_found: u32,
    last: Option<Error>,
}

type Answered = (u64, Result<v1::ProduceResult, Error>);

/// See the module.
pub(crate) struct Lane {
    core: Arc<Core>,
    topic: Arc<Topic>,
    shared: Arc<LaneShared>,
    pipeline: Pipeline<Sending>,
    under_way: FuturesUnordered<BoxFuture<'static, Answered>>,
    router: Router,
    backoff: Backoff,
    /// The pause that the last failure asked for.
    retry_after_ms: u32,
    /// When the silence of the node, if it goes on, is to be doubted.
    doubt_at: Instant,
}

impl Lane {
    pub(crate) async fn new(core: Arc<Core>, topic: Arc<Topic>, shared: Arc<LaneShared>) -> Self {
        let producer = match &core.identity {
            Some(identity) => Some(identity.newest().await),
            None => None,
        };
        let pipeline = Pipeline::new(core.options.in_flight_max, producer);
        let router = Router::new(topic.name.clone(), shared.partition);
        let backoff = Backoff::new(core.client.options());
        let under_way = FuturesUnordered::new();
        Self {
            core,
            topic,
            shared,
            pipeline,
            under_way,
            router,
            backoff,
            retry_after_ms: 0,
            doubt_at: Instant::now(),
        }
    }

    /// Runs until the producer is closed and everything has an outcome.
    pub(crate) async fn run(mut self) {
        loop {
            self.expire();
            match self.pipeline.step() {
                Step::Send => self.send_due().await,
                Step::Drain => {}
                Step::Resume => {
                    self.find_leader().await;
                    continue;
                }
                Step::NewEpoch if self.has_work() => {
                    self.take_new_epoch().await;
                    continue;
                }
                Step::NewEpoch => {}
                Step::Stop => return self.stop().await,
            }
            if self.is_done() {
                return;
            }
            self.wait().await;
        }
    }

    fn has_work(&self) -> bool {
        !self.pipeline.is_empty() || !self.shared.accumulator().is_empty()
    }

    /// Whether the producer is closed and nothing is left; nothing can be added then.
    fn is_done(&self) -> bool {
        if !self.core.is_closing() || !self.pipeline.is_empty() {
            return false;
        }
        let mut accumulator = self.shared.accumulator();
        accumulator.seal();
        if accumulator.is_empty() {
            accumulator.close(Error::closed());
            return true;
        }
        drop(accumulator);
        self.shared.wake();
        false
    }

    /// Waits for whatever comes first: an answer, a record, a time.
    async fn wait(&mut self) {
        let timer = match self.pipeline.step() {
            Step::Send => self.next_time(),
            Step::Drain => None,
            // There is something to be done at once.
            Step::Resume | Step::Stop => return,
            Step::NewEpoch if self.has_work() => return,
            Step::NewEpoch => None,
        };
        let waits = !self.under_way.is_empty();
        let silent_at = waits.then_some(self.doubt_at);
        let next = timer.into_iter().chain(silent_at).min();
        let at = next.unwrap_or_else(Instant::now);
        tokio::select! {
            Some((key, result)) = self.under_way.next(), if waits => {
                self.doubt_at = Instant::now() + SILENT_MAX;
                self.take(key, result);
            }
            () = self.shared.wake.notified() => {}
            () = tokio::time::sleep_until(at), if next.is_some() => {}
        }
        if waits && self.doubt_at <= Instant::now() {
            self.doubt();
        }
    }

    /// The node has been silent. Where it is known that another one leads by now, its answers are
    /// not waited for any more: it may be stopped, and its connection looks alive for long.
    fn doubt(&mut self) {
        self.doubt_at = Instant::now() + ASK_AGAIN;
        let client = &self.core.client;
        if self.core.options.idempotent && self.router.is_replaced(client) {
            self.under_way.clear();
            let message = "the node is silent, and another one leads now";
            for key in self.pipeline.keys_in_flight() {
                self.take(key, Err(Error::new(v1::ErrorKind::Unknown, message)));
            }
        } else {
            // After a failure there may be none, while older batches are still under way.
            if let Some(address) = self.router.asked() {
                client.cache().avoid(address);
            }
            client.refresh_soon(&self.topic.name);
        }
    }

    fn next_time(&self) -> Option<Instant> {
        let accumulator = self.shared.accumulator();
        let due = if self.pipeline.has_room() && !self.router.is_switching() {
            accumulator.due_at(self.pipeline.is_empty())
        } else {
            None
        };
        let overdue = accumulator.oldest().map(|oldest| oldest + self.core.delivery_timeout);
        due.into_iter().chain(overdue).min()
    }

    /// Sends what may be sent: first what is sent again, then new batches.
    async fn send_due(&mut self) {
        let in_flight = self.pipeline.in_flight();
        if !self.router.choose(&self.core.client, in_flight) {
            return;
        }
        self.send_waiting().await;
        while self.pipeline.has_room() {
            let idle = self.pipeline.is_empty();
            let gathered = self.shared.accumulator().take(Instant::now(), idle);
            let Some(gathered) = gathered else { return };
            self.topic.closed_batch(self.shared.partition, &self.core.client);
            self.admit(gathered);
            self.send_waiting().await;
        }
    }

    /// Encodes a batch with the place that it has in the sequence.
    fn admit(&mut self, gathered: Gathered) {
        let Gathered { mut builder, ticket, opened_at } = gathered;
        let records = builder.len();
        let producer = self.pipeline.stamp().map(records_producer);
        let batch = match builder.finish(self.core.options.compression, producer) {
            Ok(batch) => batch,
            Err(error) => return ticket.settle(Err(error.into())),
        };
        self.shared.accumulator().recycle(builder);
        let deadline = opened_at + self.core.delivery_timeout;
        let bytes = batch.into_bytes();
        let sending = Sending { records, bytes, ticket, deadline, not_found: 0, last: None };
        self.pipeline.admit(records, deadline, sending);
    }

    async fn send_waiting(&mut self) {
        let request_timeout = Duration::from_millis(self.core.client.options().request_timeout_ms);
        while let Some((key, sending)) = self.pipeline.send_next() {
            let left = sending.deadline.saturating_duration_since(Instant::now());
            let timeout = left.clamp(Duration::from_millis(10), request_timeout);
            let (address, routing) = self.router.current();
            let request = v1::ProduceRequest {
                correlation_id: 0,
                acks: self.core.options.acks.wire().into(),
                timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
                routing: routing.into(),
                partitions: vec![v1::PartitionRecords {
                    topic: self.topic.name.to_string(),
                    partition: self.shared.partition,
                    data: Some(v1::partition_records::Data::Batch(sending.bytes.clone())),
                }],
            };
            if self.under_way.is_empty() {
                self.doubt_at = Instant::now() + SILENT_MAX;
            }
            let (answer, answered) = oneshot::channel();
            let link = self.core.link(&address);
            let sent = link.send(Job { request, answer, share: () }).await.is_ok();
            self.under_way.push(Box::pin(async move {
                let lost = || Error::new(v1::ErrorKind::Unknown, "the connection was given up");
                let result = match tokio::time::timeout(timeout + GRACE, answered).await {
                    Ok(Ok(result)) => result,
                    Ok(Err(_)) if !sent => {
                        Err(Error { kind: v1::ErrorKind::Unavailable, ..lost() })
                    }
                    Ok(Err(_)) => Err(lost()),
                    Err(_) => Err(Error::new(
                        v1::ErrorKind::Unknown,
                        format!("{address} did not answer within {} ms", timeout.as_millis()),
                    )),
                };
                (key, result)
            }));
        }
    }

    /// Takes the answer to one attempt in.
    fn take(&mut self, key: u64, result: Result<v1::ProduceResult, Error>) {
        let outcome = answer::outcome(self.shared.partition, result);
        let Some(sending) = self.pipeline.in_flight_mut(key) else { return };
        let verdict = answer::judge(&outcome, sending.not_found, self.core.options.idempotent);
        match &outcome {
            Ok(_) => self.backoff.reset(),
            Err(error) => {
                sending.not_found += u32::from(error.kind == v1::ErrorKind::NotFound);
                sending.last = Some(error.clone());
                self.retry_after_ms = error.retry_after_ms;
                self.router.failed(&self.core.client, error);
                tracing::debug!(topic = %self.topic.name, partition = self.shared.partition,
                    %error, ?verdict, "a batch was not stored");
            }
        }
        if verdict == Answer::Fenced {
            self.core.fence(outcome.as_ref().err());
        }
        if let Some(ended) = self.pipeline.answer(key, verdict) {
            let records = ended.payload.records as usize;
            self.shared.accumulator().answered(Instant::now(), records);
            settle(ended, outcome.ok());
        }
    }

    /// Gives up what is overdue, also what was never sent.
    fn expire(&mut self) {
        let now = Instant::now();
        self.pipeline.expire(now).into_iter().for_each(|ended| settle(ended, None));
        let Some(moment) = now.checked_sub(self.core.delivery_timeout) else { return };
        loop {
            let Some(overdue) = self.shared.accumulator().take_older(moment) else { return };
            let ms = self.core.delivery_timeout.as_millis();
            let message = format!(
                "{}/{} took no records for {ms} ms (delivery_timeout_ms), so this one was not \
                 sent",
                self.topic.name, self.shared.partition
            );
            overdue.ticket.settle(Err(Error::new(v1::ErrorKind::Unavailable, message)));
        }
    }

    /// After a failure: a pause, and a look at who leads now.
    async fn find_leader(&mut self) {
        if !self.pipeline.is_empty() {
            self.pause().await;
        }
        let client = &self.core.client;
        if self.router.wants_metadata(client) {
            let lookup = tokio::time::timeout(LOOKUP_MAX, client.refresh(&self.topic.name)).await;
            if lookup.is_err() {
                // Whoever was asked first holds the others up.
                client.cache().candidates().first().inspect(|first| client.cache().avoid(first));
            }
        }
        self.pipeline.resume();
    }

    async fn pause(&mut self) {
        let pause = self.backoff.next(self.retry_after_ms);
        self.retry_after_ms = 0;
        let end = Instant::now() + pause;
        let end = self.pipeline.next_deadline().map_or(end, |deadline| deadline.min(end));
        tokio::time::sleep_until(end).await;
    }

    async fn take_new_epoch(&mut self) {
        let identity = self.core.identity.as_ref().expect("only sequences have holes");
        let used = self.pipeline.stamp().expect("only sequences have holes");
        let used = (used.producer_id, used.epoch);
        let newer = identity.newer_than(used, &self.core.client);
        match tokio::time::timeout(LOOKUP_MAX, newer).await {
            Ok(Ok(newer)) => {
                let ended = self.pipeline.restart(newer, |sending, stamp| {
                    sending.bytes = restamped(&sending.bytes, stamp);
                });
                ended.into_iter().for_each(|ended| settle(ended, None));
            }
            Ok(Err(error)) => {
                tracing::debug!(topic = %self.topic.name, %error, "no new producer epoch yet");
                self.pause().await;
            }
            Err(_) => self.pause().await,
        }
    }

    /// The producer is fenced: nothing is sent any more.
    async fn stop(mut self) {
        while let Some((key, result)) = self.under_way.next().await {
            self.take(key, result);
        }
        let error = self.core.fenced().unwrap_or_else(Error::closed);
        let fail = |ticket: Ticket, ending| {
            let error = error.clone();
            let unknown = ending == Ending::Unknown;
            ticket.settle(Err(if unknown { error.after_unknown() } else { error }));
        };
        for Ended { payload, ending } in self.pipeline.stop() {
            fail(payload.ticket, ending);
        }
        let mut accumulator = self.shared.accumulator();
        accumulator.close(error.clone());
        accumulator.seal();
        while let Some(gathered) = accumulator.take(Instant::now(), true) {
            fail(gathered.ticket, Ending::Failed);
        }
    }
}

/// Tells a batch's records what became of them.
fn settle(ended: Ended<Sending>, delivered: Option<Delivered>) {
    let Ended { payload: Sending { ticket, last, .. }, ending } = ended;
    let last = last.unwrap_or_else(|| {
        Error::new(v1::ErrorKind::Unavailable, "the records were given up before they were sent")
    });
    ticket.settle(match (ending, delivered) {
        (Ending::Stored, Some(delivered)) => Ok(delivered),
        (Ending::Stored | Ending::Unknown, _) if last.is_retriable() => {
            let message = format!(
                "it can't be told whether the records are stored; the last attempt: {}",
                last.message
            );
            Err(Error { kind: v1::ErrorKind::Unknown, message, ..last })
        }
        (Ending::Stored | Ending::Unknown, _) => Err(last.after_unknown()),
        (Ending::Failed, _) => Err(last),
    });
}

fn records_producer(stamp: Stamp) -> RecordsProducer {
    RecordsProducer {
        id: i64::try_from(stamp.producer_id).unwrap_or(i64::MAX),
        epoch: i16::try_from(stamp.epoch).unwrap_or(i16::MAX),
        base_sequence: i32::try_from(stamp.sequence).unwrap_or(0),
    }
}

/// The same batch with another stamp, and its checksum computed anew.
fn restamped(bytes: &Bytes, stamp: Stamp) -> Bytes {
    let limits = Limits { batch_bytes_max: u32::MAX, records_max: u32::MAX, ..Limits::default() };
    let batch = Batch::from_verified(bytes.clone(), &limits);
    let mut header = *batch.expect("it was encoded here").header();
    header.producer = Some(records_producer(stamp));
    let mut changed = BytesMut::from(&bytes[..]);
    let front = header.encode();
    changed[..front.len()].copy_from_slice(&front);
    let changed = Batch::from_verified(changed.freeze(), &limits);
    // Writing a header field computes the checksum; this one is written as it was.
    changed
        .expect("only the stamp has changed")
        .with_max_timestamp(header.max_timestamp)
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use kontiki_records::{BatchBuilder, Compression};

    use super::*;

    #[test]
    fn a_batch_with_another_stamp_is_sound_and_otherwise_the_same() {
        let mut builder = BatchBuilder::new(Limits::default());
        builder.push(5, Some(b"k"), Some(b"v"), &[]).unwrap();
        builder.push(9, None, Some(b"w"), &[]).unwrap();
        let old = Stamp { producer_id: 1, epoch: 2, sequence: 30 };
        let batch = builder.finish(Compression::None, Some(records_producer(old))).unwrap();
        let new = Stamp { producer_id: 1, epoch: 3, sequence: 0 };
        let changed = Batch::parse(restamped(batch.bytes(), new), &Limits::default()).unwrap();
        assert_eq!(changed.header().producer, Some(records_producer(new)));
        assert_eq!(changed.encoded_records(), batch.encoded_records());
        assert_eq!(changed.header().max_timestamp, 9);
    }
}
