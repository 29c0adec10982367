//! Queues by themselves: what each rule says, and a model for any order of commands.

mod costs;
mod done;
mod failures;
mod frozen;
mod model;
mod moved;
mod redrive;
mod retention;
mod rules;
mod shares;

use bytes::Bytes;
use kontiki_storage::id::{Offset, PartitionId, TopicId};
use kontiki_storage::payload::PayloadRef;

use super::{
    Acquire, Action, Attributes, Command, Enqueue, Enqueued, Grant, History, QueueSettings,
    QueueState, Reason, Reply, Settled, Settlement, read,
};
use crate::Rejection;
use crate::partition::{self, BatchHeader};
use crate::settings::Settings;
use crate::shard;
use crate::tests::Shard;

const QUEUE: PartitionId = PartitionId(7);

/// A shard with one queue, or two.
struct Bench {
    shard: Shard,
    /// Rows reach the engine after every command, and the machine is loaded again.
    reload: bool,
    /// Changes of settings.
    altered: u64,
}

impl Bench {
    fn new(settings: QueueSettings) -> Self {
        let mut bench = Self { shard: Shard::new(1), reload: false, altered: 1 };
        bench.create(QUEUE, settings);
        bench
    }

    fn create(&mut self, partition: PartitionId, settings: QueueSettings) {
        let create = partition::Command::CreatePartition {
            partition,
            topic: TopicId(1),
            settings: Settings::default(),
            settings_version: 1,
            queue: Some(settings),
        };
        self.shard.apply(create, &[]).unwrap();
    }

    fn apply(&mut self, command: Command, payloads: &[PayloadRef]) -> Result<Reply, Rejection> {
        let outcome = self.shard.apply(command, payloads);
        if self.reload {
            self.shard.reload();
        }
        outcome.map(|reply| match reply {
            shard::Reply::Queue(reply) => reply,
            other @ (shard::Reply::Partition(_) | shard::Reply::Catalog(_)) => panic!("{other:?}"),
        })
    }

    fn later(&mut self, milliseconds: i64) {
        self.shard.stamp.time_ms += milliseconds;
    }

    fn now(&self) -> i64 {
        self.shard.stamp.time_ms
    }

    fn enqueue(&mut self, enqueue: Enqueue) -> Result<Enqueued, Rejection> {
        let payload = PayloadRef::Inline(Bytes::from(vec![b'x'; 100]));
        let reply = self.apply(Command::Enqueue(enqueue), &[payload])?;
        let Reply::Enqueued(enqueued) = reply else { panic!("{reply:?}") };
        Ok(enqueued)
    }

    fn send_to(
        &mut self,
        queue: PartitionId,
        count: u32,
        attributes: Vec<Attributes>,
    ) -> Result<Enqueued, Rejection> {
        let header = header(count, self.now());
        self.enqueue(Enqueue { queue, payload: 0, header, attributes, origin: None })
    }

    fn send(&mut self, count: u32) -> Offset {
        self.send_to(QUEUE, count, Vec::new()).unwrap().base_offset
    }

    fn send_with(&mut self, attributes: Attributes) -> Result<Enqueued, Rejection> {
        self.send_to(QUEUE, 1, vec![attributes])
    }

    fn receive_for(&mut self, wanted: &[u32]) -> Vec<Vec<Grant>> {
        let wanted = wanted.iter().map(|max| Acquire { max: *max, lease_ms: 0 }).collect();
        let reply = self.apply(Command::Acquire { queue: QUEUE, wanted }, &[]).unwrap();
        let Reply::Acquired(granted) = reply else { panic!("{reply:?}") };
        granted
    }

    fn receive(&mut self, max: u32) -> Vec<Grant> {
        self.receive_for(&[max]).remove(0)
    }

    fn offsets(&mut self, max: u32) -> Vec<u64> {
        self.receive(max).iter().map(|grant| grant.offset.0).collect()
    }

    fn settle(&mut self, grant: &Grant, action: Action) -> Settled {
        self.settle_saying(grant, action, Vec::new()).unwrap()
    }

    fn settle_saying(
        &mut self,
        grant: &Grant,
        action: Action,
        reasons: Vec<Reason>,
    ) -> Result<Settled, Rejection> {
        let settlement = Settlement { offset: grant.offset, lease: grant.lease, action };
        let settlements = vec![settlement];
        let reply = self.apply(Command::Settle { queue: QUEUE, settlements, reasons }, &[])?;
        let Reply::Settled(settled) = reply else { panic!("{reply:?}") };
        Ok(settled[0])
    }

    /// As failed, with a class of errors and a text.
    fn fail(&mut self, grant: &Grant, class: &str, error: &str) -> Settled {
        let action = Action::Release { delay_ms: None, failed: true };
        self.settle_saying(grant, action, vec![reason(class, error)]).unwrap()
    }

    fn alter(&mut self, settings: QueueSettings) {
        self.altered += 1;
        let update = partition::Command::UpdateSettings {
            partition: QUEUE,
            settings: Settings::default(),
            settings_version: self.altered,
            queue: Some(settings),
        };
        self.shard.apply(update, &[]).unwrap();
        if self.reload {
            self.shard.reload();
        }
    }

    fn history(&mut self, offset: u64) -> Option<History> {
        self.shard.write();
        let (rows, space) = (&self.shard.rows, self.shard.space);
        read::history(rows, space, QUEUE, Offset(offset)).unwrap()
    }

    fn tick(&mut self) -> bool {
        let reply = self.apply(Command::Tick { queue: QUEUE, limit: 100 }, &[]).unwrap();
        let Reply::Ticked { more, .. } = reply else { panic!("{reply:?}") };
        more
    }

    fn state(&self) -> QueueState {
        self.shard.machine.partitions().unwrap().queues().get(QUEUE).unwrap().clone()
    }

    fn batches(&self) -> u64 {
        self.shard.machine.partitions().unwrap().get(QUEUE).unwrap().batches
    }
}

fn reason(class: &str, error: &str) -> Reason {
    Reason { first: 0, count: 1, class: class.to_owned(), error: error.to_owned() }
}

fn header(count: u32, now_ms: i64) -> BatchHeader {
    BatchHeader {
        record_count: count,
        last_offset_delta: count - 1,
        base_timestamp: now_ms,
        max_timestamp: now_ms,
        bytes: 100,
        attributes: partition::Attributes::default(),
        producer: None,
    }
}
