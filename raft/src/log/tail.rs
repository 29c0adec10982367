//! The newest entries of a log in memory, inside a budget that all shards of the node share.
//!
//! Entries that are not durable yet are always here; durable ones as long as the budget allows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::types::{Entry, entry_size};

/// Bytes of entries that all tails of a node hold.
#[derive(Debug)]
pub(crate) struct TailBudget {
    used: AtomicUsize,
    max: usize,
}

impl TailBudget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max })
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn over(&self) -> bool {
        self.used() > self.max
    }
}

/// Every so many entries, the log's size so far is noted.
const SAMPLE_EVERY: u64 = 256;

pub(crate) struct Tail {
    budget: Arc<TailBudget>,
    entries: VecDeque<Entry>,
    /// Index of the first entry in memory, or of the next one to come.
    first: u64,
    /// Bytes appended since the log was opened, and that count at some indexes.
    appended_bytes: u64,
    samples: VecDeque<(u64, u64)>,
}

impl Tail {
    pub(crate) fn new(budget: Arc<TailBudget>, next: u64) -> Self {
        let samples = VecDeque::new();
        Self { budget, entries: VecDeque::new(), first: next, appended_bytes: 0, samples }
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        let index = entry.log_id.index;
        if self.entries.is_empty() {
            // After a snapshot or a purge of everything, the log goes on at another index.
            self.first = index;
        }
        assert_eq!(index, self.next(), "a log has no holes");
        let size = entry_size(&entry);
        self.budget.used.fetch_add(size, Ordering::Relaxed);
        self.appended_bytes += entry_bytes(&entry);
        if index.is_multiple_of(SAMPLE_EVERY) {
            self.samples.push_back((index, self.appended_bytes));
        }
        self.entries.push_back(entry);
    }

    /// Entries of `[from, to)` that are in memory; `from` must not be before [`Self::first`].
    pub(crate) fn range(&self, from: u64, to: u64) -> impl Iterator<Item = &Entry> {
        assert!(from >= self.first, "older entries are read from the engine");
        let skip = (from - self.first) as usize;
        let take = to.saturating_sub(from) as usize;
        self.entries.iter().skip(skip).take(take)
    }

    /// Drops durable entries while the node is over its budget.
    pub(crate) fn evict(&mut self, flushed: u64) {
        while self.budget.over() && self.first <= flushed && self.pop_front() {}
    }

    /// Drops entries up to an index.
    pub(crate) fn trim(&mut self, upto: u64) {
        while self.first <= upto && self.pop_front() {}
    }

    fn pop_front(&mut self) -> bool {
        let Some(entry) = self.entries.pop_front() else { return false };
        self.budget.used.fetch_sub(entry_size(&entry), Ordering::Relaxed);
        self.first += 1;
        true
    }

    /// Drops entries from an index on.
    pub(crate) fn truncate(&mut self, from: u64) {
        while self.next() > from {
            let Some(entry) = self.entries.pop_back() else { break };
            self.budget.used.fetch_sub(entry_size(&entry), Ordering::Relaxed);
        }
        if self.entries.is_empty() {
            self.first = from;
        }
        while self.samples.back().is_some_and(|(index, _)| *index >= from) {
            self.samples.pop_back();
        }
    }

    /// Forgets samples up to an index that has been purged.
    pub(crate) fn purged(&mut self, upto: u64) {
        self.trim(upto);
        while self.samples.front().is_some_and(|(index, _)| *index <= upto) {
            self.samples.pop_front();
        }
    }

    /// The last sampled index with more than `bytes` appended after it; 0 where there is none.
    pub(crate) fn index_before(&self, bytes: u64) -> u64 {
        let Some(limit) = self.appended_bytes.checked_sub(bytes) else { return 0 };
        let after = self.samples.partition_point(|(_, at)| *at <= limit);
        after.checked_sub(1).map_or(0, |at| self.samples[at].0)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        while self.pop_front() {}
    }
}

/// Bytes that an entry takes on disk, about.
fn entry_bytes(entry: &Entry) -> u64 {
    match &entry.payload {
        crate::types::EntryPayload::Normal(proposal) => proposal.size() as u64 + 64,
        crate::types::EntryPayload::Blank | crate::types::EntryPayload::Membership(_) => 64,
    }
}

#[cfg(test)]
#[path = "tail_test.rs"]
mod tests;
