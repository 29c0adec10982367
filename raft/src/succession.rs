//! A leader whose node is gone is replaced as soon as its lease is over, without the wait for one
//! that is only silent.
//!
//! A process that ends closes its connections, which the other nodes notice at once. That isn't
//! proof, so nobody breaks the lease: until it has run out on a quorum, none of them votes for
//! another leader, and reads that the old one may still serve are current. What is saved is the
//! election timeout after it, which is there to tell a leader that is late from one that is gone.

use std::sync::Weak;
use std::time::Duration;

use kontiki_storage::id::{NodeId, ReplicaId};
use tokio::sync::watch;

use crate::node::{Inner, RaftNode};
use crate::shard::Shard;

/// Beyond the lease, which the others may have renewed a little later.
const AFTER_LEASE: Duration = Duration::from_millis(10);
/// Between attempts; in each another replica of a shard stands, so that they don't share the votes.
const STEP: Duration = Duration::from_millis(60);
/// How often it is tried; then the replicas' own timers have taken over.
const ATTEMPTS: usize = 6;

/// Watches for nodes that are lost, as long as this one runs.
pub(crate) async fn run(node: Weak<Inner>, mut lost: watch::Receiver<Option<NodeId>>) {
    while lost.changed().await.is_ok() {
        let peer = *lost.borrow_and_update();
        let Some(peer) = peer else { continue };
        let Some(inner) = node.upgrade() else { return };
        tokio::spawn(succeed(RaftNode(inner), peer));
    }
}

async fn succeed(node: RaftNode, lost: NodeId) {
    let lease = Duration::from_millis(node.0.options.election_timeout_ms_max);
    tokio::time::sleep(lease + AFTER_LEASE).await;
    for attempt in 0..ATTEMPTS {
        if node.reachable(lost) {
            return;
        }
        let orphans: Vec<Shard> = node.shards().into_iter().filter(|s| led_by(s, lost)).collect();
        if orphans.is_empty() {
            return;
        }
        for shard in orphans {
            if stands(&shard, lost, attempt) {
                tracing::debug!(shard = %shard.id(), %lost, "its leader's node is gone");
                shard.stand().await;
            }
        }
        tokio::time::sleep(STEP).await;
    }
}

fn led_by(shard: &Shard, node: NodeId) -> bool {
    shard.role().leader.is_some_and(|leader| leader.node() == node)
}

/// Whether it is this replica's turn among those that are left. Each shard begins with another one,
/// so that one node doesn't get all leaderships.
fn stands(shard: &Shard, lost: NodeId, attempt: usize) -> bool {
    let mut voters: Vec<ReplicaId> = shard.status().voters;
    voters.retain(|voter| voter.node() != lost);
    voters.sort_unstable();
    let turn = usize::try_from(shard.id().0).unwrap_or(0) + attempt;
    !voters.is_empty() && voters[turn % voters.len()] == shard.replica()
}
