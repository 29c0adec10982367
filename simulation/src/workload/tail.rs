//! Reads all that comes, in streams.

use std::collections::BTreeMap;

use kontiki_client::{Consumer, ConsumerOptions, OutOfRange, Position};
use rand::Rng as _;

use super::{Context, record};
use crate::history::{Answer, Call, Ms, Outcome, Part};

/// Where a partition's stream began, and where it is.
struct Stream {
    since: Ms,
    next: Option<u64>,
}

pub(super) async fn run(mut context: Context) {
    while !context.stopped() {
        let options =
            ConsumerOptions { on_out_of_range: OutOfRange::Earliest, ..ConsumerOptions::default() };
        let consumer = context.client.consumer(options);
        let mut consumer = consumer.expect("the options are in range");
        let mut streams = BTreeMap::new();
        for _ in 0..context.rng.random_range(1..4) {
            let part = context.any_part();
            let since = context.trace.now();
            let assigned = consumer.assign(&part.topic, part.partition, Position::Earliest).await;
            if assigned.is_ok() {
                streams.insert(part, Stream { since, next: None });
            }
        }
        let items = context.rng.random_range(20..400);
        for _ in 0..items {
            if streams.is_empty() || !read(&mut context, &mut consumer, &mut streams).await {
                break;
            }
        }
        context.pause().await;
    }
}

/// One item; false: no more of them.
async fn read(
    context: &mut Context,
    consumer: &mut Consumer,
    streams: &mut BTreeMap<Part, Stream>,
) -> bool {
    let item = tokio::select! {
        biased;
        _ = context.stop.wait_for(|stop| *stop) => return false,
        item = consumer.next() => item,
    };
    let Ok(fetched) = item else { return false };
    let part = Part { topic: fetched.topic.to_string(), partition: fetched.partition };
    let Some(stream) = streams.get_mut(&part) else { return true };
    let first = fetched.records.first().map_or(fetched.next_offset, |record| record.offset);
    // Where records have expired meanwhile, the stream goes on with the first that is there.
    let from = match stream.next {
        Some(next) if next >= fetched.log_start_offset => next,
        Some(_) | None => first,
    };
    stream.next = Some(fetched.next_offset);
    // It may have been read at any time since the stream began.
    let op = context.invoke_at(stream.since, Call::Fetch { at: part, from });
    context.complete(
        op,
        Outcome::Ok(Answer::Fetched {
            records: fetched.records.iter().map(record::seen).collect(),
            high_watermark: fetched.high_watermark,
            log_start: fetched.log_start_offset,
            next: fetched.next_offset,
        }),
    );
    true
}
