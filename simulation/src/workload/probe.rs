//! Asks where partitions begin and end.

use kontiki_client::{Client, Error, v1};
use rand::Rng as _;
use v1::list_offsets_request::Query;
use v1::list_offsets_request::query::At;

use super::Context;
use crate::history::{Answer, Call, Part};

pub(super) async fn run(mut context: Context) {
    while !context.stopped() {
        let at = context.any_part();
        let latest = context.rng.random_bool(0.7);
        let call = if latest {
            Call::Latest { at: at.clone() }
        } else {
            Call::Earliest { at: at.clone() }
        };
        let client = context.client.clone();
        context.op(call, list(&client, &at, latest)).await;
        context.pause().await;
    }
}

/// The first offset of a partition, or one after the last.
pub(super) async fn list(client: &Client, at: &Part, latest: bool) -> Result<Answer, Error> {
    let query = Query {
        topic: at.topic.clone(),
        partition: at.partition,
        at: Some(if latest { At::Latest(true) } else { At::Earliest(true) }),
    };
    let request = v1::ListOffsetsRequest { queries: vec![query], ..Default::default() };
    let mut response = client.admin().list_offsets(request).await?;
    let result = response.results.pop().expect("one was asked for");
    match result.error {
        Some(error) => Err(error.into()),
        None => Ok(Answer::Offset(result.offset)),
    }
}
