//! Subscriptions: the records of all topics whose names match a pattern, as far as a filter wants
//! them, over one stream that is opened again at another node when it breaks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kontiki_proto::v1;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use v1::pub_sub_client::PubSubClient;
use v1::{ErrorKind, content_filter::Filter, start_at::At};

use crate::backoff::Backoff;
use crate::error::code;
use crate::options::in_range;
use crate::{Client, ConsumedRecord, Error, Header};

/// Requests that wait for the connection.
const REQUESTS_MAX: usize = 16;
/// Positions in one request, and that an ephemeral subscription can go on with: the contract's
/// limit.
const POSITIONS_MAX: usize = 10_000;

/// What to subscribe to.
#[derive(Debug, Clone, PartialEq)]
pub struct SubscribeOptions {
    /// Over the names of topics, such as `orders.*`. Of a durable subscription: empty, or what it
    /// has.
    pub pattern: String,
    /// How the pattern is written. Default: as in NATS.
    pub syntax: v1::PatternSyntax,
    /// Which records; none: all.
    pub filter: Option<Filter>,
    /// Where to begin; none: at the end. Of a durable subscription: only with `reset`.
    pub from: Option<At>,
    /// The name of a durable subscription; empty (the default): an ephemeral one.
    pub name: String,
    /// Take a durable subscription over from the consumer that has it.
    pub takeover: bool,
    /// Begin a durable subscription anew, where `from` says.
    pub reset: bool,
    /// Records that the node may send before they are taken. 1 ..= 10,000; default 1,000.
    pub credit: u32,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self {
            pattern: String::new(),
            syntax: v1::PatternSyntax::Nats,
            filter: None,
            from: None,
            name: String::new(),
            takeover: false,
            reset: false,
            credit: 1_000,
        }
    }
}

/// Records of one partition that match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Their topic.
    pub topic: String,
    /// Their partition.
    pub partition: u32,
    /// In the order of their offsets.
    pub records: Vec<ConsumedRecord>,
    /// Everything below it has been delivered, or doesn't match.
    pub next_offset: u64,
}

/// An open subscription; see [`Client::subscribe`].
#[derive(Debug)]
pub struct Subscription {
    client: Client,
    options: SubscribeOptions,
    open: Option<Open>,
    /// It has been open before.
    begun: bool,
    /// Where it is in each partition.
    positions: BTreeMap<(String, u32), u64>,
    /// What was acknowledged of what the open stream has delivered, of a durable one.
    acknowledged: BTreeMap<(String, u32), u64>,
    unsent: BTreeMap<(String, u32), u64>,
    /// What was acknowledged of what a stream that broke has delivered, and isn't known to be
    /// committed.
    owed: BTreeMap<(String, u32), u64>,
    /// Credit that was used and not given again.
    used: u32,
}

#[derive(Debug)]
struct Open {
    address: Arc<str>,
    requests: mpsc::Sender<v1::SubscribeRequest>,
    answers: Streaming<v1::SubscribeResponse>,
}

impl Client {
    /// Subscribes to topics. When this returns, the subscription is open.
    ///
    /// When its node fails, it is opened again at another one: an ephemeral subscription goes on
    /// where it was, a durable one where that node has committed what was acknowledged. What comes
    /// again has to be acknowledged again.
    ///
    /// # Errors
    /// INVALID, if an option is out of range or the nodes refuse pattern or filter; NOT_FOUND, if
    /// there is no such durable subscription; CONFLICT, if it has another consumer; UNAVAILABLE, if
    /// no node is able to within `retry_timeout_ms`.
    pub async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription, Error> {
        in_range("credit", options.credit.into(), 1, 10_000)?;
        let mut subscription = Subscription {
            client: self.clone(),
            options,
            open: None,
            begun: false,
            positions: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            unsent: BTreeMap::new(),
            owed: BTreeMap::new(),
            used: 0,
        };
        subscription.reopen().await?;
        Ok(subscription)
    }
}

impl Subscription {
    /// The next records that match.
    ///
    /// Nothing is lost where the future is dropped before it has finished.
    ///
    /// # Errors
    /// CONFLICT, if another consumer has taken a durable subscription over; NOT_FOUND, if it is
    /// deleted; UNAVAILABLE, if no node is able to go on within `retry_timeout_ms`.
    pub async fn next(&mut self) -> Result<Published, Error> {
        loop {
            if self.open.is_none() {
                self.reopen().await?;
            }
            self.send();
            let Some(open) = &mut self.open else { continue };
            let failure = match open.answers.message().await {
                Ok(Some(answer)) => {
                    if let Some(published) = self.take(answer) {
                        return Ok(published);
                    }
                    continue;
                }
                Ok(None) => Error::new(ErrorKind::Unavailable, "the node ended the stream"),
                Err(status) => Error::from_status(&status, &open.address),
            };
            self.close_after(&failure);
            if !failure.is_retriable() {
                return Err(failure);
            }
        }
    }

    /// Everything below `next_offset` of these records is done: a durable subscription doesn't
    /// deliver it again. It is sent by [`next`](Self::next) and by [`close`](Self::close).
    pub fn acknowledge(&mut self, published: &Published) {
        if self.options.name.is_empty() {
            return;
        }
        let key = (published.topic.clone(), published.partition);
        let offset = published.next_offset;
        let at = self.positions.get(&key);
        if self.open.is_some() && at.is_none() {
            // Its topic is gone.
            return;
        }
        if self.open.is_none() || at.is_some_and(|at| offset > *at) {
            let owed = self.owed.entry(key).or_default();
            *owed = offset.max(*owed);
            return;
        }
        if self.owed.get(&key).is_some_and(|owed| *owed <= offset) {
            self.owed.remove(&key);
        }
        self.acknowledged.insert(key.clone(), offset);
        self.unsent.insert(key, offset);
    }

    /// Ends it. What was acknowledged is committed when this returns.
    ///
    /// # Errors
    /// The node can't be reached any more, or a node that delivered it couldn't: what was
    /// acknowledged last may be delivered again.
    pub async fn close(mut self) -> Result<(), Error> {
        if self.open.is_none() && !self.owed.is_empty() {
            // Where it begins now is what was committed.
            self.reopen().await?;
        }
        let ended = self.end().await;
        let Some(((topic, partition), offset)) = self.owed.pop_first() else { return ended };
        let message = format!(
            "what was acknowledged below offset {offset} of {topic}/{partition} was not committed \
             before its node failed: it may be delivered again"
        );
        ended.and(Err(Error::new(ErrorKind::Unknown, message)))
    }

    async fn end(&mut self) -> Result<(), Error> {
        let acknowledged = self.unsent_positions();
        let Some(Open { address, requests, mut answers }) = self.open.take() else {
            return Ok(());
        };
        let timeout = Duration::from_millis(self.client.options().request_timeout_ms);
        let ended = async {
            if !acknowledged.is_empty() {
                let request = v1::SubscribeRequest { acknowledged, ..Default::default() };
                // A stream that has broken says so below.
                let _ = requests.send(request).await;
            }
            drop(requests);
            // The node ends its side when it has committed.
            while answers.message().await?.is_some() {}
            Ok(())
        };
        match tokio::time::timeout(timeout, ended).await {
            Ok(ended) => ended.map_err(|status| Error::from_status(&status, &address)),
            Err(_) => {
                let message = format!("{address} did not end the subscription in time");
                Err(Error::new(ErrorKind::Unknown, message))
            }
        }
    }

    /// Notes positions; returns records, if there are any.
    fn take(&mut self, answer: v1::SubscribeResponse) -> Option<Published> {
        let next_offset = answer.positions.first().map_or(0, |position| position.offset);
        for position in answer.positions {
            let key = (position.topic, position.partition);
            let former = self.positions.get(&key);
            if former.is_some_and(|former| position.offset < *former) {
                // It is another topic of the same name.
                for acknowledged in [&mut self.acknowledged, &mut self.unsent, &mut self.owed] {
                    acknowledged.remove(&key);
                }
            }
            self.positions.insert(key, position.offset);
        }
        if answer.records.is_empty() {
            return None;
        }
        let count = u32::try_from(answer.records.len()).unwrap_or(u32::MAX);
        self.used = self.used.saturating_add(count);
        Some(Published {
            topic: answer.topic,
            partition: answer.partition,
            records: answer.records.into_iter().map(consumed).collect(),
            next_offset,
        })
    }

    /// Gives credit again and acknowledges, as far as the connection takes it now.
    fn send(&mut self) {
        if self.used < self.options.credit.div_ceil(2) && self.unsent.is_empty() {
            return;
        }
        let Some(requests) = self.open.as_ref().map(|open| open.requests.clone()) else { return };
        // Where there is no room, it is sent with what comes later.
        let Ok(room) = requests.try_reserve() else { return };
        let acknowledged = self.unsent_positions();
        let credit = std::mem::take(&mut self.used);
        room.send(v1::SubscribeRequest { credit, acknowledged, ..Default::default() });
    }

    fn unsent_positions(&mut self) -> Vec<v1::SubscriptionPosition> {
        let later = match self.unsent.keys().nth(POSITIONS_MAX).cloned() {
            Some(key) => self.unsent.split_off(&key),
            None => BTreeMap::new(),
        };
        positions(std::mem::replace(&mut self.unsent, later))
    }

    fn close_after(&mut self, failure: &Error) {
        if failure.is_retriable() {
            // Nobody knows what of it the node has committed.
            for (key, offset) in std::mem::take(&mut self.acknowledged) {
                let owed = self.owed.entry(key).or_default();
                *owed = offset.max(*owed);
            }
            self.unsent.clear();
        }
        if let Some(open) = self.open.take() {
            tracing::debug!(address = %open.address, error = %failure, "a subscription broke");
            self.client.cache().avoid(&open.address);
            if failure.kind == ErrorKind::Unknown && failure.code == 0 {
                self.client.pool().discard(&open.address);
            }
        }
    }

    /// Opens the stream, at one node after the other.
    async fn reopen(&mut self) -> Result<(), Error> {
        let options = self.client.options();
        let end = Instant::now() + Duration::from_millis(options.retry_timeout_ms);
        let mut backoff = Backoff::new(options);
        loop {
            let mut last = None;
            for address in self.client.cache().candidates() {
                let failure = match self.open_at(&address).await {
                    Ok(()) => {
                        self.client.cache().prefer(&address);
                        return Ok(());
                    }
                    Err(failure) => failure,
                };
                // The node that failed may still be taken for our consumer's.
                let held = self.begun && failure.code == code::SUBSCRIPTION_ATTACHED;
                if !failure.is_retriable() && !held {
                    return Err(failure);
                }
                if !held {
                    self.client.cache().avoid(&address);
                }
                tracing::debug!(%address, error = %failure, "a subscription is tried elsewhere");
                last = Some(failure);
            }
            let last = last.expect("there is at least one bootstrap address");
            let pause = backoff.next(last.retry_after_ms);
            if Instant::now() + pause >= end {
                return Err(last);
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn open_at(&mut self, address: &Arc<str>) -> Result<(), Error> {
        let options = self.client.options();
        let timeout = Duration::from_millis(options.request_timeout_ms);
        let bytes_max = options.message_bytes_max;
        let channel = self.client.pool().get(address).await?;
        let (requests, received) = mpsc::channel(REQUESTS_MAX);
        let first = v1::SubscribeRequest {
            subscribe: Some(self.wanted()),
            credit: self.options.credit,
            acknowledged: Vec::new(),
        };
        requests.try_send(first).expect("the channel is empty");
        let opened = async {
            let mut client = PubSubClient::new(channel).max_decoding_message_size(bytes_max);
            let answers = client.subscribe(ReceiverStream::new(received)).await;
            let failed = |status: tonic::Status| Error::from_status(&status, address);
            let mut answers = answers.map_err(failed)?.into_inner();
            // It is open when it says where it begins.
            let ended = || Error::new(ErrorKind::Unavailable, "the node ended the stream");
            let first = answers.message().await.map_err(failed)?.ok_or_else(ended)?;
            Ok::<_, Error>((answers, first))
        };
        let late = |_| {
            let message = format!("{address} did not answer within {} ms", timeout.as_millis());
            Error::new(ErrorKind::Unavailable, message)
        };
        let (answers, first) = tokio::time::timeout(timeout, opened).await.map_err(late)??;
        self.open = Some(Open { address: Arc::clone(address), requests, answers });
        self.begun = true;
        self.used = 0;
        // It names all of them. What is left of others is of topics that are gone.
        self.positions.clear();
        self.take(first);
        let positions = &self.positions;
        self.owed.retain(|key, offset| positions.get(key).is_some_and(|at| at < offset));
        Ok(())
    }

    fn wanted(&self) -> v1::subscribe_request::Subscription {
        let options = &self.options;
        let is_new = !self.begun;
        let go_on = !is_new && options.name.is_empty();
        let known = if go_on { self.positions.clone() } else { BTreeMap::new() };
        let from = match (is_new, go_on) {
            (true, _) => options.from,
            // Partitions that aren't among the positions have come since.
            (false, true) => Some(At::Earliest(true)),
            (false, false) => None,
        };
        v1::subscribe_request::Subscription {
            pattern: options.pattern.clone(),
            syntax: options.syntax.into(),
            filter: options.filter.clone().map(|filter| v1::ContentFilter { filter: Some(filter) }),
            from: from.map(|at| v1::StartAt { at: Some(at) }),
            subscription: options.name.clone(),
            takeover: options.takeover && is_new,
            reset: options.reset && is_new,
            positions: positions(known),
        }
    }
}

fn positions(known: BTreeMap<(String, u32), u64>) -> Vec<v1::SubscriptionPosition> {
    let position =
        |((topic, partition), offset)| v1::SubscriptionPosition { topic, partition, offset };
    known.into_iter().map(position).collect()
}

fn consumed(record: v1::Record) -> ConsumedRecord {
    let header =
        |header: v1::Header| Header { name: header.name.into_bytes().into(), value: header.value };
    ConsumedRecord {
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key: record.key,
        value: record.value,
        headers: record.headers.into_iter().map(header).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    #[tokio::test]
    async fn what_a_node_that_broke_may_not_have_committed_is_not_said_to_be() {
        let options = Options {
            bootstrap: vec!["127.0.0.1:1".to_owned()],
            retry_timeout_ms: 100,
            ..Options::default()
        };
        let mut subscription = Subscription {
            client: Client::new(options).unwrap(),
            options: SubscribeOptions { name: "s".to_owned(), ..SubscribeOptions::default() },
            open: None,
            begun: true,
            positions: BTreeMap::new(),
            acknowledged: BTreeMap::from([(("t".to_owned(), 0), 7)]),
            unsent: BTreeMap::new(),
            owed: BTreeMap::new(),
            used: 0,
        };
        subscription.close_after(&Error::new(ErrorKind::Unavailable, "it is gone"));
        assert!(subscription.close().await.is_err(), "no node is there to commit it");
    }
}
