//! What was sent, what was acknowledged, what was read, and what must hold between them.
//!
//! It holds for producers that are idempotent and never give up: their records are in the log in
//! the order in which they were sent, each once, and up to some record without a gap. What was
//! acknowledged is where the acknowledgement said.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

use crate::payload::RecordName;

/// How many records, for the test's last line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handed to a producer.
    pub sent: u64,
    /// Acknowledged to it.
    pub acknowledged: u64,
    /// Found in the log.
    pub read: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} records sent, {} acknowledged, {} read",
            self.sent, self.acknowledged, self.read
        )
    }
}

/// One record as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Its offset.
    pub offset: u64,
    /// Which it is.
    pub name: RecordName,
}

#[derive(Debug, Default)]
struct Written {
    sent: u64,
    /// Offset by number of the record.
    acknowledged: BTreeMap<u64, u64>,
}

/// The ledger of one topic. Shared by reference between the tasks of a test.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By partition and writer.
    written: Mutex<BTreeMap<(u32, u32), Written>>,
}

impl Ledger {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer is about to send its next `count` records to a partition; returns the number of
    /// the first.
    pub fn sending(&self, partition: u32, writer: u32, count: u64) -> u64 {
        let mut written = self.lock();
        let written = written.entry((partition, writer)).or_default();
        written.sent += count;
        written.sent - count
    }

    /// Records `first..first + count` of a writer were acknowledged from this offset on.
    ///
    /// # Panics
    /// Where one of them was acknowledged at another offset before.
    pub fn acknowledged(&self, partition: u32, writer: u32, first: u64, count: u64, base: u64) {
        let mut written = self.lock();
        let written = written.entry((partition, writer)).or_default();
        for step in 0..count {
            assert!(first + step < written.sent, "acknowledged but never sent");
            let before = written.acknowledged.insert(first + step, base + step);
            assert!(
                before.is_none_or(|offset| offset == base + step),
                "record {} of writer {writer} acknowledged at {before:?} and at {}",
                first + step,
                base + step,
            );
        }
    }

    /// How many of a partition's records are acknowledged.
    #[must_use]
    pub fn acknowledged_count(&self, partition: u32) -> u64 {
        let written = self.lock();
        let of_partition = written.iter().filter(|((p, _), _)| *p == partition);
        of_partition.map(|(_, written)| written.acknowledged.len() as u64).sum()
    }

    /// Compares what was read from a partition, from its first offset to its last, with what was
    /// written to it.
    ///
    /// # Panics
    /// With everything that is wrong.
    pub fn check(&self, partition: u32, read: &[Read]) -> Counts {
        self.check_from(&self.acknowledgements(), partition, read)
    }

    /// What is acknowledged at this moment, for [`check_from`](Self::check_from).
    #[must_use]
    pub fn acknowledgements(&self) -> Acknowledgements {
        let written = self.lock();
        let copy = |(key, written): (&(u32, u32), &Written)| (*key, written.acknowledged.clone());
        Acknowledgements(written.iter().map(copy).collect())
    }

    /// [`check`](Self::check) while writers go on: what was acknowledged before the reading began
    /// must be there.
    ///
    /// # Panics
    /// With everything that is wrong.
    pub fn check_from(&self, known: &Acknowledgements, partition: u32, read: &[Read]) -> Counts {
        let faults = self.faults(known, partition, read);
        let shown = faults.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
        assert!(faults.is_empty(), "partition {partition}: {} faults:\n{shown}", faults.len());
        let mut counts = Counts { read: read.len() as u64, ..Counts::default() };
        for ((p, _), written) in self.lock().iter() {
            if *p == partition {
                counts.sent += written.sent;
                counts.acknowledged += written.acknowledged.len() as u64;
            }
        }
        counts
    }

    /// Everything that is wrong with what was read, in words.
    #[must_use]
    pub fn faults(&self, known: &Acknowledgements, partition: u32, read: &[Read]) -> Vec<String> {
        let mut faults = Vec::new();
        for (place, record) in read.iter().enumerate() {
            if record.offset != place as u64 {
                faults.push(format!("offset {} stands at place {place}", record.offset));
            }
        }
        let mut offsets: BTreeMap<RecordName, u64> = BTreeMap::new();
        let mut next: BTreeMap<u32, u64> = BTreeMap::new();
        for record in read {
            let mark = record.name.mark();
            if let Some(first) = offsets.insert(record.name, record.offset) {
                faults.push(format!("{mark} stored twice: at {first} and {}", record.offset));
                continue;
            }
            let next = next.entry(record.name.writer).or_default();
            if record.name.number < *next {
                faults.push(format!("{mark} at {} comes after {next}", record.offset));
            } else if record.name.number > *next {
                faults.push(format!("before {mark} at {} number {next} is missing", record.offset));
            }
            *next = record.name.number + 1;
        }
        let written = self.lock();
        for name in offsets.keys() {
            let sent = written.get(&(partition, name.writer)).map_or(0, |written| written.sent);
            if name.number >= sent {
                faults.push(format!("{} was never sent to this partition", name.mark()));
            }
        }
        known.compare(partition, &offsets, &mut faults);
        faults
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(u32, u32), Written>> {
        self.written.lock().expect("no holder panics halfway")
    }
}

/// What was acknowledged at some moment: offsets by number, by partition and writer.
#[derive(Debug, Clone)]
pub struct Acknowledgements(BTreeMap<(u32, u32), BTreeMap<u64, u64>>);

impl Acknowledgements {
    fn compare(&self, partition: u32, read: &BTreeMap<RecordName, u64>, faults: &mut Vec<String>) {
        for ((_, writer), acknowledged) in self.0.iter().filter(|((p, _), _)| *p == partition) {
            for (number, offset) in acknowledged {
                let name = RecordName { writer: *writer, number: *number };
                let mark = name.mark();
                match read.get(&name) {
                    Some(found) if found == offset => {}
                    Some(found) => {
                        faults.push(format!("{mark} acknowledged at {offset}, read at {found}"));
                    }
                    None => faults.push(format!("{mark} acknowledged at {offset}, lost")),
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "ledger_test.rs"]
mod tests;
