//! A loop that receives messages of a queue, hands each to a function, and settles it by what that
//! says. Leases are made longer while the function works; at the end nothing is left half done.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures_util::FutureExt as _;
use kontiki_proto::v1;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, interval_at};

use crate::error::code;
use crate::requests::ReplyAddress;
use crate::{Admin, Client, Error, Response};

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Messages that are worked on at a time, 1 up. Default 16.
    pub concurrency: usize,
    /// How long messages are leased; made longer after half of it. 1,000 up; default 30,000.
    pub lease_ms: u64,
    /// How long one receive waits. Default 10,000, and less than the client's `request_timeout_ms`.
    pub wait_ms: u32,
    /// Pause after a failed receive. Default 500.
    pub retry_ms: u64,
    /// Who works, at most 128 bytes: needed where the queue is exclusive or has a single active
    /// consumer. A worker that has ended is gone for the queue after its `consumer_timeout_ms`.
    /// Default empty.
    pub consumer: String,
    /// Workers of a higher priority are served first. Default 0.
    pub priority: i32,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            concurrency: 16,
            lease_ms: 30_000,
            wait_ms: 10_000,
            retry_ms: 500,
            consumer: String::new(),
            priority: 0,
        }
    }
}

/// What has become of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is done.
    Acknowledge,
    /// It failed: it is delivered again, after the queue's backoff.
    Retry,
    /// It can't be done: it goes to the dead-letter queue.
    Reject,
    /// Like [`Verdict::Retry`], and why. What the queue does about the class is its setting
    /// `backoff.class.NAME`.
    RetryBecause(Failure),
    /// Like [`Verdict::Reject`], and why.
    RejectBecause(Failure),
    /// It is done: whoever asked for it gets this reply, and then it is acknowledged. A reply that
    /// nobody waits for (any more) is dropped. One that can't be handed over is tried three times;
    /// then the message is delivered again.
    Reply(Response),
}

/// Why a message failed: a dead-lettered one has it in its headers `kontiki.dlq.attempts` and
/// `kontiki.dlq.error`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    /// The class of the error; empty: none. What is no name of a class (1 to 64 characters of
    /// a-z A-Z 0-9 . _ -) is made one.
    pub class: String,
    /// A text for people; may be empty. More than 1 KiB is cut off.
    pub error: String,
}

/// Longest class, in bytes.
const CLASS_BYTES_MAX: usize = 64;
/// Longest text, in bytes.
const ERROR_BYTES_MAX: usize = 1_024;

impl Failure {
    /// Of a class, with a text.
    pub fn new(class: impl Into<String>, error: impl ToString) -> Self {
        Self { class: class.into(), error: error.to_string() }
    }

    /// What a node takes.
    fn fit(self) -> Self {
        let Self { class, mut error } = self;
        let fits = |one: char| one.is_ascii_alphanumeric() || "._-".contains(one);
        let class = class.chars().take(CLASS_BYTES_MAX);
        let class = class.map(|one| if fits(one) { one } else { '_' }).collect();
        if error.len() > ERROR_BYTES_MAX {
            let end = (0..=ERROR_BYTES_MAX).rev().find(|end| error.is_char_boundary(*end));
            error.truncate(end.unwrap_or(0));
        }
        Self { class, error }
    }
}

/// How a message is settled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Settle {
    Acknowledge,
    Retry(Failure),
    Reject(Failure),
    /// Nobody has worked on it.
    GiveBack,
}

/// What a worker has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerSummary {
    /// Messages that were acknowledged.
    pub acknowledged: u64,
    /// Messages that were given back.
    pub retried: u64,
    /// Messages that were rejected.
    pub rejected: u64,
    /// Messages that were worked on, and whose lease had ended before they could be settled: they
    /// are delivered again.
    pub too_late: u64,
    /// Replies that were handed over; their messages are among the acknowledged ones.
    pub replied: u64,
}

/// Verdicts that wait to be settled together.
const VERDICTS_MAX: usize = 1_000;
/// How often a reply is tried to be handed over.
const REPLY_TRIES: u32 = 3;
/// Calls that settle at a time.
const SETTLING_MAX: usize = 4;
/// How long a receive that is under way when the worker is stopped may bring something.
const LAST_RECEIVE: Duration = Duration::from_secs(1);

/// What a worker's function has said of one message.
struct Judged {
    receipt: String,
    settle: Settle,
    replied: bool,
}

impl Client {
    /// Works on the messages of a queue until `stop` is true (or its sender is gone); then receives
    /// no more, finishes what is under way, and returns. What comes in the second after that is
    /// given back.
    ///
    /// Failures of receiving and settling are logged and tried again. A function that panics has
    /// failed: its message is delivered again, with a [`Failure`] of the class `panic`.
    ///
    /// # Errors
    /// INVALID, if an option is out of range; NOT_FOUND, if there is no such queue (any more).
    pub async fn work<F, W>(
        &self,
        queue: &str,
        options: WorkerOptions,
        mut stop: watch::Receiver<bool>,
        work: W,
    ) -> Result<WorkerSummary, Error>
    where
        F: Future<Output = Verdict> + Send + 'static,
        W: Fn(v1::IncomingMessage) -> F,
    {
        options.validate()?;
        let (verdicts, settled) = mpsc::channel(VERDICTS_MAX);
        let desk = Desk::new(self.admin(), queue, options.lease_ms);
        let (taken, news) = mpsc::channel(VERDICTS_MAX);
        let desk = tokio::spawn(desk.run(news, settled));
        let mut under_way = JoinSet::new();
        let mut done = Ok(());
        let mut given_back = Vec::new();
        while !*stop.borrow() {
            while under_way.len() >= options.concurrency {
                let _ = under_way.join_next().await;
            }
            while under_way.try_join_next().is_some() {}
            let free = u32::try_from(options.concurrency - under_way.len()).unwrap_or(u32::MAX);
            let request = v1::ReceiveRequest {
                queue: queue.to_owned(),
                max_messages: free.min(1_000),
                lease_ms: options.lease_ms,
                wait_ms: options.wait_ms,
                consumer: options.consumer.clone(),
                priority: options.priority,
            };
            let admin = self.admin();
            let receive = admin.receive(request);
            tokio::pin!(receive);
            let received = tokio::select! {
                received = &mut receive => Some(received),
                _ = stop.wait_for(|stop| *stop) => None,
            };
            let Some(received) = received else {
                // What is leased to it at this moment is on its way.
                if let Ok(Ok(last)) = tokio::time::timeout(LAST_RECEIVE, receive).await {
                    given_back = last.messages.into_iter().map(|one| one.receipt).collect();
                }
                break;
            };
            match received {
                Ok(received) => {
                    for message in received.messages {
                        // The desk ends last.
                        let _ = taken.send(message.receipt.clone()).await;
                        let (receipt, verdicts) = (message.receipt.clone(), verdicts.clone());
                        let back = ReplyAddress::of(&message);
                        let client = self.clone();
                        let pause = Duration::from_millis(options.retry_ms);
                        let begun = catch_unwind(AssertUnwindSafe(|| work(message)));
                        under_way.spawn(async move {
                            let (settle, replied) = match verdict(begun).await {
                                Verdict::Acknowledge => (Settle::Acknowledge, false),
                                Verdict::Retry => (Settle::Retry(Failure::default()), false),
                                Verdict::Reject => (Settle::Reject(Failure::default()), false),
                                Verdict::RetryBecause(failure) => {
                                    (Settle::Retry(failure.fit()), false)
                                }
                                Verdict::RejectBecause(failure) => {
                                    (Settle::Reject(failure.fit()), false)
                                }
                                Verdict::Reply(response) => {
                                    hand_over(&client, back, response, pause).await
                                }
                            };
                            let _ = verdicts.send(Judged { receipt, settle, replied }).await;
                        });
                    }
                }
                Err(error) if error.kind == v1::ErrorKind::NotFound => {
                    done = Err(error);
                    break;
                }
                Err(error) => {
                    tracing::warn!(%queue, %error, "messages can't be received; trying again");
                    let pause = Duration::from_millis(options.retry_ms);
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = stop.wait_for(|stop| *stop) => break,
                    }
                }
            }
        }
        for receipt in given_back {
            let settle = Settle::GiveBack;
            let _ = verdicts.send(Judged { receipt, settle, replied: false }).await;
        }
        while under_way.join_next().await.is_some() {}
        drop((taken, verdicts));
        let summary = desk.await.map_err(|error| {
            Error::new(v1::ErrorKind::Internal, format!("the worker's settling ended: {error}"))
        })?;
        done.map(|()| summary)
    }
}

/// What a function says, if it has begun; one that panics has failed.
async fn verdict<F: Future<Output = Verdict>>(begun: Result<F, Box<dyn Any + Send>>) -> Verdict {
    let said = match begun {
        Ok(working) => AssertUnwindSafe(working).catch_unwind().await,
        Err(panic) => Err(panic),
    };
    said.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("no text");
        tracing::error!(panic = text, "a worker's function panicked; its message has failed");
        Verdict::RetryBecause(Failure::new("panic", text))
    })
}

/// Replies; says how the message is to be settled, and whether somebody has the reply.
async fn hand_over(
    client: &Client,
    back: Option<ReplyAddress>,
    response: Response,
    pause: Duration,
) -> (Settle, bool) {
    let Some(back) = back else {
        tracing::warn!("a message without a reply address was replied to; it is acknowledged");
        return (Settle::Acknowledge, false);
    };
    let mut tries = 0;
    loop {
        tries += 1;
        match client.reply(back.request(response.clone())).await {
            Ok(_) => return (Settle::Acknowledge, true),
            Err(error) if error.code == code::NOBODY_WAITS => {
                // An earlier attempt may have been the one.
                return (Settle::Acknowledge, tries > 1);
            }
            Err(error) if error.kind == v1::ErrorKind::Invalid => {
                tracing::warn!(%error, "a reply is refused; its message is rejected");
                return (Settle::Reject(Failure::new("reply", &error)), false);
            }
            Err(error) if tries == REPLY_TRIES => {
                tracing::warn!(%error, "a reply can't be handed over; its message comes again");
                return (Settle::Retry(Failure::new("reply", &error)), false);
            }
            Err(error) => {
                tracing::debug!(%error, "a reply can't be handed over yet");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

impl WorkerOptions {
    fn validate(&self) -> Result<(), Error> {
        let wrong = |message: &str| Err(Error::new(v1::ErrorKind::Invalid, message));
        if self.concurrency == 0 {
            return wrong("worker: concurrency is 0, expected at least 1");
        }
        if self.lease_ms < 1_000 {
            return wrong(
                "worker: lease_ms is less than 1,000, too short to be made longer in time",
            );
        }
        Ok(())
    }
}

/// Settles, and makes leases longer.
struct Desk {
    admin: Admin,
    queue: String,
    lease_ms: u64,
    /// Receipts of what is worked on, and when their leases are to be made longer.
    held: BTreeMap<String, Instant>,
    /// What is to be settled by a call each.
    waiting: VecDeque<(Settle, Vec<String>)>,
    /// Calls that are under way: a slow one must not hold up the others, least of all those that
    /// make leases longer.
    calls: JoinSet<Called>,
    /// Those of them that settle.
    settling: usize,
    /// One of them makes leases longer.
    extending: bool,
    summary: WorkerSummary,
}

/// The end of a call.
enum Called {
    Settled(Settle, Result<v1::SettleResponse, Error>),
    /// With the receipts.
    Extended(Vec<String>, Result<v1::SettleResponse, Error>),
}

impl Desk {
    fn new(admin: Admin, queue: &str, lease_ms: u64) -> Self {
        Self {
            admin,
            queue: queue.to_owned(),
            lease_ms,
            held: BTreeMap::new(),
            waiting: VecDeque::new(),
            calls: JoinSet::new(),
            settling: 0,
            extending: false,
            summary: WorkerSummary::default(),
        }
    }

    async fn run(
        mut self,
        mut taken: mpsc::Receiver<String>,
        mut verdicts: mpsc::Receiver<Judged>,
    ) -> WorkerSummary {
        let half = self.half();
        let step = half / 4;
        let mut tick = interval_at(Instant::now() + step, step);
        let mut some = Vec::new();
        let mut ended = false;
        while !ended || self.settling > 0 {
            let room = !ended && self.waiting.is_empty() && self.settling < SETTLING_MAX;
            tokio::select! {
                Some(receipt) = taken.recv() => {
                    self.held.insert(receipt, Instant::now() + half);
                }
                count = verdicts.recv_many(&mut some, VERDICTS_MAX), if room => {
                    ended = count == 0;
                    // Those that were taken meanwhile are known before they are settled.
                    while let Ok(receipt) = taken.try_recv() {
                        self.held.insert(receipt, Instant::now() + half);
                    }
                    self.settle(some.split_off(0));
                }
                Some(called) = self.calls.join_next() => self.called(called),
                _ = tick.tick() => self.extend(),
            }
        }
        self.summary
    }

    fn half(&self) -> Duration {
        Duration::from_millis(self.lease_ms / 2)
    }

    fn settle(&mut self, verdicts: Vec<Judged>) {
        let mut by_kind: BTreeMap<Settle, Vec<String>> = BTreeMap::new();
        for Judged { receipt, settle, replied } in verdicts {
            self.held.remove(&receipt);
            self.summary.replied += u64::from(replied);
            by_kind.entry(settle).or_default().push(receipt);
        }
        self.waiting.extend(by_kind);
        self.settle_waiting();
    }

    fn settle_waiting(&mut self) {
        while self.settling < SETTLING_MAX {
            let Some((settle, receipts)) = self.waiting.pop_front() else { return };
            self.settling += 1;
            let (admin, queue) = (self.admin.clone(), self.queue.clone());
            self.calls.spawn(async move {
                let done = match settle.clone() {
                    Settle::Acknowledge => {
                        admin
                            .acknowledge(v1::AcknowledgeRequest {
                                queue,
                                receipts,
                                even_if_ended: false,
                            })
                            .await
                    }
                    Settle::Retry(failure) => {
                        admin.release(release(queue, receipts, Some(failure))).await
                    }
                    Settle::GiveBack => admin.release(release(queue, receipts, None)).await,
                    Settle::Reject(Failure { class: error_class, error }) => {
                        let request = v1::RejectRequest { queue, receipts, error, error_class };
                        admin.reject(request).await
                    }
                };
                Called::Settled(settle, done)
            });
        }
    }

    /// Takes over what a call has come to.
    fn called(&mut self, called: Result<Called, JoinError>) {
        match called.expect("a call neither panics nor is aborted") {
            Called::Settled(settle, done) => {
                self.settling -= 1;
                self.count(&settle, done);
                self.settle_waiting();
            }
            Called::Extended(_, Ok(answer)) => {
                self.extending = false;
                for result in answer.results.into_iter().filter(|result| result.error.is_some()) {
                    // Its lease has ended.
                    self.held.remove(&result.receipt);
                }
                // There may be more than go into one call.
                self.extend();
            }
            Called::Extended(receipts, Err(error)) => {
                self.extending = false;
                let queue = &self.queue;
                tracing::warn!(%queue, %error, "leases can't be made longer yet");
                let now = Instant::now();
                for receipt in receipts {
                    // Unless it is settled.
                    self.held.entry(receipt).and_modify(|at| *at = now);
                }
            }
        }
    }

    fn count(&mut self, settle: &Settle, done: Result<v1::SettleResponse, Error>) {
        let results = match done {
            Ok(answer) => answer.results,
            Err(error) => {
                let queue = &self.queue;
                tracing::warn!(%queue, %error, "messages can't be settled; they may come again");
                return;
            }
        };
        let late = results.iter().filter(|result| result.error.is_some()).count() as u64;
        let settled = results.len() as u64 - late;
        self.summary.too_late += late;
        match settle {
            Settle::Acknowledge => self.summary.acknowledged += settled,
            Settle::Retry(_) | Settle::GiveBack => self.summary.retried += settled,
            Settle::Reject(_) => self.summary.rejected += settled,
        }
    }

    /// Makes leases longer for which it is time, unless that is under way. What fails is tried
    /// again at the next tick.
    fn extend(&mut self) {
        if self.extending {
            return;
        }
        let half = self.half();
        let now = Instant::now();
        let due: Vec<String> = (self.held.iter())
            .filter(|(_, at)| **at <= now)
            .map(|(receipt, _)| receipt.clone())
            .take(VERDICTS_MAX)
            .collect();
        if due.is_empty() {
            return;
        }
        for receipt in &due {
            self.held.insert(receipt.clone(), now + half);
        }
        self.extending = true;
        let (admin, queue, lease_ms) = (self.admin.clone(), self.queue.clone(), self.lease_ms);
        self.calls.spawn(async move {
            let request = v1::ExtendRequest { queue, receipts: due.clone(), lease_ms };
            // There has to be time for another one before the leases end.
            let extended = tokio::time::timeout(half / 2, admin.extend(request)).await;
            let late = |_| Error::new(v1::ErrorKind::Unavailable, "no answer in time");
            Called::Extended(due, extended.map_err(late).flatten())
        });
    }
}

/// A request that gives messages back: because they have failed, or just so.
fn release(queue: String, receipts: Vec<String>, failure: Option<Failure>) -> v1::ReleaseRequest {
    let failed = failure.is_some();
    let Failure { class: error_class, error } = failure.unwrap_or_default();
    v1::ReleaseRequest { queue, receipts, delay_ms: None, failed, error_class, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_and_a_class_has_only_its_characters() {
        let Failure { class, error } = Failure::new("a b/ü", "é".repeat(600)).fit();
        assert_eq!((class.as_str(), error.len(), error.chars().count()), ("a_b__", 1_024, 512));
        let long = Failure::new("x".repeat(70), "é".repeat(512) + "x").fit();
        assert_eq!((long.class.len(), long.error.len()), (64, 1_024));
        let fits = Failure::new("http.500", "no answer");
        assert_eq!(fits.clone().fit(), fits);
    }

    #[tokio::test]
    async fn what_was_not_made_longer_is_due_again_unless_it_is_settled_or_too_late() {
        let client = Client::new(crate::Options::bootstrap(&["127.0.0.1:1"])).unwrap();
        let mut desk = Desk::new(client.admin(), "q", 30_000);
        let now = Instant::now();
        let later = now + desk.half();
        desk.held = BTreeMap::from(["a", "b"].map(|receipt| (receipt.to_owned(), later)));
        let both = vec!["b".to_owned(), "settled".to_owned()];
        let failed = Error::new(v1::ErrorKind::Unavailable, "no node answers");
        desk.called(Ok(Called::Extended(both, Err(failed))));
        assert_eq!(desk.held.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert!(desk.held["a"] == later && desk.held["b"] < later);
        let ended = v1::settle_response::Result {
            receipt: "a".to_owned(),
            error: Some(v1::Error::default()),
            ..Default::default()
        };
        let answer = v1::SettleResponse { results: vec![ended] };
        desk.called(Ok(Called::Extended(vec!["a".to_owned()], Ok(answer))));
        assert_eq!(desk.held.keys().collect::<Vec<_>>(), ["b"]);
        assert!(desk.extending, "b is due");
    }
}
