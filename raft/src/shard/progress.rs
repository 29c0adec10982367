//! How far one replica is, and what it is: shared by its state machine, its observer and its users.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use kontiki_storage::id::{ReplicaId, ShardId};
use kontiki_storage::key::Space;
use tokio::sync::{Notify, watch};

use crate::codec::Applied;

/// Who leads a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    /// The leader, where it is known.
    pub leader: Option<ReplicaId>,
    /// Raft term.
    pub term: u64,
    /// This replica leads.
    pub leads: bool,
    /// ... and has applied an entry of its term: what was acknowledged by earlier leaders is here.
    pub ready: bool,
}

pub(crate) struct Progress {
    shard: ShardId,
    pub(crate) role: watch::Sender<Role>,
    pub(crate) applied_index: watch::Sender<u64>,
    applied_term: AtomicU64,
    /// The time of the last command that was applied.
    applied_ms: AtomicI64,
    generation: AtomicU32,
    failed: AtomicBool,
    /// The failure is corruption: only this replica is concerned, not the node.
    corrupt: AtomicBool,
    /// In this term the leadership is being handed over.
    handing_over: AtomicU64,
    /// Something that is stored here was found damaged while it was read for another replica.
    pub(crate) unreadable: Notify,
}

impl Progress {
    /// The time of the last command that was applied here, milliseconds since 1970.
    pub(crate) fn applied_ms(&self) -> i64 {
        self.applied_ms.load(Ordering::Acquire)
    }

    pub(crate) fn set_applied_ms(&self, time_ms: i64) {
        self.applied_ms.fetch_max(time_ms, Ordering::AcqRel);
    }

    pub(crate) fn new(shard: ShardId) -> Self {
        let role = Role { leader: None, term: 0, leads: false, ready: false };
        Self {
            shard,
            role: watch::channel(role).0,
            applied_index: watch::channel(0).0,
            applied_term: AtomicU64::new(0),
            applied_ms: AtomicI64::new(0),
            generation: AtomicU32::new(kontiki_storage::key::FIRST_GENERATION),
            failed: AtomicBool::new(false),
            corrupt: AtomicBool::new(false),
            handing_over: AtomicU64::new(0),
            unreadable: Notify::new(),
        }
    }

    pub(crate) fn space(&self) -> Space {
        Space { shard: self.shard, generation: self.generation.load(Ordering::Acquire) }
    }

    pub(crate) fn applied(&self, applied: &Applied) {
        self.set_applied_ms(applied.time_ms);
        let Some(id) = applied.log_id else { return };
        if self.applied_term.swap(id.leader_id.term, Ordering::AcqRel) != id.leader_id.term {
            self.update_ready();
        }
        self.applied_index.send_replace(id.index);
    }

    pub(crate) fn reloaded(&self, space: Space, applied: &Applied) {
        self.set_applied_ms(applied.time_ms);
        assert_eq!(space.shard, self.shard, "a state belongs to its shard");
        self.generation.store(space.generation, Ordering::Release);
        self.applied(applied);
    }

    /// What openraft says about the leadership.
    pub(crate) fn set_leader(&self, leader: Option<ReplicaId>, term: u64, leads: bool) {
        let applied_term = self.applied_term.load(Ordering::Acquire);
        let ready = leads && applied_term == term;
        let new = Role { leader, term, leads, ready };
        self.role.send_if_modified(|role| std::mem::replace(role, new) != new);
    }

    fn update_ready(&self) {
        let applied_term = self.applied_term.load(Ordering::Acquire);
        self.role.send_if_modified(|role| {
            let ready = role.leads && role.term == applied_term;
            std::mem::replace(&mut role.ready, ready) != ready
        });
    }

    /// From here to the end of the term, the lease can't be relied on.
    pub(crate) fn hand_over(&self) {
        self.handing_over.store(self.role.borrow().term, Ordering::SeqCst);
    }

    pub(crate) fn is_handing_over(&self) -> bool {
        self.handing_over.load(Ordering::SeqCst) == self.role.borrow().term
    }

    pub(crate) fn failed(&self, error: &kontiki_storage::Error) {
        if error.is_corrupt() {
            self.corrupt.store(true, Ordering::Release);
        }
        tracing::error!(shard = %self.shard, %error, "the replica's state machine stops");
        self.failed.store(true, Ordering::Release);
        // In a statement of its own: the borrow must be over when the role is set.
        let term = self.role.borrow().term;
        self.set_leader(None, term, false);
    }

    pub(crate) fn mark_corrupt(&self) {
        self.corrupt.store(true, Ordering::Release);
        self.failed.store(true, Ordering::Release);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub(crate) fn is_corrupt(&self) -> bool {
        self.corrupt.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by the simulation with a full disk: it waited for itself, and the node with it.
    #[test]
    fn a_replica_whose_storage_failed_leads_nothing() {
        let progress = Progress::new(ShardId(1));
        progress.set_leader(Some(ReplicaId(5)), 3, true);
        let full = kontiki_storage::Error::Full { op: "write", free: 0, limit: 1 };
        progress.failed(&full);
        let role = *progress.role.borrow();
        assert_eq!((role.leader, role.term, role.leads), (None, 3, false));
        assert!(progress.has_failed() && !progress.is_corrupt());
    }
}
