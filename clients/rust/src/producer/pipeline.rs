//! The batches of one partition that are under way: their sequences, and in which order they are
//! sent again when something fails.
//!
//! Pure: no clock, no task, no connection. The rules, with an idempotent producer:
//!
//! - A node recognizes a repeated batch among the last five of a producer. So the distance from the
//!   oldest batch without an outcome to the newest one never exceeds the window; a batch that has
//!   an outcome keeps its place until those before it have theirs.
//! - After any failure nothing is sent until every batch has an answer or is known to have none.
//!   Then all that are left are sent again, in order, with the sequences that they had: those that
//!   had been stored are recognized, those that had been refused because one before them was
//!   missing now follow it.
//! - A batch that is given up leaves a hole in the sequence. A new epoch begins then, in which the
//!   batches after it are numbered from 0. One of them that may have been stored in the old epoch
//!   would be stored twice that way: it fails, as unknown.

use std::collections::VecDeque;

use tokio::time::Instant;

/// Sequences count from 0 to 2^31 - 1, and go on at 0.
const SEQUENCE_MASK: u32 = i32::MAX as u32;

/// Who writes, and at which place of the sequence a batch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) producer_id: u64,
    pub(crate) epoch: u32,
    pub(crate) sequence: u32,
}

impl Stamp {
    fn after(self, records: u32) -> Self {
        Self { sequence: self.sequence.wrapping_add(records) & SEQUENCE_MASK, ..self }
    }
}

/// What is known of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is stored, now or before.
    Stored,
    /// This attempt stored nothing; another may.
    NotDone,
    /// It may have been stored.
    Unknown,
    /// Its sequence doesn't follow what the partition has of this producer.
    Gap,
    /// It is refused, and will always be.
    Refused,
    /// A newer instance of this producer has taken over.
    Fenced,
}

/// How a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Stored once.
    Stored,
    /// Surely not stored.
    Failed,
    /// It may be stored.
    Unknown,
}

/// A batch that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended<T> {
    pub(crate) payload: T,
    pub(crate) ending: Ending,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send.
    Send,
    /// Wait for the answers that are missing.
    Drain,
    /// Find out whom to ask, then [`Pipeline::resume`].
    Resume,
    /// Get a new epoch, then [`Pipeline::restart`].
    NewEpoch,
    /// Nothing, ever again.
    Stop,
}

#[derive(Debug)]
enum Place<T> {
    Waiting(T),
    InFlight(T),
    Over,
}

#[derive(Debug)]
struct Entry<T> {
    key: u64,
    records: u32,
    deadline: Instant,
    /// An attempt ended without an answer.
    maybe_stored: bool,
    place: Place<T>,
}

/// See the module. `T` is what the caller knows of a batch.
#[derive(Debug)]
pub(crate) struct Pipeline<T> {
    window: usize,
    /// What the next new batch is stamped with; none without idempotence.
    next: Option<Stamp>,
    entries: VecDeque<Entry<T>>,
    next_key: u64,
    stalled: bool,
    hole: bool,
    fenced: bool,
}

impl<T> Pipeline<T> {
    /// An empty one for at most `window` batches; idempotent if there is a producer id and epoch.
    pub(crate) fn new(window: usize, producer: Option<(u64, u32)>) -> Self {
        assert!(window > 0, "a window of 0 never sends");
        let next = producer.map(|(producer_id, epoch)| Stamp { producer_id, epoch, sequence: 0 });
        Self {
            window,
            next,
            entries: VecDeque::with_capacity(window),
            next_key: 0,
            stalled: false,
            hole: false,
            fenced: false,
        }
    }

    /// What is to be done next.
    pub(crate) fn step(&self) -> Step {
        if self.fenced {
            Step::Stop
        } else if !self.stalled {
            Step::Send
        } else if self.in_flight() > 0 {
            Step::Drain
        } else if self.hole {
            Step::NewEpoch
        } else {
            Step::Resume
        }
    }

    /// Whether a new batch may be admitted.
    pub(crate) fn has_room(&self) -> bool {
        self.step() == Step::Send && self.entries.len() < self.window
    }

    /// What the next new batch has to be stamped with; none without idempotence.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        self.next
    }

    /// Takes in a batch that carries [`Pipeline::stamp`]; it is given up at `deadline`.
    pub(crate) fn admit(&mut self, records: u32, deadline: Instant, payload: T) {
        assert!(self.has_room(), "asked for before");
        assert!(records > 0, "a batch has records");
        self.next = self.next.map(|stamp| stamp.after(records));
        let place = Place::Waiting(payload);
        let key = self.next_key;
        self.next_key += 1;
        self.entries.push_back(Entry { key, records, deadline, maybe_stored: false, place });
    }

    /// The next batch to be sent, in order. It is under way then, and owes an answer.
    pub(crate) fn send_next(&mut self) -> Option<(u64, &T)> {
        if self.step() != Step::Send {
            return None;
        }
        let entry =
            self.entries.iter_mut().find(|entry| matches!(entry.place, Place::Waiting(_)))?;
        entry.place = match std::mem::replace(&mut entry.place, Place::Over) {
            Place::Waiting(payload) => Place::InFlight(payload),
            Place::InFlight(_) | Place::Over => unreachable!("one that waits was found"),
        };
        match &entry.place {
            Place::InFlight(payload) => Some((entry.key, payload)),
            Place::Waiting(_) | Place::Over => None,
        }
    }

    /// What a batch that is under way knows.
    pub(crate) fn in_flight_mut(&mut self, key: u64) -> Option<&mut T> {
        let entry = self.entries.iter_mut().find(|entry| entry.key == key)?;
        match &mut entry.place {
            Place::InFlight(payload) => Some(payload),
            Place::Waiting(_) | Place::Over => None,
        }
    }

    /// Takes the answer to one attempt. Returns the batch if it has ended with it.
    pub(crate) fn answer(&mut self, key: u64, answer: Answer) -> Option<Ended<T>> {
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        let idempotent = self.next.is_some();
        let entry = &mut self.entries[index];
        let Place::InFlight(payload) = std::mem::replace(&mut entry.place, Place::Over) else {
            unreachable!("batch {key} gets an answer although it is not under way");
        };
        entry.maybe_stored |= answer == Answer::Unknown;
        let failed = if entry.maybe_stored { Ending::Unknown } else { Ending::Failed };
        let ending = match answer {
            Answer::Stored => Some(Ending::Stored),
            Answer::NotDone => None,
            Answer::Unknown => (!idempotent).then_some(failed),
            // Those before it have no outcome yet: once they have, it may follow.
            Answer::Gap if index > 0 => None,
            // Nothing is before it: the partition has lost track of this producer. If it can't
            // have been stored, it may begin a new epoch.
            Answer::Gap if idempotent && !entry.maybe_stored => {
                self.hole = true;
                None
            }
            Answer::Gap | Answer::Refused | Answer::Fenced => Some(failed),
        };
        self.stalled |= match answer {
            Answer::Stored => false,
            Answer::Refused => idempotent,
            Answer::NotDone | Answer::Unknown | Answer::Gap | Answer::Fenced => true,
        };
        self.fenced |= answer == Answer::Fenced;
        let Some(ending) = ending else {
            entry.place = Place::Waiting(payload);
            return None;
        };
        self.hole |= idempotent && ending != Ending::Stored;
        self.pop_over();
        Some(Ended { payload, ending })
    }

    /// Gives up what waits and is overdue.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Ended<T>> {
        let overdue = |entry: &Entry<T>| entry.deadline <= now;
        self.give_up(overdue)
    }

    /// When the next batch that waits is overdue.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let waits = |entry: &&Entry<T>| matches!(entry.place, Place::Waiting(_));
        self.entries.iter().filter(waits).map(|entry| entry.deadline).min()
    }

    /// Goes on after [`Step::Resume`]: what is left is sent again, in order.
    pub(crate) fn resume(&mut self) {
        assert_eq!(self.step(), Step::Resume, "only when every batch has an answer");
        self.stalled = false;
    }

    /// Goes on after [`Step::NewEpoch`]: what is left is stamped anew, from 0, and sent. What may
    /// have been stored before has ended.
    pub(crate) fn restart(
        &mut self,
        (producer_id, epoch): (u64, u32),
        mut restamp: impl FnMut(&mut T, Stamp),
    ) -> Vec<Ended<T>> {
        assert_eq!(self.step(), Step::NewEpoch, "only when every batch has an answer");
        let ended = self.give_up(|entry| entry.maybe_stored);
        let mut stamp = Stamp { producer_id, epoch, sequence: 0 };
        for entry in &mut self.entries {
            if let Place::Waiting(payload) = &mut entry.place {
                restamp(payload, stamp);
                stamp = stamp.after(entry.records);
            }
        }
        self.next = Some(stamp);
        self.hole = false;
        self.stalled = false;
        ended
    }

    /// Ends all that wait: the producer is fenced.
    pub(crate) fn stop(&mut self) -> Vec<Ended<T>> {
        self.give_up(|_| true)
    }

    /// How many are under way.
    pub(crate) fn in_flight(&self) -> usize {
        let in_flight = |entry: &&Entry<T>| matches!(entry.place, Place::InFlight(_));
        self.entries.iter().filter(in_flight).count()
    }

    /// True without batches that wait or are under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn give_up(&mut self, which: impl Fn(&Entry<T>) -> bool) -> Vec<Ended<T>> {
        let mut ended = Vec::new();
        for entry in &mut self.entries {
            if !matches!(entry.place, Place::Waiting(_)) || !which(entry) {
                continue;
            }
            if let Place::Waiting(payload) = std::mem::replace(&mut entry.place, Place::Over) {
                let ending = if entry.maybe_stored { Ending::Unknown } else { Ending::Failed };
                ended.push(Ended { payload, ending });
            }
        }
        if !ended.is_empty() && self.next.is_some() {
            self.hole = true;
            self.stalled = true;
        }
        self.pop_over();
        ended
    }

    fn pop_over(&mut self) {
        while self.entries.front().is_some_and(|entry| matches!(entry.place, Place::Over)) {
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
#[path = "pipeline_test.rs"]
mod tests;
