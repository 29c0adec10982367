//! Receives messages of queues and settles them, mostly; and in the end settles what is left.

use std::time::Duration;

use kontiki_client::{Admin, Error, v1};
use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::{AGAIN, AGAIN_DEAD, BULKY, Context, Queue, SINGLE, Side, record};
use crate::history::{Action, Answer, Call, Counts, DeadLetter, Delivery};

/// How long messages are leased.
pub const LEASE_MS: u64 = 3_000;
/// How long the end of all messages may take, and how often it is looked.
const DRAIN_LOOKS: u32 = 250;
/// Receives of one look from a queue with large messages.
const BULKY_RECEIVES: u32 = 50;

pub(super) async fn run(mut context: Context) {
    let names: Vec<String> = context.topics.queues.iter().map(|queue| queue.name.clone()).collect();
    while !context.stopped() {
        let queue = names.choose(&mut context.rng).expect("there are some").clone();
        let max = context.rng.random_range(1..6);
        let wait_ms = context.rng.random_range(0..1_500);
        let received = receive(&context, &queue, max, wait_ms, 0).await;
        for (delivery, receipt) in received {
            let action = match context.rng.random_range(0..100) {
                // Its lease ends by itself.
                0..6 => continue,
                6..12 => Action::Extend,
                12..22 => Action::Release,
                22..40 => Action::Fail,
                _ => Action::Acknowledge,
            };
            // Sometimes it takes longer than the lease.
            if context.rng.random_bool(0.05) {
                let late = LEASE_MS + context.rng.random_range(0..1_000);
                tokio::time::sleep(Duration::from_millis(late)).await;
            }
            settle(&context, &queue, &delivery, receipt, action).await;
        }
        if context.rng.random_bool(0.3) {
            count(&context, &queue).await;
        }
        context.pause().await;
    }
}

/// The same for the queues of a side, as a consumer that says who it is.
pub(super) async fn run_side(mut context: Context, side: Side) {
    // What is dead stays so until it is redriven.
    let names = side.queues().into_iter().map(|queue| queue.name).filter(|name| name != AGAIN_DEAD);
    let names: Vec<String> = names.collect();
    while !context.stopped() {
        let queue = names.choose(&mut context.rng).expect("there are some").clone();
        let max = context.rng.random_range(1..6);
        let wait_ms = context.rng.random_range(0..1_000);
        let priority = context.rng.random_range(0..2);
        let received = receive(&context, &queue, max, wait_ms, priority).await;
        if queue == SINGLE && !received.is_empty() {
            // Others have some time to be served by mistake.
            let ms = context.rng.random_range(50..600);
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        for (delivery, receipt) in received {
            let action = match context.rng.random_range(0..100) {
                0..5 => continue,
                5..10 => Action::Extend,
                10..15 => Action::Release,
                15..30 => Action::Fail,
                30..60 if queue == AGAIN => Action::Reject,
                _ => Action::Acknowledge,
            };
            settle(&context, &queue, &delivery, receipt, action).await;
        }
        context.pause().await;
    }
}

async fn receive(
    context: &Context,
    queue: &str,
    max: u32,
    wait_ms: u32,
    priority: i32,
) -> Vec<(Delivery, String)> {
    let admin = context.client.admin();
    let queue = queue.to_owned();
    let is_single = queue == SINGLE;
    let call = Call::Receive { queue: queue.clone(), max };
    let request = v1::ReceiveRequest {
        queue,
        max_messages: max,
        lease_ms: LEASE_MS,
        wait_ms,
        // Only where it matters: all others are one consumer without a name.
        consumer: if is_single { format!("c{}", context.id.0) } else { String::new() },
        priority,
    };
    let mut receipts = Vec::new();
    let taken = &mut receipts;
    let work = async move {
        let messages = admin.receive(request).await?.messages;
        let deliveries = messages.into_iter().map(|message| {
            let delivery = delivery(&message);
            taken.push(message.receipt);
            delivery
        });
        Ok(Answer::Received(deliveries.collect()))
    };
    match context.op(call, work).await {
        Some(Answer::Received(deliveries)) => deliveries.into_iter().zip(receipts).collect(),
        _ => Vec::new(),
    }
}

/// A message that was leased for [`LEASE_MS`].
pub(super) fn delivery(message: &v1::IncomingMessage) -> Delivery {
    let lease_ms = i64::try_from(LEASE_MS).expect("small");
    Delivery {
        message_id: message.message_id.clone(),
        message: record::name(Some(&message.body)),
        number: message.deliveries,
        sent_ms: message.sent_ms,
        granted_ms: message.until_ms - lease_ms,
        until_ms: message.until_ms,
        dead: dead_letter(message),
    }
}

fn dead_letter(message: &v1::IncomingMessage) -> Option<DeadLetter> {
    let text = |name: &str| {
        let header = message.headers.iter().find(|header| header.name == name)?;
        std::str::from_utf8(header.value.as_deref()?).ok()
    };
    Some(DeadLetter {
        from: text("kontiki.dlq.source")?.to_owned(),
        deliveries: text("kontiki.dlq.deliveries")?.parse().ok()?,
        failed_ms: text("kontiki.dlq.failed-at")?.parse().ok()?,
    })
}

pub(super) async fn settle(
    context: &Context,
    queue: &str,
    delivery: &Delivery,
    receipt: String,
    action: Action,
) {
    let call = Call::Settle {
        queue: queue.to_owned(),
        message_id: delivery.message_id.clone(),
        delivery: delivery.number,
        action,
    };
    let admin = context.client.admin();
    let queue = queue.to_owned();
    context.op(call, act(admin, queue, receipt, action)).await;
}

async fn act(
    admin: Admin,
    queue: String,
    receipt: String,
    action: Action,
) -> Result<Answer, Error> {
    let receipts = vec![receipt];
    let answer = match action {
        Action::Acknowledge => {
            admin
                .acknowledge(v1::AcknowledgeRequest { queue, receipts, even_if_ended: false })
                .await?
        }
        Action::Release | Action::Fail => {
            let failed = action == Action::Fail;
            let request =
                v1::ReleaseRequest { queue, receipts, failed, ..v1::ReleaseRequest::default() };
            admin.release(request).await?
        }
        Action::Reject => {
            let request = v1::RejectRequest { queue, receipts, ..v1::RejectRequest::default() };
            admin.reject(request).await?
        }
        Action::Extend => {
            admin.extend(v1::ExtendRequest { queue, receipts, lease_ms: LEASE_MS }).await?
        }
    };
    let result = answer.results.into_iter().next().expect("one was settled");
    let until_ms = result.lease_until_ms;
    match result.error {
        None => Ok(Answer::Settled { done: true, until_ms }),
        Some(error) if error.kind() == v1::ErrorKind::Conflict => {
            Ok(Answer::Settled { done: false, until_ms })
        }
        Some(error) => Err(error.into()),
    }
}

async fn count(context: &Context, queue: &str) -> Option<(Counts, u64)> {
    let admin = context.client.admin();
    let request = v1::DescribeQueueRequest { queue: queue.to_owned() };
    let mut bytes = 0;
    let seen = &mut bytes;
    let work = async move {
        let is = admin.describe_queue(request).await?;
        *seen = is.bytes;
        Ok(Answer::Counted(Counts {
            waiting: is.available + is.scheduled,
            leased: is.leased,
            moving: is.moving,
            sent: is.sent_total,
            delivered: is.delivered_total,
            acknowledged: is.acknowledged_total,
            dropped: is.dropped_total,
            moved: is.moved_total,
        }))
    };
    match context.op(Call::Count { queue: queue.to_owned() }, work).await {
        Some(Answer::Counted(counts)) => Some((counts, bytes)),
        _ => None,
    }
}

/// Settles everything that is left, until every queue is empty.
///
/// # Errors
/// Queues don't become empty.
pub async fn drain(context: Context) -> Result<(), String> {
    let mut queues: Vec<Queue> = context.topics.queues.clone();
    queues.extend(context.topics.sides.iter().flat_map(|side| side.queues()));
    let names: Vec<String> = queues.into_iter().map(|queue| queue.name).collect();
    let mut left = String::new();
    for _ in 0..DRAIN_LOOKS {
        left.clear();
        for name in &names {
            // An answer has few messages where they are large.
            for _ in 0..if name == BULKY { BULKY_RECEIVES } else { 1 } {
                let wait_ms = if name == SINGLE { 100 } else { 0 };
                let received = receive(&context, name, 50, wait_ms, 0).await;
                if received.is_empty() {
                    break;
                }
                for (delivery, receipt) in received {
                    settle(&context, name, &delivery, receipt, Action::Acknowledge).await;
                }
            }
            let Some((counts, bytes)) = count(&context, name).await else {
                left += &format!("{name} can't be counted; ");
                continue;
            };
            if counts.waiting + counts.leased + counts.moving > 0 || bytes > 0 {
                left += &format!("{name}: {counts:?}, {bytes} bytes; ");
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(format!("messages are left: {left}"))
}
