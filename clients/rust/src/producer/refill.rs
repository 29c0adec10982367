//! Whether what was just told to be stored brings records at once.
//!
//! An application with a fixed number of records under way sends as many as it is told are stored.
//! If the first of these went by itself, the others would wait for its answer: two small batches by
//! turns, instead of one of all records. So after an answer a batch waits until as many have come
//! as were answered, but not long, and only where they have come before.
//!
//! Pure: time comes in from outside.

use std::time::Duration;

use tokio::time::Instant;

/// How long they are waited for, at most.
const WAIT: Duration = Duration::from_millis(1);
/// After they haven't come, so many answers pass before they are waited for again: one at first, as
/// many at most.
const PAUSE_MAX: u32 = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Refill {
    expected: Option<Expected>,
    /// Answers after which nothing is expected yet.
    skip: u32,
    pause: u32,
}

#[derive(Debug, Clone, Copy)]
struct Expected {
    /// So many records there will be.
    records: usize,
    until: Instant,
}

impl Refill {
    /// Nothing is known yet: it is tried.
    pub(crate) fn new() -> Self {
        Self { expected: None, skip: 0, pause: 1 }
    }

    /// Records were answered, while others wait already. To be called before the application
    /// hears of it.
    pub(crate) fn told(&mut self, now: Instant, records: usize, waiting: usize) {
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        let before = self.expected.map_or(waiting, |expected| expected.records);
        self.expected = Some(Expected { records: before + records, until: now + WAIT });
    }

    /// Until when a batch of so many records waits for more.
    pub(crate) fn until(&self, records: usize) -> Option<Instant> {
        self.expected.filter(|expected| records < expected.records).map(|expected| expected.until)
    }

    /// Whether this record is the last one of those that were expected.
    pub(crate) fn completes(&self, records: usize) -> bool {
        self.expected.is_some_and(|expected| records == expected.records)
    }

    /// A batch of so many records is sent.
    pub(crate) fn sent(&mut self, records: usize) {
        let Some(expected) = self.expected.take() else { return };
        if records >= expected.records {
            self.pause = 1;
        } else {
            self.skip = self.pause;
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
    }

    /// What is sent says nothing about what was expected.
    pub(crate) fn forget(&mut self) {
        self.expected = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn as_many_are_waited_for_as_were_answered() {
        let (mut refill, now) = (Refill::new(), Instant::now());
        assert_eq!(refill.until(1), None, "nothing was answered");
        refill.told(now, 10, 3);
        refill.told(now, 5, 4);
        assert_eq!(refill.until(17), Some(now + WAIT));
        assert!(!refill.completes(17) && refill.completes(18));
        assert_eq!(refill.until(18), None);
        refill.sent(18);
        assert_eq!(refill.until(1), None);
    }

    #[tokio::test]
    async fn who_waits_in_vain_waits_less_and_less() {
        let (mut refill, now) = (Refill::new(), Instant::now());
        let mut waited = Vec::new();
        for answer in 0..200 {
            refill.told(now, 10, 0);
            if refill.until(1).is_some() {
                waited.push(answer);
            }
            refill.sent(1);
        }
        assert_eq!(waited, [0, 2, 5, 10, 19, 36, 69, 134, 199]);
        refill.told(now, 10, 0);
        refill.sent(10);
        let waits = (0..PAUSE_MAX).any(|_| {
            refill.told(now, 10, 0);
            refill.until(1).is_some()
        });
        assert!(waits, "it is tried again, for as long as it takes");
        refill.sent(10);
        refill.told(now, 10, 0);
        assert!(refill.until(9).is_some(), "they have come: they are waited for each time");
    }
}
