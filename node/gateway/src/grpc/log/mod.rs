//! `kontiki.v1.Log`: a file for each verb.
//!
//! `decode` turns record batches into records for those who want them so.

mod decode;
mod delete_records;
mod fetch;
mod fetch_stream;
mod init_producer;
mod list_offsets;
mod metadata;
mod produce;
mod produce_stream;

use kontiki_proto::v1;
use kontiki_proto::v1::log_server::Log;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

pub(super) use self::metadata::partition_info;
use super::Service;
use super::deadline::Deadline;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Log for Service {
    async fn metadata(
        &self,
        request: Request<v1::MetadataRequest>,
    ) -> Answer<v1::MetadataResponse> {
        self.look_up(request.into_inner()).map(Response::new)
    }

    async fn produce(&self, request: Request<v1::ProduceRequest>) -> Answer<v1::ProduceResponse> {
        let deadline = Deadline::of(request.metadata());
        self.write(request.into_inner(), deadline).await.map(Response::new)
    }

    type ProduceStreamStream = ReceiverStream<Result<v1::ProduceResponse, Status>>;

    async fn produce_stream(
        &self,
        request: Request<Streaming<v1::ProduceRequest>>,
    ) -> Answer<Self::ProduceStreamStream> {
        let deadline = Deadline::of(request.metadata());
        Ok(Response::new(self.write_stream(request.into_inner(), deadline)))
    }

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Answer<v1::FetchResponse> {
        let deadline = Deadline::of(request.metadata());
        self.read(request.into_inner(), deadline).await.map(Response::new)
    }

    type FetchStreamStream = ReceiverStream<Result<v1::FetchStreamResponse, Status>>;

    async fn fetch_stream(
        &self,
        request: Request<Streaming<v1::FetchStreamRequest>>,
    ) -> Answer<Self::FetchStreamStream> {
        Ok(Response::new(self.read_stream(request.into_inner())))
    }

    async fn list_offsets(
        &self,
        request: Request<v1::ListOffsetsRequest>,
    ) -> Answer<v1::ListOffsetsResponse> {
        let deadline = Deadline::of(request.metadata());
        self.find_offsets(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn init_producer(
        &self,
        request: Request<v1::InitProducerRequest>,
    ) -> Answer<v1::InitProducerResponse> {
        let deadline = Deadline::of(request.metadata());
        self.give_producer(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn delete_records(
        &self,
        request: Request<v1::DeleteRecordsRequest>,
    ) -> Answer<v1::DeleteRecordsResponse> {
        let deadline = Deadline::of(request.metadata());
        self.shorten(request.into_inner(), deadline).await.map(Response::new)
    }
}
