//! What operators ask for, and what other nodes ask of this one about its groups.

use std::collections::BTreeMap;

use kontiki_domain::catalog::{Command, FeatureLevel, NodeState, plan};
use kontiki_proto::node::control_shard_request::Action;
use kontiki_proto::node::{ControlShardRequest, InviteRequest};
use kontiki_raft::ControlError;
use kontiki_storage::id::{NodeId, ReplicaId, ShardId};

use super::{Cluster, is_follower};
use crate::error::{Code, Error, Kind};

/// A shard that moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The shard.
    pub shard: ShardId,
    /// The nodes that have it.
    pub from: Vec<NodeId>,
    /// The nodes that will.
    pub to: Vec<NodeId>,
}

/// A leadership that moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// The shard.
    pub shard: ShardId,
    /// The node that leads.
    pub from: NodeId,
    /// The node that will.
    pub to: NodeId,
}

/// What a rebalancing does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebalance {
    /// Shards that move.
    pub moves: Vec<Move>,
    /// Leaderships that move.
    pub transfers: Vec<Transfer>,
}

impl Cluster {
    /// Invites a node that runs without data into the cluster. It joins by itself within seconds;
    /// shards are given to it by [`rebalance`](Self::rebalance) or by repairs.
    ///
    /// # Errors
    /// The node doesn't answer, is another one, or belongs to another cluster.
    pub async fn add_node(&self, node: NodeId, peer_address: &str) -> Result<(), Error> {
        let cluster_id = self.cluster_id().ok_or_else(|| super::not_ready("no cluster yet"))?;
        let members = self.known_nodes().into_values().collect();
        let request = InviteRequest { cluster_id, node_id: node.0, members };
        let asked = self.within(self.peer(peer_address).invite(self.request(request))).await;
        let answer = asked.map_err(|why| {
            let detail = format!(
                "no node answers at peer address {peer_address} ({}): start it first",
                why.message()
            );
            Error::new(Kind::Unavailable, Code::UNREACHABLE, detail)
        })?;
        match answer.failure {
            None => Ok(()),
            Some(failure) => Err(Error::new(
                Kind::from_number(failure.kind),
                Code(failure.code),
                failure.message,
            )),
        }
    }

    /// Begins to take a node out: nothing new goes to it, what it has moves away, and then it is
    /// forgotten. Returns how many shards have to move first.
    ///
    /// # Errors
    /// The node is unknown, or too few nodes would be left for its shards.
    pub async fn remove_node(&self, node: NodeId) -> Result<usize, Error> {
        let (known, held, blocked) = self.with_catalog(|catalog| {
            let held = catalog
                .placements()
                .filter(|placement| placement.replicas().iter().any(|r| r.node() == node))
                .count();
            let blocked = plan::plan_drain(catalog, node).blocked;
            (catalog.node(node).map(|node| node.state), held, blocked)
        });
        match known {
            None => {
                let detail = format!("node {node} is no member: list the nodes and correct it");
                return Err(Error::new(Kind::NotFound, Code::UNKNOWN_SHARD, detail));
            }
            Some(NodeState::Removed) => return Ok(0),
            Some(NodeState::Active | NodeState::Draining) => {}
        }
        if !blocked.is_empty() {
            let detail = format!(
                "node {node} has replicas of {} shards that no other node can take: each node \
                 has one replica of a shard at most; add a node first",
                blocked.len()
            );
            return Err(Error::new(Kind::Conflict, Code::TOO_FEW_NODES, detail));
        }
        self.propose(Command::DrainNode { node }).await?;
        self.wake();
        Ok(held)
    }

    /// Raises the feature level: to the newest that this node speaks, unless one is named. Answers
    /// what it is then.
    ///
    /// # Errors
    /// A node doesn't speak that level, or it is below the one in force.
    pub async fn raise_feature_level(&self, level: Option<u32>) -> Result<u32, Error> {
        let level = level.map_or(FeatureLevel::NEWEST, FeatureLevel);
        self.propose(Command::SetFeatureLevel { level }).await?;
        Ok(level.0)
    }

    /// Decides that a shard shall have one replica on each of these nodes. Carried out in the
    /// background: new replicas catch up before old ones leave.
    ///
    /// # Errors
    /// The shard or a node is unknown, or a node takes no replicas.
    pub async fn move_shard(&self, shard: ShardId, nodes: Vec<NodeId>) -> Result<(), Error> {
        let version = self.with_catalog(|catalog| catalog.placement(shard).map(|p| p.version));
        let version = version.ok_or_else(|| unknown_shard(shard))?;
        self.propose(Command::PlaceShard { shard, version, nodes }).await?;
        self.wake();
        Ok(())
    }

    /// Asks the leader of a shard to hand over to its replica on a node.
    ///
    /// # Errors
    /// The shard is unknown, has no leader now, or has no voter on that node.
    pub async fn transfer_leadership(&self, shard: ShardId, to: NodeId) -> Result<(), Error> {
        let placement = self.with_catalog(|catalog| catalog.placement(shard).cloned());
        let placement = placement.ok_or_else(|| unknown_shard(shard))?;
        let replica = placement.voters.iter().copied().find(|replica| replica.node() == to);
        let replica = replica.ok_or_else(|| {
            Error::invalid("to_node", to, &format!("a node with a voting replica of shard {shard}"))
        })?;
        let leader = self
            .leader_of(shard)
            .await
            .ok_or_else(|| Error::not_leader(&format!("shard {shard}"), None))?;
        let request = ControlShardRequest {
            action: Action::TransferLeader as i32,
            shard: shard.0,
            replica: replica.0,
        };
        if leader == self.0.node {
            return self.control(request).await;
        }
        let address = self.known_nodes().remove(&leader);
        let address = address.ok_or_else(|| Error::not_leader(&format!("shard {shard}"), None))?;
        let asked = self.within(self.peer(&address).control_shard(self.request(request))).await;
        match asked.map(|answer| answer.failure) {
            Ok(None) => Ok(()),
            Ok(Some(failure)) => Err(Error::new(
                Kind::from_number(failure.kind),
                Code(failure.code),
                failure.message,
            )),
            Err(why) => {
                let detail = format!("node {leader} doesn't answer: {}", why.message());
                Err(Error::new(Kind::Unavailable, Code::UNREACHABLE, detail))
            }
        }
    }

    /// Spreads replicas and leaderships evenly; with `dry_run` only says how.
    ///
    /// # Errors
    /// The catalog can't be asked.
    pub async fn rebalance(&self, dry_run: bool) -> Result<Rebalance, Error> {
        let (plans, moves, preferred) = self.with_catalog(|catalog| {
            let plans = plan::plan_rebalance(catalog);
            let moves = plans
                .iter()
                .map(|plan| Move {
                    shard: plan.shard,
                    from: catalog.placement(plan.shard).map_or_else(Vec::new, |placement| {
                        placement.voters.iter().map(|replica| replica.node()).collect()
                    }),
                    to: plan.nodes.clone(),
                })
                .collect();
            (plans, moves, plan::leader_preferences(catalog))
        });
        let leaders = self.leaders().await;
        let transfers: Vec<Transfer> = preferred
            .into_iter()
            .filter_map(|(shard, to)| {
                let from = leaders.get(&shard).copied()?;
                (from != to).then_some(Transfer { shard, from, to })
            })
            .collect();
        if !dry_run {
            for plan in plans {
                self.propose(plan.command()).await?;
            }
            for transfer in &transfers {
                if let Err(error) = self.transfer_leadership(transfer.shard, transfer.to).await {
                    tracing::info!(shard = %transfer.shard, %error, "leadership stays for now");
                }
            }
            self.wake();
        }
        Ok(Rebalance { moves, transfers })
    }

    /// Does what another node asks about a group that this node leads.
    ///
    /// # Errors
    /// This node doesn't lead it, or the change is refused.
    pub async fn control(&self, request: ControlShardRequest) -> Result<(), Error> {
        let id = ShardId(request.shard);
        let replica = ReplicaId(request.replica);
        let thing = format!("shard {id}");
        let shard = self.0.raft.shard(id).ok_or_else(|| unknown_shard(id))?;
        let failed = |error: ControlError| match error {
            ControlError::NotLeader { leader } => {
                Error::not_leader(&thing, leader.map(ReplicaId::node))
            }
            ControlError::Refused(_)
            | ControlError::NoReplica { .. }
            | ControlError::Present { .. }
            | ControlError::Stopped
            | ControlError::Storage(_) => {
                Error::new(Kind::Conflict, Code::CHANGE_REFUSED, error.to_string())
            }
        };
        match Action::try_from(request.action) {
            Ok(Action::TransferLeader) => {
                let mut role = shard.watch();
                shard.transfer_leader(replica).await.map_err(failed)?;
                let taken = role.wait_for(|role| role.leader == Some(replica));
                let taken = tokio::time::timeout(self.0.options.call_timeout(), taken).await;
                taken.map(|_| ()).map_err(|_| {
                    let detail = format!(
                        "{thing} was not taken over by {replica} in time: see whether its node is \
                         up and has caught up, and ask again"
                    );
                    Error::new(Kind::Conflict, Code::CHANGE_REFUSED, detail)
                })
            }
            Ok(Action::FollowCatalog) if id == ShardId::CATALOG && is_follower(replica) => {
                let earlier = shard.status().learners.into_iter();
                // Not one that is to vote: it may have been added a moment ago.
                let former =
                    |l: &ReplicaId| l.node() == replica.node() && *l != replica && is_follower(*l);
                for former in earlier.filter(former) {
                    shard.remove_learner(former).await.map_err(failed)?;
                }
                // Its node makes it, in the place of a damaged one, only once this is committed.
                shard.admit_learner(replica).await.map_err(failed)
            }
            Ok(Action::FollowCatalog | Action::Unspecified) | Err(_) => {
                Err(Error::invalid("action", request.action, "an action that fits the shard"))
            }
        }
    }

    async fn leader_of(&self, shard: ShardId) -> Option<NodeId> {
        let here = self.0.raft.shard(shard).and_then(|shard| shard.role().leader);
        match here {
            Some(leader) => Some(leader.node()),
            None => self.leaders().await.remove(&shard),
        }
    }

    /// Who leads which shard, as far as any node knows.
    pub(super) async fn leaders(&self) -> BTreeMap<ShardId, NodeId> {
        let described = self.describe().await;
        let shards = described.shards.into_iter();
        shards.filter_map(|shard| Some((shard.shard, shard.leader?))).collect()
    }
}

fn unknown_shard(shard: ShardId) -> Error {
    let detail = format!("shard {shard} does not exist: list the shards and correct the number");
    Error::new(Kind::NotFound, Code::UNKNOWN_SHARD, detail)
}
