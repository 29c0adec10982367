//! `SendStream`.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kontiki_broker::Error;
use kontiki_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::grpc::Service;
use crate::grpc::answers::{self, Bounds, Order, Serve};
use crate::grpc::deadline::Deadline;

/// Sends until the client closes its side, or the node stops.
pub(super) fn serve(
    service: Service,
    requests: Streaming<v1::SendRequest>,
    deadline: Deadline,
) -> ReceiverStream<Result<v1::SendStreamResponse, Status>> {
    let (sender, receiver) = mpsc::channel(answers::ANSWERS);
    let bounds = Bounds {
        requests: service.options.stream_unanswered_max,
        parts: service.options.stream_unanswered_messages_max,
        bytes: usize::MAX,
    };
    tokio::spawn(async move {
        let broker = service.broker.clone();
        let sends = Sends { service, deadline };
        let order = Order::AsFinished;
        answers::serve(requests, sends, broker.stopped(), bounds, order, sender).await;
    });
    ReceiverStream::new(receiver)
}

/// What one stream sends.
struct Sends {
    service: Service,
    deadline: Deadline,
}

impl Serve<v1::SendRequest, v1::SendStreamResponse> for Sends {
    fn parts(&self, request: &v1::SendRequest) -> usize {
        request.messages.len()
    }

    fn start(&self, request: v1::SendRequest) -> BoxFuture<'static, v1::SendStreamResponse> {
        let correlation_id = request.correlation_id;
        let failed = move |service: &Service, error: Error| v1::SendStreamResponse {
            correlation_id,
            error: Some(service.error(error)),
            results: Vec::new(),
        };
        let service = self.service.clone();
        match service.send_messages(request, self.deadline) {
            Err(error) => std::future::ready(failed(&service, error)).boxed(),
            Ok(sent) => async move {
                match sent.await {
                    Ok(results) => v1::SendStreamResponse { correlation_id, error: None, results },
                    Err(error) => failed(&service, error),
                }
            }
            .boxed(),
        }
    }
}
