//! Queues: create, change, look at. Settings are text here; the broker knows what they mean.

use kontiki_broker::Error;
use kontiki_broker::queues::{BreakerState, Create, Description};
use kontiki_proto::v1;

use crate::grpc::deadline::Deadline;
use crate::grpc::{Service, fields};

impl Service {
    pub(super) async fn make_queue(
        &self,
        request: v1::CreateQueueRequest,
        deadline: Deadline,
    ) -> Result<v1::CreateQueueResponse, Error> {
        let v1::CreateQueueRequest { queue, settings, validate_only, if_not_exists } = request;
        let settings = settings.into_iter().collect();
        let create = Create { queue, settings, validate_only, if_not_exists };
        let made = self.broker.create_queue(create);
        let (queue_id, queue) = deadline.within("CreateQueue", made).await?;
        Ok(v1::CreateQueueResponse { queue_id, queue })
    }

    pub(super) async fn change_queue(
        &self,
        request: v1::AlterQueueRequest,
        deadline: Deadline,
    ) -> Result<v1::AlterQueueResponse, Error> {
        let v1::AlterQueueRequest { queue, set, reset, validate_only } = request;
        fields::present("queue", &queue)?;
        let set = set.into_iter().collect();
        let altered = self.broker.alter_queue(&queue, set, reset, validate_only);
        let settings = deadline.within("AlterQueue", altered).await?;
        Ok(v1::AlterQueueResponse { settings: settings.into_iter().collect() })
    }

    pub(super) async fn look_at_queue(
        &self,
        request: v1::DescribeQueueRequest,
        deadline: Deadline,
    ) -> Result<v1::DescribeQueueResponse, Error> {
        let queue = request.queue;
        fields::present("queue", &queue)?;
        let described = self.broker.describe_queue(&queue);
        let Description {
            queue_id,
            settings,
            settings_version,
            created_ms,
            available,
            leased,
            scheduled,
            moving,
            bytes,
            oldest_ms,
            totals,
            consumers,
            active_consumer,
            breaker,
        } = deadline.within("DescribeQueue", described).await?;
        Ok(v1::DescribeQueueResponse {
            queue,
            queue_id,
            settings: settings.into_iter().collect(),
            settings_version,
            created_ms,
            available,
            leased,
            scheduled,
            moving,
            bytes,
            oldest_ms: oldest_ms.unwrap_or(0),
            sent_total: totals.sent,
            delivered_total: totals.delivered,
            acknowledged_total: totals.acknowledged,
            leases_ended_total: totals.leases_ended,
            dropped_total: totals.dropped,
            moved_total: totals.moved,
            purged_total: totals.purged,
            duplicates_total: totals.duplicates,
            consumers,
            active_consumer: active_consumer.unwrap_or_default(),
            breaker: match breaker {
                BreakerState::Off => v1::BreakerState::Unspecified,
                BreakerState::Closed => v1::BreakerState::Closed,
                BreakerState::Open => v1::BreakerState::Open,
                BreakerState::HalfOpen => v1::BreakerState::HalfOpen,
            }
            .into(),
        })
    }
}
