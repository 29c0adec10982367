//! The state machine of one replica as openraft drives it: applies entries in batches, one engine
//! write for many, and takes and installs snapshots.

use std::io;
use std::sync::{Arc, Mutex};

use futures_util::{Stream, StreamExt};
use kontiki_storage::engine::Engine;
use kontiki_storage::id::{LogIndex, ReplicaId, ShardId};
use kontiki_storage::key::{self, Space};
use kontiki_storage::payload::PayloadRef;
use kontiki_storage::{Accounting, Family, View, WriteBatch};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder};

use crate::codec::{self, Applied};
use crate::digest;
use crate::log::ShardLog;
use crate::machine::{Machine, Stamp};
use crate::mutant::{self, Mutant};
use crate::probe::{AppliedEntry, Probe};
use crate::shard::Progress;
use crate::snapshot::{self, SnapshotData, Staging};
use crate::types::{
    Entry, EntryPayload, LogId, Replies, Snapshot, SnapshotMeta, StoredMembership, Types,
};

/// Entries applied with one engine write.
const BATCH_ENTRIES: usize = 512;

/// Held while rows of the shard are written, so that moving a payload and releasing it don't cross.
pub type ApplyLock = Arc<Mutex<()>>;

/// What a state machine needs of its node.
pub(crate) struct ReplicaContext {
    pub(crate) shard: ShardId,
    pub(crate) replica: ReplicaId,
    pub(crate) probe: Arc<dyn Probe>,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) accounting: Arc<Accounting>,
    pub(crate) log: Arc<ShardLog>,
    pub(crate) staging: Staging,
    pub(crate) progress: Arc<Progress>,
    pub(crate) lock: ApplyLock,
}

/// One replica's state machine.
pub(crate) struct StateMachine {
    context: ReplicaContext,
    machine: Box<dyn Machine>,
    space: Space,
    applied: Applied,
}

type Taken = (Entry, Option<ApplyResponder<Types>>);

impl StateMachine {
    /// Opens the state as it is on disk.
    pub(crate) fn open(
        context: ReplicaContext,
        mut machine: Box<dyn Machine>,
    ) -> Result<Self, io::Error> {
        let view: &dyn View = context.engine.as_ref();
        let space = snapshot::current_space(view, context.shard).map_err(crate::error::io)?;
        let mut applied = read_applied(view, space)?;
        if mutant::is(Mutant::ApplyTwiceAfterCrash) {
            applied.log_id = context.log.before(applied.log_id);
            let mut row = WriteBatch::new();
            row.put(Family::State, key::applied(space), codec::encode_applied(&applied));
            context.engine.write(row).map_err(crate::error::io)?;
        }
        machine.reload(view, space).map_err(crate::error::io)?;
        machine.written();
        context.progress.reloaded(space, &applied);
        let next = applied.log_id.map_or(0, |id| id.index + 1);
        context.probe.opened(context.shard, context.replica, next);
        Ok(Self { context, machine, space, applied })
    }

    /// Applies entries and writes their rows at once; then answers.
    fn apply_batch(&mut self, taken: Vec<Taken>) -> Result<(), kontiki_storage::Error> {
        let lock = self.context.lock.clone();
        let guard = lock.lock().expect("no code panics while it holds the apply lock");
        let mut batch = WriteBatch::new();
        let mut answers = Vec::with_capacity(taken.len());
        let (probe, mut seen) = (self.context.probe.clone(), Vec::new());
        for (entry, responder) in taken {
            let replies = self.apply_entry(&entry, &mut batch)?;
            if probe.wants_applied() {
                seen.push(applied_entry(&entry, &replies));
            }
            answers.push((responder, replies));
        }
        let applied = codec::encode_applied(&self.applied);
        batch.put(Family::State, key::applied(self.space), applied);
        self.context.accounting.write(self.context.engine.as_ref(), self.space, batch)?;
        self.machine.written();
        drop(guard);
        self.context.progress.applied(&self.applied);
        for applied in seen {
            probe.applied(self.context.shard, self.context.replica, applied);
        }
        for (responder, replies) in answers {
            if let Some(responder) = responder {
                responder.send(replies);
            }
        }
        Ok(())
    }

    fn apply_entry(
        &mut self,
        entry: &Entry,
        batch: &mut WriteBatch,
    ) -> Result<Replies, kontiki_storage::Error> {
        let id = entry.log_id;
        let before = self.applied.log_id;
        assert!(before < Some(id), "entries are applied once, in order");
        self.applied.log_id = Some(id);
        match &entry.payload {
            EntryPayload::Blank => Ok(Replies::default()),
            EntryPayload::Membership(membership) => {
                self.applied.membership = StoredMembership::new(Some(id), membership.clone());
                Ok(Replies::default())
            }
            EntryPayload::Normal(proposal) => {
                self.applied.time_ms = self.applied.time_ms.max(proposal.time_ms);
                let stamp = Stamp {
                    index: LogIndex(id.index),
                    term: id.leader_id.term,
                    time_ms: self.applied.time_ms,
                };
                let stamp = if mutant::is(Mutant::WallClockInApply) {
                    Stamp { time_ms: mutant::wall_clock_ms(self.context.replica), ..stamp }
                } else {
                    stamp
                };
                let view: &dyn View = self.context.engine.as_ref();
                let mut replies = Vec::with_capacity(proposal.commands.len());
                for command in &proposal.commands {
                    let payloads: Vec<PayloadRef> =
                        command.payloads.iter().map(crate::types::Payload::reference).collect();
                    let machine = &mut self.machine;
                    replies.push(machine.apply(view, stamp, &command.bytes, &payloads, batch)?);
                }
                Ok(Replies(replies))
            }
        }
    }

    fn failed(&self, error: kontiki_storage::Error) -> io::Error {
        self.context.progress.failed(&error);
        crate::error::io(error)
    }
}

fn applied_entry(entry: &Entry, replies: &Replies) -> AppliedEntry {
    AppliedEntry {
        index: entry.log_id.index,
        term: entry.log_id.leader_id.term,
        entry: digest::entry(entry),
        replies: digest::replies(replies),
    }
}

fn read_applied(view: &dyn View, space: Space) -> io::Result<Applied> {
    let row = view.get(Family::State, &key::applied(space)).map_err(crate::error::io)?;
    let applied = row.map(codec::decode_applied).transpose();
    Ok(applied.map_err(|error| crate::error::corrupt("applied row", &error))?.unwrap_or_default())
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied.log_id, self.applied.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut taken: Vec<Taken> = Vec::new();
        while let Some(item) = entries.next().await {
            taken.push(item?);
            if taken.len() < BATCH_ENTRIES {
                continue;
            }
            self.apply_durable(&mut taken).await?;
        }
        self.apply_durable(&mut taken).await
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder { context: self.context.staging.clone(), shard: self.context.shard }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        data: SnapshotData,
    ) -> Result<(), io::Error> {
        let SnapshotData::Staged(staged) = data else {
            return Err(io::Error::other("only a received snapshot can be installed"));
        };
        let old = self.space;
        let new = staged.space();
        let applied = read_applied(self.context.engine.as_ref(), new)?;
        assert_eq!(applied.log_id, meta.last_log_id, "a snapshot is what its meta says");
        self.context.staging.switch(old, staged).await?;
        let view: &dyn View = self.context.engine.as_ref();
        self.machine.reload(view, new).map_err(|error| self.failed(error))?;
        self.machine.written();
        self.space = new;
        self.applied = applied;
        self.context.progress.reloaded(new, &self.applied);
        let next = self.applied.log_id.map_or(0, |id| id.index + 1);
        self.context.probe.installed(self.context.shard, self.context.replica, next);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        if self.applied.log_id.is_none() {
            return Ok(None);
        }
        take_snapshot(&self.context.staging, self.context.shard).map(Some)
    }
}

impl StateMachine {
    /// An entry may be committed by the other replicas before it is durable here. Its rows may
    /// refer to payloads, so they are written after the entry itself is durable.
    async fn apply_durable(&mut self, taken: &mut Vec<Taken>) -> io::Result<()> {
        let Some((last, _)) = taken.last() else { return Ok(()) };
        self.context.log.wait_flushed(last.log_id.index).await?;
        let taken = std::mem::take(taken);
        self.apply_batch(taken).map_err(|error| self.failed(error))
    }
}

/// Takes snapshots: a view of the engine and what has been applied in it.
pub(crate) struct SnapshotBuilder {
    context: Staging,
    shard: ShardId,
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        take_snapshot(&self.context, self.shard)
    }
}

fn take_snapshot(staging: &Staging, shard: ShardId) -> io::Result<Snapshot> {
    let live = staging.live(shard).map_err(crate::error::io)?;
    let applied = read_applied(live.view.as_ref(), live.space)?;
    let meta = SnapshotMeta { last_log_id: applied.log_id, last_membership: applied.membership };
    Ok(Snapshot { meta, snapshot: SnapshotData::Live(live) })
}
