//! What the catalog's leader has answered, brought to the copies on all nodes.
//!
//! A change is committed when its caller hears of it, but each node applies it in its own time. A
//! client that is told "created" may go to any node next, so the call waits until the others have
//! it too: a node that can't be reached is left out, and one that lags is waited for only so long.

use std::time::Duration;

use futures_util::future::join_all;
use kontiki_domain::catalog::NodeState;
use kontiki_proto::node::{BarrierRequest, StatusRequest};
use kontiki_storage::id::{LogIndex, NodeId, ShardId};
use tokio::time::Instant;

use crate::core::Core;
use crate::error::Error;

/// The first pause between two looks at a node that lags; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// A leader that doesn't answer for so long is asked for anew: it may have been replaced.
const BARRIER_MAX: Duration = Duration::from_secs(2);

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

    /// Waits until this node's copy has everything that was answered before the call, as the
    /// catalog's leader knows it: what is looked up in it then is current.
    ///
    /// # Errors
    /// No leader has answered in time.
    pub(crate) async fn catalog_barrier(&self, deadline: Instant) -> Result<(), Error> {
        let pause = Duration::from_millis(self.options.route.retry_ms);
        loop {
            if let Some(index) = self.catalog_index(deadline).await
                && let Some(replica) = self.raft.shard(ShardId::CATALOG)
            {
                let reached = replica.wait_applied(LogIndex(index));
                if tokio::time::timeout_at(deadline, reached).await.is_ok() {
                    return Ok(());
                }
            }
            if Instant::now() + pause >= deadline {
                return Err(Error::not_done_in_time("the catalog"));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// What the catalog's leader has applied, once it knows that it still leads.
    async fn catalog_index(&self, deadline: Instant) -> Option<u64> {
        let leader = self.router.leader(ShardId::CATALOG)?;
        let limit = deadline.min(Instant::now() + BARRIER_MAX);
        if leader == self.node {
            let replica = self.raft.shard(ShardId::CATALOG)?;
            let barrier = tokio::time::timeout_at(limit, replica.read_barrier()).await;
            return barrier.ok()?.ok().map(|index| index.0);
        }
        let timeout_ms = u32::try_from(BARRIER_MAX.as_millis()).unwrap_or(u32::MAX);
        let mut client = self.router.peer(leader)?;
        let request = BarrierRequest { shard: ShardId::CATALOG.0, timeout_ms };
        let asked = tokio::time::timeout_at(limit, client.barrier(request)).await;
        let answer = asked.ok()?.ok()?.into_inner();
        answer.failure.is_none().then_some(answer.applied_index)
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
