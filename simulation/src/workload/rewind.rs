//! Reads from anywhere, one request at a time.

use std::collections::BTreeMap;

use kontiki_client::{Client, Error, v1};
use rand::Rng as _;

use super::{Context, record};
use crate::history::{Answer, Call, Part};

pub(super) async fn run(mut context: Context) {
    let mut known: BTreeMap<Part, (u64, u64)> = BTreeMap::new();
    while !context.stopped() {
        let at = context.any_part();
        let (start, end) = known.get(&at).copied().unwrap_or_default();
        let from = match context.rng.random_range(0..4) {
            0 => start,
            1 => end,
            2 => end.saturating_sub(10).max(start),
            _ => context.rng.random_range(start..=end),
        };
        let max_bytes = context.rng.random_range(1_000..200_000);
        let call = Call::Fetch { at: at.clone(), from };
        let client = context.client.clone();
        let answer = context.op(call, fetch(&client, &at, from, max_bytes, 50)).await;
        if let Some(Answer::Fetched { high_watermark, log_start, .. }) = answer {
            known.insert(at, (log_start, high_watermark));
        } else {
            // It may be out of range: the prober of this partition knows better.
            known.remove(&at);
        }
        context.pause().await;
    }
}

/// One fetch from one partition.
pub(super) async fn fetch(
    client: &Client,
    at: &Part,
    from: u64,
    max_bytes: u32,
    max_wait_ms: u32,
) -> Result<Answer, Error> {
    let partition = v1::FetchPartition {
        topic: at.topic.clone(),
        partition: at.partition,
        offset: from,
        max_bytes,
    };
    let request = v1::FetchRequest {
        partitions: vec![partition],
        min_bytes: 1,
        max_bytes,
        max_wait_ms,
        ..v1::FetchRequest::default()
    };
    let mut response = client.admin().fetch(request).await?;
    let part = response.partitions.pop().expect("one was asked for");
    if let Some(error) = part.error {
        return Err(error.into());
    }
    let seen = |record: &v1::Record| {
        record::found(record.offset, record.timestamp_ms, record.value.as_ref())
    };
    Ok(Answer::Fetched {
        records: part.records.iter().map(seen).collect(),
        high_watermark: part.high_watermark,
        log_start: part.log_start_offset,
        next: part.next_offset,
    })
}
