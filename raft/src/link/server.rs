//! The answering side of links: takes frames apart and hands them to the shards.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, FuturesOrdered, FuturesUnordered, StreamExt};
use kontiki_proto::node::raft_server::Raft as RaftRpc;
use kontiki_proto::node::{Frame, FrameKind, Frames, Hello, SnapshotDone, SnapshotPart};
use kontiki_storage::id::{NodeId, ReplicaId, ShardId};
use openraft::errors::RaftError;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use super::{VERSION, answer};
use crate::codec;
use crate::node::RaftNode;
use crate::shard::Shard;
use crate::snapshot::ReceiveError;
use crate::types::{AppendRequest, AppendResult, Snapshot, Types};

/// How long a peer may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Appends of one session that wait for their shard; more than a peer's window.
const SESSION_APPENDS: usize = 1_024;

/// Single calls of one link under way; more are left unread.
const CALLS_MAX: usize = 4_096;

/// Parts of a snapshot between syncs.
const SNAPSHOT_PARTS_UNSYNCED: u32 = 32;

/// Node-to-node Raft over gRPC.
#[derive(Clone)]
pub struct RaftService {
    node: RaftNode,
}

impl RaftService {
    pub(crate) fn new(node: RaftNode) -> Self {
        Self { node }
    }

    fn check_hello(&self, hello: &Hello) -> Result<NodeId, Status> {
        if hello.version != VERSION {
            let (theirs, ours) = (hello.version, VERSION);
            return Err(Status::failed_precondition(format!(
                "the link speaks version {theirs}, this node speaks {ours}"
            )));
        }
        self.check_cluster(&hello.cluster_id)?;
        if hello.to_node != self.node.node().0 {
            let (theirs, ours) = (hello.to_node, self.node.node());
            return Err(Status::failed_precondition(format!(
                "node {theirs} was expected at this address, it is node {ours}; check the \
                 advertised addresses"
            )));
        }
        Ok(NodeId(hello.from_node))
    }

    fn check_cluster(&self, theirs: &str) -> Result<(), Status> {
        let ours = self.node.0.links.cluster();
        if ours == theirs && !ours.is_empty() {
            return Ok(());
        }
        let ours = if ours.is_empty() { "no cluster yet" } else { &ours };
        Err(Status::failed_precondition(format!(
            "the peer belongs to cluster {theirs}, this node to {ours}"
        )))
    }

    /// The shard that a frame is for.
    fn shard_of(&self, shard: u32, to: u64) -> Result<Shard, String> {
        let shard = ShardId(shard);
        let Some(found) = self.node.shard(shard) else {
            return Err(format!("node {} has no replica of shard {shard}", self.node.node()));
        };
        if found.replica().0 != to {
            let ours = found.replica();
            return Err(format!("replica {to} of shard {shard} is gone, {ours} is here"));
        }
        if found.has_failed() {
            return Err(format!("replica {to} of shard {shard} has failed"));
        }
        Ok(found)
    }
}

#[tonic::async_trait]
impl RaftRpc for RaftService {
    type LinkStream = BoxStream<'static, Result<Frames, Status>>;

    async fn link(
        &self,
        request: Request<Streaming<Frames>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        let mut incoming = request.into_inner();
        let first = tokio::time::timeout(HELLO_TIMEOUT, incoming.message())
            .await
            .map_err(|_| Status::deadline_exceeded("the peer doesn't say who it is"))??;
        let hello = first.and_then(|frames| frames.hello);
        let hello =
            hello.ok_or_else(|| Status::invalid_argument("the first message is no hello"))?;
        let from = self.check_hello(&hello)?;
        let greeting = Hello {
            version: VERSION,
            cluster_id: hello.cluster_id,
            from_node: self.node.node().0,
            to_node: from.0,
        };
        let (answers, frames) = mpsc::channel(self.node.0.options.link_frames_max);
        let reader = Reader {
            service: self.clone(),
            peer: from,
            answers,
            sessions: BTreeMap::new(),
            calls: FuturesUnordered::new(),
        };
        tokio::spawn(reader.run(incoming));
        let outgoing = super::outgoing(Some(greeting), frames);
        Ok(Response::new(outgoing.map(Ok).boxed()))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<SnapshotPart>>,
    ) -> Result<Response<SnapshotDone>, Status> {
        let mut parts = request.into_inner();
        let head = parts.message().await?.and_then(|part| part.head);
        let head = head.ok_or_else(|| Status::invalid_argument("the first part has no head"))?;
        if head.version != VERSION {
            return Err(Status::failed_precondition("another version of snapshots"));
        }
        self.check_cluster(&head.cluster_id)?;
        let shard = self.shard_of(head.shard, head.to).map_err(Status::failed_precondition)?;
        let damaged = |error: codec::DecodeError| Status::invalid_argument(error.to_string());
        let vote = codec::decode_vote(head.vote).map_err(damaged)?;
        let meta = codec::decode_meta(head.meta).map_err(damaged)?;
        if self.node.0.intake.free_bytes() < self.node.0.options.free_bytes_append_min {
            return Err(Status::resource_exhausted("the disk is nearly full"));
        }
        let begun = self.node.0.staging.begin(shard.id());
        let mut receiver = begun
            .map_err(|error| Status::internal(error.to_string()))?
            .ok_or_else(|| Status::aborted("another snapshot of the shard is coming in already"))?;
        tracing::info!(shard = %shard.id(), from = %ReplicaId(head.from), at = ?meta.last_log_id,
            "a snapshot comes in");
        let refused = |error: ReceiveError| Status::internal(error.to_string());
        let mut unsynced = 0;
        let total = loop {
            let part = parts.message().await?;
            let part = part.ok_or_else(|| Status::aborted("the snapshot ends too early"))?;
            receiver.part(part.rows, part.crc).map_err(refused)?;
            if part.last {
                break part.rows_total;
            }
            unsynced += 1;
            if unsynced == SNAPSHOT_PARTS_UNSYNCED {
                unsynced = 0;
                let synced = self.node.commits().write(Default::default(), true).await;
                synced.map_err(|error| Status::internal(error.to_string()))?;
            }
        };
        let data = receiver.finish(total).map_err(refused)?;
        let snapshot = Snapshot { meta, snapshot: data };
        let installed = shard.0.raft.install_full_snapshot(vote, snapshot).await;
        let response = installed.map_err(|error| Status::unavailable(error.to_string()))?;
        tracing::info!(shard = %shard.id(), rows = total, "a snapshot was installed");
        Ok(Response::new(SnapshotDone { reply: codec::encode_vote(&response.vote) }))
    }
}

type Call = Pin<Box<dyn Future<Output = Frame> + Send>>;

/// Reads one link's frames.
struct Reader {
    service: RaftService,
    peer: NodeId,
    answers: mpsc::Sender<Frame>,
    sessions: BTreeMap<u64, mpsc::Sender<AppendRequest>>,
    calls: FuturesUnordered<Call>,
}

impl Reader {
    async fn run(mut self, mut incoming: Streaming<Frames>) {
        loop {
            tokio::select! {
                biased;
                Some(frame) = self.calls.next(), if !self.calls.is_empty() => {
                    if self.answers.send(frame).await.is_err() {
                        return;
                    }
                }
                message = incoming.message(), if self.calls.len() < CALLS_MAX => {
                    let Ok(Some(frames)) = message else { return };
                    for frame in frames.frames {
                        self.take(frame);
                    }
                }
                () = self.answers.closed() => return,
            }
        }
    }

    fn take(&mut self, frame: Frame) {
        if ReplicaId(frame.from).node() != self.peer {
            tracing::warn!(peer = %self.peer, "a frame in another node's name is dropped");
            return;
        }
        let kind = FrameKind::try_from(frame.kind).unwrap_or(FrameKind::Unspecified);
        if kind == FrameKind::Close {
            self.sessions.remove(&frame.session);
            return;
        }
        let shard = match self.service.shard_of(frame.shard, frame.to) {
            Ok(shard) => shard,
            Err(why) => return self.refuse(&frame, why),
        };
        match kind {
            FrameKind::Append if frame.sequence > 0 => self.append(shard, frame),
            FrameKind::Append => self.call(heartbeat(shard, frame)),
            FrameKind::Vote => self.call(vote(shard, frame, false)),
            FrameKind::PreVote => self.call(vote(shard, frame, true)),
            FrameKind::TransferLeader => self.call(transfer(shard, frame)),
            FrameKind::Close
            | FrameKind::Unspecified
            | FrameKind::AppendReply
            | FrameKind::VoteReply
            | FrameKind::PreVoteReply
            | FrameKind::TransferLeaderReply
            | FrameKind::Error => self.refuse(&frame, "not a request".to_owned()),
        }
    }

    fn call(&mut self, call: impl Future<Output = Frame> + Send + 'static) {
        self.calls.push(Box::pin(call));
    }

    fn refuse(&mut self, frame: &Frame, why: String) {
        self.sessions.remove(&frame.session);
        let refusal = error(frame, &why);
        self.call(std::future::ready(refusal));
    }

    /// An append of a stream: in the order of its session.
    fn append(&mut self, shard: Shard, mut frame: Frame) {
        let node = &self.service.node.0;
        let payloads = std::mem::take(&mut frame.payloads);
        let request = match codec::decode_append(frame.body.clone(), payloads) {
            Ok(request) => request,
            Err(why) => return self.refuse(&frame, why.to_string()),
        };
        if !request.entries.is_empty()
            && node.intake.free_bytes() < node.options.free_bytes_append_min
        {
            let free = node.intake.free_bytes();
            return self.refuse(&frame, format!("the disk is nearly full, {free} bytes are free"));
        }
        frame.body = Bytes::new();
        let answers = self.answers.clone();
        let session = frame.session;
        let sender = self.sessions.entry(session).or_insert_with(|| {
            let (sender, requests) = mpsc::channel(SESSION_APPENDS);
            tokio::spawn(serve(shard, frame.clone(), requests, answers));
            sender
        });
        if sender.try_send(request).is_err() {
            self.refuse(&frame, "the session has ended".to_owned());
        }
    }
}

/// Answers the appends of one session, in their order.
async fn serve(
    shard: Shard,
    mut first: Frame,
    mut requests: mpsc::Receiver<AppendRequest>,
    answers: mpsc::Sender<Frame>,
) {
    let mut under_way: FuturesOrdered<BoxFuture<'static, Appended>> = FuturesOrdered::new();
    let mut open = true;
    while open || !under_way.is_empty() {
        tokio::select! {
            biased;
            Some(result) = under_way.next() => {
                let goes_on = matches!(result, Ok(Ok(_)));
                let frame = append_reply(&first, &result);
                first.sequence += 1;
                if answers.send(frame).await.is_err() || !goes_on {
                    return;
                }
            }
            request = requests.recv(), if open && under_way.len() < SESSION_APPENDS => {
                let Some(request) = request else {
                    open = false;
                    continue;
                };
                let mut appended = append(shard.clone(), request).boxed();
                // It takes its place in the shard's queue now, before the next one is looked at.
                under_way.push_back(match futures_util::poll!(appended.as_mut()) {
                    Poll::Ready(result) => std::future::ready(result).boxed(),
                    Poll::Pending => appended,
                });
            }
        }
    }
}

type Appended = Result<AppendResult, RaftError<Types>>;

/// Not as one of openraft's streams, which would have a task of its own between here and its core.
async fn append(shard: Shard, request: AppendRequest) -> Appended {
    let prev = request.prev_log_id;
    let last = request.entries.last().map(|entry| entry.log_id).or(prev);
    let response = shard.0.raft.append_entries(request).await?;
    Ok(response.into_stream_result(prev, last))
}

fn append_reply(frame: &Frame, result: &Appended) -> Frame {
    match result {
        Ok(result) => answer(frame, FrameKind::AppendReply, codec::encode_append_result(result)),
        Err(why) => error(frame, &why.to_string()),
    }
}

fn error(frame: &Frame, why: &str) -> Frame {
    answer(frame, FrameKind::Error, Bytes::copy_from_slice(why.as_bytes()))
}

/// An append outside of a session: a heartbeat.
async fn heartbeat(shard: Shard, mut frame: Frame) -> Frame {
    let payloads = std::mem::take(&mut frame.payloads);
    let request = match codec::decode_append(frame.body.clone(), payloads) {
        Ok(request) => request,
        Err(why) => return error(&frame, &why.to_string()),
    };
    append_reply(&frame, &append(shard, request).await)
}

async fn vote(shard: Shard, frame: Frame, pre: bool) -> Frame {
    let request = match codec::decode_vote_request(frame.body.clone()) {
        Ok(request) => request,
        Err(why) => return error(&frame, &why.to_string()),
    };
    let raft = &shard.0.raft;
    let voted = if pre { raft.pre_vote(request).await } else { raft.vote(request).await };
    match voted {
        Ok(response) => {
            let kind = if pre { FrameKind::PreVoteReply } else { FrameKind::VoteReply };
            answer(&frame, kind, codec::encode_vote_response(&response))
        }
        Err(why) => error(&frame, &why.to_string()),
    }
}

async fn transfer(shard: Shard, frame: Frame) -> Frame {
    let request = match codec::decode_transfer(frame.body.clone()) {
        Ok(request) => request,
        Err(why) => return error(&frame, &why.to_string()),
    };
    match shard.0.raft.handle_transfer_leader(request).await {
        Ok(Ok(())) => answer(&frame, FrameKind::TransferLeaderReply, Bytes::new()),
        Ok(Err(why)) => error(&frame, &why.to_string()),
        Err(why) => error(&frame, &why.to_string()),
    }
}
