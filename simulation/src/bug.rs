//! Deliberate bugs, wherever in the code they are.

use kontiki_domain::mutant::{self as of_queues, Mutant as OfQueues};
use kontiki_raft::mutant::{self as of_raft, Mutant as OfRaft};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Replicas differ, or forget.
    Raft(OfRaft),
    /// All replicas do the same wrong.
    Queues(OfQueues),
}

impl Bug {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let raft = OfRaft::ALL.into_iter().map(Self::Raft);
        raft.chain(OfQueues::ALL.into_iter().map(Self::Queues))
    }

    /// Its name on a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Raft(bug) => bug.name(),
            Self::Queues(bug) => bug.name(),
        }
    }

    /// From now on, this process has it.
    pub fn arm(self) {
        match self {
            Self::Raft(bug) => of_raft::arm(bug),
            Self::Queues(bug) => of_queues::arm(bug),
        }
    }
}
