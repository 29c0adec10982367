//! `kontiki.v1.PubSub`.
//!
//! * `stream`: an open subscription
//! * `admin`: durable ones, and lists
//! * `texts`: patterns, filters and starts on the wire

mod admin;
mod stream;
mod texts;

use kontiki_proto::v1;
use kontiki_proto::v1::pub_sub_server::PubSub;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Service;
use super::deadline::Deadline;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl PubSub for Service {
    type SubscribeStream = ReceiverStream<Result<v1::SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<v1::SubscribeRequest>>,
    ) -> Answer<Self::SubscribeStream> {
        Ok(Response::new(stream::serve(self.clone(), request.into_inner())))
    }

    async fn create_subscription(
        &self,
        request: Request<v1::CreateSubscriptionRequest>,
    ) -> Answer<v1::CreateSubscriptionResponse> {
        let deadline = Deadline::of(request.metadata());
        let made = self.make_subscription(request.into_inner(), deadline).await;
        made.map(Response::new).map_err(|error| self.status(error))
    }

    async fn delete_subscription(
        &self,
        request: Request<v1::DeleteSubscriptionRequest>,
    ) -> Answer<v1::DeleteSubscriptionResponse> {
        let deadline = Deadline::of(request.metadata());
        let name = request.into_inner().subscription;
        let deleted = async {
            super::fields::present("subscription", &name)?;
            let deleted = self.broker.delete_subscription(&name);
            deadline.within("DeleteSubscription", deleted).await
        };
        deleted.await.map_err(|error| self.status(error))?;
        Ok(Response::new(v1::DeleteSubscriptionResponse {}))
    }

    async fn list_subscriptions(
        &self,
        request: Request<v1::ListSubscriptionsRequest>,
    ) -> Answer<v1::ListSubscriptionsResponse> {
        let deadline = Deadline::of(request.metadata());
        let listed = self.all_subscriptions(request.into_inner(), deadline).await;
        listed.map(Response::new).map_err(|error| self.status(error))
    }
}
