//! Follows a topic with a durable subscription that wants every other record, acknowledges most of
//! what comes, and goes away now and then. Consumers take it from one another, and some begin it
//! anew, at the first records or at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_client::{Client, Error, SubscribeOptions, Subscription, v1};
use rand::Rng as _;
use tokio::time::timeout;
use v1::content_filter::Filter;
use v1::start_at::At;

use super::setup::again;
use super::{Context, Side, record};
use crate::history::{Answer, Call, Part, Reset};

/// The topic that is followed.
pub const FOLLOWED: &str = "log";
const NAME: &str = "follower";
const FILTER: &str = "meta.offset % 2 == 0";
/// How long it is waited for records.
const WAIT: Duration = Duration::from_millis(500);
/// How often it is looked whether everything was given, in the end.
const DRAIN_LOOKS: u32 = 100;

/// Whether the subscription wants the record at an offset: what the filter says.
#[must_use]
pub fn is_wanted(offset: u64) -> bool {
    offset.is_multiple_of(2)
}

/// Creates the subscription.
pub(super) async fn set_up(client: &Client) -> Result<(), Error> {
    let request = v1::CreateSubscriptionRequest {
        subscription: NAME.to_owned(),
        pattern: FOLLOWED.to_owned(),
        filter: Some(v1::ContentFilter { filter: Some(Filter::Cel(FILTER.to_owned())) }),
        from: Some(v1::StartAt { at: Some(At::Earliest(true)) }),
        if_not_exists: true,
        ..v1::CreateSubscriptionRequest::default()
    };
    again(|| async { client.admin().create_subscription(request.clone()).await }).await.map(drop)
}

pub(super) async fn run(mut context: Context) {
    while !context.stopped() {
        let credit = context.rng.random_range(1..200);
        let reset = match context.rng.random_range(0..100) {
            0..6 => Some(Reset::Earliest),
            6..12 => Some(Reset::Latest),
            _ => None,
        };
        let Some(mut session) = Session::open(&context, credit, reset).await else {
            context.pause().await;
            continue;
        };
        let mut is_open = true;
        for _ in 0..context.rng.random_range(1..40) {
            let acknowledges = context.rng.random_bool(0.8);
            is_open = is_open && session.follow(&context, acknowledges).await.is_some();
            if !is_open || context.stopped() {
                break;
            }
        }
        if is_open && context.rng.random_bool(0.7) {
            session.close(&context).await;
        }
        context.pause().await;
    }
}

/// A subscription that is open.
struct Session {
    subscription: Subscription,
    acknowledged: BTreeMap<Part, u64>,
}

impl Session {
    async fn open(context: &Context, credit: u32, reset: Option<Reset>) -> Option<Self> {
        let options = SubscribeOptions {
            name: NAME.to_owned(),
            takeover: true,
            reset: reset.is_some(),
            from: reset.map(|reset| match reset {
                Reset::Earliest => At::Earliest(true),
                Reset::Latest => At::Latest(true),
            }),
            credit,
            ..SubscribeOptions::default()
        };
        let (client, mut opened) = (context.client.clone(), None);
        let place = &mut opened;
        let work = async move {
            *place = Some(client.subscribe(options).await?);
            Ok(Answer::Done)
        };
        context.op(Call::Subscribe { reset }, work).await;
        opened.map(|subscription| Self { subscription, acknowledged: BTreeMap::new() })
    }

    /// Whether records came; `None`: it is over.
    async fn follow(&mut self, context: &Context, acknowledges: bool) -> Option<bool> {
        let Self { subscription, acknowledged } = self;
        let work = async move {
            let Ok(next) = timeout(WAIT, subscription.next()).await else {
                return Ok(Answer::Followed(None));
            };
            let next = next?;
            let at = Part { topic: next.topic.clone(), partition: next.partition };
            if acknowledges {
                subscription.acknowledge(&next);
                acknowledged.insert(at.clone(), next.next_offset);
            }
            Ok(Answer::Followed(Some((at, next.records.iter().map(record::seen).collect()))))
        };
        let answer = context.op(Call::Follow, work).await?;
        Some(matches!(answer, Answer::Followed(Some(_))))
    }

    async fn close(self, context: &Context) {
        let acknowledged = self.acknowledged.into_iter().collect();
        let call = Call::Unsubscribe { acknowledged };
        let work = async move { self.subscription.close().await.map(|()| Answer::Done) };
        context.op(call, work).await;
    }
}

/// Follows until nothing is left.
///
/// # Errors
/// It doesn't come to an end.
pub async fn drain_subscription(context: &Context) -> Result<(), String> {
    if !context.topics.sides.contains(&Side::Subscription) {
        return Ok(());
    }
    let mut left = "it can't be opened".to_owned();
    for _ in 0..DRAIN_LOOKS {
        let Some(mut session) = Session::open(context, 1_000, None).await else {
            tokio::time::sleep(WAIT).await;
            continue;
        };
        while session.follow(context, true).await == Some(true) {}
        session.close(context).await;
        let request = v1::ListSubscriptionsRequest {
            prefix: NAME.to_owned(),
            lag: true,
            ..v1::ListSubscriptionsRequest::default()
        };
        match context.client.admin().list_subscriptions(request).await {
            Err(error) => left = error.to_string(),
            Ok(list) => {
                let Some(known) = list.durable.first() else {
                    return Err("the subscription isn't there any more".to_owned());
                };
                let unknown = known.partitions.iter().any(|one| one.error.is_some());
                if known.lag == 0 && !unknown && !known.partitions.is_empty() {
                    return Ok(());
                }
                left = format!("{:?}", known.partitions);
            }
        }
    }
    Err(format!("the subscription is behind: {left}"))
}
