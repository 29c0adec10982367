//! What other nodes ask of this one, on behalf of clients and of the cluster.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use kontiki_domain::queue::Brings;
use kontiki_proto::node::peer_server::Peer;
use kontiki_proto::node::{
    BarrierRequest, BarrierResponse, ControlShardRequest, ControlShardResponse, Failure,
    FoundRequest, FoundResponse, IdentifyRequest, IdentifyResponse, InviteRequest, InviteResponse,
    JoinRequest, JoinResponse, PassReplyRequest, PassReplyResponse, ProposeRequest,
    ProposeResponse, ReadRequest, ReadResponse, StatusRequest, StatusResponse,
    SubscriptionsRequest, SubscriptionsResponse, propose_request,
};
use kontiki_storage::id::{PartitionId, ShardId};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::core::Core;
use crate::error::Error;

/// Serves `kontiki.node.v1.Peer`.
pub struct PeerService(Arc<Core>);

impl PeerService {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self(core)
    }
}

/// A proposal of another node goes into the replica here, or is refused: it isn't passed on again,
/// for two nodes that take each other for the leader would pass it on for ever.
fn submit(core: &Core, request: ProposeRequest) -> BoxFuture<'static, ProposeResponse> {
    let shard = ShardId(request.shard);
    let correlation_id = request.correlation_id;
    let refused = |error: &Error| ProposeResponse {
        correlation_id,
        failure: Some(Failure::from(error)),
        reply: Bytes::new(),
    };
    let Some(replica) = core.raft.shard(shard) else {
        let response = refused(&Error::not_leader(&format!("shard {shard}"), None));
        return Box::pin(std::future::ready(response));
    };
    let pending = replica.submit(request.command, request.payloads);
    if let Some(brings) = request.brings {
        core.prepared.follow(
            &replica,
            match brings {
                propose_request::Brings::Messages(queue) => Brings::Messages(PartitionId(queue)),
                propose_request::Brings::Turns(queue) => Brings::Turns(PartitionId(queue)),
            },
        );
    }
    let within = Duration::from_millis(request.timeout_ms.into());
    let accepted = request.ack == 1;
    Box::pin(async move {
        let outcome = async {
            if accepted {
                pending.accepted().await.map(|()| Bytes::new())
            } else {
                pending.await.map(|done| done.reply)
            }
        };
        let failure = match tokio::time::timeout(within, outcome).await {
            Ok(Ok(reply)) => return ProposeResponse { correlation_id, failure: None, reply },
            Ok(Err(error)) => Error::propose(shard, &error),
            Err(_) => Error::outcome_unknown(&format!("the leader of shard {shard}")),
        };
        ProposeResponse {
            correlation_id,
            failure: Some(Failure::from(&failure)),
            reply: Bytes::new(),
        }
    })
}

async fn serve_proposals(
    core: Arc<Core>,
    mut requests: Streaming<ProposeRequest>,
    answers: mpsc::Sender<Result<ProposeResponse, Status>>,
) {
    let limit = core.options.route.forward_requests_max;
    let mut under_way: FuturesUnordered<BoxFuture<'static, ProposeResponse>> =
        FuturesUnordered::new();
    let mut open = true;
    while open || !under_way.is_empty() {
        tokio::select! {
            biased;
            Some(answer) = under_way.next(), if !under_way.is_empty() => {
                if answers.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
            request = requests.message(), if open && under_way.len() < limit => match request {
                // Submitted here and now: this is what keeps the order.
                Ok(Some(request)) => under_way.push(submit(&core, request)),
                Ok(None) => open = false,
                Err(_) => return,
            },
        }
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn identify(
        &self,
        _: Request<IdentifyRequest>,
    ) -> Result<Response<IdentifyResponse>, Status> {
        Ok(Response::new(self.0.cluster.identify_self()))
    }

    async fn found(
        &self,
        request: Request<FoundRequest>,
    ) -> Result<Response<FoundResponse>, Status> {
        self.0.cluster.take_part(request.into_inner()).await.map(Response::new)
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let answer = self.0.cluster.let_in(request.into_inner()).await;
        Ok(Response::new(answer.unwrap_or_else(|error| JoinResponse {
            failure: Some(Failure::from(&error)),
            ..JoinResponse::default()
        })))
    }

    async fn invite(
        &self,
        request: Request<InviteRequest>,
    ) -> Result<Response<InviteResponse>, Status> {
        let answer = self.0.cluster.accept_invitation(request.get_ref());
        let failed = |error: Error| InviteResponse { failure: Some(Failure::from(&error)) };
        Ok(Response::new(answer.unwrap_or_else(failed)))
    }

    async fn propose(
        &self,
        request: Request<ProposeRequest>,
    ) -> Result<Response<ProposeResponse>, Status> {
        Ok(Response::new(submit(&self.0, request.into_inner()).await))
    }

    type ProposeStreamStream = ReceiverStream<Result<ProposeResponse, Status>>;

    async fn propose_stream(
        &self,
        request: Request<Streaming<ProposeRequest>>,
    ) -> Result<Response<Self::ProposeStreamStream>, Status> {
        let (sender, receiver) = mpsc::channel(64);
        tokio::spawn(serve_proposals(Arc::clone(&self.0), request.into_inner(), sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<ReadResponse>, Status> {
        let ReadRequest { shard, request, timeout_ms } = request.into_inner();
        let shard = ShardId(shard);
        let deadline = Instant::now() + Duration::from_millis(timeout_ms.into());
        let answer = match self.0.raft.shard(shard) {
            None => Err(Error::not_leader(&format!("shard {shard}"), None)),
            Some(replica) => crate::read::serve(&self.0, replica, request, deadline).await,
        };
        Ok(Response::new(match answer {
            Ok(answer) => {
                ReadResponse { failure: None, response: answer.response, payloads: answer.payloads }
            }
            Err(error) => {
                ReadResponse { failure: Some(Failure::from(&error)), ..ReadResponse::default() }
            }
        }))
    }

    async fn barrier(
        &self,
        request: Request<BarrierRequest>,
    ) -> Result<Response<BarrierResponse>, Status> {
        let BarrierRequest { shard, timeout_ms } = request.into_inner();
        let shard = ShardId(shard);
        let within = Duration::from_millis(timeout_ms.into());
        let failure = match self.0.raft.shard(shard) {
            None => Error::not_leader(&format!("shard {shard}"), None),
            Some(replica) => match tokio::time::timeout(within, replica.read_barrier()).await {
                Ok(Ok(index)) => {
                    let applied_index = index.0;
                    return Ok(Response::new(BarrierResponse { failure: None, applied_index }));
                }
                Ok(Err(error)) => Error::read(shard, &error),
                Err(_) => Error::not_done_in_time(&format!("shard {shard}")),
            },
        };
        let failure = Some(Failure::from(&failure));
        Ok(Response::new(BarrierResponse { failure, applied_index: 0 }))
    }

    async fn control_shard(
        &self,
        request: Request<ControlShardRequest>,
    ) -> Result<Response<ControlShardResponse>, Status> {
        let done = self.0.cluster.control(request.into_inner()).await;
        let failure = done.err().map(|error| Failure::from(&error));
        Ok(Response::new(ControlShardResponse { failure }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(self.0.cluster.status_self()))
    }

    async fn subscriptions(
        &self,
        _: Request<SubscriptionsRequest>,
    ) -> Result<Response<SubscriptionsResponse>, Status> {
        let open = self.0.sessions.all().into_iter().map(Into::into).collect();
        Ok(Response::new(SubscriptionsResponse { subscriptions: open }))
    }

    async fn pass_reply(
        &self,
        request: Request<PassReplyRequest>,
    ) -> Result<Response<PassReplyResponse>, Status> {
        let done = self.0.requests.take_over(request.into_inner());
        let failure = done.err().map(|error| Failure::from(&error));
        Ok(Response::new(PassReplyResponse { failure }))
    }
}
