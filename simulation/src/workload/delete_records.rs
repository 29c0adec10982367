//! Deletes records of one topic, up to an offset that it has seen.

use kontiki_client::{Client, Error, v1};
use rand::Rng as _;

use super::{Context, probe};
use crate::history::{Answer, Call, Part};

pub(super) async fn run(mut context: Context) {
    let at = Part { topic: context.topics.trimmed.clone(), partition: 0 };
    while !context.stopped() {
        let client = context.client.clone();
        let call = Call::Latest { at: at.clone() };
        let latest = context.op(call, probe::list(&client, &at, true)).await;
        if let Some(Answer::Offset(latest)) = latest {
            let before = latest.saturating_sub(context.rng.random_range(0..50));
            let call = Call::DeleteRecords { at: at.clone(), before };
            context.op(call, delete(&client, &at, before)).await;
        }
        for _ in 0..context.rng.random_range(1..20) {
            context.pause().await;
        }
    }
}

async fn delete(client: &Client, at: &Part, before: u64) -> Result<Answer, Error> {
    let target = v1::delete_records_request::Target {
        topic: at.topic.clone(),
        partition: at.partition,
        before_offset: before,
        all: false,
    };
    let request = v1::DeleteRecordsRequest { targets: vec![target] };
    let mut response = client.admin().delete_records(request).await?;
    let result = response.results.pop().expect("one was asked for");
    match result.error {
        // The client may have asked before, without an answer: a failure says nothing of that.
        Some(error) => {
            let mut error = Error::from(error);
            error.kind = v1::ErrorKind::Unknown;
            Err(error)
        }
        None => Ok(Answer::LogStart(result.log_start_offset)),
    }
}
