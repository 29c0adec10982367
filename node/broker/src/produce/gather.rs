//! Small plain writes of one partition become one batch while an earlier one is under way.
//!
//! A lone write goes at once; nothing here waits for time to pass. Only writes without a producer's
//! sequence are gathered: an idempotent producer numbers its own batches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use kontiki_domain::settings::Settings;
use kontiki_storage::id::PartitionId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Acks, Data, Name, Produced, Record, RecordSet, Write, check};
use crate::catalog::Place;
use crate::core::Core;
use crate::error::Error;
use crate::route::Routing;

type Answer = oneshot::Sender<Result<Produced, Error>>;

/// What is gathered, by partition. Bounded by what the node takes from clients at all.
#[derive(Debug, Default)]
pub(crate) struct Gatherer(Mutex<HashMap<PartitionId, Gathering>>);

#[derive(Debug)]
struct Gathering {
    /// Batches of this partition that are not answered.
    under_way: usize,
    place: Place,
    name: Name,
    settings: Settings,
    waiting: Vec<Waiting>,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    set: RecordSet,
    deadline: Instant,
    answer: Answer,
}

/// A batch of a partition is under way while this lives.
pub(super) struct UnderWay {
    core: Arc<Core>,
    partition: PartitionId,
}

/// A write that may be gathered.
pub(super) struct Small {
    pub(super) place: Place,
    pub(super) name: Name,
    pub(super) settings: Settings,
    pub(super) set: RecordSet,
    pub(super) deadline: Instant,
}

impl Gatherer {
    fn lock(&self) -> MutexGuard<'_, HashMap<PartitionId, Gathering>> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl Core {
    /// Whether a write may share a batch with others.
    pub(super) fn is_small(&self, data: &Data, acks: Acks, routing: Routing) -> bool {
        let Data::Records(set) = data else { return false };
        let limit = self.options.produce.gather_bytes_max;
        acks == Acks::Quorum
            && routing == Routing::Forward
            && set.producer.is_none()
            && data.bytes() <= limit / 2
    }

    /// Writes at once where nothing of the partition is under way, or waits to be gathered.
    pub(super) fn write_small(self: &Arc<Self>, small: Small) -> Result<Write, Error> {
        let Small { place, name, settings, set, deadline } = small;
        let partition = place.partition;
        // What can't be stored is refused alone, before it meets the others.
        check::set(&set, &settings, &self.options.produce)?;
        let options = &self.options.produce;
        let mut open = self.gatherer.lock();
        let gathering = open.entry(partition).or_insert_with(|| Gathering {
            under_way: 0,
            place,
            name: name.clone(),
            settings: settings.clone(),
            waiting: Vec::new(),
            bytes: 0,
        });
        if gathering.under_way == 0 {
            gathering.under_way = 1;
            drop(open);
            let guard = UnderWay { core: Arc::clone(self), partition };
            return self.propose_set(place, name, &settings, set, deadline, Some(guard));
        }
        let bytes: usize = set.records.iter().map(check::record_bytes).sum();
        let full = gathering.bytes + bytes > options.gather_bytes_max
            || gathering.waiting.len() >= options.gather_requests_max
            || gathering.waiting.first().is_some_and(|w| w.set.compression != set.compression);
        let flushed = full.then(|| gathering.take());
        let (answer, receiver) = oneshot::channel();
        gathering.waiting.push(Waiting { set, deadline, answer });
        gathering.bytes += bytes;
        // Proposed under the lock: what comes later must not overtake it.
        if let Some(batch) = flushed {
            self.send(batch);
        }
        Ok(Write::Gathered { answer: receiver, name })
    }

    /// Sends what is gathered of a partition before something else is written to it.
    pub(super) fn flush(self: &Arc<Self>, partition: PartitionId) {
        let mut open = self.gatherer.lock();
        let Some(gathering) = open.get_mut(&partition) else { return };
        if !gathering.waiting.is_empty() {
            let batch = gathering.take();
            self.send(batch);
        }
    }

    fn send(self: &Arc<Self>, batch: Batch) {
        let Batch { place, name, settings, waiting } = batch;
        let partition = place.partition;
        let guard = UnderWay { core: Arc::clone(self), partition };
        let deadline = waiting.iter().map(|waiting| waiting.deadline).max();
        let deadline = deadline.unwrap_or_else(|| self.default_deadline());
        let mut counts = Vec::with_capacity(waiting.len());
        let mut answers = Vec::with_capacity(waiting.len());
        let mut records: Vec<Record> = Vec::new();
        let mut compression = kontiki_records::Compression::None;
        for waiting in waiting {
            compression = waiting.set.compression;
            counts.push(waiting.set.records.len() as u64);
            records.extend(waiting.set.records);
            answers.push(waiting.answer);
        }
        let set = RecordSet { records, compression, producer: None };
        let write = self.propose_set(place, name, &settings, set, deadline, None);
        tokio::spawn(async move {
            // Not dropped here and now: the lock that it takes may be held.
            let _guard = guard;
            let outcome = match write {
                Ok(write) => write.outcome(deadline).await,
                Err(error) => Err(error),
            };
            distribute(&outcome, &counts, answers);
        });
    }
}

/// Gives everybody their part of the batch's outcome.
fn distribute(outcome: &Result<Produced, Error>, counts: &[u64], answers: Vec<Answer>) {
    let mut before = 0;
    for (count, answer) in counts.iter().zip(answers) {
        let mine = outcome.clone().map(|produced| Produced {
            base_offset: produced.base_offset.map(|base| base + before),
            ..produced
        });
        before += count;
        // Whoever asked may have gone.
        let _ = answer.send(mine);
    }
}

/// Gathered writes that become one batch.
struct Batch {
    place: Place,
    name: Name,
    settings: Settings,
    waiting: Vec<Waiting>,
}

impl Gathering {
    fn take(&mut self) -> Batch {
        self.bytes = 0;
        self.under_way += 1;
        Batch {
            place: self.place,
            name: self.name.clone(),
            settings: self.settings.clone(),
            waiting: std::mem::take(&mut self.waiting),
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut open = self.core.gatherer.lock();
        let Some(gathering) = open.get_mut(&self.partition) else { return };
        gathering.under_way -= 1;
        if gathering.under_way > 0 {
            return;
        }
        if gathering.waiting.is_empty() {
            open.remove(&self.partition);
        } else {
            let batch = gathering.take();
            self.core.send(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::produce::Durability;

    #[tokio::test]
    async fn everybody_gets_their_own_offset() {
        let produced = Produced {
            base_offset: Some(100),
            append_time_ms: 5,
            log_start_offset: 0,
            duplicate: false,
            durability: Durability::QuorumFsync,
        };
        let (first, first_answer) = oneshot::channel();
        let (gone, _) = oneshot::channel();
        let (third, third_answer) = oneshot::channel();
        distribute(&Ok(produced), &[2, 3, 1], vec![first, gone, third]);
        assert_eq!(first_answer.await.unwrap().unwrap().base_offset, Some(100));
        assert_eq!(third_answer.await.unwrap().unwrap().base_offset, Some(105));
    }

    #[tokio::test]
    async fn everybody_hears_of_a_failure() {
        let (first, first_answer) = oneshot::channel();
        let (second, second_answer) = oneshot::channel();
        distribute(&Err(Error::stopping()), &[1, 1], vec![first, second]);
        assert_eq!(first_answer.await.unwrap(), Err(Error::stopping()));
        assert_eq!(second_answer.await.unwrap(), Err(Error::stopping()));
    }
}
