//! What all reads of a node share, and how what one read may take is divided.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prometheus_client::metrics::gauge::Gauge;

use crate::error::Error;
use crate::options::FetchOptions;
use crate::produce::{Budget, Share};

/// What all reads of a node share.
#[derive(Debug)]
pub(crate) struct Limits {
    budget: Arc<Budget>,
    bytes_max: usize,
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
    gauge: Gauge,
    retry_after_ms: u32,
    check: Duration,
    turn: AtomicUsize,
}

impl Limits {
    /// `gauge` shows how many reads wait.
    pub(crate) fn new(options: &FetchOptions, gauge: Gauge) -> Self {
        Self {
            budget: Budget::new(options.response_bytes_max),
            bytes_max: options.response_bytes_max,
            waiting: Arc::default(),
            waiting_max: options.waiting_max,
            gauge,
            retry_after_ms: options.retry_after_ms,
            check: Duration::from_millis(options.stream_check_ms),
            turn: AtomicUsize::new(0),
        }
    }

    /// How often a read that waits looks again, although it should hear of what happens.
    pub(crate) fn check(&self) -> Duration {
        self.check
    }

    /// Counts reads, so that they don't all begin with the same partition.
    pub(crate) fn turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Room for what is about to be read.
    ///
    /// # Errors
    /// Throttled.
    pub(crate) fn take(&self, bytes: u64) -> Result<Held, Error> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let name = "broker.fetch.response_bytes_max";
        let share = self.budget.take(bytes);
        let over = || Error::throttled(name, self.bytes_max, self.retry_after_ms);
        Ok(Held(Arc::new(share.ok_or_else(over)?)))
    }

    /// A place among those that wait.
    ///
    /// # Errors
    /// Throttled.
    pub(crate) fn wait(&self) -> Result<Ticket, Error> {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        self.gauge.inc();
        let ticket = Ticket { waiting: Arc::clone(&self.waiting), gauge: self.gauge.clone() };
        let name = "broker.fetch.waiting_max";
        let over = || Error::throttled(name, self.waiting_max, self.retry_after_ms);
        (before < self.waiting_max).then_some(ticket).ok_or_else(over)
    }
}

/// A read that waits.
#[derive(Debug)]
pub(crate) struct Ticket {
    waiting: Arc<AtomicUsize>,
    gauge: Gauge,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        self.gauge.dec();
    }
}

/// Room for records; given back when everything that it holds is gone.
#[derive(Debug, Clone)]
pub(crate) struct Held(Arc<Share>);

impl Held {
    /// These bytes, for as long as anybody has them.
    pub(crate) fn hold(&self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Owned { bytes, _share: Arc::clone(&self.0) })
    }
}

struct Owned {
    bytes: Bytes,
    _share: Arc<Share>,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What may be taken of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// Bytes of batches.
    pub(crate) bytes: u64,
    /// What the first batch may be in any case.
    pub(crate) first: u64,
}

/// Divides what a read may take among partitions that have something: equally, and what one
/// leaves goes to the others. The first batch of all is taken whatever its size.
#[derive(Debug)]
pub(crate) struct Shares {
    left: u64,
    taken: u64,
    wanted: Vec<u32>,
    /// Partitions that want something and have had no turn.
    others: u64,
    begin: usize,
    at: usize,
}

impl Shares {
    /// `wanted`: at most so much of each partition, 0 where there is nothing; `turn` decides which
    /// of them is the first.
    pub(crate) fn new(total: u64, wanted: Vec<u32>, turn: usize) -> Self {
        let others = wanted.iter().filter(|wanted| **wanted > 0).count() as u64;
        let begin = turn.checked_rem(wanted.len()).unwrap_or(0);
        Self { left: total, taken: 0, wanted, others, begin, at: 0 }
    }

    /// The next partition, by its place, and what may be taken of it.
    pub(crate) fn next(&mut self) -> Option<(usize, Allowed)> {
        let place =
            (self.at < self.wanted.len()).then(|| (self.begin + self.at) % self.wanted.len())?;
        self.at += 1;
        let wanted = u64::from(self.wanted[place]);
        if wanted == 0 || self.left == 0 {
            return Some((place, Allowed { bytes: 0, first: 0 }));
        }
        let share = self.left.div_ceil(self.others.max(1));
        self.others = self.others.saturating_sub(1);
        let first = if self.taken == 0 { u64::MAX } else { self.left };
        Some((place, Allowed { bytes: wanted.min(share), first }))
    }

    /// So much was taken.
    pub(crate) fn took(&mut self, bytes: u64) {
        self.taken += bytes;
        self.left = self.left.saturating_sub(bytes);
    }
}

#[cfg(test)]
#[path = "limits_test.rs"]
mod tests;
