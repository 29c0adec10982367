//! Whether a cluster is whole: what is looked at after the faults have stopped.

use kontiki_raft::Status;
use kontiki_storage::id::{NodeId, ReplicaId, ShardId};

use super::Cluster;

impl Cluster {
    /// Whether a node has left for good, as any node knows.
    #[must_use]
    pub fn has_left(&self, node: u32) -> bool {
        let knows = |other: u32| {
            let broker = self.nodes[&other].broker();
            broker.is_some_and(|broker| broker.has_left(NodeId(node)))
        };
        self.up().any(knows)
    }

    /// Why the cluster isn't whole: a node that isn't ready, a shard without a leader, a replica
    /// that is missing, broken, or more than `lag` entries behind. Empty: it is.
    #[must_use]
    pub fn ailments(&self, lag: u64) -> Vec<String> {
        let mut ailments = Vec::new();
        let mut leaders: Vec<(u32, Status)> = Vec::new();
        let mut shards = std::collections::BTreeSet::new();
        for id in self.members() {
            let Some(broker) = self.nodes[&id].broker() else {
                ailments.push(format!("n{id} is not running"));
                continue;
            };
            if let Err(why) = broker.is_ready() {
                ailments.push(format!("n{id} is not ready: {why}"));
            }
            for status in broker.shard_statuses() {
                shards.insert(status.shard);
                if status.failed {
                    ailments.push(format!("n{id}: replica of shard {} failed", status.shard));
                }
                if status.ready {
                    leaders.push((id, status));
                }
            }
        }
        for shard in shards {
            let leading: Vec<_> =
                leaders.iter().filter(|(_, status)| status.shard == shard).collect();
            match leading.as_slice() {
                [(node, status)] => self.look_at(*node, status, lag, &mut ailments),
                [] => ailments.push(format!("shard {shard} has no leader")),
                several => {
                    let nodes: Vec<u32> = several.iter().map(|(node, _)| *node).collect();
                    ailments.push(format!("shard {shard} has leaders on {nodes:?}"));
                }
            }
        }
        ailments
    }

    fn holds(&self, node: u32, replica: ReplicaId, of: &Status) -> bool {
        let broker = self.nodes.get(&node).and_then(|node| node.broker());
        let is_it = |status: &Status| status.shard == of.shard && status.replica == replica;
        broker.is_some_and(|broker| broker.shard_statuses().iter().any(is_it))
    }

    fn look_at(&self, node: u32, status: &Status, lag: u64, ailments: &mut Vec<String>) {
        let shard = status.shard;
        let wanted = self.members().count().min(self.shape.cluster.replication_factor as usize);
        // All founders vote on the catalog, up to five.
        let voters = &status.voters;
        if voters.len() < wanted || (voters.len() > wanted && shard != ShardId::CATALOG) {
            ailments.push(format!("shard {shard} has voters {voters:?}, {wanted} are wanted"));
        }
        for voter in &status.voters {
            let holder = voter.node().0;
            if self.removed.contains(&holder) {
                ailments.push(format!("shard {shard} still has {voter} on n{holder}, removed"));
            } else if !self.holds(holder, *voter, status) {
                // What the leader remembers of it may be of a disk that is gone.
                ailments.push(format!("shard {shard}: {voter} is not on n{holder}"));
            }
        }
        for (replica, matched) in &status.matched {
            let holder = replica.node().0;
            if matched.0 + lag < status.last.0 && status.voters.contains(replica) {
                ailments.push(format!(
                    "shard {shard}, led by n{node}: {replica} on n{holder} has {matched} of {}",
                    status.last
                ));
            }
        }
    }
}
