//! A loop that receives messages of a queue, hands each to a function, and settles it by what that
//! says. Leases are made longer while the function works; at the end nothing is left half done.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use kontiki_proto::v1;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at};

use crate::{Admin, Client, Error};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Acknowledge,
    /// It failed: it is delivered again, after the queue's backoff.
    Retry,
    /// It can't be done: it goes to the dead-letter queue.
    Reject,
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
}

/// Verdicts that wait to be settled together.
const VERDICTS_MAX: usize = 1_000;

impl Client {
    /// Works on the messages of a queue until `stop` is true (or its sender is gone); then receives
    /// no more, finishes what is under way, and returns.
    ///
    /// Failures of receiving and settling are logged and tried again.
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
        let desk = Desk {
            admin: self.admin(),
            queue: queue.to_owned(),
            lease_ms: options.lease_ms,
            held: HashMap::new(),
            summary: WorkerSummary::default(),
        };
        let (taken, news) = mpsc::channel(VERDICTS_MAX);
        let desk = tokio::spawn(desk.run(news, settled));
        let mut under_way = JoinSet::new();
        let mut done = Ok(());
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
            let received = tokio::select! {
                received = admin.receive(request) => received,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match received {
                Ok(received) => {
                    for message in received.messages {
                        // The desk ends last.
                        let _ = taken.send(message.receipt.clone()).await;
                        let (receipt, verdicts) = (message.receipt.clone(), verdicts.clone());
                        let working = work(message);
                        under_way.spawn(async move {
                            let verdict = working.await;
                            let _ = verdicts.send((receipt, verdict)).await;
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
        while under_way.join_next().await.is_some() {}
        drop((taken, verdicts));
        let summary = desk.await.map_err(|error| {
            Error::new(v1::ErrorKind::Internal, format!("the worker's settling ended: {error}"))
        })?;
        done.map(|()| summary)
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
    held: HashMap<String, Instant>,
    summary: WorkerSummary,
}

impl Desk {
    async fn run(
        mut self,
        mut taken: mpsc::Receiver<String>,
        mut verdicts: mpsc::Receiver<(String, Verdict)>,
    ) -> WorkerSummary {
        let half = Duration::from_millis(self.lease_ms / 2);
        let step = half / 4;
        let mut tick = interval_at(Instant::now() + step, step);
        let mut some = Vec::new();
        loop {
            tokio::select! {
                Some(receipt) = taken.recv() => {
                    self.held.insert(receipt, Instant::now() + half);
                }
                count = verdicts.recv_many(&mut some, VERDICTS_MAX) => {
                    if count == 0 {
                        return self.summary;
                    }
                    // Those that were taken meanwhile are known before they are settled.
                    while let Ok(receipt) = taken.try_recv() {
                        self.held.insert(receipt, Instant::now() + half);
                    }
                    self.settle(some.split_off(0)).await;
                }
                _ = tick.tick() => self.extend(half).await,
            }
        }
    }

    async fn settle(&mut self, verdicts: Vec<(String, Verdict)>) {
        let mut by_verdict: [Vec<String>; 3] = Default::default();
        for (receipt, verdict) in verdicts {
            self.held.remove(&receipt);
            by_verdict[verdict as usize].push(receipt);
        }
        let [acknowledged, retried, rejected] = by_verdict;
        let queue = || self.queue.clone();
        if !acknowledged.is_empty() {
            let request = v1::AcknowledgeRequest { queue: queue(), receipts: acknowledged };
            let done = self.admin.acknowledge(request).await;
            self.summary.acknowledged += self.count(done);
        }
        if !retried.is_empty() {
            let (queue, receipts) = (self.queue.clone(), retried);
            let request = v1::ReleaseRequest { queue, receipts, delay_ms: None, failed: true };
            let done = self.admin.release(request).await;
            self.summary.retried += self.count(done);
        }
        if !rejected.is_empty() {
            let request = v1::RejectRequest { queue: self.queue.clone(), receipts: rejected };
            let done = self.admin.reject(request).await;
            self.summary.rejected += self.count(done);
        }
    }

    /// How many were settled.
    fn count(&mut self, done: Result<v1::SettleResponse, Error>) -> u64 {
        match done {
            Ok(answer) => {
                let (failed, done): (Vec<_>, Vec<_>) =
                    answer.results.into_iter().partition(|result| result.error.is_some());
                self.summary.too_late += failed.len() as u64;
                done.len() as u64
            }
            Err(error) => {
                let queue = &self.queue;
                tracing::warn!(%queue, %error, "messages can't be settled; they may come again");
                0
            }
        }
    }

    async fn extend(&mut self, half: Duration) {
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
        let (queue, lease_ms) = (self.queue.clone(), self.lease_ms);
        let request = v1::ExtendRequest { queue, receipts: due, lease_ms };
        if let Err(error) = self.admin.extend(request).await {
            let queue = &self.queue;
            tracing::warn!(%queue, %error, "leases can't be made longer; messages may come again");
        }
    }
}
