//! Deliberate bugs, for the simulation to find: it proves that its checks can fail. Compiled with
//! the feature `mutants` only, which no server has; and none is there before it is [armed](arm).

#[cfg(not(feature = "mutants"))]
pub(crate) use self::absent::{is, learner_has, register, wall_clock_ms};
#[cfg(feature = "mutants")]
pub use self::armed::arm;
#[cfg(feature = "mutants")]
pub(crate) use self::armed::{is, learner_has, register, wall_clock_ms};

/// A deliberate bug.
#[cfg_attr(
    not(feature = "mutants"),
    expect(dead_code, reason = "without the feature none is there")
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Entries and votes are acknowledged before they are synced.
    AckBeforeSync,
    /// A snapshot leaves out what has been seen of producers.
    ForgetProducersInSnapshot,
    /// A leader serves reads however long ago it has heard of a quorum.
    ServeOnExpiredLease,
    /// A follower keeps its own entries where the leader's contradict them.
    SkipTruncation,
    /// After a restart, the last entry that was applied is applied again.
    ApplyTwiceAfterCrash,
    /// That a learner has an entry counts as if a voter that doesn't answer had it.
    LearnerInQuorum,
    /// State machines get the time of their node's clock, not that of the entry.
    WallClockInApply,
}

#[cfg(feature = "mutants")]
impl Mutant {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AckBeforeSync,
        Self::ForgetProducersInSnapshot,
        Self::ServeOnExpiredLease,
        Self::SkipTruncation,
        Self::ApplyTwiceAfterCrash,
        Self::LearnerInQuorum,
        Self::WallClockInApply,
    ];

    /// Its name on a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AckBeforeSync => "ack-before-sync",
            Self::ForgetProducersInSnapshot => "forget-producers-in-snapshot",
            Self::ServeOnExpiredLease => "serve-on-expired-lease",
            Self::SkipTruncation => "skip-truncation",
            Self::ApplyTwiceAfterCrash => "apply-twice-after-crash",
            Self::LearnerInQuorum => "learner-in-quorum",
            Self::WallClockInApply => "wall-clock-in-apply",
        }
    }
}

#[cfg(feature = "mutants")]
mod armed {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU8, Ordering};
    use std::sync::{Mutex, PoisonError};
    use std::time::{SystemTime, UNIX_EPOCH};

    use kontiki_storage::id::{ReplicaId, ShardId};
    use openraft::async_runtime::watch::WatchReceiver as _;

    use super::Mutant;
    use crate::types::Raft;

    /// One more than the mutant's number; 0: none.
    static ARMED: AtomicU8 = AtomicU8::new(0);
    static GROUPS: Mutex<BTreeMap<(ReplicaId, ShardId), Raft>> = Mutex::new(BTreeMap::new());

    /// From now on, this process has a bug.
    pub fn arm(mutant: Mutant) {
        ARMED.store(mutant as u8 + 1, Ordering::Relaxed);
    }

    pub(crate) fn is(mutant: Mutant) -> bool {
        ARMED.load(Ordering::Relaxed) == mutant as u8 + 1
    }

    /// The time of day, a little different on each node.
    pub(crate) fn wall_clock_ms(replica: ReplicaId) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        now + i64::from(replica.node().0)
    }

    pub(crate) fn register(replica: ReplicaId, shard: ShardId, raft: &Raft) {
        if is(Mutant::LearnerInQuorum) {
            let mut groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
            groups.insert((replica, shard), raft.clone());
        }
    }

    /// Whether a learner of the group that a replica leads has the entry at an index.
    pub(crate) fn learner_has(replica: ReplicaId, shard: ShardId, index: u64) -> bool {
        if !is(Mutant::LearnerInQuorum) {
            return false;
        }
        let groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(raft) = groups.get(&(replica, shard)) else { return false };
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let learners: Vec<u64> = metrics.membership_config.membership().learner_ids().collect();
        let matched = metrics.replication.iter().flatten();
        let mut of_learners = matched.filter(|(target, _)| learners.contains(target));
        of_learners.any(|(_, matched)| matched.is_some_and(|id| id.index >= index))
    }
}

#[cfg(not(feature = "mutants"))]
mod absent {
    use kontiki_storage::id::{ReplicaId, ShardId};

    use super::Mutant;
    use crate::types::Raft;

    pub(crate) const fn is(_: Mutant) -> bool {
        false
    }

    pub(crate) const fn wall_clock_ms(_: ReplicaId) -> i64 {
        0
    }

    pub(crate) const fn register(_: ReplicaId, _: ShardId, _: &Raft) {}

    pub(crate) const fn learner_has(_: ReplicaId, _: ShardId, _: u64) -> bool {
        false
    }
}
