//! Changes of a shard's members and of its leadership.

use std::collections::BTreeSet;

use kontiki_storage::id::ReplicaId;
use openraft::ChangeMembers;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::impls::EmptyNode;

use super::Shard;
use crate::error::ControlError;
use crate::types::Types;

impl Shard {
    /// Stands for election: the others vote once their leases have run out, and if they would
    /// rather have this one.
    pub(crate) async fn stand(&self) {
        // A replica that has ended is reported elsewhere.
        let _ = self.0.raft.trigger().elect(true).await;
    }

    /// Makes a replica a learner and waits until it is about as far as the leader.
    ///
    /// # Errors
    /// Not the leader, or another change is under way.
    pub async fn add_learner(&self, replica: ReplicaId) -> Result<(), ControlError> {
        let added = self.0.raft.add_learner(replica.0, EmptyNode::default(), true).await;
        added.map(|_| ()).map_err(|error| control_error(&error))
    }

    /// Makes a replica a learner, and doesn't wait for it: it may not even be made yet.
    ///
    /// # Errors
    /// Not the leader, or another change is under way.
    pub async fn admit_learner(&self, replica: ReplicaId) -> Result<(), ControlError> {
        let added = self.0.raft.add_learner(replica.0, EmptyNode::default(), false).await;
        added.map(|_| ()).map_err(|error| control_error(&error))
    }

    /// Makes exactly these replicas the voters. Those that were voters and aren't listed leave, or
    /// stay as learners where `retain` says so. New ones should be learners that have caught up.
    ///
    /// # Errors
    /// Not the leader, or another change is under way.
    pub async fn change_voters(
        &self,
        voters: BTreeSet<ReplicaId>,
        retain: bool,
    ) -> Result<(), ControlError> {
        let voters: BTreeSet<u64> = voters.into_iter().map(|replica| replica.0).collect();
        let change = ChangeMembers::ReplaceAllVoters(voters);
        let changed = self.0.raft.change_membership(change, retain).await;
        changed.map(|_| ()).map_err(|error| control_error(&error))
    }

    /// Lets a learner go.
    ///
    /// # Errors
    /// Not the leader, or another change is under way.
    pub async fn remove_learner(&self, replica: ReplicaId) -> Result<(), ControlError> {
        let change = ChangeMembers::RemoveNodes(BTreeSet::from([replica.0]));
        let changed = self.0.raft.change_membership(change, false).await;
        changed.map(|_| ()).map_err(|error| control_error(&error))
    }

    /// Asks another voter to take over. Returns when it has been asked: watch the role. It is no
    /// error where the leader is to be this replica, which leads already.
    ///
    /// # Errors
    /// Not the leader, not a voter, or stopped.
    pub async fn transfer_leader(&self, to: ReplicaId) -> Result<(), ControlError> {
        let status = self.status();
        if !self.role().leads {
            return Err(ControlError::NotLeader { leader: status.leader });
        }
        if to == status.replica {
            return Ok(());
        }
        if !status.voters.contains(&to) {
            let text = format!("replica {to} is no voter of shard {}", status.shard);
            return Err(ControlError::Refused(text));
        }
        // A vote for a transfer doesn't wait for the lease to end, so reads must not rely on it.
        self.0.progress.hand_over();
        let asked = self.0.raft.trigger().transfer_leader(to.0).await;
        asked.map_err(|_| ControlError::Stopped)
    }
}

pub(crate) fn control_error(error: &RaftError<Types, ClientWriteError<Types>>) -> ControlError {
    match error {
        RaftError::Fatal(_) => ControlError::Stopped,
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            ControlError::NotLeader { leader: forward.leader_id.map(ReplicaId) }
        }
        RaftError::APIError(
            other @ (ClientWriteError::LogEntryDiscarded(_)
            | ClientWriteError::ChangeMembershipError(_)
            | ClientWriteError::PreconditionFailed(_)),
        ) => ControlError::Refused(other.to_string()),
    }
}
