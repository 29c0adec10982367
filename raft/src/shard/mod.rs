//! The handle of one shard on this node: propose, read, and change its members.

mod answer;
mod clock;
mod control;
mod progress;
mod read;
mod submit;

use std::sync::Arc;

use kontiki_storage::View;
use kontiki_storage::engine::Engine;
use kontiki_storage::id::{LogIndex, ReplicaId, ShardId};
use kontiki_storage::key::Space;
use tokio::sync::watch;

pub(crate) use self::answer::Answer;
pub(crate) use self::clock::ShardClock;
pub(crate) use self::progress::Progress;
pub use self::progress::Role;
pub use self::submit::{Applied, Pending};
pub(crate) use self::submit::{Intake, Submitter};
use crate::log::ShardLog;
use crate::replica::ApplyLock;
use crate::types::Raft;

/// One shard's replica on this node. Cheap to clone.
#[derive(Clone)]
pub struct Shard(pub(crate) Arc<ShardInner>);

pub(crate) struct ShardInner {
    pub(crate) id: ShardId,
    pub(crate) replica: ReplicaId,
    pub(crate) raft: Raft,
    pub(crate) log: Arc<ShardLog>,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) submitter: Submitter,
    pub(crate) lock: ApplyLock,
    pub(crate) lease: std::time::Duration,
    pub(crate) clock: Arc<ShardClock>,
}

/// A replica as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The shard.
    pub shard: ShardId,
    /// The replica on this node.
    pub replica: ReplicaId,
    /// Who leads, where it is known.
    pub leader: Option<ReplicaId>,
    /// Raft term.
    pub term: u64,
    /// This replica leads, and has applied an entry of its term.
    pub ready: bool,
    /// Last index in the log.
    pub last: LogIndex,
    /// Last applied index.
    pub applied: LogIndex,
    /// Replicas that vote.
    pub voters: Vec<ReplicaId>,
    /// Replicas that only follow.
    pub learners: Vec<ReplicaId>,
    /// For a leader: how far each other replica's log is known to match.
    pub matched: Vec<(ReplicaId, LogIndex)>,
    /// The replica is broken and has to be rebuilt.
    pub failed: bool,
}

impl Shard {
    /// The time of the shard, with which a command would be stamped if it were proposed here now;
    /// milliseconds since 1970. It may differ from the node's clock.
    #[must_use]
    pub fn time_ms(&self) -> i64 {
        self.0.clock.now_ms()
    }

    /// The shard's number.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.0.id
    }

    /// This node's replica of it.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        self.0.replica
    }

    /// Who leads and whether this replica is ready to; changes as they happen.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Role> {
        self.0.progress.role.subscribe()
    }

    /// The same, now.
    #[must_use]
    pub fn role(&self) -> Role {
        *self.0.progress.role.borrow()
    }

    /// The engine as a view, and the prefix of the shard's current state in it.
    #[must_use]
    pub fn view(&self) -> (Arc<dyn View>, Space) {
        (self.0.engine.clone().into_view(), self.0.progress.space())
    }

    /// Taken while rows of this shard are moved, see [`ApplyLock`].
    #[must_use]
    pub fn apply_lock(&self) -> ApplyLock {
        self.0.lock.clone()
    }

    /// Last applied index.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        LogIndex(*self.0.progress.applied_index.borrow())
    }

    /// Waits until an index has been applied here. No limit: use a timeout.
    pub async fn wait_applied(&self, index: LogIndex) {
        let mut applied = self.0.progress.applied_index.subscribe();
        // The sender lives as long as the shard.
        let _ = applied.wait_for(|applied| *applied >= index.0).await;
    }

    /// The replica is broken and has to be rebuilt.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.0.progress.has_failed()
    }

    /// Takes this replica out of service: stored data of it has been found damaged. It answers
    /// nothing any more, and has to be rebuilt under a new id.
    pub async fn condemn(&self, why: &str) {
        tracing::error!(shard = %self.0.id, why, "a replica is damaged and must be rebuilt");
        self.0.progress.mark_corrupt();
        self.0.submitter.close();
        // Its tasks may have ended already.
        let _ = self.0.raft.shutdown().await;
        self.0.progress.set_leader(None, self.role().term, false);
    }

    /// Everything at once, for people and metrics.
    #[must_use]
    pub fn status(&self) -> Status {
        use openraft::async_runtime::watch::WatchReceiver as _;
        let receiver = self.0.raft.metrics();
        let metrics = receiver.borrow_watched();
        let membership = metrics.membership_config.membership();
        let ids = |ids: Vec<u64>| ids.into_iter().map(ReplicaId).collect();
        let matched = metrics.replication.iter().flatten();
        let role = self.role();
        Status {
            shard: self.0.id,
            replica: self.0.replica,
            leader: role.leader,
            term: role.term,
            ready: role.ready,
            last: LogIndex(metrics.last_log_index.unwrap_or(0)),
            applied: self.applied(),
            voters: ids(membership.voter_ids().collect()),
            learners: ids(membership.learner_ids().collect()),
            matched: matched
                .map(|(id, at)| (ReplicaId(*id), LogIndex(at.as_ref().map_or(0, |at| at.index))))
                .collect(),
            failed: self.has_failed(),
        }
    }
}
