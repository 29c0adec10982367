//! `Metadata`: nodes, topics, partitions and their leaders.

use kontiki_broker::Error;
use kontiki_broker::metadata::{Metadata, PartitionInfo, TopicInfo, Which};
use kontiki_proto::v1;
use tonic::Status;

use crate::grpc::Service;

impl Service {
    pub(super) fn look_up(
        &self,
        request: v1::MetadataRequest,
    ) -> Result<v1::MetadataResponse, Status> {
        let found = self.broker.metadata(which(request)).map_err(|error| self.status(error))?;
        Ok(response(found, |error| self.error(error)))
    }
}

fn which(request: v1::MetadataRequest) -> Which {
    if request.all_topics { Which::All } else { Which::Named(request.topics) }
}

/// A partition as a message; no leader is 0.
pub(in crate::grpc) fn partition_info(info: PartitionInfo) -> v1::PartitionInfo {
    v1::PartitionInfo {
        partition: info.partition,
        shard: info.shard,
        leader: info.leader.unwrap_or_default(),
        leader_epoch: info.leader_epoch,
        replicas: info.replicas,
    }
}

fn response(found: Metadata, error: impl Fn(Error) -> v1::Error) -> v1::MetadataResponse {
    let topic = |found: TopicInfo| {
        let topic = found.topic;
        match found.outcome {
            Ok((topic_id, partitions)) => {
                let partitions = partitions.into_iter().map(partition_info).collect();
                v1::TopicMetadata { topic, error: None, topic_id, partitions }
            }
            Err(why) => v1::TopicMetadata { topic, error: Some(error(why)), ..Default::default() },
        }
    };
    let nodes = found
        .nodes
        .into_iter()
        .map(|node| v1::NodeInfo { node_id: node.node, address: node.client_address });
    v1::MetadataResponse {
        cluster_id: found.cluster_id,
        nodes: nodes.collect(),
        topics: found.topics.into_iter().map(topic).collect(),
        version: found.version,
    }
}

#[cfg(test)]
mod tests {
    use kontiki_broker::metadata::NodeInfo;

    use super::*;

    #[test]
    fn all_topics_wins_over_names() {
        let asked = |all_topics| v1::MetadataRequest { topics: vec!["t".to_owned()], all_topics };
        assert_eq!(which(asked(true)), Which::All);
        assert_eq!(which(asked(false)), Which::Named(vec!["t".to_owned()]));
    }

    #[test]
    fn what_is_not_known_is_0_and_what_is_not_there_is_an_error() {
        let partition = |partition, leader| PartitionInfo {
            partition,
            shard: 2,
            leader,
            leader_epoch: 5,
            replicas: vec![1, 2, 3],
        };
        let found = Metadata {
            cluster_id: "c".to_owned(),
            nodes: vec![NodeInfo { node: 1, client_address: "a:1".to_owned() }],
            topics: vec![
                TopicInfo {
                    topic: "t".to_owned(),
                    outcome: Ok((7, vec![partition(0, Some(3)), partition(1, None)])),
                },
                TopicInfo { topic: "u".to_owned(), outcome: Err(Error::unknown_topic("u")) },
            ],
            version: 12,
        };
        let got = response(found, |error| crate::grpc::error::wire(error, |_| None));
        assert_eq!((got.cluster_id.as_str(), got.version), ("c", 12));
        assert_eq!(got.nodes, [v1::NodeInfo { node_id: 1, address: "a:1".to_owned() }]);
        let leaders: Vec<u32> = got.topics[0].partitions.iter().map(|p| p.leader).collect();
        assert_eq!((got.topics[0].topic_id, leaders), (7, vec![3, 0]));
        let error = got.topics[1].error.as_ref().expect("there is no such topic");
        assert_eq!(error.kind(), v1::ErrorKind::NotFound);
    }
}
