//! Questions to other nodes, and since when they can be reached.

use std::collections::BTreeMap;

use kontiki_proto::node::peer_client::PeerClient;
use kontiki_raft::RaftNode;
use kontiki_storage::id::{NodeId, ShardId};
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::Cluster;

/// Since when each node's link has been up, and since when this node leads what it leads.
#[derive(Default)]
pub(super) struct Reachable {
    up: BTreeMap<NodeId, Instant>,
    led: BTreeMap<ShardId, (u64, Instant)>,
}

impl Reachable {
    pub(super) fn look(&mut self, raft: &RaftNode, nodes: &BTreeMap<NodeId, String>) {
        let up = |node: &NodeId| raft.reachable(*node);
        self.up.retain(|node, _| nodes.contains_key(node) && up(node));
        for node in nodes.keys().filter(|node| up(node)) {
            self.up.entry(*node).or_insert_with(Instant::now);
        }
        let now = Instant::now();
        let before = std::mem::take(&mut self.led);
        for shard in raft.shards() {
            let role = shard.role();
            if role.leads {
                let known = before.get(&shard.id()).filter(|(term, _)| *term == role.term);
                let since = known.map_or(now, |(_, since)| *since);
                self.led.insert(shard.id(), (role.term, since));
            }
        }
    }

    /// Whether this node has led a shard for so long.
    pub(super) fn led_for(&self, shard: ShardId, ms: u64) -> bool {
        let since = self.led.get(&shard);
        since.is_some_and(|(_, since)| since.elapsed().as_millis() >= u128::from(ms))
    }

    /// Whether a node has been reachable for so long.
    pub(super) fn for_long(&self, node: NodeId, ms: u64) -> bool {
        self.up.get(&node).is_some_and(|since| since.elapsed().as_millis() >= u128::from(ms))
    }
}

impl Cluster {
    pub(super) fn peer(&self, address: &str) -> PeerClient<Channel> {
        PeerClient::new(self.0.dialer.dial(address))
    }

    /// A request that may take as long as a question may.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.0.options.call_timeout());
        request
    }

    /// Waits for an answer no longer than a question may take.
    pub(super) async fn within<T>(
        &self,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Status> {
        match tokio::time::timeout(self.0.options.call_timeout(), call).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded("no answer in time")),
        }
    }
}
