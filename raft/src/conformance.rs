//! openraft's own suite for log stores and state machines, run on ours.
//!
//! The suite applies entries that it has not appended, and hands a snapshot to another state
//! machine as it was taken. Here an entry is applied when it is durable, and a snapshot arrives in
//! parts: the subject of the suite has a log of its own to wait for, and streams what it is given.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::Stream;
use kontiki_storage::engine::Engine;
use kontiki_storage::id::{ReplicaId, ShardId};
use kontiki_storage::key::Space;
use kontiki_storage::payload::{PayloadRef, Payloads};
use kontiki_storage::{Accounting, Error, View, WriteBatch};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use openraft::{OptionalSend, StorageError};

use crate::committer::Committer;
use crate::log::{LogContext, LogStore, ShardLog, TailBudget};
use crate::machine::{Machine, Stamp};
use crate::replica::{ReplicaContext, SnapshotBuilder, StateMachine};
use crate::shard::Progress;
use crate::snapshot::{Rows, SnapshotData, Staging, checksum};
use crate::types::{LogId, Snapshot, SnapshotMeta, StoredMembership, Types};
use crate::{Metrics, Options};

const SHARD: ShardId = ShardId(1);

/// Where one store's data is; and what keeps the place, until it is dropped.
pub type Place<G> = (Arc<dyn Engine>, Arc<dyn Payloads>, G);

/// Runs the suite, each of its checks on an empty place of its own. Some 50 places are made. To be
/// called on a runtime whose clock may be paused: one check waits for a second.
///
/// # Errors
/// What a check says where the stores don't do what they must; some panic instead.
pub async fn log_store<G: Send + Sync + 'static>(
    options: Options,
    place: impl Fn() -> Place<G> + Send + Sync,
) -> Result<(), String> {
    let done = Suite::test_all(Builder { options, place }).await;
    done.map_err(|error| error.to_string())
}

struct Builder<F> {
    options: Options,
    place: F,
}

impl<G, F> StoreBuilder<Types, LogStore, Subject, G> for Builder<F>
where
    G: Send + Sync + 'static,
    F: Fn() -> Place<G> + Send + Sync,
{
    async fn build(&self) -> Result<(G, LogStore, Subject), StorageError<Types>> {
        let (engine, payloads, keep) = (self.place)();
        let built = self.open(engine, payloads);
        let (log, subject) = built.map_err(|e| StorageError::read(Types::err_from_error(&e)))?;
        Ok((keep, log, subject))
    }
}

impl<F> Builder<F> {
    fn open(
        &self,
        engine: Arc<dyn Engine>,
        payloads: Arc<dyn Payloads>,
    ) -> io::Result<(LogStore, Subject)> {
        let options = &self.options;
        let fatal = Arc::new(|error| panic!("storage failed: {error:?}"));
        let (committer, queue) =
            Committer::new(engine.clone(), payloads.clone(), options, fatal, Metrics::default());
        // It ends when the last queue is dropped, with the stores.
        tokio::spawn(committer.run());
        let context = LogContext {
            engine: engine.clone(),
            payloads: payloads.clone(),
            queue: queue.clone(),
            budget: TailBudget::new(options.tail_bytes_max),
            inline_bytes_max: options.inline_bytes_max,
            append_bytes_max: options.append_bytes_max,
        };
        let log = ShardLog::open(SHARD, context.clone())?;
        let durable = ShardLog::open(SHARD, context)?;
        durable.set_flushed(u64::MAX);
        let accounting = Arc::new(Accounting::open(engine.as_ref()).map_err(crate::error::io)?);
        let staging = Staging::new(engine.clone(), payloads, accounting, queue);
        let context = ReplicaContext {
            shard: SHARD,
            replica: ReplicaId(1),
            probe: Arc::new(crate::NoProbe),
            engine,
            accounting: staging.accounting.clone(),
            log: durable,
            staging: staging.clone(),
            progress: Arc::new(Progress::new(SHARD)),
            lock: Arc::new(Mutex::new(())),
        };
        let machine = StateMachine::open(context, Box::new(Nothing))?;
        Ok((LogStore(log), Subject { machine, staging }))
    }
}

/// The state machine that the suite sees.
struct Subject {
    machine: StateMachine,
    staging: Staging,
}

impl Subject {
    /// Takes a snapshot over as one from another node.
    fn receive(&self, data: SnapshotData) -> Result<SnapshotData, Error> {
        let SnapshotData::Live(live) = data else { return Ok(data) };
        let mut incoming = self.staging.begin(SHARD)?.expect("one comes in at a time");
        let mut rows = Rows::new(live, self.staging.payloads.clone(), 16);
        let (mut crc, mut count) = (0, 0);
        loop {
            let part = rows.next_part()?;
            if part.is_empty() {
                break;
            }
            crc = checksum(crc, &part);
            count += part.len() as u64;
            incoming.part(part, crc).expect("it is what was sent");
        }
        Ok(incoming.finish(count).expect("it is all that was sent"))
    }
}

impl RaftStateMachine<Types> for Subject {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        self.machine.applied_state().await
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        self.machine.apply(entries).await
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        self.machine.get_snapshot_builder().await
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        data: SnapshotData,
    ) -> Result<(), io::Error> {
        let staged = self.receive(data).map_err(crate::error::io)?;
        self.machine.install_snapshot(meta, staged).await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        self.machine.get_current_snapshot().await
    }
}

/// The suite has no commands.
struct Nothing;

impl Machine for Nothing {
    fn reload(&mut self, _: &dyn View, _: Space) -> Result<(), Error> {
        Ok(())
    }

    fn apply(
        &mut self,
        _: &dyn View,
        _: Stamp,
        command: &Bytes,
        _: &[PayloadRef],
        _: &mut WriteBatch,
    ) -> Result<Bytes, Error> {
        Err(Error::corrupt("a command", format!("{} bytes in a suite without", command.len())))
    }

    fn written(&mut self) {}
}

#[cfg(test)]
mod tests {
    use kontiki_storage::memory::{Disk, MemoryEngine, MemoryPayloads};

    use super::*;

    fn place() -> Place<()> {
        let disk = Disk::new();
        let payloads = MemoryPayloads::open(&disk, kontiki_storage::memory::Options::default());
        (MemoryEngine::open(&disk), payloads, ())
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_that_waits_to_be_installed_is_not_overwritten() {
        let builder = Builder { options: Options::default(), place };
        let (engine, payloads, ()) = place();
        let (_log, mut subject) = builder.open(engine, payloads).unwrap();
        let live = SnapshotData::Live(subject.staging.live(SHARD).unwrap());
        let received = subject.receive(live).unwrap();
        // Its sender has gone, and sends the next one.
        assert!(subject.staging.begin(SHARD).unwrap().is_none());
        subject.machine.install_snapshot(&SnapshotMeta::default(), received).await.unwrap();
        let next = subject.staging.begin(SHARD).unwrap();
        assert!(subject.staging.begin(SHARD).unwrap().is_none(), "it is coming in");
        drop(next);
        assert!(subject.staging.begin(SHARD).unwrap().is_some(), "it was given up");
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_conforms() {
        log_store(Options::default(), place).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_conforms_without_memory_for_recent_entries() {
        let options = Options { tail_bytes_max: 0, append_bytes_max: 1, ..Options::default() };
        log_store(options, place).await.unwrap();
    }
}
