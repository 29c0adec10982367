//! Publishes messages to exchanges. What may have been published is published again, under the same
//! id.

use std::time::Duration;

use kontiki_client::{Client, Error, v1};
use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use v1::ExchangeKind::{Fanout, Topic};
use v1::binding::Destination;

use super::setup::again;
use super::{Context, FAILED, FAILED_EXCHANGE, FAILING, ROUTED, record};
use crate::history::{Answer, Call, RecordName};

/// How often a message is published that may have been published.
const TIMES_MAX: u32 = 6;
const BY_TOPIC: &str = "by-topic";
const TO_SOME: &str = "to-some";
/// What is published to the first of the two; the other one doesn't look at it.
const KEYS: [&str; 7] = ["a.x", "x.b", "a.b", "c.copy", "a.copy", "fail.x", "nobody.x"];

/// The queues that a message goes to, by exchange and routing key: what the bindings below say.
#[must_use]
pub fn destinations(exchange: &str, key: &str) -> &'static [&'static str] {
    const ALL: [&str; 3] = ROUTED;
    const LATTER: [&str; 2] = [ROUTED[1], ROUTED[2]];
    match (exchange, key) {
        (TO_SOME, _) | (BY_TOPIC, "c.copy") => &LATTER,
        (BY_TOPIC, "a.x") => &[ROUTED[0]],
        (BY_TOPIC, "x.b") => &[ROUTED[1]],
        (BY_TOPIC, "a.b") => &[ROUTED[0], ROUTED[1]],
        (BY_TOPIC, "a.copy") => &ALL,
        (BY_TOPIC, "fail.x") => &[FAILING],
        _ => &[],
    }
}

/// Makes exchanges and bindings.
pub(super) async fn set_up(client: &Client) -> Result<(), Error> {
    for (name, kind) in [(BY_TOPIC, Topic), (TO_SOME, Fanout), (FAILED_EXCHANGE, Fanout)] {
        let exchange = v1::Exchange {
            exchange: name.to_owned(),
            kind: kind.into(),
            ..v1::Exchange::default()
        };
        let request = v1::CreateExchangeRequest { exchange: Some(exchange) };
        again(|| async { client.admin().create_exchange(request.clone()).await }).await?;
    }
    let queue = |name: &str| Destination::Queue(name.to_owned());
    let bindings = [
        (BY_TOPIC, "a.*", queue(ROUTED[0])),
        (BY_TOPIC, "#.b", queue(ROUTED[1])),
        (BY_TOPIC, "fail.#", queue(FAILING)),
        (BY_TOPIC, "*.copy", Destination::ToExchange(TO_SOME.to_owned())),
        (TO_SOME, "", queue(ROUTED[1])),
        (TO_SOME, "", queue(ROUTED[2])),
        (FAILED_EXCHANGE, "", queue(FAILED[0])),
        (FAILED_EXCHANGE, "", queue(FAILED[1])),
    ];
    for (exchange, key, destination) in bindings {
        let binding = v1::Binding {
            exchange: exchange.to_owned(),
            destination: Some(destination),
            key: key.to_owned(),
            ..v1::Binding::default()
        };
        let request = v1::BindRequest { binding: Some(binding) };
        again(|| async { client.admin().bind(request.clone()).await }).await?;
    }
    Ok(())
}

pub(super) async fn run(mut context: Context) {
    let mut number = 0;
    while !context.stopped() {
        let message = RecordName { client: context.id.0, number };
        number += 1;
        let body = record::value(message, &mut context.rng);
        let exchange = if context.rng.random_bool(0.8) { BY_TOPIC } else { TO_SOME };
        let key = *KEYS.choose(&mut context.rng).expect("there are some");
        for _ in 0..TIMES_MAX {
            let outgoing = v1::OutgoingMessage {
                body: body.clone(),
                deduplication_id: format!("{}/{}", message.client, message.number),
                ..v1::OutgoingMessage::default()
            };
            let publication = v1::Publication {
                routing_key: key.to_owned(),
                mandatory: false,
                message: Some(outgoing),
                ..v1::Publication::default()
            };
            let request = v1::PublishRequest {
                exchange: exchange.to_owned(),
                messages: vec![publication],
                timeout_ms: 3_000,
                correlation_id: 0,
            };
            let (exchange, key) = (exchange.to_owned(), key.to_owned());
            let call = Call::Publish { exchange, key, message };
            let admin = context.client.admin();
            let done = context.op(call, publish(admin, request)).await;
            if done.is_some() && context.rng.random_bool(0.9) || context.stopped() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        context.pause().await;
    }
}

async fn publish(
    admin: kontiki_client::Admin,
    request: v1::PublishRequest,
) -> Result<Answer, Error> {
    let result = admin.publish(request).await?.results.pop().expect("one was published");
    match result.error {
        None => Ok(Answer::Published { queues: result.queues }),
        Some(mut error) => {
            // One queue did not take it; others may have it.
            error.set_kind(v1::ErrorKind::Unknown);
            Err(error.into())
        }
    }
}
