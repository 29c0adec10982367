//! Makes, changes, looks at and deletes topics.

use std::collections::BTreeMap;

use kontiki_client::{Client, Error, v1};
use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::Context;
use crate::history::{Answer, Call};

pub(super) async fn run(mut context: Context) {
    while !context.stopped() {
        let names = &context.topics.churned;
        let topic = names.choose(&mut context.rng).expect("there are some").clone();
        let kept = context.rng.random_range(60_000..10_000_000_u64);
        let settings = BTreeMap::from([("retention_ms".to_owned(), kept.to_string())]);
        let partitions = context.rng.random_range(1..4);
        let call = match context.rng.random_range(0..10) {
            0..=2 => Call::CreateTopic { topic, partitions, settings },
            3..=4 => Call::AlterTopic { topic, settings },
            5 => Call::AddPartitions { topic, partitions: partitions + 1 },
            6..=7 => Call::DescribeTopic { topic },
            _ => Call::DeleteTopic { topic },
        };
        let client = context.client.clone();
        context.op(call.clone(), ask(&client, call)).await;
        context.pause().await;
    }
}

async fn ask(client: &Client, call: Call) -> Result<Answer, Error> {
    let admin = client.admin();
    match call {
        Call::CreateTopic { topic, partitions, settings } => {
            let settings = settings.into_iter().collect();
            let request =
                v1::CreateTopicRequest { topic, partitions, settings, ..Default::default() };
            let made = admin.create_topic(request).await?;
            let settings = BTreeMap::new();
            Ok(Answer::Topic { id: made.topic_id, partitions: made.partitions, settings })
        }
        Call::AlterTopic { topic, settings } => {
            let set = settings.into_iter().collect();
            let request = v1::AlterTopicRequest { topic, set, ..Default::default() };
            let altered = admin.alter_topic(request).await?;
            Ok(Answer::Settings(altered.settings.into_iter().collect()))
        }
        Call::AddPartitions { topic, partitions } => {
            let request = v1::AddPartitionsRequest { topic, partitions };
            Ok(Answer::Partitions(admin.add_partitions(request).await?.partitions))
        }
        Call::DescribeTopic { topic } => {
            let found = admin.describe_topic(v1::DescribeTopicRequest { topic }).await?;
            Ok(Answer::Topic {
                id: found.topic_id,
                partitions: u32::try_from(found.partitions.len()).expect("there are a few"),
                settings: found.settings.into_iter().collect(),
            })
        }
        Call::DeleteTopic { topic } => {
            admin.delete_topic(v1::DeleteTopicRequest { topic }).await?;
            Ok(Answer::Done)
        }
        Call::Produce { .. }
        | Call::Fetch { .. }
        | Call::Earliest { .. }
        | Call::Latest { .. }
        | Call::Send { .. }
        | Call::Receive { .. }
        | Call::Settle { .. }
        | Call::Publish { .. }
        | Call::StartRedrive { .. }
        | Call::ListRedrives { .. }
        | Call::Bind { .. }
        | Call::Unbind { .. }
        | Call::Subscribe { .. }
        | Call::Follow
        | Call::Unsubscribe { .. }
        | Call::Count { .. }
        | Call::DeleteRecords { .. } => unreachable!("these are not about topics"),
    }
}
