//! Records of one partition, gathered into batches until they are due.
//!
//! Pure: time comes in from outside. Records are encoded as they arrive; sequences and compression
//! come later, when a batch is taken to be sent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use kontiki_records::{BatchBuilder, Header, Limits};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::delivery::{BatchState, Delivery, Ticket};
use super::refill::Refill;
use crate::Error;

/// Builders that are kept for the next batches, with their memory.
const SPARE_MAX: usize = 2;

/// A batch that is full or lingers.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) builder: BatchBuilder,
    pub(crate) ticket: Ticket,
    pub(crate) opened_at: Instant,
}

/// What a record became part of.
#[derive(Debug)]
pub(crate) struct Pushed {
    pub(crate) delivery: Delivery,
    /// A batch was begun or filled: whoever sends them has to look.
    pub(crate) wake: bool,
}

/// A record's parts as they are encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [Header],
}

impl Parts<'_> {
    /// What it takes in a batch, at most.
    pub(crate) fn bytes_max(&self) -> usize {
        BatchBuilder::record_bytes_max(self.key, self.value, self.headers)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Accumulator {
    partition: u32,
    limits: Limits,
    batch_bytes: usize,
    linger: Duration,
    buffer: Arc<Semaphore>,
    full: VecDeque<Gathered>,
    open: Option<Gathered>,
    refill: Refill,
    spare: Vec<BatchBuilder>,
    /// Batches without an outcome, oldest first, and some that have one.
    unsettled: VecDeque<Arc<BatchState>>,
    closed: Option<Error>,
}

impl Accumulator {
    pub(crate) fn new(
        partition: u32,
        limits: Limits,
        batch_bytes: usize,
        linger: Duration,
        buffer: Arc<Semaphore>,
    ) -> Self {
        Self {
            partition,
            limits,
            batch_bytes,
            linger,
            buffer,
            full: VecDeque::new(),
            open: None,
            refill: Refill::new(),
            spare: Vec::new(),
            unsettled: VecDeque::new(),
            closed: None,
        }
    }

    /// Takes a record in, for which `parts.bytes_max()` of the buffer are reserved; they belong to
    /// its batch then.
    ///
    /// # Errors
    /// INVALID, if the record is not one that can be encoded; why the partition was closed.
    pub(crate) fn push(&mut self, now: Instant, parts: Parts<'_>) -> Result<Pushed, Error> {
        if let Some(error) = &self.closed {
            return Err(error.clone());
        }
        let bytes = parts.bytes_max();
        let is_full = |open: &Gathered| {
            let builder = &open.builder;
            builder.bytes() + bytes > self.batch_bytes || builder.len() >= self.limits.records_max
        };
        let rolled = self.open.as_ref().is_some_and(is_full);
        if rolled {
            self.seal();
        }
        let begun = self.open.is_none();
        let mut open = self.open.take().unwrap_or_else(|| self.begin(now));
        let Parts { timestamp_ms, key, value, headers } = parts;
        let index = match open.builder.push(timestamp_ms, key, value, headers) {
            Ok(index) => index,
            Err(error) => {
                if open.builder.is_empty() {
                    self.recycle(open.builder);
                } else {
                    self.open = Some(open);
                }
                return Err(error.into());
            }
        };
        open.ticket.hold(bytes);
        let delivery = Delivery::new(open.ticket.state().clone(), index);
        if begun {
            self.note(open.ticket.state().clone());
        }
        let filled = open.builder.bytes() >= self.batch_bytes;
        let completed = self.refill.completes(count(&open));
        self.open = Some(open);
        if filled {
            self.seal();
        }
        Ok(Pushed { delivery, wake: begun || filled || rolled || completed })
    }

    /// So many records of the partition were answered; whoever sent them doesn't know yet.
    pub(crate) fn answered(&mut self, now: Instant, records: usize) {
        let waiting = self.open.as_ref().map_or(0, count);
        self.refill.told(now, records, waiting);
    }

    /// What is gathered is due now. Returns whether there was anything.
    pub(crate) fn seal(&mut self) -> bool {
        let Some(open) = self.open.take() else { return false };
        self.full.push_back(open);
        true
    }

    /// The next batch that is due. With `idle`, nothing of the partition is under way: then nothing
    /// is gained by waiting for more records, but for those that come at once.
    pub(crate) fn take(&mut self, now: Instant, idle: bool) -> Option<Gathered> {
        if let Some(full) = self.full.pop_front() {
            self.refill.forget();
            return Some(full);
        }
        if self.open.as_ref().is_none_or(|open| self.due(open, idle) > now) {
            return None;
        }
        let open = self.open.take()?;
        self.refill.sent(count(&open));
        Some(open)
    }

    /// The next batch, if it was begun before `moment`.
    pub(crate) fn take_older(&mut self, moment: Instant) -> Option<Gathered> {
        let oldest = self.full.front().or(self.open.as_ref())?;
        if oldest.opened_at > moment {
            return None;
        }
        self.full.pop_front().or_else(|| self.open.take())
    }

    /// When [`Accumulator::take`] will have something; none while there are no records.
    pub(crate) fn due_at(&self, idle: bool) -> Option<Instant> {
        if let Some(full) = self.full.front() {
            return Some(full.opened_at);
        }
        self.open.as_ref().map(|open| self.due(open, idle))
    }

    fn due(&self, open: &Gathered, idle: bool) -> Instant {
        let lingered = open.opened_at + self.linger;
        if !idle {
            return lingered;
        }
        let refilled = self.refill.until(count(open));
        refilled.map_or(open.opened_at, |until| until.min(lingered))
    }

    /// When the oldest batch that was not taken was begun.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.full.front().or(self.open.as_ref()).map(|batch| batch.opened_at)
    }

    /// Keeps a builder, with its memory, for one of the next batches.
    pub(crate) fn recycle(&mut self, mut builder: BatchBuilder) {
        builder.clear();
        if self.spare.len() < SPARE_MAX {
            self.spare.push(builder);
        }
    }

    /// All batches whose outcome is not known.
    pub(crate) fn unsettled(&self) -> Vec<Arc<BatchState>> {
        self.unsettled.iter().filter(|state| !state.is_settled()).cloned().collect()
    }

    /// Refuses all further records with this error.
    pub(crate) fn close(&mut self, error: Error) {
        self.closed.get_or_insert(error);
    }

    /// True without records that wait.
    pub(crate) fn is_empty(&self) -> bool {
        self.full.is_empty() && self.open.is_none()
    }

    fn begin(&mut self, now: Instant) -> Gathered {
        let builder = self.spare.pop().unwrap_or_else(|| BatchBuilder::new(self.limits));
        let ticket = Ticket::new(self.partition, self.buffer.clone());
        Gathered { builder, ticket, opened_at: now }
    }

    fn note(&mut self, state: Arc<BatchState>) {
        while self.unsettled.front().is_some_and(|state| state.is_settled()) {
            self.unsettled.pop_front();
        }
        self.unsettled.push_back(state);
    }
}

fn count(gathered: &Gathered) -> usize {
    gathered.builder.len() as usize
}

#[cfg(test)]
#[path = "accumulator_test.rs"]
mod tests;
