//! `kontiki.v1.Topics`. Settings are text here; the broker knows what they mean.

use std::collections::{BTreeMap, HashMap};

use kontiki_broker::Error;
use kontiki_broker::options::bounds;
use kontiki_broker::topics::{Create, Description, PartitionDescription};
use kontiki_proto::v1;
use kontiki_proto::v1::list_topics_response::Topic;
use kontiki_proto::v1::topics_server::Topics;
use tonic::{Request, Response, Status};

use super::deadline::Deadline;
use super::log::partition_info;
use super::{Service, fields};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Topics for Service {
    async fn create_topic(
        &self,
        request: Request<v1::CreateTopicRequest>,
    ) -> Answer<v1::CreateTopicResponse> {
        let deadline = Deadline::of(request.metadata());
        let created = async {
            let create = create(request.into_inner())?;
            deadline.within("CreateTopic", self.broker.create_topic(create)).await
        };
        let (topic_id, partitions) = created.await.map_err(|error| self.status(error))?;
        Ok(Response::new(v1::CreateTopicResponse { topic_id, partitions }))
    }

    async fn alter_topic(
        &self,
        request: Request<v1::AlterTopicRequest>,
    ) -> Answer<v1::AlterTopicResponse> {
        let deadline = Deadline::of(request.metadata());
        let v1::AlterTopicRequest { topic, set, reset, validate_only } = request.into_inner();
        let altered = async {
            fields::present("topic", &topic)?;
            let set = settings("set", set)?;
            names("reset", reset.len())?;
            let altered = self.broker.alter_topic(&topic, set, reset, validate_only);
            deadline.within("AlterTopic", altered).await
        };
        let settings = altered.await.map_err(|error| self.status(error))?;
        let settings = settings.into_iter().collect();
        Ok(Response::new(v1::AlterTopicResponse { settings }))
    }

    async fn describe_topic(
        &self,
        request: Request<v1::DescribeTopicRequest>,
    ) -> Answer<v1::DescribeTopicResponse> {
        let deadline = Deadline::of(request.metadata());
        let topic = request.into_inner().topic;
        let described = async {
            fields::present("topic", &topic)?;
            deadline.within("DescribeTopic", self.broker.describe_topic(&topic)).await
        };
        let description = described.await.map_err(|error| self.status(error))?;
        Ok(Response::new(self::description(topic, description)))
    }

    async fn list_topics(
        &self,
        request: Request<v1::ListTopicsRequest>,
    ) -> Answer<v1::ListTopicsResponse> {
        let v1::ListTopicsRequest { prefix, after, limit } = request.into_inner();
        let listed = self.broker.list_topics(&prefix, &after, limit);
        let (topics, more) = listed.map_err(|error| self.status(error))?;
        let topics = topics
            .into_iter()
            .map(|listed| Topic {
                topic: listed.topic,
                topic_id: listed.topic_id,
                partitions: listed.partitions,
                is_queue: listed.is_queue,
            })
            .collect();
        Ok(Response::new(v1::ListTopicsResponse { topics, more }))
    }

    async fn delete_topic(
        &self,
        request: Request<v1::DeleteTopicRequest>,
    ) -> Answer<v1::DeleteTopicResponse> {
        let deadline = Deadline::of(request.metadata());
        let topic = request.into_inner().topic;
        let deleted = async {
            fields::present("topic", &topic)?;
            deadline.within("DeleteTopic", self.broker.delete_topic(&topic)).await
        };
        deleted.await.map_err(|error| self.status(error))?;
        Ok(Response::new(v1::DeleteTopicResponse {}))
    }

    async fn add_partitions(
        &self,
        request: Request<v1::AddPartitionsRequest>,
    ) -> Answer<v1::AddPartitionsResponse> {
        let deadline = Deadline::of(request.metadata());
        let v1::AddPartitionsRequest { topic, partitions } = request.into_inner();
        let added = async {
            fields::present("topic", &topic)?;
            let added = self.broker.add_partitions(&topic, partitions);
            deadline.within("AddPartitions", added).await
        };
        let partitions = added.await.map_err(|error| self.status(error))?;
        Ok(Response::new(v1::AddPartitionsResponse { partitions }))
    }
}

fn create(request: v1::CreateTopicRequest) -> Result<Create, Error> {
    let v1::CreateTopicRequest { topic, partitions, settings, validate_only, if_not_exists } =
        request;
    fields::present("topic", &topic)?;
    let settings = self::settings("settings", settings)?;
    Ok(Create { topic, partitions, settings, validate_only, if_not_exists, queue: None })
}

fn settings(
    field: &str,
    settings: HashMap<String, String>,
) -> Result<BTreeMap<String, String>, Error> {
    names(field, settings.len())?;
    Ok(settings.into_iter().collect())
}

fn names(field: &str, count: usize) -> Result<(), Error> {
    if count > bounds::SETTINGS_MAX {
        let expected = format!("at most {}", bounds::SETTINGS_MAX);
        return Err(Error::invalid(&format!("the number of names in {field}"), count, &expected));
    }
    Ok(())
}

fn description(topic: String, description: Description) -> v1::DescribeTopicResponse {
    let partition = |described: PartitionDescription| {
        let known = described.known.is_some();
        let size = described.known.unwrap_or_default();
        v1::PartitionDescription {
            info: Some(partition_info(described.info)),
            log_start_offset: size.log_start_offset,
            high_watermark: size.high_watermark,
            bytes: size.bytes,
            known,
        }
    };
    v1::DescribeTopicResponse {
        topic,
        topic_id: description.topic_id,
        settings: description.settings.into_iter().collect(),
        partitions: description.partitions.into_iter().map(partition).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontiki_broker::metadata::PartitionInfo;
    use kontiki_broker::topics::PartitionSize;

    #[test]
    fn a_topic_without_a_name_is_refused() {
        let error = create(v1::CreateTopicRequest::default()).expect_err("no name");
        assert!(error.detail.starts_with("topic is empty"), "{error}");
    }

    #[test]
    fn a_topic_to_be_created_is_passed_on() {
        let request = v1::CreateTopicRequest {
            topic: "t".to_owned(),
            partitions: 3,
            settings: [("retention_ms".to_owned(), "-1".to_owned())].into(),
            validate_only: true,
            if_not_exists: false,
        };
        let create = create(request).expect("sound");
        assert_eq!((create.topic.as_str(), create.partitions), ("t", 3));
        assert_eq!(create.settings["retention_ms"], "-1");
        assert!(create.validate_only && !create.if_not_exists);
    }

    #[test]
    fn too_many_settings_are_refused() {
        let many: HashMap<_, _> = (0..65).map(|n| (n.to_string(), String::new())).collect();
        assert!(settings("set", many).expect_err("65").detail.contains("names in set is 65"));
    }

    #[test]
    fn sizes_that_nobody_knows_are_0() {
        let info = PartitionInfo {
            partition: 1,
            shard: 2,
            leader: None,
            leader_epoch: 3,
            replicas: vec![1, 2],
        };
        let size = PartitionSize { log_start_offset: 4, high_watermark: 9, bytes: 100 };
        let partitions = vec![
            PartitionDescription { info: info.clone(), known: Some(size) },
            PartitionDescription { info, known: None },
        ];
        let answer = description(
            "t".to_owned(),
            Description { topic_id: 7, settings: BTreeMap::new(), partitions },
        );
        let [known, unknown] = &answer.partitions[..] else { panic!("two") };
        assert!(known.known && !unknown.known);
        assert_eq!((known.log_start_offset, known.high_watermark, known.bytes), (4, 9, 100));
        assert_eq!((unknown.log_start_offset, unknown.high_watermark, unknown.bytes), (0, 0, 0));
        assert_eq!(unknown.info.as_ref().expect("it is somewhere").leader, 0);
    }
}
