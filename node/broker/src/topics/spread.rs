//! What the catalog's leader has answered, brought to the copies on all nodes.
//!
//! A change is committed when its caller hears of it, but each node applies it in its own time. A
//! client that is told "created" may go to any node next, so the call waits until the others have
//! it too: a node that can't be reached is left out, and one that lags is waited for only so long.

use std::time::Duration;

use futures_util::future::join_all;
use kontiki_domain::catalog::NodeState;
use kontiki_proto::node::StatusRequest;
use kontiki_storage::id::{LogIndex, NodeId, ShardId};
use tokio::time::Instant;

use crate::core::Core;

/// The first pause between two looks at a node that lags; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(20);

impl Core {
    /// Waits until every node that can be reached has applied what the catalog has answered so
    /// far, this one included; but no longer than `topics.visible_ms`.
    pub(crate) async fn catalog_everywhere(&self) {
        let limit = self.visible_by();
        let (newest, seen) = self.newest_catalog(limit).await;
        let here = self.catalog_reaches(newest, limit);
        let lagging = seen.into_iter().filter(|(_, applied)| *applied < newest);
        let there = lagging.map(|(node, _)| self.node_reaches(node, newest, limit));
        tokio::join!(here, join_all(there));
    }

    /// Waits until this node's copy has what the catalog has answered so far, as far as the nodes
    /// that can be reached know of it; but no longer than `topics.visible_ms`.
    pub(crate) async fn catalog_here(&self) {
        let limit = self.visible_by();
        let (newest, _) = self.newest_catalog(limit).await;
        self.catalog_reaches(newest, limit).await;
    }

    fn visible_by(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.options.topics.visible_ms)
    }

    /// The newest index that any node has applied. The leader answers only after it has applied,
    /// so that it is no older than any answer.
    async fn newest_catalog(&self, limit: Instant) -> (u64, Vec<(NodeId, u64)>) {
        let nodes: Vec<NodeId> = self.catalog.look(|catalog| {
            let nodes = catalog.nodes().filter(|node| node.state != NodeState::Removed);
            nodes.map(|node| node.spec.node).collect()
        });
        let others = nodes.into_iter().filter(|node| *node != self.node);
        let others = others.filter(|node| self.raft.reachable(*node));
        let asked = others.map(|node| async move {
            self.applied_on(node, limit).await.map(|applied| (node, applied))
        });
        let seen: Vec<(NodeId, u64)> = join_all(asked).await.into_iter().flatten().collect();
        let here = self.raft.shard(ShardId::CATALOG).map_or(0, |replica| replica.applied().0);
        let newest = seen.iter().map(|(_, applied)| *applied).fold(here, u64::max);
        (newest, seen)
    }

    async fn catalog_reaches(&self, index: u64, limit: Instant) {
        if let Some(replica) = self.raft.shard(ShardId::CATALOG) {
            // Too late is no failure: what depends on the copy looks again.
            let _ = tokio::time::timeout_at(limit, replica.wait_applied(LogIndex(index))).await;
        }
    }

    async fn node_reaches(&self, node: NodeId, index: u64, limit: Instant) {
        let mut pause = PAUSE_MIN;
        while Instant::now() + pause < limit {
            tokio::time::sleep(pause).await;
            match self.applied_on(node, limit).await {
                Some(applied) if applied < index => pause = (pause * 2).min(PAUSE_MAX),
                Some(_) | None => return,
            }
        }
        tracing::debug!(%node, index, "its copy of the catalog lags; not waited for any longer");
    }

    /// How far a node has applied the catalog; `None` where it doesn't say, or has no copy.
    async fn applied_on(&self, node: NodeId, limit: Instant) -> Option<u64> {
        let mut client = self.router.peer(node)?;
        let asked = tokio::time::timeout_at(limit, client.status(StatusRequest {})).await;
        let status = asked.ok()?.ok()?.into_inner();
        let of_catalog = |shard: &&kontiki_proto::node::status_response::Shard| {
            shard.shard == ShardId::CATALOG.0 && !shard.failed
        };
        status.shards.iter().find(of_catalog).map(|shard| shard.applied_index)
    }
}
