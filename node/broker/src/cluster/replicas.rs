//! Makes this node's replicas what its copy of the catalog says they should be.
//!
//! A replica id is given out once. One that the catalog doesn't name any more is dropped, and so is
//! one that it names as lost, unless the others are too few to rebuild it from; one that it names
//! and that isn't here is made, empty: it never was here, for a replica's row is durable before it
//! takes part in anything.

use std::collections::BTreeMap;

use kontiki_domain::catalog::{Command, NodeState, Placement};
use kontiki_proto::node::control_shard_request::Action;
use kontiki_proto::node::{ControlShardRequest, ControlShardResponse};
use kontiki_storage::id::{NodeId, ReplicaId, ShardId};

use super::{Cluster, is_follower, new_follower};

/// What is to be done about one data shard.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Make the replica; with voters, found the group with them.
    Create(ReplicaId, Option<Vec<ReplicaId>>),
    /// Found the group of a replica that is here.
    Initialize(Vec<ReplicaId>),
    /// The replica is not wanted any more.
    Drop(ReplicaId),
    /// The catalog must hear that the replica's data is gone.
    Report(ReplicaId),
}

/// What to do with a shard: `here` is this node's replica, and whether it has failed.
fn step(
    placement: Option<&Placement>,
    node: NodeId,
    here: Option<(ReplicaId, bool)>,
) -> Option<Step> {
    let wanted = placement.and_then(|placement| placement.replica_on(node));
    match (here, wanted) {
        (None, None) => None,
        (None, Some(wanted)) => {
            let placement = placement.expect("it names the replica");
            let voters = (!placement.founded).then(|| placement.voters.clone());
            Some(Step::Create(wanted, voters))
        }
        (Some((here, true)), Some(wanted)) if here == wanted => Some(Step::Report(here)),
        (Some((here, false)), Some(wanted)) if here == wanted => {
            let placement = placement.expect("it names the replica");
            (!placement.founded).then(|| Step::Initialize(placement.voters.clone()))
        }
        (Some((here, false)), Some(wanted)) if is_later(here, wanted) => None,
        (Some((here, true)), None) if placement.is_some_and(|it| is_last_resort(it, here)) => None,
        (Some((here, _)), _) => Some(Step::Drop(here)),
    }
}

/// Whether so many voters are lost, this one among them, that the others can't decide anything:
/// what is left of each may be all that there is, and is kept for who has to rescue it.
fn is_last_resort(placement: &Placement, here: ReplicaId) -> bool {
    let voters = &placement.voters;
    let lost = voters.iter().filter(|voter| placement.lost.contains(voter)).count();
    voters.contains(&here) && (voters.len() - lost) * 2 <= voters.len()
}

/// Whether the replica here was given out after the one that is wanted: the wanted one is of the
/// past, and its id must never be used again.
fn is_later(here: ReplicaId, wanted: ReplicaId) -> bool {
    !is_follower(here) && here.incarnation() > wanted.incarnation()
}

impl Cluster {
    /// All nodes that have not been removed, with their peer addresses; before there is a catalog,
    /// those that this node was told of.
    pub(super) fn known_nodes(&self) -> BTreeMap<NodeId, String> {
        let known = self.with_catalog(|catalog| -> BTreeMap<NodeId, String> {
            let nodes = catalog.nodes().filter(|node| node.state != NodeState::Removed);
            nodes.map(|node| (node.spec.node, node.spec.peer_address.clone())).collect()
        });
        if !known.is_empty() {
            return known;
        }
        let membership = self.identity().membership;
        let members = membership.into_iter().flat_map(|membership| membership.members);
        members.map(|(node, address)| (NodeId(node), address)).collect()
    }

    /// Links to all nodes; to one that has been removed as long as it follows the catalog, so that
    /// it hears of it.
    pub(super) fn update_peers(&self) {
        let mut nodes = self.known_nodes();
        if let Some(catalog) = self.0.raft.shard(ShardId::CATALOG) {
            let learners = catalog.status().learners;
            self.with_catalog(|catalog| {
                for learner in learners {
                    if let Some(node) = catalog.node(learner.node()) {
                        let address = || node.spec.peer_address.clone();
                        nodes.entry(node.spec.node).or_insert_with(address);
                    }
                }
            });
        }
        self.0.raft.set_peers(&nodes);
    }

    /// The catalog's own replica: a voter where the catalog says so, a follower anywhere else.
    pub(super) async fn check_catalog_replica(&self) {
        let raft = &self.0.raft;
        let node = self.0.node;
        let failed = raft.failed().into_iter().find(|(shard, _)| *shard == ShardId::CATALOG);
        if let Some((_, failed)) = failed {
            self.replace_damaged_catalog(failed).await;
            return;
        }
        let Some(shard) = raft.shard(ShardId::CATALOG) else { return };
        let here = shard.replica();
        let placement = self.with_catalog(|catalog| catalog.placement(ShardId::CATALOG).cloned());
        if is_follower(here) {
            let status = shard.status();
            if !status.learners.contains(&here) {
                let _ = self.ask_to_follow(here).await;
                return;
            }
        }
        let Some(placement) = placement.filter(|_| self.catalog_is_current()) else { return };
        let version = self.with_catalog(|catalog| catalog.version().0);
        let wanted = placement.replica_on(node);
        let replaced = match wanted {
            Some(wanted) if wanted == here || is_later(here, wanted) => return,
            // The voter that the catalog remembers was here and is gone.
            Some(wanted) if is_follower(here) && placement.voters.contains(&wanted) => {
                let (shard, replica) = (ShardId::CATALOG, wanted);
                let _ = self.propose(Command::MarkReplicaLost { shard, replica }).await;
                // Until the catalog has heard that, its leader takes this follower for needless and
                // may have let it go, which the follower then doesn't hear of.
                let _ = self.ask_to_follow(here).await;
                return;
            }
            None if is_follower(here) => return,
            wanted => {
                if let Err(error) = self.act_at(version).await {
                    tracing::warn!(%error, "this node's catalog replica is not replaced yet");
                    return;
                }
                let new = wanted.unwrap_or_else(|| new_follower(node, (self.0.random)()));
                self.replace_catalog(here, new).await
            }
        };
        if let Err(error) = replaced {
            tracing::warn!(%error, "this node's catalog replica is not replaced yet");
        }
    }

    /// A damaged replica is dropped when the others have committed that another takes its place,
    /// and not before: where they can't, what is left of it may be all that there is.
    async fn replace_damaged_catalog(&self, damaged: ReplicaId) {
        let new = new_follower(self.0.node, (self.0.random)());
        if !self.ask_to_follow(new).await {
            tracing::error!(replica = %damaged, "the catalog's replica is damaged and can't be \
                rebuilt yet: no other node leads the catalog; it is kept as it is");
            return;
        }
        if let Err(error) = self.replace_catalog(damaged, new).await {
            tracing::warn!(%error, "the damaged catalog replica is not replaced yet");
        }
    }

    /// Whether the catalog's leader has taken the replica in.
    async fn ask_to_follow(&self, replica: ReplicaId) -> bool {
        for (node, address) in self.known_nodes() {
            if node == self.0.node {
                continue;
            }
            let request = ControlShardRequest {
                action: Action::FollowCatalog as i32,
                shard: ShardId::CATALOG.0,
                replica: replica.0,
            };
            let asked = self.within(self.peer(&address).control_shard(self.request(request))).await;
            match asked {
                Ok(ControlShardResponse { failure: None }) => return true,
                Ok(ControlShardResponse { failure: Some(why) }) => {
                    tracing::debug!(%node, why = why.message, "can't follow the catalog there");
                }
                Err(why) => tracing::debug!(%node, why = why.message(), "no answer"),
            }
        }
        false
    }

    /// Every data shard's replica on this node, one after the other.
    pub(super) async fn check_replicas(&self) {
        let node = self.0.node;
        if !self.catalog_is_current() {
            return;
        }
        let raft = &self.0.raft;
        let mut here: BTreeMap<ShardId, (ReplicaId, bool)> =
            raft.shards().iter().map(|shard| (shard.id(), (shard.replica(), false))).collect();
        here.extend(raft.failed().into_iter().map(|(shard, replica)| (shard, (replica, true))));
        here.remove(&ShardId::CATALOG);
        let (steps, version) = self.with_catalog(|catalog| {
            let mut steps = Vec::new();
            for placement in catalog.placements().filter(|p| p.shard != ShardId::CATALOG) {
                let present = here.remove(&placement.shard);
                if let Some(step) = step(Some(placement), node, present) {
                    steps.push((placement.shard, step));
                }
            }
            (steps, catalog.version().0)
        });
        if steps.is_empty() {
            return;
        }
        if let Err(error) = self.act_at(version).await {
            tracing::warn!(%error, "replicas are not what they should be yet");
            return;
        }
        for (shard, step) in steps {
            if let Err(why) = self.take(shard, step).await {
                tracing::warn!(%shard, why, "a replica is not what it should be yet");
            }
        }
    }

    async fn take(&self, shard: ShardId, step: Step) -> Result<(), String> {
        let raft = &self.0.raft;
        let text = |error: kontiki_raft::ControlError| error.to_string();
        match step {
            Step::Create(replica, voters) => {
                raft.create_replica(shard, replica).await.map_err(text)?;
                if let Some(voters) = voters {
                    raft.initialize(shard, &voters).await.map_err(text)?;
                }
                Ok(())
            }
            Step::Initialize(voters) => {
                let started = raft.shard(shard).is_some_and(|s| !s.status().voters.is_empty());
                if started { Ok(()) } else { raft.initialize(shard, &voters).await.map_err(text) }
            }
            Step::Drop(replica) => raft.drop_replica(shard, replica).await.map_err(text),
            Step::Report(replica) => {
                let lost = Command::MarkReplicaLost { shard, replica };
                self.propose(lost).await.map(|_| ()).map_err(|error| error.to_string())
            }
        }
    }
}

#[cfg(test)]
#[path = "replicas_test.rs"]
mod tests;
