//! Sends messages: one record batch, and what they ask for beside it. Messages of several calls
//! share a batch while an earlier one is under way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kontiki_domain::queue::{
    Attributes, Command, Deduplication, Enqueue, Enqueued, QueueSettings, Reply,
};
use kontiki_records::{BatchBuilder, Header};
use kontiki_storage::id::Offset;
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::pool::{Pooled, Pools, Size};
use super::receipt::message_id;
use super::{ID_BYTES_MAX, misunderstood, of_queue, within};
use crate::catalog::Place;
use crate::core::{Broker, Core};
use crate::error::{Error, Kind};
use crate::options::bounds;
use crate::produce::{Record, Share};

/// Headers in which a message keeps what it asked for.
pub(super) const GROUP: &str = "kontiki.group";
pub(super) const DEDUPLICATION: &str = "kontiki.dedup-id";
pub(super) const PRIORITY: &str = "kontiki.priority";
pub(super) const DELIVER_AT: &str = "kontiki.deliver-at";
pub(super) const EXPIRES_AT: &str = "kontiki.expires-at";

/// What a batch takes beside its records.
pub(crate) const BATCH_BYTES: usize = 128;
/// What the headers above take at most, beside a group and a deduplication id.
const OWN_HEADERS_BYTES: usize = 192;

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
    /// They take their place in the queue before this returns: what is sent by a later call comes
    /// behind them.
    pub fn send(
        &self,
        send: Send,
    ) -> impl Future<Output = Result<Vec<Sent>, Error>> + std::marker::Send + use<> {
        let begun = self.0.begin_send(send);
        async move { begun?.await }
    }
}

impl Core {
    fn begin_send(
        self: &Arc<Self>,
        send: Send,
    ) -> Result<impl Future<Output = Result<Vec<Sent>, Error>> + use<>, Error> {
        let Send { queue, messages, timeout } = send;
        within("messages", messages.len())?;
        let timeout_max = Duration::from_millis(bounds::TIMEOUT_MS_MAX.into());
        let deadline = Instant::now() + timeout.min(timeout_max);
        let bytes = messages.iter().map(bytes_of).sum();
        let share = self.produce_budget.take(bytes).ok_or_else(|| {
            let options = &self.options.produce;
            let name = "broker.produce.in_flight_bytes_max";
            Error::throttled(name, options.in_flight_bytes_max, options.retry_after_ms)
        })?;
        let (place, settings) = self.queue(&queue)?;
        let sent = self.enqueue(place, &settings, messages, deadline, Arc::new(share));
        Ok(async move { sent.await.map_err(|error| of_queue(&queue, error)) })
    }

    /// Sends messages to a queue. They have their place in it when this returns.
    pub(crate) fn enqueue(
        self: &Arc<Self>,
        place: Place,
        settings: &QueueSettings,
        messages: Vec<Outgoing>,
        deadline: Instant,
        share: Arc<Share>,
    ) -> impl Future<Output = Result<Vec<Sent>, Error>> + std::marker::Send + use<> {
        let (answer, answered) = oneshot::channel();
        let begun = self.parcel(settings, messages, deadline, answer, share);
        let begun = begun.and_then(|parcel| self.pool(place, parcel));
        async move {
            begun?;
            let unknown =
                || Error::outcome_unknown(&format!("the leader of shard {}", place.shard));
            let answer = tokio::time::timeout_at(deadline, answered).await;
            answer.map_err(|_| unknown())?.map_err(|_| unknown())?
        }
    }

    fn parcel(
        &self,
        settings: &QueueSettings,
        messages: Vec<Outgoing>,
        deadline: Instant,
        answer: Answer,
        share: Arc<Share>,
    ) -> Result<Parcel, Error> {
        let now_ms = (self.clock)();
        let mut attributes = Vec::new();
        for (number, message) in (0..).zip(&messages) {
            let asked = asks(number, message, settings);
            let asked = asked.map_err(|error| error.about(format_args!("messages[{number}]")))?;
            attributes.extend(asked);
        }
        let bytes = messages.iter().map(bytes_of).sum();
        let records = messages.into_iter().map(|message| record(message, now_ms)).collect();
        Ok(Parcel { records, attributes, bytes, deadline, answer, _share: share })
    }

    /// Proposes messages of a queue as one batch: all are stored, or none.
    fn store<'a>(
        &self,
        place: Place,
        records: impl IntoIterator<Item = &'a Record>,
        attributes: Vec<Attributes>,
        deadline: Instant,
    ) -> Result<Storing, Error> {
        let (header, batch) = self.encode_messages(place.topic, records)?;
        let queue = place.partition;
        let enqueue = Enqueue { queue, payload: 0, header, attributes, origin: None };
        let asked = self.ask_queue(place.shard, Command::Enqueue(enqueue), vec![batch], deadline);
        Ok(Box::pin(async move {
            let reply = asked.await?;
            let Reply::Enqueued(enqueued) = reply else { return Err(misunderstood(&reply)) };
            Ok(enqueued)
        }))
    }

    /// One record batch, within the limits of its topic.
    pub(crate) fn encode_messages<'a>(
        &self,
        topic: kontiki_storage::id::TopicId,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<(kontiki_domain::partition::BatchHeader, Bytes), Error> {
        let settings = self.settings_of(topic);
        self.encode_own(records, &settings)
    }
}

type Storing = BoxFuture<'static, Result<Enqueued, Error>>;
type Answer = oneshot::Sender<Result<Vec<Sent>, Error>>;

/// Messages of one call.
pub(crate) struct Parcel {
    records: Vec<Record>,
    /// By the numbers of the records.
    attributes: Vec<Attributes>,
    bytes: usize,
    deadline: Instant,
    answer: Answer,
    /// Kept for as long as the records are, whoever has given up on them.
    _share: Arc<Share>,
}

impl Pooled for Parcel {
    fn size(&self) -> Size {
        Size { messages: self.records.len(), bytes: self.bytes }
    }

    fn pools(core: &Core) -> &Pools<Self> {
        &core.sends
    }

    fn propose(core: Arc<Core>, place: Place, all: Vec<Self>) -> BoxFuture<'static, ()> {
        Box::pin(store_all(core, place, all))
    }
}

async fn store_all(core: Arc<Core>, place: Place, all: Vec<Parcel>) {
    let now = Instant::now();
    let (all, late): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.deadline > now);
    for parcel in late {
        let error = Error::not_done_in_time(&format!("shard {}", place.shard));
        parcel.end(&core, place, Err(&error), 0);
    }
    let Some(deadline) = all.iter().map(|parcel| parcel.deadline).max() else { return };
    let mut attributes = Vec::new();
    let mut count: u32 = 0;
    for parcel in &all {
        let moved = |one: &Attributes| Attributes { number: count + one.number, ..*one };
        attributes.extend(parcel.attributes.iter().map(moved));
        count += parcel.count();
    }
    let records = all.iter().flat_map(|parcel| &parcel.records);
    let stored = match core.store(place, records, attributes, deadline) {
        Ok(stored) => stored.await,
        Err(error) => Err(error),
    };
    match &stored {
        // One of them must not keep the others out.
        Err(error) if all.len() > 1 && may_be_one(error) => {
            store_each(core, place, all).await;
        }
        _ => {
            let mut first = 0;
            for parcel in all {
                let count = parcel.count();
                parcel.end(&core, place, stored.as_ref(), first);
                first += count;
            }
        }
    }
}

/// One command each, in their order.
async fn store_each(core: Arc<Core>, place: Place, all: Vec<Parcel>) {
    let begun: Vec<_> = (all.into_iter())
        .map(|parcel| {
            let attributes = parcel.attributes.clone();
            let stored = core.store(place, &parcel.records, attributes, parcel.deadline);
            (parcel, stored)
        })
        .collect();
    for (parcel, stored) in begun {
        let stored = match stored {
            Ok(stored) => stored.await,
            Err(error) => Err(error),
        };
        parcel.end(&core, place, stored.as_ref(), 0);
    }
}

/// Whether a refusal may be because of one message among others. Nothing was stored then.
pub(crate) fn may_be_one(error: &Error) -> bool {
    match error.kind {
        Kind::Invalid | Kind::Conflict | Kind::Denied => true,
        // A queue that is full may have room for some; a node that has too much to do gets no more.
        Kind::Throttled => error.code.is_of_a_state_machine(),
        Kind::NotFound
        | Kind::Exists
        | Kind::NotLeader
        | Kind::Fenced
        | Kind::Unavailable
        | Kind::Unknown
        | Kind::Internal => false,
    }
}

impl Parcel {
    fn count(&self) -> u32 {
        u32::try_from(self.records.len()).expect("bounded")
    }

    /// Answers; `first` is the number of its first message in the batch.
    fn end(self, core: &Core, place: Place, stored: Result<&Enqueued, &Error>, first: u32) {
        let answer = stored.map(|enqueued| sent(place, first, self.count(), enqueued));
        if let Ok(sent) = &answer {
            let duplicates = sent.iter().filter(|sent| sent.duplicate).count();
            core.metrics.queue.sent.inc_by(sent.len() as u64);
            core.metrics.queue.duplicates.inc_by(duplicates as u64);
        }
        let Self { answer: asked, records, _share: share, .. } = self;
        // Whoever hears of it may want that memory.
        drop((records, share));
        // Whoever asked may have gone.
        let _ = asked.send(answer.map_err(Error::clone));
    }
}

fn sent(place: Place, first: u32, count: u32, enqueued: &Enqueued) -> Vec<Sent> {
    let begin = enqueued.duplicates.partition_point(|(at, _)| *at < first);
    let mut duplicates = enqueued.duplicates[begin..].iter().peekable();
    (first..first + count)
        .map(|number| {
            let before = duplicates.next_if(|(at, _)| *at == number).map(|(_, offset)| *offset);
            let offset = before.unwrap_or(enqueued.base_offset.0 + u64::from(number));
            let message_id = message_id(place.partition, Offset(offset));
            Sent { message_id, duplicate: before.is_some() }
        })
        .collect()
}

/// What a record takes at most, its own headers included.
pub(crate) fn bytes_of(message: &Outgoing) -> usize {
    let Outgoing { key, body, headers, group, deduplication_id, .. } = message;
    let own = OWN_HEADERS_BYTES + group.len() + deduplication_id.len();
    own + BatchBuilder::record_bytes_max(key.as_deref(), Some(body), headers)
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

/// The priority and the group that a message was sent with, as its headers keep them. A queue keeps
/// no more of them than it has a use for.
pub(crate) fn asked(headers: &[Header]) -> (Option<u8>, Option<u64>) {
    let text = |name: &str| {
        let header = headers.iter().rev().find(|header| header.name == name.as_bytes())?;
        std::str::from_utf8(header.value.as_deref()?).ok()
    };
    let priority = text(PRIORITY).and_then(|text| text.parse().ok());
    (priority, text(GROUP).map(group))
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

#[cfg(test)]
mod tests {
    use kontiki_domain::rejection::{QueueFull, Rejection};
    use kontiki_storage::id::PartitionId;

    use super::*;

    #[test]
    fn a_full_queue_may_have_room_for_some_and_a_busy_node_is_not_asked_again() {
        let full = QueueFull { queue: PartitionId(1), messages: 20, more: 1, limit: 20 };
        assert!(may_be_one(&Error::from(Rejection::QueueFull(full))));
        assert!(may_be_one(&Error::invalid("delay_ms", 5, "less")));
        assert!(!may_be_one(&Error::throttled("broker.route.waiting_max", 4_096, 100)));
        assert!(!may_be_one(&Error::outcome_unknown("the leader")));
    }
}
