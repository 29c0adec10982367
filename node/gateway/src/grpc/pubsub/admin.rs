//! Durable subscriptions: create and list.

use kontiki_broker::Error;
use kontiki_broker::subscriptions::{Create, Description, Lag, Listed, Open};
use kontiki_proto::v1;
use kontiki_proto::v1::list_subscriptions_response as wire;

use super::texts;
use crate::grpc::deadline::Deadline;
use crate::grpc::{Service, fields, filters};

impl Service {
    pub(super) async fn make_subscription(
        &self,
        request: v1::CreateSubscriptionRequest,
        deadline: Deadline,
    ) -> Result<v1::CreateSubscriptionResponse, Error> {
        fields::present("subscription", &request.subscription)?;
        let create = Create {
            name: request.subscription,
            pattern: request.pattern,
            syntax: texts::syntax(request.syntax)?,
            filter: filters::text("filter", request.filter)?,
            start: texts::start(request.from)?.unwrap_or_default(),
            if_not_exists: request.if_not_exists,
        };
        deadline.within("CreateSubscription", self.broker.create_subscription(create)).await?;
        Ok(v1::CreateSubscriptionResponse {})
    }

    pub(super) async fn all_subscriptions(
        &self,
        request: v1::ListSubscriptionsRequest,
        deadline: Deadline,
    ) -> Result<v1::ListSubscriptionsResponse, Error> {
        let v1::ListSubscriptionsRequest { prefix, after, limit, lag } = request;
        let listed = self.broker.list_subscriptions(&prefix, &after, limit, lag);
        let listed = deadline.within("ListSubscriptions", listed).await?;
        let Listed { durable, more, ephemeral, silent } = listed;
        Ok(v1::ListSubscriptionsResponse {
            durable: durable.into_iter().map(|one| self.durable(one)).collect(),
            more,
            ephemeral: ephemeral.into_iter().map(open).collect(),
            silent_nodes: silent,
        })
    }

    fn durable(&self, one: Description) -> wire::Durable {
        let partitions: Vec<wire::Lag> = one.lag.into_iter().map(|lag| self.lag(lag)).collect();
        wire::Durable {
            subscription: one.name,
            pattern: one.pattern,
            syntax: texts::shown_syntax(one.syntax),
            filter: filters::shown(one.filter),
            from: Some(texts::shown_start(one.start)),
            created_ms: one.created_ms,
            attached: one.attached.map(open),
            lag: partitions.iter().map(|its| its.lag).sum(),
            partitions,
        }
    }

    fn lag(&self, Lag { topic, partition, outcome }: Lag) -> wire::Lag {
        let topic = topic.to_string();
        match outcome {
            Ok((position, high_watermark)) => {
                let lag = high_watermark.saturating_sub(position);
                wire::Lag { topic, partition, position, high_watermark, lag, error: None }
            }
            Err(error) => {
                let error = Some(self.error(error));
                wire::Lag { topic, partition, error, ..Default::default() }
            }
        }
    }
}

fn open(open: Open) -> wire::Open {
    wire::Open {
        node_id: open.node,
        pattern: open.pattern,
        syntax: texts::shown_syntax(open.syntax),
        filter: filters::shown(open.filter),
        since_ms: open.since_ms,
        matched: open.counts.matched,
        unmatched: open.counts.unmatched,
        filter_errors: open.counts.failed,
    }
}
