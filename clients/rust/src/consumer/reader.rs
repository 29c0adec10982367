//! One fetch stream to one node, with all partitions that are read there.
//!
//! It never takes a message from the stream without having a place for it in the consumer's queue,
//! so it can always do what it is told. It ends with its stream, and says then where each of its
//! partitions had come to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kontiki_proto::v1;
use kontiki_records::{Decompressor, Limits};
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use v1::fetch_stream_request::{Close, Credit, Open, Request};

use super::decode::{self, Decoded};
use super::{ConsumerOptions, Fetched, Item, Key};
use crate::{Client, Error};

/// Requests on their way to the node.
const REQUESTS_MAX: usize = 256;
/// Orders that wait for a reader.
pub(crate) const ORDERS_MAX: usize = 256;

/// What a reader is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// Read a partition from an offset on.
    Open { key: Key, generation: u64, offset: u64 },
    /// Stop reading a partition, and say where it had come to.
    Close { key: Key, generation: u64 },
}

/// What a reader says.
#[derive(Debug)]
pub(crate) enum Event {
    /// A partition is no longer read here.
    Off { key: Key, generation: u64, next: u64, error: Option<Error> },
    /// The reader has ended.
    Gone { address: Arc<str>, id: u64 },
}

/// What the application has taken out of the queue, in bytes: the node may send as much again.
#[derive(Debug, Default)]
pub(crate) struct Returned {
    bytes: AtomicU64,
    wake: Notify,
}

impl Returned {
    pub(crate) fn add(&self, bytes: u32) {
        self.bytes.fetch_add(u64::from(bytes), Ordering::AcqRel);
        self.wake.notify_one();
    }
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    generation: u64,
    next: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) client: Client,
    pub(crate) address: Arc<str>,
    pub(crate) id: u64,
    pub(crate) options: ConsumerOptions,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) items: mpsc::Sender<Item>,
}

impl Reader {
    /// Runs until the stream breaks or the consumer is gone.
    pub(crate) async fn run(mut self) {
        let mut session = Session::new(&self.options);
        let ended = self.serve(&mut session).await;
        let error = match ended {
            Ok(()) => return,
            Err(error) => error,
        };
        tracing::debug!(address = %self.address, %error, "a fetch stream broke");
        self.client.pool().discard(&self.address);
        // Orders that came too late are part of what is no longer read here.
        self.orders.close();
        while let Some(order) = self.orders.recv().await {
            session.obey(order);
        }
        for (key, Reading { generation, next }) in session.readings {
            let error = Some(error.clone());
            if self.events.send(Event::Off { key, generation, next, error }).await.is_err() {
                return;
            }
        }
        let gone = Event::Gone { address: self.address.clone(), id: self.id };
        // Nobody listens once the consumer is gone.
        let _ = self.events.send(gone).await;
    }

    async fn serve(&mut self, session: &mut Session) -> Result<(), Error> {
        let channel = self.client.pool().get(&self.address).await?;
        let (requests, outgoing) = mpsc::channel(REQUESTS_MAX);
        // The first message says how records shall come.
        let _ = requests.try_send(session.grant(self.options.credit_bytes, true));
        let mut log = self.client.log(channel);
        let broken = |status: tonic::Status| Error::from_status(&status, &self.address);
        let opening = log.fetch_stream(ReceiverStream::new(outgoing));
        let patience = std::time::Duration::from_millis(self.client.options().request_timeout_ms);
        let opened = tokio::time::timeout(patience, opening).await.map_err(|_| {
            let ms = patience.as_millis();
            let message = format!("{} did not answer within {ms} ms", self.address);
            Error::new(v1::ErrorKind::Unknown, message)
        })?;
        let mut answers = opened.map_err(broken)?.into_inner();
        let mut slot = None;
        loop {
            let room = requests.capacity() > 0;
            tokio::select! {
                order = self.orders.recv(), if room => {
                    let Some(order) = order else { return Ok(()) };
                    let told = session.obey(order);
                    // There is room, and the other end is gone only when the answers end too.
                    told.request.into_iter().for_each(|told| drop(requests.try_send(told)));
                    if let Some(event) = told.event {
                        let _ = self.events.send(event).await;
                    }
                }
                () = session.returned.wake.notified(), if room => {
                    session.grant_returned().into_iter()
                        .for_each(|credit| drop(requests.try_send(credit)));
                }
                permit = self.items.clone().reserve_owned(), if slot.is_none() => {
                    let Ok(permit) = permit else { return Ok(()) };
                    slot = Some(permit);
                }
                answer = answers.message(), if slot.is_some() => {
                    let Some(answer) = answer.map_err(broken)? else {
                        let message = format!("{} closed the fetch stream", self.address);
                        return Err(Error::new(v1::ErrorKind::Unavailable, message));
                    };
                    match session.take(answer) {
                        Taken::Item(item) => drop(slot.take().map(|slot| slot.send(*item))),
                        Taken::Event(event) => drop(self.events.send(event).await),
                        Taken::Nothing => {}
                    }
                }
            }
        }
    }
}

#[derive(Debug)]
struct Told {
    request: Option<v1::FetchStreamRequest>,
    event: Option<Event>,
}

enum Taken {
    Item(Box<Item>),
    Event(Event),
    Nothing,
}

/// What a stream has come to; no I/O.
#[derive(Debug)]
struct Session {
    readings: HashMap<Key, Reading>,
    returned: Arc<Returned>,
    credit_bytes: u32,
    partition_bytes_max: u32,
    limits: Limits,
    decompressor: Decompressor,
}

impl Session {
    fn new(options: &ConsumerOptions) -> Self {
        let limits = Limits {
            batch_bytes_max: 1 << 30,
            decompressed_bytes_max: options.decompressed_bytes_max,
            records_max: i32::MAX as u32,
            headers_max: i32::MAX as u32,
            ..Limits::default()
        };
        Self {
            readings: HashMap::new(),
            returned: Arc::default(),
            credit_bytes: options.credit_bytes,
            partition_bytes_max: options.partition_bytes_max,
            limits,
            decompressor: Decompressor::default(),
        }
    }

    fn grant(&self, bytes: u32, first: bool) -> v1::FetchStreamRequest {
        let format = if first { v1::RecordFormat::Batches } else { v1::RecordFormat::Records };
        let request = Some(Request::Credit(Credit { bytes }));
        v1::FetchStreamRequest { request, format: format.into() }
    }

    /// Credit for what was taken out of the queue, once it is worth a message. What is held back
    /// is less than a quarter, so the node always has some.
    fn grant_returned(&self) -> Option<v1::FetchStreamRequest> {
        let bytes = self.returned.bytes.load(Ordering::Acquire);
        if bytes == 0 || bytes < u64::from(self.credit_bytes / 4) {
            return None;
        }
        self.returned.bytes.fetch_sub(bytes, Ordering::AcqRel);
        Some(self.grant(u32::try_from(bytes).unwrap_or(u32::MAX), false))
    }

    fn obey(&mut self, order: Order) -> Told {
        let format = v1::RecordFormat::Records.into();
        match order {
            Order::Open { key, generation, offset } => {
                let partition = v1::FetchPartition {
                    topic: key.0.to_string(),
                    partition: key.1,
                    offset,
                    max_bytes: self.partition_bytes_max,
                };
                self.readings.insert(key, Reading { generation, next: offset });
                let request = Some(Request::Open(Open { partition: Some(partition) }));
                Told { request: Some(v1::FetchStreamRequest { request, format }), event: None }
            }
            Order::Close { key, generation } => {
                let reading = self.readings.get(&key).copied();
                let Some(reading) = reading.filter(|its| its.generation == generation) else {
                    return Told { request: None, event: None };
                };
                self.readings.remove(&key);
                let close = Close { topic: key.0.to_string(), partition: key.1 };
                let request = Some(Request::Close(close));
                let next = reading.next;
                let event = Some(Event::Off { key, generation, next, error: None });
                Told { request: Some(v1::FetchStreamRequest { request, format }), event }
            }
        }
    }

    fn take(&mut self, answer: v1::FetchStreamResponse) -> Taken {
        let used = answer.credit_used;
        let Some(part) = answer.partition else {
            self.returned.add(used);
            return Taken::Nothing;
        };
        let key: Key = (Arc::from(&part.topic[..]), part.partition);
        let Some(reading) = self.readings.get(&key).copied() else {
            // It was on its way when the partition was closed.
            self.returned.add(used);
            return Taken::Nothing;
        };
        let Reading { generation, next } = reading;
        let decoded = match part.error {
            Some(error) => Err(error.into()),
            None => decode::decode(part.batches, next, &self.limits, &mut self.decompressor),
        };
        let Decoded { records, next, gap } = match decoded {
            Ok(decoded) => decoded,
            Err(error) => {
                self.returned.add(used);
                self.readings.remove(&key);
                return Taken::Event(Event::Off { key, generation, next, error: Some(error) });
            }
        };
        let moved = next > reading.next;
        self.readings.insert(key.clone(), Reading { generation, next });
        if gap && !moved {
            self.returned.add(used);
            self.readings.remove(&key);
            let message = format!("{}/{} skipped records after {next}", key.0, key.1);
            let error = Some(Error::new(v1::ErrorKind::Unavailable, message));
            return Taken::Event(Event::Off { key, generation, next, error });
        }
        if !moved {
            self.returned.add(used);
            return Taken::Nothing;
        }
        let fetched = Fetched {
            topic: key.0.clone(),
            partition: key.1,
            records,
            high_watermark: part.high_watermark,
            log_start_offset: part.log_start_offset,
            next_offset: next,
        };
        let returned = self.returned.clone();
        Taken::Item(Box::new(Item::Fetched { fetched, generation, used, returned }))
    }
}

#[cfg(test)]
#[path = "reader_test.rs"]
mod tests;
