//! `ProduceStream`.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kontiki_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::produce::{names, refusal, request, response};
use crate::grpc::Service;
use crate::grpc::answers::{self, Bounds, Order, Serve};
use crate::grpc::deadline::Deadline;

impl Service {
    /// Writes until the client closes its side, or the node stops.
    pub(super) fn write_stream(
        &self,
        requests: Streaming<v1::ProduceRequest>,
        deadline: Deadline,
    ) -> ReceiverStream<Result<v1::ProduceResponse, Status>> {
        let (sender, receiver) = mpsc::channel(answers::ANSWERS);
        let bounds = Bounds {
            requests: self.options.stream_unanswered_max,
            parts: self.options.stream_unanswered_partitions_max,
            bytes: usize::MAX,
        };
        let writes = Writes { service: self.clone(), deadline };
        let broker = self.broker.clone();
        tokio::spawn(async move {
            let order = Order::AsFinished;
            answers::serve(requests, writes, broker.stopped(), bounds, order, sender).await;
        });
        ReceiverStream::new(receiver)
    }
}

/// What one stream writes.
struct Writes {
    service: Service,
    deadline: Deadline,
}

impl Serve<v1::ProduceRequest, v1::ProduceResponse> for Writes {
    fn parts(&self, request: &v1::ProduceRequest) -> usize {
        request.partitions.len()
    }

    fn start(&self, write: v1::ProduceRequest) -> BoxFuture<'static, v1::ProduceResponse> {
        let correlation_id = write.correlation_id;
        let names = names(&write);
        let service = self.service.clone();
        let begun = request(write, self.deadline).and_then(|it| service.broker.produce(it));
        match begun {
            Err(error) => {
                let refusal = refusal(correlation_id, names, &service.error(error));
                std::future::ready(refusal).boxed()
            }
            Ok(outcomes) => async move {
                let outcomes = outcomes.await;
                response(correlation_id, names, outcomes, |error| service.error(error))
            }
            .boxed(),
        }
    }
}
