//! Publishes messages to exchanges. What may have been published is published again, under the same
//! id.

use std::time::Duration;

use kontiki_client::{Client, Error, v1};
use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use v1::ExchangeKind::{ConsistentHash, Direct, Fanout, Headers, Topic};
use v1::binding::Destination;
use v1::content_filter::Filter;

use super::routes::{
    self, BY_HASH, BY_HEADER, BY_KEY, BY_TOPIC, FIXED, KIND, SPARE, TINT, TO_SOME,
};
use super::setup::again;
use super::{Context, FAILED_EXCHANGE, record};
use crate::history::{Answer, Call, RecordName};

/// How often a message is published that may have been published.
pub(super) const TIMES_MAX: u32 = 6;

/// Makes exchanges and bindings.
pub(super) async fn set_up(client: &Client) -> Result<(), Error> {
    let exchanges = [
        (BY_TOPIC, Topic, None),
        (TO_SOME, Fanout, None),
        (FAILED_EXCHANGE, Fanout, None),
        (BY_KEY, Direct, Some(SPARE)),
        (SPARE, Fanout, None),
        (BY_HEADER, Headers, None),
        (BY_HASH, ConsistentHash, None),
    ];
    for (name, kind, alternate) in exchanges {
        let exchange = v1::Exchange {
            exchange: name.to_owned(),
            kind: kind.into(),
            alternate: alternate.map(str::to_owned),
            ..v1::Exchange::default()
        };
        let request = v1::CreateExchangeRequest { exchange: Some(exchange) };
        again(|| async { client.admin().create_exchange(request.clone()).await }).await?;
    }
    let mut bindings: Vec<v1::Binding> = FIXED.iter().map(binding).collect();
    bindings.push(v1::Binding {
        exchange: BY_TOPIC.to_owned(),
        destination: Some(Destination::ToExchange(TO_SOME.to_owned())),
        key: "*.copy".to_owned(),
        ..v1::Binding::default()
    });
    for binding in bindings {
        let request = v1::BindRequest { binding: Some(binding) };
        again(|| async { client.admin().bind(request.clone()).await }).await?;
    }
    Ok(())
}

fn binding(fixed: &routes::Fixed) -> v1::Binding {
    let argument = |(name, value): &(&str, &str)| v1::binding::Argument {
        name: (*name).to_owned(),
        value: Some(value.as_bytes().to_vec().into()),
    };
    let filter = fixed.filter.map(|cel| Filter::Cel(cel.to_owned()));
    v1::Binding {
        exchange: fixed.exchange.to_owned(),
        destination: Some(Destination::Queue(fixed.queue.to_owned())),
        key: fixed.key.to_owned(),
        arguments: fixed.arguments.iter().map(argument).collect(),
        filter: filter.map(|filter| v1::ContentFilter { filter: Some(filter) }),
        ..v1::Binding::default()
    }
}

pub(super) async fn run(mut context: Context) {
    let mut number = 0;
    while !context.stopped() {
        let message = RecordName { client: context.id.0, number };
        number += 1;
        let body = record::value(message, &mut context.rng);
        let (exchange, key) = routes::PUBLISHED.choose(&mut context.rng).expect("there are some");
        for _ in 0..TIMES_MAX {
            let request = request(exchange, key, message, body.clone());
            let (exchange, key) = ((*exchange).to_owned(), (*key).to_owned());
            let call = Call::Publish { exchange, key, message, through: None };
            let admin = context.client.admin();
            let work = async move { published(admin.publish(request).await?) };
            let done = context.op(call, work).await;
            if done.is_some() && context.rng.random_bool(0.9) || context.stopped() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        context.pause().await;
    }
}

/// One message for an exchange. Its headers say what exchanges of all kinds look at.
pub(super) fn request(
    exchange: &str,
    key: &str,
    message: RecordName,
    body: bytes::Bytes,
) -> v1::PublishRequest {
    let header = |name: &str, value: &str| v1::Header {
        name: name.to_owned(),
        value: Some(value.as_bytes().to_vec().into()),
    };
    let outgoing = v1::OutgoingMessage {
        body,
        headers: vec![header(KIND, key), header(TINT, routes::tint(key))],
        deduplication_id: format!("{}/{}", message.client, message.number),
        ..v1::OutgoingMessage::default()
    };
    let publication = v1::Publication {
        routing_key: key.to_owned(),
        mandatory: false,
        message: Some(outgoing),
        ..v1::Publication::default()
    };
    let (exchange, messages) = (exchange.to_owned(), vec![publication]);
    v1::PublishRequest { exchange, messages, timeout_ms: 3_000, correlation_id: 0 }
}

pub(super) fn published(mut response: v1::PublishResponse) -> Result<Answer, Error> {
    let result = response.results.pop().expect("one was published");
    match result.error {
        None => Ok(Answer::Published { queues: result.queues }),
        Some(mut error) => {
            // One queue did not take it; others may have it.
            error.set_kind(v1::ErrorKind::Unknown);
            Err(error.into())
        }
    }
}
