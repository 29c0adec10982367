//! `kontiki.v1.Cluster`.

use kontiki_broker::Error;
use kontiki_broker::cluster::{ClusterDescription, NodeDescription, Rebalance, ShardDescription};
use kontiki_domain::catalog::NodeState;
use kontiki_proto::v1;
use kontiki_proto::v1::cluster_server::Cluster;
use kontiki_proto::v1::rebalance_response::{Move, Transfer};
use kontiki_storage::id::{NodeId, ShardId};
use tonic::{Request, Response, Status};

use super::deadline::Deadline;
use super::{Service, fields};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Cluster for Service {
    async fn describe_cluster(
        &self,
        request: Request<v1::DescribeClusterRequest>,
    ) -> Answer<v1::DescribeClusterResponse> {
        let deadline = Deadline::of(request.metadata());
        let described = async { Ok(self.broker.cluster().describe().await) };
        let described = deadline.within("DescribeCluster", described).await;
        Ok(Response::new(description(described.map_err(|error| self.status(error))?)))
    }

    async fn add_node(&self, request: Request<v1::AddNodeRequest>) -> Answer<v1::AddNodeResponse> {
        let deadline = Deadline::of(request.metadata());
        let request = request.into_inner();
        let added = async {
            let node = fields::node("node_id", request.node_id)?;
            fields::address("peer_address", &request.peer_address)?;
            // Where clients reach it, the node says itself when it joins.
            let added = self.broker.cluster().add_node(node, &request.peer_address);
            deadline.within("AddNode", added).await
        };
        added.await.map_err(|error| self.status(error))?;
        Ok(Response::new(v1::AddNodeResponse {}))
    }

    async fn remove_node(
        &self,
        request: Request<v1::RemoveNodeRequest>,
    ) -> Answer<v1::RemoveNodeResponse> {
        let deadline = Deadline::of(request.metadata());
        let removed = async {
            let node = fields::node("node_id", request.into_inner().node_id)?;
            deadline.within("RemoveNode", self.broker.cluster().remove_node(node)).await
        };
        let shards = removed.await.map_err(|error| self.status(error))?;
        let shards_to_move = u32::try_from(shards).unwrap_or(u32::MAX);
        Ok(Response::new(v1::RemoveNodeResponse { shards_to_move }))
    }

    async fn move_shard(
        &self,
        request: Request<v1::MoveShardRequest>,
    ) -> Answer<v1::MoveShardResponse> {
        let deadline = Deadline::of(request.metadata());
        let v1::MoveShardRequest { shard, nodes } = request.into_inner();
        let moved = async {
            let nodes = replicas(nodes)?;
            let moved = self.broker.cluster().move_shard(ShardId(shard), nodes);
            deadline.within("MoveShard", moved).await
        };
        moved.await.map_err(|error| self.status(error))?;
        Ok(Response::new(v1::MoveShardResponse {}))
    }

    async fn transfer_leadership(
        &self,
        request: Request<v1::TransferLeadershipRequest>,
    ) -> Answer<v1::TransferLeadershipResponse> {
        let deadline = Deadline::of(request.metadata());
        let v1::TransferLeadershipRequest { shard, to_node } = request.into_inner();
        let transferred = async {
            let to = fields::node("to_node", to_node)?;
            let transferred = self.broker.cluster().transfer_leadership(ShardId(shard), to);
            deadline.within("TransferLeadership", transferred).await
        };
        transferred.await.map_err(|error| self.status(error))?;
        Ok(Response::new(v1::TransferLeadershipResponse {}))
    }

    async fn rebalance(
        &self,
        request: Request<v1::RebalanceRequest>,
    ) -> Answer<v1::RebalanceResponse> {
        let deadline = Deadline::of(request.metadata());
        let dry_run = request.into_inner().dry_run;
        let begun = deadline.within("Rebalance", self.broker.cluster().rebalance(dry_run)).await;
        Ok(Response::new(rebalance(begun.map_err(|error| self.status(error))?)))
    }

    async fn raise_feature_level(
        &self,
        request: Request<v1::RaiseFeatureLevelRequest>,
    ) -> Answer<v1::RaiseFeatureLevelResponse> {
        let deadline = Deadline::of(request.metadata());
        let level = request.into_inner().level;
        let raised = self.broker.cluster().raise_feature_level((level != 0).then_some(level));
        let raised = deadline.within("RaiseFeatureLevel", raised).await;
        let feature_level = raised.map_err(|error| self.status(error))?;
        Ok(Response::new(v1::RaiseFeatureLevelResponse { feature_level }))
    }
}

/// The nodes that a shard shall be on: some, and each once.
fn replicas(nodes: Vec<u32>) -> Result<Vec<NodeId>, Error> {
    if nodes.is_empty() {
        return Err(Error::invalid("nodes", "empty", "the number of at least one node"));
    }
    let mut sorted = nodes.clone();
    sorted.sort_unstable();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        let expected = "nodes that differ: a node has one replica of a shard at most";
        return Err(Error::invalid("nodes", format_args!("{} twice", twice[0]), expected));
    }
    nodes.into_iter().map(|node| fields::node("nodes", node)).collect()
}

fn numbers(nodes: Vec<NodeId>) -> Vec<u32> {
    nodes.into_iter().map(|node| node.0).collect()
}

fn state(state: NodeState) -> v1::NodeState {
    match state {
        NodeState::Active => v1::NodeState::Active,
        NodeState::Draining => v1::NodeState::Draining,
        NodeState::Removed => v1::NodeState::Removed,
    }
}

fn description(described: ClusterDescription) -> v1::DescribeClusterResponse {
    let node = |node: NodeDescription| v1::NodeDescription {
        node_id: node.node.0,
        client_address: node.client_address,
        peer_address: node.peer_address,
        state: state(node.state).into(),
        replicas: node.replicas,
        leaders: node.leaders,
        reachable: node.reachable,
    };
    let shard = |shard: ShardDescription| v1::ShardDescription {
        shard: shard.shard.0,
        leader: shard.leader.map_or(0, |leader| leader.0),
        term: shard.term,
        voters: numbers(shard.voters),
        moving: numbers(shard.moving),
        partitions: shard.partitions,
    };
    v1::DescribeClusterResponse {
        cluster_id: described.cluster_id,
        feature_level: described.feature_level,
        nodes: described.nodes.into_iter().map(node).collect(),
        shards: described.shards.into_iter().map(shard).collect(),
        answered_by: described.answered_by.0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn rebalance(begun: Rebalance) -> v1::RebalanceResponse {
    let moves = begun.moves.into_iter().map(|moved| Move {
        shard: moved.shard.0,
        from: numbers(moved.from),
        to: numbers(moved.to),
    });
    let transfers = begun.transfers.into_iter().map(|transfer| Transfer {
        shard: transfer.shard.0,
        from: transfer.from.0,
        to: transfer.to.0,
    });
    v1::RebalanceResponse { moves: moves.collect(), transfers: transfers.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_moved_to_nodes_that_differ() {
        assert_eq!(replicas(vec![3, 1]), Ok(vec![NodeId(3), NodeId(1)]));
        assert!(replicas(vec![]).is_err());
        assert!(replicas(vec![1, 0]).is_err());
        let twice = replicas(vec![2, 1, 2]).expect_err("2 is there twice");
        assert!(twice.detail.starts_with("nodes is 2 twice"), "{twice}");
    }

    #[test]
    fn a_shard_without_a_leader_says_0() {
        let shard = |leader| ShardDescription {
            shard: ShardId(4),
            leader,
            term: 6,
            voters: vec![NodeId(1), NodeId(2)],
            moving: vec![NodeId(2)],
            partitions: 12,
        };
        let node = NodeDescription {
            node: NodeId(1),
            client_address: "a:1".to_owned(),
            peer_address: "a:2".to_owned(),
            state: NodeState::Draining,
            replicas: 5,
            leaders: 2,
            reachable: true,
        };
        let answer = description(ClusterDescription {
            cluster_id: "c".to_owned(),
            feature_level: 1,
            nodes: vec![node],
            shards: vec![shard(None), shard(Some(NodeId(2)))],
            answered_by: NodeId(1),
        });
        assert_eq!(answer.shards.iter().map(|s| s.leader).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(answer.nodes[0].state(), v1::NodeState::Draining);
        assert_eq!(answer.version, env!("CARGO_PKG_VERSION"));
    }
}
