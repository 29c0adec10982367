//! Sends messages: one record batch, and what they ask for beside it.

use std::time::Duration;

use bytes::Bytes;
use kontiki_domain::queue::{
    Attributes, Command, Deduplication, Enqueue, Enqueued, QueueSettings, Reply,
};
use kontiki_records::Header;
use kontiki_storage::id::Offset;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::receipt::message_id;
use super::{ID_BYTES_MAX, misunderstood, of_queue, within};
use crate::catalog::Place;
use crate::core::{Broker, Core};
use crate::error::Error;
use crate::options::bounds;
use crate::produce::Record;

/// Headers in which a message keeps what it asked for.
pub(super) const GROUP: &str = "kontiki.group";
pub(super) const DEDUPLICATION: &str = "kontiki.dedup-id";
pub(super) const PRIORITY: &str = "kontiki.priority";
pub(super) const DELIVER_AT: &str = "kontiki.deliver-at";
pub(super) const EXPIRES_AT: &str = "kontiki.expires-at";

/// A message to be sent.
#[derive(Debug, Clone, Default)]
pub struct Outgoing {
    /// Its key, if it has one.
    pub key: Option<Bytes>,
    /// Its body.
    pub body: Bytes,
    /// Its headers, in order.
    pub headers: Vec<Header>,
    /// Not to be delivered for so long; `None`: as the queue says.
    pub delay_ms: Option<i64>,
    /// Not to be delivered before, in milliseconds since 1970. Wins over the delay.
    pub deliver_at_ms: Option<i64>,
    /// Not to be delivered after so long.
    pub time_to_live_ms: Option<i64>,
    /// Higher is delivered first.
    pub priority: u8,
    /// Its group; needed in a FIFO queue, and of use in one with fair groups.
    pub group: String,
    /// Its deduplication id.
    pub deduplication_id: String,
}

/// Messages for one queue.
#[derive(Debug, Clone)]
pub struct Send {
    /// The queue's name.
    pub queue: String,
    /// 1 to [`super::MESSAGES_MAX`]. All are stored, or none.
    pub messages: Vec<Outgoing>,
    /// How long it may take.
    pub timeout: Duration,
}

/// A message that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its id, or that of the first send.
    pub message_id: String,
    /// It had been sent before: nothing was stored.
    pub duplicate: bool,
}

impl Broker {
    /// Sends messages; answers when a quorum has them on disk, one answer for each message.
    ///
    /// # Errors
    /// No such queue, a message that can't be (the error names it), a queue that is full, a limit
    /// of the node, or no leader in time.
    pub async fn send(&self, send: Send) -> Result<Vec<Sent>, Error> {
        let core = &self.0;
        let Send { queue, messages, timeout } = send;
        within("messages", messages.len())?;
        let timeout_max = Duration::from_millis(bounds::TIMEOUT_MS_MAX.into());
        let deadline = Instant::now() + timeout.min(timeout_max);
        let bytes = messages.iter().map(|message| message.body.len()).sum();
        let _share = core.produce_budget.take(bytes).ok_or_else(|| {
            let options = &core.options.produce;
            let name = "broker.produce.in_flight_bytes_max";
            Error::throttled(name, options.in_flight_bytes_max, options.retry_after_ms)
        })?;
        let (place, settings) = core.queue(&queue)?;
        core.enqueue(place, &settings, messages, deadline)
            .await
            .map_err(|error| of_queue(&queue, error))
    }
}

impl Core {
    pub(crate) async fn enqueue(
        &self,
        place: Place,
        settings: &QueueSettings,
        messages: Vec<Outgoing>,
        deadline: Instant,
    ) -> Result<Vec<Sent>, Error> {
        let now_ms = (self.clock)();
        let count = u32::try_from(messages.len()).expect("bounded");
        let mut attributes = Vec::new();
        for (number, message) in (0..).zip(&messages) {
            let asked = asks(number, message, settings);
            let asked = asked.map_err(|error| error.about(format_args!("messages[{number}]")))?;
            attributes.extend(asked);
        }
        let records = messages.into_iter().map(|message| record(message, now_ms)).collect();
        let (header, batch) = self.encode_messages(place.topic, records)?;
        let queue = place.partition;
        let enqueue = Enqueue { queue, payload: 0, header, attributes, origin: None };
        let command = Command::Enqueue(enqueue);
        let reply = self.ask_queue(place.shard, command, vec![batch], deadline).await?;
        let Reply::Enqueued(enqueued) = reply else { return Err(misunderstood(&reply)) };
        self.metrics.queue.sent.inc_by(count.into());
        self.metrics.queue.duplicates.inc_by(enqueued.duplicates.len() as u64);
        Ok(sent(place, count, &enqueued))
    }

    /// One record batch, within the limits of its topic.
    pub(crate) fn encode_messages(
        &self,
        topic: kontiki_storage::id::TopicId,
        records: Vec<Record>,
    ) -> Result<(kontiki_domain::partition::BatchHeader, Bytes), Error> {
        let settings = self.settings_of(topic);
        self.encode_own(&records, &settings)
    }
}

fn sent(place: Place, count: u32, enqueued: &Enqueued) -> Vec<Sent> {
    let mut duplicates = enqueued.duplicates.iter().peekable();
    (0..count)
        .map(|number| {
            let before = duplicates.next_if(|(at, _)| *at == number).map(|(_, offset)| *offset);
            let offset = before.unwrap_or(enqueued.base_offset.0 + u64::from(number));
            let message_id = message_id(place.partition, Offset(offset));
            Sent { message_id, duplicate: before.is_some() }
        })
        .collect()
}

/// Whether a queue with these settings can take a message.
pub(crate) fn check(message: &Outgoing, settings: &QueueSettings) -> Result<(), Error> {
    asks(0, message, settings).map(drop)
}

/// What a message asks for, if it is anything.
fn asks(
    number: u32,
    message: &Outgoing,
    settings: &QueueSettings,
) -> Result<Option<Attributes>, Error> {
    let Outgoing { delay_ms, deliver_at_ms, time_to_live_ms, priority, .. } = message;
    for (field, value) in [("delay_ms", delay_ms), ("time_to_live_ms", time_to_live_ms)] {
        if let Some(value) = value.filter(|value| *value < 0) {
            return Err(Error::invalid(field, value, "0 or more"));
        }
    }
    if settings.fifo && message.group.is_empty() {
        return Err(Error::invalid("group", "empty", "the name of a group: the queue is FIFO"));
    }
    for (field, text) in
        [("group", &message.group), ("deduplication_id", &message.deduplication_id)]
    {
        if text.len() > ID_BYTES_MAX {
            let expected = format!("at most {ID_BYTES_MAX} bytes");
            return Err(Error::invalid(field, format!("{} bytes", text.len()), &expected));
        }
    }
    let deduplication = match settings.deduplication {
        _ if !message.deduplication_id.is_empty() => {
            Some(digest(b"id", message.deduplication_id.as_bytes()))
        }
        Deduplication::Content => Some(digest(b"body", &message.body)),
        Deduplication::Explicit => None,
    };
    let attributes = Attributes {
        number,
        deliver_at_ms: *deliver_at_ms,
        // By the shard's clock, not by this node's.
        delay_ms: *delay_ms,
        time_to_live_ms: *time_to_live_ms,
        expires_at_ms: None,
        priority: *priority,
        group: ((settings.fifo || settings.fair_groups) && !message.group.is_empty())
            .then(|| group(&message.group)),
        deduplication,
    };
    let nothing = Attributes { number, ..Attributes::default() };
    Ok((attributes != nothing).then_some(attributes))
}

fn digest(kind: &[u8], bytes: &[u8]) -> [u8; 16] {
    let mut sha = Sha256::new();
    sha.update(kind);
    sha.update(bytes);
    sha.finalize()[..16].try_into().expect("a digest of 32 bytes")
}

/// The number that stands for a group. Two groups that had the same would wait for each other, or
/// share their share, and be none the worse.
pub(super) fn group(name: &str) -> u64 {
    let digest = digest(b"group", name.as_bytes());
    u64::from_be_bytes(digest[..8].try_into().expect("eight of sixteen"))
}

fn record(message: Outgoing, now_ms: i64) -> Record {
    let Outgoing { key, body, mut headers, delay_ms, deliver_at_ms, time_to_live_ms, .. } = message;
    let mut own = |name: &'static str, text: String| headers.push(Header::new(name, text));
    if !message.group.is_empty() {
        own(GROUP, message.group);
    }
    if !message.deduplication_id.is_empty() {
        own(DEDUPLICATION, message.deduplication_id);
    }
    if message.priority > 0 {
        own(PRIORITY, message.priority.to_string());
    }
    if let Some(at) = deliver_at_ms.or(delay_ms.map(|delay| now_ms.saturating_add(delay))) {
        own(DELIVER_AT, at.to_string());
    }
    if let Some(time) = time_to_live_ms {
        own(EXPIRES_AT, now_ms.saturating_add(time).to_string());
    }
    Record { key, value: Some(body), headers, timestamp_ms: now_ms }
}
