//! Reads: is this replica the leader, and has it applied all that was acknowledged?

use kontiki_storage::id::{LogIndex, ReplicaId};
use openraft::ReadPolicy;
use openraft::async_runtime::Instant as _;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{LinearizableReadError, RaftError};

use super::Shard;
use crate::error::ReadError;
use crate::mutant::{self, Mutant};

impl Shard {
    /// Whether this replica's lease as the leader holds at this moment. What was read before a
    /// successful check was current when it was read; a pause of the process in between doesn't
    /// matter, for the check comes after it.
    #[must_use]
    pub fn lease_holds(&self) -> bool {
        let role = self.role();
        if !role.ready || self.0.progress.has_failed() || self.0.progress.is_handing_over() {
            return false;
        }
        if mutant::is(Mutant::ServeOnExpiredLease) {
            return true;
        }
        let receiver = self.0.raft.metrics();
        let acked = receiver.borrow_watched().last_quorum_acked;
        acked.is_some_and(|acked| acked.elapsed() < self.0.lease)
    }

    /// Confirms the leadership, by lease where it holds and else by a round of a quorum, and waits
    /// until everything that was committed before the call is applied: another replica may have
    /// applied and shown it already, while this one's disk is slow. Returns the applied index.
    ///
    /// # Errors
    /// Not the leader, no quorum, or stopped.
    pub async fn read_barrier(&self) -> Result<LogIndex, ReadError> {
        if self.0.progress.has_failed() {
            return Err(ReadError::Stopped);
        }
        if mutant::is(Mutant::ServeOnExpiredLease) && self.lease_holds() {
            return Ok(self.applied());
        }
        if self.lease_holds() && self.confirm(ReadPolicy::LeaseRead).await.is_ok() {
            let applied = self.applied();
            // Raft's own lease knows nothing of clocks that drift. This one is shorter, and where
            // it holds now, it held when Raft looked.
            if self.lease_holds() {
                return Ok(applied);
            }
        }
        self.confirm(ReadPolicy::ReadIndex).await?;
        Ok(self.applied())
    }

    async fn confirm(&self, policy: ReadPolicy) -> Result<(), ReadError> {
        match self.0.raft.ensure_linearizable(policy).await {
            Ok(_) => Ok(()),
            Err(RaftError::Fatal(_)) => Err(ReadError::Stopped),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(ReadError::NotLeader { leader: forward.leader_id.map(ReplicaId) })
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err(ReadError::NoQuorum)
            }
        }
    }
}
