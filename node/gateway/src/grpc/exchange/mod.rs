//! `kontiki.v1.Exchanges`.
//!
//! * `wire`: exchanges and bindings, as they look there
//! * `publish`, `publish_stream`: messages, by call and continuously

mod publish;
mod publish_stream;
mod wire;

use kontiki_broker::Error;
use kontiki_broker::exchanges::{Ends, Listed};
use kontiki_proto::v1;
use kontiki_proto::v1::exchanges_server::Exchanges;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::deadline::Deadline;
use super::{Service, fields};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Exchanges for Service {
    async fn create_exchange(
        &self,
        request: Request<v1::CreateExchangeRequest>,
    ) -> Answer<v1::CreateExchangeResponse> {
        let deadline = Deadline::of(request.metadata());
        let made = async {
            let create = wire::declared(request.into_inner().exchange)?;
            deadline.within("CreateExchange", self.broker.create_exchange(create)).await
        };
        let created = made.await.map_err(|error| self.status(error))?;
        Ok(Response::new(v1::CreateExchangeResponse { created }))
    }

    async fn delete_exchange(
        &self,
        request: Request<v1::DeleteExchangeRequest>,
    ) -> Answer<v1::DeleteExchangeResponse> {
        let deadline = Deadline::of(request.metadata());
        let v1::DeleteExchangeRequest { exchange, if_unused } = request.into_inner();
        let deleted = self.broker.delete_exchange(&exchange, if_unused);
        let unbound = deadline.within("DeleteExchange", deleted).await;
        let unbound = unbound.map_err(|error| self.status(error))?;
        Ok(Response::new(v1::DeleteExchangeResponse { unbound }))
    }

    async fn list_exchanges(
        &self,
        request: Request<v1::ListExchangesRequest>,
    ) -> Answer<v1::ListExchangesResponse> {
        let v1::ListExchangesRequest { prefix, after, limit } = request.into_inner();
        let listed = self.broker.list_exchanges(&prefix, &after, limit);
        let (exchanges, more) = listed.map_err(|error| self.status(error))?;
        let exchanges = exchanges.iter().map(|exchange| wire::exchange(exchange)).collect();
        Ok(Response::new(v1::ListExchangesResponse { exchanges, more }))
    }

    async fn describe_exchange(
        &self,
        request: Request<v1::DescribeExchangeRequest>,
    ) -> Answer<v1::DescribeExchangeResponse> {
        let deadline = Deadline::of(request.metadata());
        let name = request.into_inner().exchange;
        let described = async {
            fields::present("exchange", &name)?;
            deadline.within("DescribeExchange", self.broker.describe_exchange(&name)).await
        };
        let described = described.await.map_err(|error| self.status(error))?;
        let exchange = Some(wire::exchange(&described.exchange));
        let bindings_from = described.bindings_from;
        Ok(Response::new(v1::DescribeExchangeResponse { exchange, bindings_from }))
    }

    async fn bind(&self, request: Request<v1::BindRequest>) -> Answer<v1::BindResponse> {
        let deadline = Deadline::of(request.metadata());
        let bound = async {
            let bound = wire::bound(request.into_inner().binding)?;
            deadline.within("Bind", self.broker.bind(bound)).await
        };
        let created = bound.await.map_err(|error| self.status(error))?;
        Ok(Response::new(v1::BindResponse { created }))
    }

    async fn unbind(&self, request: Request<v1::UnbindRequest>) -> Answer<v1::UnbindResponse> {
        let deadline = Deadline::of(request.metadata());
        let unbound = async {
            let bound = wire::bound(request.into_inner().binding)?;
            deadline.within("Unbind", self.broker.unbind(bound)).await
        };
        let removed = unbound.await.map_err(|error| self.status(error))?;
        Ok(Response::new(v1::UnbindResponse { removed }))
    }

    async fn list_bindings(
        &self,
        request: Request<v1::ListBindingsRequest>,
    ) -> Answer<v1::ListBindingsResponse> {
        let v1::ListBindingsRequest { exchange, destination, after, limit } = request.into_inner();
        let ends = Ends { source: exchange, to: destination.map(wire::ends), after, limit };
        let listed = self.broker.list_bindings(&ends);
        let (bindings, more) = listed.map_err(|error: Error| self.status(error))?;
        let bindings = bindings.into_iter().map(|listed| {
            let Listed { id, bound, created_ms } = listed;
            let binding = Some(wire::binding(bound));
            v1::list_bindings_response::Listed { id, binding, created_ms }
        });
        Ok(Response::new(v1::ListBindingsResponse { bindings: bindings.collect(), more }))
    }

    async fn publish(&self, request: Request<v1::PublishRequest>) -> Answer<v1::PublishResponse> {
        let deadline = Deadline::of(request.metadata());
        let published = self.publish_messages(request.into_inner(), deadline).await;
        published.map(Response::new).map_err(|error| self.status(error))
    }

    type PublishStreamStream = ReceiverStream<Result<v1::PublishStreamResponse, Status>>;

    async fn publish_stream(
        &self,
        request: Request<Streaming<v1::PublishRequest>>,
    ) -> Answer<Self::PublishStreamStream> {
        let deadline = Deadline::of(request.metadata());
        Ok(Response::new(publish_stream::serve(self.clone(), request.into_inner(), deadline)))
    }
}
