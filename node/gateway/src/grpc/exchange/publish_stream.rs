//! `PublishStream`.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kontiki_broker::Error;
use kontiki_broker::exchanges::Publisher;
use kontiki_proto::v1;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::publish::asked;
use crate::grpc::Service;
use crate::grpc::answers::{self, Bounds, Order, Serve};
use crate::grpc::deadline::Deadline;

/// Publishes until the client closes its side, or the node stops.
pub(super) fn serve(
    service: Service,
    requests: Streaming<v1::PublishRequest>,
    deadline: Deadline,
) -> ReceiverStream<Result<v1::PublishStreamResponse, Status>> {
    let (sender, receiver) = mpsc::channel(answers::ANSWERS);
    let bounds = Bounds {
        requests: service.options.stream_unanswered_max,
        parts: service.options.stream_unanswered_messages_max,
        bytes: service.options.stream_unanswered_bytes_max,
    };
    tokio::spawn(async move {
        let broker = service.broker.clone();
        let publisher = broker.publisher();
        let publishes = Publishes { service, publisher, deadline };
        let order = Order::AsAsked;
        answers::serve(requests, publishes, broker.stopped(), bounds, order, sender).await;
    });
    ReceiverStream::new(receiver)
}

/// What one stream publishes.
struct Publishes {
    service: Service,
    publisher: Publisher,
    deadline: Deadline,
}

impl Serve<v1::PublishRequest, v1::PublishStreamResponse> for Publishes {
    fn parts(&self, request: &v1::PublishRequest) -> usize {
        request.messages.len()
    }

    fn bytes(&self, request: &v1::PublishRequest) -> usize {
        request.encoded_len()
    }

    fn start(&self, request: v1::PublishRequest) -> BoxFuture<'static, v1::PublishStreamResponse> {
        let correlation_id = request.correlation_id;
        let failed = move |service: &Service, error: Error| v1::PublishStreamResponse {
            correlation_id,
            error: Some(service.error(error)),
            results: Vec::new(),
        };
        let service = self.service.clone();
        match asked(request, self.deadline) {
            Err(error) => std::future::ready(failed(&service, error)).boxed(),
            Ok(publish) => {
                let published = self.publisher.publish(publish);
                async move {
                    match published.await {
                        Ok(published) => {
                            let results = service.published(published);
                            v1::PublishStreamResponse { correlation_id, error: None, results }
                        }
                        Err(error) => failed(&service, error),
                    }
                }
                .boxed()
            }
        }
    }
}
