//! Receives messages: leases them, and reads their records.

use std::time::Duration;

use bytes::Bytes;
use kontiki_domain::queue::Grant;
use kontiki_records::Header;
use kontiki_storage::id::{Offset, PartitionId};
use tokio::time::Instant;

use super::receipt::{Receipt, message_id};
use super::{Leased, MESSAGES_MAX, WAIT_MS_MAX, attend, of_queue, send};
use crate::core::Broker;
use crate::error::Error;
use crate::options::bounds;
use crate::read::wire::{self, Delivered};

/// A wish for messages.
#[derive(Debug, Clone)]
pub struct Receive {
    /// The queue's name.
    pub queue: String,
    /// How many at most; 1 to [`MESSAGES_MAX`].
    pub max: u32,
    /// How long to lease them; `None`: as long as the queue says.
    pub lease_ms: Option<i64>,
    /// How long to wait for the first one, at most [`WAIT_MS_MAX`].
    pub wait_ms: u32,
    /// Who receives, at most [`CONSUMER_BYTES_MAX`](super::CONSUMER_BYTES_MAX) bytes; may be empty
    /// where the queue is neither exclusive nor has a single active consumer.
    pub consumer: String,
    /// Consumers of a higher priority are served first.
    pub priority: i32,
}

/// A message that was received.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its id.
    pub message_id: String,
    /// Names the lease, for settling it.
    pub receipt: String,
    /// Its key, if it has one.
    pub key: Option<Bytes>,
    /// Its body.
    pub body: Bytes,
    /// Its headers, in order.
    pub headers: Vec<Header>,
    /// When it was stored, in milliseconds since 1970.
    pub sent_ms: i64,
    /// How often it was delivered, this time included.
    pub acquired: u32,
    /// How many deliveries failed.
    pub failed: u32,
    /// Until when the lease lasts, in milliseconds since 1970, by the leader's clock.
    pub lease_until_ms: i64,
    /// Its FIFO group.
    pub group: String,
    /// Its priority.
    pub priority: u8,
}

impl Broker {
    /// Receives messages, as soon as there is one; none, when it has waited long enough. Fewer than
    /// there are, where they are more than `broker.queues.receive_bytes_max`.
    ///
    /// # Errors
    /// No such queue, a field out of bounds, a limit of the node, or no leader in time: nothing is
    /// leased then. [`Kind::Unknown`](crate::Kind::Unknown): an answer is lost, and what it leased
    /// comes again after the lease.
    pub async fn receive(&self, receive: Receive) -> Result<Vec<Message>, Error> {
        let core = &self.0;
        let Receive { queue, max, lease_ms, wait_ms, consumer, priority } = receive;
        if max == 0 || max as usize > MESSAGES_MAX {
            return Err(Error::invalid("max_messages", max, &format!("1 to {MESSAGES_MAX}")));
        }
        if wait_ms > WAIT_MS_MAX {
            return Err(Error::invalid("wait_ms", wait_ms, &format!("0 to {WAIT_MS_MAX}")));
        }
        if let Some(lease_ms) = lease_ms.filter(|lease| !(1..=604_800_000).contains(lease)) {
            return Err(Error::invalid("lease_ms", lease_ms, "1 to 604800000 (7 days)"));
        }
        let (place, settings) = core.queue(&queue)?;
        attend::check(&consumer, &settings)?;
        let spare = Duration::from_millis(bounds::TIMEOUT_MS_DEFAULT.into());
        let deadline = Instant::now() + Duration::from_millis(wait_ms.into()) + spare;
        let request = wire::Receive {
            queue: place.partition.0,
            max,
            lease_ms: lease_ms.unwrap_or(0),
            wait_ms,
            consumer: (!consumer.is_empty()).then_some(consumer),
            priority: (priority != 0).then_some(priority),
        };
        let answer = core.read_messages(place.shard, request, deadline).await;
        let (delivered, payloads) = answer.map_err(|error| of_queue(&queue, error))?;
        let grants = delivered.iter().map(grant).collect();
        // Dropped, it is given back.
        let leased = Leased::new(core, place.shard, place.partition, grants);
        let records = payloads.and_then(|payloads| records_of(&delivered, &payloads));
        let records = records.map_err(|error| of_queue(&queue, error))?;
        leased.given(|_| true);
        core.metrics.queue.delivered.inc_by(delivered.len() as u64);
        Ok(delivered
            .iter()
            .zip(records)
            .map(|(delivered, record)| message(place.partition, delivered, record))
            .collect())
    }
}

fn grant(delivered: &Delivered) -> Grant {
    Grant {
        offset: Offset(delivered.offset),
        lease: delivered.lease,
        until_ms: delivered.until_ms,
        acquired: delivered.acquired,
        failed: delivered.failed,
    }
}

/// The record of each message: the batches are decoded once.
pub(crate) fn records_of(
    delivered: &[Delivered],
    payloads: &[Bytes],
) -> Result<Vec<kontiki_records::Record>, Error> {
    let mut decoded: Vec<Vec<kontiki_records::Record>> = Vec::with_capacity(payloads.len());
    let damaged = |error: kontiki_records::Error| {
        Error::internal(format!("a message can't be decoded: {error}"))
    };
    for payload in payloads {
        let limits = &crate::read::ANY;
        let batch = kontiki_records::Batch::parse(payload.clone(), limits).map_err(damaged)?;
        let records = batch.records(limits).map_err(damaged)?;
        decoded.push(records.collect::<Result<_, _>>().map_err(damaged)?);
    }
    let missing = || Error::internal("an answer lacks the record of a message");
    delivered
        .iter()
        .map(|message| {
            let batch = decoded.get(message.payload as usize).ok_or_else(missing)?;
            batch.get(message.number as usize).cloned().ok_or_else(missing)
        })
        .collect()
}

pub(super) fn message(
    queue: PartitionId,
    delivered: &Delivered,
    record: kontiki_records::Record,
) -> Message {
    let offset = Offset(delivered.offset);
    let text =
        |name| record.headers.last(name).map(|text| String::from_utf8_lossy(&text).into_owned());
    let group = text(send::GROUP).unwrap_or_default();
    let priority = text(send::PRIORITY).and_then(|text| text.parse().ok()).unwrap_or(0);
    Message {
        message_id: message_id(queue, offset),
        receipt: Receipt { queue, offset, lease: delivered.lease }.encode(),
        key: record.key,
        body: record.value.unwrap_or_default(),
        headers: record.headers.iter().collect(),
        sent_ms: delivered.append_time_ms,
        acquired: delivered.acquired,
        failed: delivered.failed,
        lease_until_ms: delivered.until_ms,
        group,
        priority,
    }
}
