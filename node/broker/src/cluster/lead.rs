//! What the leader of a group does for it: brings its members to where the catalog wants them, and
//! reports what they are. On the catalog's leader also: repair, drain, and the spread of leaders.

use std::collections::BTreeSet;
use std::time::Duration;

use kontiki_domain::catalog::{Catalog, Command, NodeState, Placement, PlacementVersion, plan};
use kontiki_raft::{ControlError, Shard, Status};
use kontiki_storage::id::{NodeId, ReplicaId, ShardId};

use super::{Cluster, is_follower, peers};

/// A new replica may take this long to catch up before the change is begun again.
const CATCH_UP: Duration = Duration::from_secs(600);

/// A replica whose log is this close to the leader's can take over without a pause.
const CLOSE_ENTRIES: u64 = 1_000;

impl Cluster {
    /// Looks at every group that this node leads; changes run as tasks of their own, one per group.
    pub(super) fn check_groups(&self) {
        let current = self.catalog_is_current();
        for shard in self.0.raft.shards() {
            if !shard.role().ready || shard.has_failed() {
                continue;
            }
            let placement = self.with_catalog(|catalog| catalog.placement(shard.id()).cloned());
            let Some(placement) = placement else {
                if shard.id() == ShardId::CATALOG {
                    self.spawn(shard, |cluster, _| async move {
                        cluster.found_in_catalog().await;
                    });
                }
                continue;
            };
            if !current || self.settled(&shard, &placement) {
                continue;
            }
            self.spawn(shard, move |cluster, shard| async move {
                let version = placement.version;
                let changed = tokio::select! {
                    biased;
                    changed = cluster.change(&shard, placement) => changed,
                    () = cluster.decided_anew(shard.id(), version) => {
                        Err("something else has been decided meanwhile".to_owned())
                    }
                };
                if let Err(why) = changed {
                    tracing::info!(shard = %shard.id(), why, "members are not changed yet");
                }
            });
        }
        if self.0.raft.shard(ShardId::CATALOG).is_some_and(|catalog| catalog.role().ready) {
            let cluster = self.clone();
            self.once(ShardId::NODE, async move { cluster.plan().await });
        }
    }

    /// Waits until the catalog wants something else of a shard: a replica that nobody wants any
    /// more isn't waited for.
    async fn decided_anew(&self, shard: ShardId, version: PlacementVersion) {
        let mut versions = self.port().catalog_version();
        loop {
            let now = self.with_catalog(|catalog| catalog.placement(shard).map(|it| it.version));
            if now != Some(version) {
                return;
            }
            if versions.changed().await.is_err() {
                return;
            }
        }
    }

    fn settled(&self, shard: &Shard, placement: &Placement) -> bool {
        let status = shard.status();
        let mut voters = status.voters.clone();
        voters.sort_unstable();
        let stray =
            status.learners.iter().any(|learner| self.stray(placement, &status.learners, *learner));
        placement.founded && placement.target.is_none() && voters == placement.voters && !stray
    }

    /// A learner that nobody wants.
    fn stray(&self, placement: &Placement, learners: &[ReplicaId], learner: ReplicaId) -> bool {
        if placement.replicas().contains(&learner) {
            return false;
        }
        if placement.shard != ShardId::CATALOG {
            return true;
        }
        let node = learner.node();
        let removed = self.with_catalog(|catalog| {
            catalog.node(node).is_none_or(|known| known.state == NodeState::Removed)
        });
        let votes = placement.replica_on(node).is_some_and(|r| placement.voters.contains(&r));
        // A former voter stays until its node follows under another id.
        let follows = |other: &ReplicaId| other.node() == node && is_follower(*other);
        let replaced = !is_follower(learner) && learners.iter().any(follows);
        removed || votes || replaced
    }

    fn spawn<F>(&self, shard: Shard, change: impl FnOnce(Self, Shard) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let id = shard.id();
        self.once(id, change(self.clone(), shard));
    }

    /// Runs a change of a group unless one is under way.
    fn once(&self, shard: ShardId, change: impl Future<Output = ()> + Send + 'static) {
        let fresh = self.0.busy.lock().expect("nothing panics under this lock").insert(shard);
        if !fresh {
            return;
        }
        let cluster = self.clone();
        tokio::spawn(async move {
            change.await;
            cluster.0.busy.lock().expect("nothing panics under this lock").remove(&shard);
        });
    }

    /// One change of a group towards its placement, and the report of what it is then.
    async fn change(&self, shard: &Shard, placement: Placement) -> Result<(), String> {
        let text = |error: ControlError| error.to_string();
        if let Some(target) = placement.target.clone().filter(|_| placement.founded) {
            let status = shard.status();
            let known: BTreeSet<ReplicaId> =
                status.voters.iter().chain(&status.learners).copied().collect();
            for replica in target.iter().filter(|replica| !known.contains(replica)) {
                let added = tokio::time::timeout(CATCH_UP, shard.add_learner(*replica)).await;
                added.map_err(|_| format!("replica {replica} doesn't catch up"))?.map_err(text)?;
            }
            let voters: BTreeSet<ReplicaId> = status.voters.iter().copied().collect();
            let wanted: BTreeSet<ReplicaId> = target.iter().copied().collect();
            if voters != wanted {
                self.wait_caught_up(shard, &wanted).await?;
                // A node whose catalog replica votes no more still has to hear what becomes of
                // its other replicas: it goes on as a learner until it has made a follower.
                let retain = shard.id() == ShardId::CATALOG;
                shard.change_voters(wanted.clone(), retain).await.map_err(text)?;
            }
            if !wanted.contains(&shard.replica())
                && let Some(to) = closest(&shard.status(), &wanted)
            {
                // Best effort: the group elects a leader in any case.
                let _ = shard.transfer_leader(to).await;
            }
        }
        let status = shard.status();
        for learner in &status.learners {
            if self.stray(&placement, &status.learners, *learner) {
                shard.remove_learner(*learner).await.map_err(text)?;
            }
        }
        self.report(shard, placement.version).await
    }

    /// A learner that is far behind would hold up the new voters.
    async fn wait_caught_up(
        &self,
        shard: &Shard,
        wanted: &BTreeSet<ReplicaId>,
    ) -> Result<(), String> {
        let begun = tokio::time::Instant::now();
        loop {
            let status = shard.status();
            let behind = wanted.iter().find(|replica| {
                **replica != shard.replica() && lag(&status, **replica) > CLOSE_ENTRIES
            });
            let Some(behind) = behind else { return Ok(()) };
            if !status.learners.contains(behind) && !status.voters.contains(behind) {
                return Err(format!("replica {behind} is no member any more"));
            }
            if !shard.role().leads {
                return Err("leadership is lost".to_owned());
            }
            if begun.elapsed() > CATCH_UP {
                return Err(format!("replica {behind} doesn't catch up"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Tells the catalog the group's voters, surely as its leader.
    async fn report(&self, shard: &Shard, version: PlacementVersion) -> Result<(), String> {
        shard.read_barrier().await.map_err(|error| error.to_string())?;
        let voters = shard.status().voters;
        let command = Command::CommitPlacement { shard: shard.id(), version, voters };
        self.propose(command).await.map(|_| ()).map_err(|error| error.to_string())
    }

    /// On the catalog's leader: what has to be moved, and which nodes are empty.
    async fn plan(&self) {
        let commands = self.with_catalog(planned);
        for command in commands {
            if let Err(error) = self.propose(command).await {
                tracing::debug!(%error, "a planned change is not decided yet");
            }
        }
    }

    /// Hands leaderships to the nodes that the catalog prefers, once those have been there for a
    /// while.
    pub(super) async fn check_leaders(&self, peers: &peers::Reachable) {
        let preferred = self.with_catalog(plan::leader_preferences);
        let mut moved = 0;
        for shard in self.0.raft.shards() {
            let Some(to) = preferred.get(&shard.id()).copied() else { continue };
            let status = shard.status();
            let ours = !status.ready || to == self.0.node || status.failed;
            let settled = peers.led_for(shard.id(), self.0.options.leader_keep_ms)
                && peers.for_long(to, self.0.options.leader_return_ms);
            if ours || !settled {
                continue;
            }
            let Some(replica) = status.voters.iter().copied().find(|r| r.node() == to) else {
                continue;
            };
            if lag(&status, replica) > CLOSE_ENTRIES {
                continue;
            }
            match shard.transfer_leader(replica).await {
                Ok(()) => tracing::info!(shard = %shard.id(), %to, "leadership is handed over"),
                Err(error) => tracing::debug!(shard = %shard.id(), %error, "not handed over"),
            }
            moved += 1;
            if moved == self.0.options.leader_moves_max {
                return;
            }
        }
    }

    /// Hands all leaderships of this node to others: before it stops.
    pub async fn hand_over(&self) {
        for shard in self.0.raft.shards() {
            let status = shard.status();
            if !shard.role().leads {
                continue;
            }
            let others: BTreeSet<ReplicaId> =
                status.voters.iter().copied().filter(|r| *r != shard.replica()).collect();
            let reachable: BTreeSet<ReplicaId> =
                others.into_iter().filter(|r| self.0.raft.reachable(r.node())).collect();
            if let Some(to) = closest(&status, &reachable)
                && shard.transfer_leader(to).await.is_ok()
            {
                let mut role = shard.watch();
                let handed = role.wait_for(|role| !role.leads);
                let _ = tokio::time::timeout(Duration::from_millis(500), handed).await;
            }
        }
    }
}

/// Entries by which a replica's log is known to be behind; one that has nothing may not even be
/// there yet.
fn lag(status: &Status, replica: ReplicaId) -> u64 {
    let matched = status.matched.iter().find(|(id, at)| *id == replica && at.0 > 0);
    matched.map_or(u64::MAX, |(_, at)| status.last.0.saturating_sub(at.0))
}

fn closest(status: &Status, among: &BTreeSet<ReplicaId>) -> Option<ReplicaId> {
    let others = among.iter().copied().filter(|replica| *replica != status.replica);
    others.filter(|replica| status.voters.contains(replica)).min_by_key(|r| lag(status, *r))
}

/// Repairs first; then the moves off nodes that are to go, and the nodes that are empty.
fn planned(catalog: &Catalog) -> Vec<Command> {
    let repairs = plan::plan_repair(catalog);
    let mut commands: Vec<Command> = repairs.into_iter().map(plan::Move::command).collect();
    let draining: Vec<NodeId> = catalog
        .nodes()
        .filter(|node| node.state == NodeState::Draining)
        .map(|node| node.spec.node)
        .collect();
    for node in draining {
        let holds = |placement: &Placement| placement.replicas().iter().any(|r| r.node() == node);
        if catalog.placements().any(holds) {
            let moves = plan::plan_drain(catalog, node).moves;
            commands.extend(moves.into_iter().map(plan::Move::command));
        } else {
            commands.push(Command::RemoveNode { node });
        }
    }
    commands
}
