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
    /// until everything acknowledged before the call is applied. Returns the applied index.
    ///
    /// # Errors
    /// Not the leader, no quorum, or stopped.
    pub async fn read_barrier(&self) -> Result<LogIndex, ReadError> {
        if self.lease_holds() {
            return Ok(self.applied());
        }
        if self.0.progress.has_failed() {
            return Err(ReadError::Stopped);
        }
        match self.0.raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
            Ok(_) => Ok(self.applied()),
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
