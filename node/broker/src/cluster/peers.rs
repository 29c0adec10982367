//! Questions to other nodes, and since when they can be reached.

use std::collections::BTreeMap;

use kontiki_proto::node::peer_client::PeerClient;
use kontiki_raft::RaftNode;
use kontiki_storage::id::NodeId;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::Cluster;

/// Since when each node's link has been up.
#[derive(Default)]
pub(super) struct Reachable(BTreeMap<NodeId, Instant>);

impl Reachable {
    pub(super) fn look(&mut self, raft: &RaftNode, nodes: &BTreeMap<NodeId, String>) {
        let up = |node: &NodeId| raft.reachable(*node);
        self.0.retain(|node, _| nodes.contains_key(node) && up(node));
        for node in nodes.keys().filter(|node| up(node)) {
            self.0.entry(*node).or_insert_with(Instant::now);
        }
    }

    /// Whether a node has been reachable for so long.
    pub(super) fn for_long(&self, node: NodeId, ms: u64) -> bool {
        self.0.get(&node).is_some_and(|since| since.elapsed().as_millis() >= u128::from(ms))
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
