//! Sends records.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use kontiki_client::{Error, NewRecord, Producer, ProducerOptions};
use rand::Rng as _;

use super::{Context, outcome, record};
use crate::history::{self, Answer, Call, OpId, RecordName};

/// Records that a client has under way at most.
const IN_FLIGHT_MAX: usize = 60;

pub(super) async fn run(mut context: Context, idempotent: bool) {
    let mut number = 0;
    let mut session = 0;
    while !context.stopped() {
        let options = ProducerOptions {
            idempotent,
            linger_ms: context.rng.random_range(0..20),
            batch_bytes: context.rng.random_range(1_024..32 << 10),
            in_flight_max: context.rng.random_range(1..=5),
            delivery_timeout_ms: context.rng.random_range(10_000..40_000),
            ..ProducerOptions::default()
        };
        match context.client.producer(options).await {
            Ok(producer) => {
                send_session(&mut context, &producer, idempotent, session, &mut number).await;
                session += 1;
            }
            Err(error) => tracing::info!(%error, "a client has no producer yet"),
        }
        context.pause().await;
    }
}

/// Sends until the producer is used up, or the client has to stop; waits for all answers.
async fn send_session(
    context: &mut Context,
    producer: &Producer,
    idempotent: bool,
    session: u32,
    number: &mut u64,
) {
    let records = context.rng.random_range(20..400);
    let mut under_way = FuturesUnordered::new();
    let mut failed = false;
    for _ in 0..records {
        if context.stopped() || failed {
            break;
        }
        let at = context.any_part();
        let name = RecordName { client: context.id.0, number: *number };
        *number += 1;
        let value = record::value(name, &mut context.rng);
        let call = Call::Produce {
            at: at.clone(),
            producer: history::Producer { idempotent, session },
            record: name,
            checksum: crc32c::crc32c(&value),
        };
        let op = context.invoke(call);
        let new = NewRecord::new(at.topic, value).partition(at.partition);
        match producer.send(new).await {
            Ok(delivery) => under_way.push(async move { (op, delivery.await) }),
            Err(error) => failed |= settle(context, op, Err(error)),
        }
        let more = context.rng.random_bool(0.7);
        while !under_way.is_empty() && (under_way.len() >= IN_FLIGHT_MAX || !more) {
            let (op, delivered) = under_way.next().await.expect("it isn't empty");
            failed |= settle(context, op, delivered);
            if more || context.rng.random_bool(0.5) {
                break;
            }
        }
        // Bursts, and pauses between them.
        if context.rng.random_bool(0.6) {
            context.pause().await;
        } else {
            tokio::time::sleep(Duration::from_millis(context.rng.random_range(0..4))).await;
        }
    }
    while let Some((op, delivered)) = under_way.next().await {
        settle(context, op, delivered);
    }
}

/// Takes an outcome down; whether the producer had better be replaced.
fn settle(
    context: &Context,
    op: OpId,
    delivered: Result<kontiki_client::Delivered, Error>,
) -> bool {
    let answer = delivered.map(|delivered| Answer::Produced { offset: delivered.offset });
    let failed = answer.is_err();
    context.complete(op, outcome(answer));
    failed
}
