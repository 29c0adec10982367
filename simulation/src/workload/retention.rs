//! Changes how long the records of one topic are kept.

use std::collections::BTreeMap;

use kontiki_client::v1;
use rand::Rng as _;

use super::Context;
use crate::history::{Answer, Call};

pub(super) async fn run(mut context: Context) {
    let topic = context.topics.retained.clone();
    while !context.stopped() {
        let (key, value) = if context.rng.random_bool(0.5) {
            ("retention_ms", context.rng.random_range(1_000..60_000_u64))
        } else {
            ("retention_bytes", context.rng.random_range(2_000..200_000_u64))
        };
        let settings = BTreeMap::from([(key.to_owned(), value.to_string())]);
        let call = Call::AlterTopic { topic: topic.clone(), settings: settings.clone() };
        let request = v1::AlterTopicRequest {
            topic: topic.clone(),
            set: settings.into_iter().collect(),
            ..v1::AlterTopicRequest::default()
        };
        let admin = context.client.admin();
        context
            .op(call, async move {
                let altered = admin.alter_topic(request).await?;
                Ok(Answer::Settings(altered.settings.into_iter().collect()))
            })
            .await;
        for _ in 0..context.rng.random_range(2..20) {
            context.pause().await;
        }
    }
}
