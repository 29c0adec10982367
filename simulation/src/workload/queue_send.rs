//! Sends messages to queues, by calls and over streams. What may have been sent is sent again,
//! under the same id.

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_client::{Sender, SenderOptions, v1};
use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::{Context, JOBS, Queue, record};
use crate::history::{Answer, Call, RecordName};

/// How often a message is sent that may have been sent.
const TIMES_MAX: u32 = 6;
/// How long a node may take.
const TIMEOUT_MS: u32 = 3_000;
/// Groups of FIFO queues.
const GROUPS: u64 = 4;

pub(super) async fn run(mut context: Context, queues: Vec<Queue>) {
    let queues: Vec<Queue> = queues.into_iter().filter(|queue| queue.sent_to).collect();
    let mut number = 0;
    let mut senders: BTreeMap<String, Sender> = BTreeMap::new();
    while !context.stopped() {
        let queue = queues.choose(&mut context.rng).expect("there are some");
        let message = RecordName { client: context.id.0, number };
        number += 1;
        let body = record::value(message, &mut context.rng);
        let group = queue.grouped.then(|| context.rng.random_range(0..GROUPS));
        let priority = context.rng.random_range(0..4);
        let is_delayed = queue.name == JOBS && context.rng.random_bool(0.3);
        let delay_ms = is_delayed.then(|| context.rng.random_range(100..2_000));
        for _ in 0..TIMES_MAX {
            let outgoing = v1::OutgoingMessage {
                body: body.clone(),
                group: group.map(|group| group.to_string()).unwrap_or_default(),
                deduplication_id: format!("{}/{}", message.client, message.number),
                priority,
                delay_ms: delay_ms.map(u64::from),
                ..v1::OutgoingMessage::default()
            };
            let by_stream = context.rng.random_bool(0.5);
            if by_stream && !senders.contains_key(&queue.name) {
                let options = SenderOptions { timeout_ms: TIMEOUT_MS, ..Default::default() };
                if let Ok(sender) = context.client.sender(&queue.name, options).await {
                    senders.insert(queue.name.clone(), sender);
                }
            }
            let sender = senders.get(&queue.name).filter(|_| by_stream).cloned();
            let request = v1::SendRequest {
                queue: queue.name.clone(),
                messages: vec![outgoing],
                timeout_ms: TIMEOUT_MS,
                correlation_id: 0,
            };
            let call = Call::Send { queue: queue.name.clone(), message, group, delay_ms };
            let admin = context.client.admin();
            let work = async move {
                let mut results = match sender {
                    Some(sender) => sender.send(request.messages).await?.await?,
                    None => admin.send(request).await?.results,
                };
                let sent = results.pop().expect("one was sent");
                let v1::send_response::Result { message_id, duplicate } = sent;
                Ok(Answer::Sent { message_id, duplicate })
            };
            let done = context.op(call, work).await;
            // Now and then it is sent again although it needn't.
            if done.is_some() && context.rng.random_bool(0.9) {
                break;
            }
            // A queue that is full stays so when nobody receives from it any more.
            if done.is_none() && context.stopped() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        context.pause().await;
    }
}
