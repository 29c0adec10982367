//! Bindings that come and go, each of them once, while messages are published to them through one
//! node or another. Everything is asked once: what is not answered may be done at any time.

use std::time::Duration;

use kontiki_client::v1;
use rand::Rng as _;
use tonic::transport::Channel;
use v1::binding::Destination;
use v1::exchanges_client::ExchangesClient;

use super::exchanges::{TIMES_MAX, published, request};
use super::{Context, record, routes};
use crate::history::{Answer, Bound, Call, RecordName};

/// Each number has its time, so that who binds and who publishes mean the same without a word.
const TURN_MS: u64 = 2_000;

/// The number whose time it is.
fn number(context: &Context) -> u64 {
    context.trace.now() / TURN_MS
}

fn binding(bound: &Bound) -> v1::Binding {
    v1::Binding {
        exchange: bound.exchange.clone(),
        destination: Some(Destination::Queue(bound.queue.clone())),
        key: bound.key.clone(),
        ..v1::Binding::default()
    }
}

/// Binds when the time of a number comes, and takes that back when it is over; now and then later.
pub(super) async fn bind(mut context: Context) {
    let mut bound: Vec<(u64, Bound)> = Vec::new();
    let mut last = 0;
    while !context.stopped() {
        let now = number(&context);
        let over = |one: &(u64, Bound)| one.0 < now;
        while let Some(at) = bound.iter().position(over) {
            let (_, binding) = bound.swap_remove(at);
            if context.rng.random_bool(0.9) {
                change(&mut context, binding, false).await;
            }
        }
        if now != last {
            last = now;
            for (binding, _) in routes::moving(now) {
                if context.rng.random_bool(0.8) {
                    change(&mut context, binding.clone(), true).await;
                    bound.push((now, binding));
                }
            }
        }
        context.pause().await;
    }
}

async fn change(context: &mut Context, bound: Bound, binds: bool) {
    let node = context.direct.any(&mut context.rng);
    let asked = Some(binding(&bound));
    let call = if binds { Call::Bind { binding: bound } } else { Call::Unbind { binding: bound } };
    let direct = &context.direct;
    let work = async {
        if binds {
            let request = v1::BindRequest { binding: asked };
            let bind = async |channel: Channel| ExchangesClient::new(channel).bind(request).await;
            direct.call(node, bind).await?;
        } else {
            let request = v1::UnbindRequest { binding: asked };
            let unbind =
                async |channel: Channel| ExchangesClient::new(channel).unbind(request).await;
            direct.call(node, unbind).await?;
        }
        Ok(Answer::Done)
    };
    context.op(call, work).await;
}

/// Publishes what the bindings of now, of a moment ago and of soon lead on.
pub(super) async fn publish(mut context: Context) {
    let mut count = 0;
    while !context.stopped() {
        let message = RecordName { client: context.id.0, number: count };
        count += 1;
        let body = record::value(message, &mut context.rng);
        let back = context.rng.random_range(0..4);
        let which = (number(&context) + 1).saturating_sub(back);
        let [by_topic, by_key] = routes::moving(which);
        let (bound, key) = if context.rng.random_bool(0.5) { by_topic } else { by_key };
        for _ in 0..TIMES_MAX {
            let request = request(&bound.exchange, &key, message, body.clone());
            let node = context.direct.any(&mut context.rng);
            let (exchange, key) = (bound.exchange.clone(), key.clone());
            let call = Call::Publish { exchange, key, message, through: Some(node) };
            let direct = &context.direct;
            let work = async {
                let publish =
                    async |channel: Channel| ExchangesClient::new(channel).publish(request).await;
                published(direct.call(node, publish).await?)
            };
            let done = context.op(call, work).await;
            if done.is_some() && context.rng.random_bool(0.9) || context.stopped() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        context.pause().await;
    }
}
