//! `kontiki.v1.Queue`.
//!
//! * `admin`: create, change, look at, delete
//! * `messages`: send, receive, settle, peek; and how messages look on the wire
//! * `redrive`: messages go to another queue, or back
//! * `send_stream`: send continuously
//! * `stream`: receive continuously

mod admin;
mod messages;
mod redrive;
mod send_stream;
mod stream;

use kontiki_proto::v1;
use kontiki_proto::v1::queue_server::Queue;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

pub(super) use self::messages::{outgoing, own_headers, shown_headers};
use super::Service;
use super::deadline::Deadline;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Queue for Service {
    async fn create_queue(
        &self,
        request: Request<v1::CreateQueueRequest>,
    ) -> Answer<v1::CreateQueueResponse> {
        let deadline = Deadline::of(request.metadata());
        let made = self.make_queue(request.into_inner(), deadline).await;
        made.map(Response::new).map_err(|error| self.status(error))
    }

    async fn alter_queue(
        &self,
        request: Request<v1::AlterQueueRequest>,
    ) -> Answer<v1::AlterQueueResponse> {
        let deadline = Deadline::of(request.metadata());
        let altered = self.change_queue(request.into_inner(), deadline).await;
        altered.map(Response::new).map_err(|error| self.status(error))
    }

    async fn describe_queue(
        &self,
        request: Request<v1::DescribeQueueRequest>,
    ) -> Answer<v1::DescribeQueueResponse> {
        let deadline = Deadline::of(request.metadata());
        let described = self.look_at_queue(request.into_inner(), deadline).await;
        described.map(Response::new).map_err(|error| self.status(error))
    }

    async fn list_queues(
        &self,
        request: Request<v1::ListQueuesRequest>,
    ) -> Answer<v1::ListQueuesResponse> {
        let v1::ListQueuesRequest { prefix, after, limit } = request.into_inner();
        let listed = self.broker.list_queues(&prefix, &after, limit);
        let (queues, more) = listed.map_err(|error| self.status(error))?;
        let queues = queues.into_iter().map(|listed| v1::list_queues_response::Queue {
            queue: listed.queue,
            queue_id: listed.queue_id,
        });
        Ok(Response::new(v1::ListQueuesResponse { queues: queues.collect(), more }))
    }

    async fn delete_queue(
        &self,
        request: Request<v1::DeleteQueueRequest>,
    ) -> Answer<v1::DeleteQueueResponse> {
        let deadline = Deadline::of(request.metadata());
        let queue = request.into_inner().queue;
        let deleted = async {
            super::fields::present("queue", &queue)?;
            deadline.within("DeleteQueue", self.broker.delete_queue(&queue)).await
        };
        deleted.await.map_err(|error| self.status(error))?;
        Ok(Response::new(v1::DeleteQueueResponse {}))
    }

    async fn purge_queue(
        &self,
        request: Request<v1::PurgeQueueRequest>,
    ) -> Answer<v1::PurgeQueueResponse> {
        let deadline = Deadline::of(request.metadata());
        let queue = request.into_inner().queue;
        let purged = async {
            super::fields::present("queue", &queue)?;
            deadline.within("PurgeQueue", self.broker.purge_queue(&queue)).await
        };
        let removed = purged.await.map_err(|error| self.status(error))?;
        Ok(Response::new(v1::PurgeQueueResponse { removed }))
    }

    type RedriveStream = ReceiverStream<Result<v1::RedriveProgress, Status>>;

    async fn redrive(&self, request: Request<v1::RedriveRequest>) -> Answer<Self::RedriveStream> {
        let begun = self.follow_redrive(request.into_inner()).await;
        begun.map(Response::new).map_err(|error| self.status(error))
    }

    async fn start_redrive(
        &self,
        request: Request<v1::RedriveRequest>,
    ) -> Answer<v1::StartRedriveResponse> {
        let deadline = Deadline::of(request.metadata());
        let begun = self.begin_redrive(request.into_inner(), deadline).await;
        begun.map(Response::new).map_err(|error| self.status(error))
    }

    async fn list_redrives(
        &self,
        request: Request<v1::ListRedrivesRequest>,
    ) -> Answer<v1::ListRedrivesResponse> {
        let deadline = Deadline::of(request.metadata());
        let listed = self.all_redrives(request.into_inner(), deadline).await;
        listed.map(Response::new).map_err(|error| self.status(error))
    }

    async fn describe_redrive(
        &self,
        request: Request<v1::DescribeRedriveRequest>,
    ) -> Answer<v1::DescribeRedriveResponse> {
        let deadline = Deadline::of(request.metadata());
        let described = self.one_redrive(request.into_inner(), deadline).await;
        described.map(Response::new).map_err(|error| self.status(error))
    }

    async fn cancel_redrive(
        &self,
        request: Request<v1::CancelRedriveRequest>,
    ) -> Answer<v1::CancelRedriveResponse> {
        let deadline = Deadline::of(request.metadata());
        let cancelled = self.end_redrive(request.into_inner(), deadline).await;
        cancelled.map(Response::new).map_err(|error| self.status(error))
    }

    async fn send(&self, request: Request<v1::SendRequest>) -> Answer<v1::SendResponse> {
        let deadline = Deadline::of(request.metadata());
        let sent = async { self.send_messages(request.into_inner(), deadline)?.await };
        let results = sent.await.map_err(|error| self.status(error))?;
        Ok(Response::new(v1::SendResponse { results }))
    }

    type SendStreamStream = ReceiverStream<Result<v1::SendStreamResponse, Status>>;

    async fn send_stream(
        &self,
        request: Request<Streaming<v1::SendRequest>>,
    ) -> Answer<Self::SendStreamStream> {
        let deadline = Deadline::of(request.metadata());
        Ok(Response::new(send_stream::serve(self.clone(), request.into_inner(), deadline)))
    }

    async fn receive(&self, request: Request<v1::ReceiveRequest>) -> Answer<v1::ReceiveResponse> {
        let deadline = Deadline::of(request.metadata());
        let received = self.receive_messages(request.into_inner(), deadline).await;
        received.map(Response::new).map_err(|error| self.status(error))
    }

    type StreamingReceiveStream = ReceiverStream<Result<v1::StreamingReceiveResponse, Status>>;

    async fn streaming_receive(
        &self,
        request: Request<Streaming<v1::StreamingReceiveRequest>>,
    ) -> Answer<Self::StreamingReceiveStream> {
        Ok(Response::new(stream::serve(self.clone(), request.into_inner())))
    }

    async fn acknowledge(
        &self,
        request: Request<v1::AcknowledgeRequest>,
    ) -> Answer<v1::SettleResponse> {
        let deadline = Deadline::of(request.metadata());
        let v1::AcknowledgeRequest { queue, receipts, even_if_ended } = request.into_inner();
        let action = messages::acknowledged(even_if_ended);
        let settled =
            self.settle_all("Acknowledge", queue, receipts, Ok(action), None, deadline).await;
        settled.map(Response::new).map_err(|error| self.status(error))
    }

    async fn release(&self, request: Request<v1::ReleaseRequest>) -> Answer<v1::SettleResponse> {
        let deadline = Deadline::of(request.metadata());
        let v1::ReleaseRequest { queue, receipts, delay_ms, failed, error_class, error } =
            request.into_inner();
        let said = messages::said(error_class, error);
        let action = messages::released(delay_ms, failed);
        let settled = self.settle_all("Release", queue, receipts, action, said, deadline).await;
        settled.map(Response::new).map_err(|error| self.status(error))
    }

    async fn reject(&self, request: Request<v1::RejectRequest>) -> Answer<v1::SettleResponse> {
        let deadline = Deadline::of(request.metadata());
        let v1::RejectRequest { queue, receipts, error, error_class } = request.into_inner();
        let said = messages::said(error_class, error);
        let action = kontiki_broker::queues::Action::Reject;
        let settled = self.settle_all("Reject", queue, receipts, Ok(action), said, deadline).await;
        settled.map(Response::new).map_err(|error| self.status(error))
    }

    async fn extend(&self, request: Request<v1::ExtendRequest>) -> Answer<v1::SettleResponse> {
        let deadline = Deadline::of(request.metadata());
        let v1::ExtendRequest { queue, receipts, lease_ms } = request.into_inner();
        let action = messages::extended(lease_ms);
        let settled = self.settle_all("Extend", queue, receipts, action, None, deadline).await;
        settled.map(Response::new).map_err(|error| self.status(error))
    }

    async fn peek(&self, request: Request<v1::PeekRequest>) -> Answer<v1::PeekResponse> {
        let deadline = Deadline::of(request.metadata());
        let peeked = self.peek_messages(request.into_inner(), deadline).await;
        peeked.map(Response::new).map_err(|error| self.status(error))
    }
}
