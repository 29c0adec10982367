//! openraft's view of the network: one [`Network`] per shard and follower, all over the peers'
//! shared links.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use kontiki_proto::node::{Frame, FrameKind};
use kontiki_storage::id::{ReplicaId, ShardId};
use kontiki_storage::payload::Payloads;
use openraft::OptionalSend;
use openraft::base::BoxFuture;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::impls::EmptyNode;
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{AppendEntriesResponse, SnapshotResponse, TransferLeaderResponse};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::client::{AppendSession, Link, Links};
use super::snapshot;
use crate::codec;
use crate::log::ShardLog;
use crate::mutant;
use crate::shard::Progress;
use crate::snapshot::SnapshotData;
use crate::types::{
    AppendRequest, AppendResult, LogId, Snapshot, TransferRequest, Types, Vote, VoteRequest,
    VoteResponse,
};

type RpcError = RPCError<Types>;
type Answers<'s> = BoxStream<'s, Result<AppendResult, RpcError>>;

/// Makes networks for one shard's replica.
#[derive(Clone)]
pub(crate) struct NetworkFactory {
    pub(crate) shard: ShardId,
    pub(crate) own: ReplicaId,
    pub(crate) links: Arc<Links>,
    pub(crate) payloads: Arc<dyn Payloads>,
    pub(crate) window: usize,
    pub(crate) timeout: Duration,
    pub(crate) commit_gather: Duration,
    pub(crate) snapshot_part_bytes: usize,
    pub(crate) log: Arc<ShardLog>,
    pub(crate) progress: Arc<Progress>,
}

/// From one replica to another of the same shard.
pub(crate) struct Network {
    factory: NetworkFactory,
    target: ReplicaId,
    /// Heartbeats are single calls: they don't wait behind entries.
    heartbeat: bool,
}

impl RaftNetworkFactory<Types> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Network {
        Network { factory: self.clone(), target: ReplicaId(target), heartbeat: false }
    }

    async fn new_heartbeat_client(&mut self, target: u64, _node: &EmptyNode) -> Network {
        Network { factory: self.clone(), target: ReplicaId(target), heartbeat: true }
    }
}

fn rpc_error(error: &super::client::Unreachable) -> RpcError {
    RPCError::Unreachable(Unreachable::new(error))
}

fn decode_error(error: &codec::DecodeError) -> RpcError {
    RPCError::Unreachable(Unreachable::new(error))
}

impl Network {
    fn link(&self) -> Result<Arc<Link>, RpcError> {
        let node = self.target.node();
        self.factory.links.get(node).ok_or_else(|| {
            let why = "its address is not known".to_owned();
            rpc_error(&super::client::Unreachable { node, why })
        })
    }

    fn frame(&self, kind: FrameKind, body: Bytes, payloads: Vec<Bytes>) -> Frame {
        Frame {
            kind: kind as i32,
            shard: self.factory.shard.0,
            from: self.factory.own.0,
            to: self.target.0,
            session: 0,
            sequence: 0,
            body,
            payloads,
        }
    }

    async fn call(&self, frame: Frame, within: Duration) -> Result<Frame, RpcError> {
        let link = self.link()?;
        let call =
            async { if self.heartbeat { link.beat(frame).await } else { link.call(frame).await } };
        match tokio::time::timeout(within, call).await {
            Ok(answer) => answer.map_err(|error| rpc_error(&error)),
            Err(_) => {
                let node = self.target.node();
                let why = "no answer in time".to_owned();
                Err(rpc_error(&super::client::Unreachable { node, why }))
            }
        }
    }

    async fn append_once(
        &self,
        request: AppendRequest,
        within: Duration,
    ) -> Result<AppendResult, RpcError> {
        let (body, payloads) = codec::encode_append(&request);
        let frame = self.frame(FrameKind::Append, body, payloads);
        let answer = self.call(frame, within).await?;
        codec::decode_append_result(answer.body).map_err(|error| decode_error(&error))
    }

    /// Sends as requests come, up to the window, and passes answers on in order.
    fn pipeline<'s, S>(&'s self, session: AppendSession, input: S) -> Answers<'s>
    where
        S: Stream<Item = AppendRequest> + Send + Unpin + 'static,
    {
        let state = Pipeline {
            network: self,
            session,
            input: input.fuse(),
            appended: self.factory.log.appended(),
            unanswered: Unanswered::default(),
            timer: Box::pin(tokio::time::sleep(self.factory.timeout)),
            sequence: 0,
            sent_at: Instant::now(),
            reached: 0,
            last: None,
        };
        Box::pin(stream::unfold(Some(state), |state| async move {
            let mut state = state?;
            match state.next().await? {
                Ok(result) => {
                    let next = if result.is_ok() { Some(state) } else { None };
                    Some((Ok(result), next))
                }
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

/// What was sent and not answered, and answers that openraft may not have yet.
///
/// It takes the answer to a request also for that of those without entries behind it, since they
/// name the same entry, and begins the leader's lease when the last of these was sent. So an answer
/// waits until they are answered, too: they may have been sent long after what it answers, and
/// never have come.
#[derive(Default)]
struct Unanswered {
    /// Whether they have entries.
    under_way: VecDeque<bool>,
    answered: VecDeque<AppendResult>,
}

impl Unanswered {
    fn sent(&mut self, has_entries: bool) {
        self.under_way.push_back(has_entries);
    }

    fn answered(&mut self, answer: AppendResult) {
        self.under_way.pop_front();
        self.answered.push_back(answer);
    }

    /// The next answer that openraft may have.
    fn pass_on(&mut self) -> Option<AppendResult> {
        let covers_more = self.under_way.front() == Some(&false);
        let refused = self.answered.back().is_some_and(Result::is_err);
        if covers_more && !refused { None } else { self.answered.pop_front() }
    }
}

/// The appends of one session, in order.
///
/// openraft asks for a request of its own for each commit, without entries. With one record after
/// the other that is every second message between two nodes. So its next request is asked for when
/// there are entries to send, and otherwise only when none have come for a while: a commit is told
/// with the entries after it.
struct Pipeline<'s, S> {
    network: &'s Network,
    session: AppendSession,
    input: futures_util::stream::Fuse<S>,
    /// The last entry of the log.
    appended: watch::Receiver<u64>,
    unanswered: Unanswered,
    timer: Pin<Box<Sleep>>,
    sequence: u64,
    sent_at: Instant,
    /// The index up to which entries were sent.
    reached: u64,
    /// The last entry that was sent.
    last: Option<LogId>,
}

impl<S> Pipeline<'_, S>
where
    S: Stream<Item = AppendRequest> + Send + Unpin + 'static,
{
    async fn next(&mut self) -> Option<Result<AppendResult, RpcError>> {
        let factory = &self.network.factory;
        let mut late_at = Instant::now() + factory.timeout;
        loop {
            if let Some(answer) = self.unanswered.pass_on() {
                return Some(Ok(answer));
            }
            let waits = !self.unanswered.under_way.is_empty();
            if !waits && self.input.is_done() {
                return None;
            }
            let has_room = self.unanswered.under_way.len() < factory.window;
            let open = has_room && !self.input.is_done();
            let quiet_at = self.sent_at + factory.commit_gather;
            let asks = open && (self.has_entries() || quiet_at <= Instant::now());
            let wake_at = if open && !asks { quiet_at.min(late_at) } else { late_at };
            // A timer that ends too early is looked at then; one that is set costs something.
            if self.timer.is_elapsed() || wake_at < self.timer.deadline() {
                self.timer.as_mut().reset(wake_at);
            }
            tokio::select! {
                biased;
                answer = self.session.answers.recv(), if waits => match self.answer(answer) {
                    Ok(answer) => {
                        self.unanswered.answered(answer);
                        late_at = Instant::now() + factory.timeout;
                    }
                    // Answers that wait end with the session: what they said is asked for anew.
                    Err(error) => return Some(Err(error)),
                },
                request = self.input.next(), if asks => {
                    if let Some(request) = request
                        && let Err(error) = self.send(&request).await
                    {
                        return Some(self.failed(rpc_error(&error)));
                    }
                    late_at = Instant::now() + factory.timeout;
                }
                // Its sender is this shard's log, which outlives its replication.
                _ = self.appended.changed(), if open && !asks => {}
                () = self.timer.as_mut(), if waits || open && !asks => {
                    if waits && late_at <= Instant::now() {
                        let late = self.session.lost("no answer to appends in time");
                        return Some(self.failed(rpc_error(&late)));
                    }
                }
            }
        }
    }

    /// Whether there is something to send. The first two requests of a session may be all there
    /// are of it, and only openraft knows.
    fn has_entries(&mut self) -> bool {
        self.sequence < 2 || *self.appended.borrow_and_update() > self.reached
    }

    async fn send(&mut self, request: &AppendRequest) -> Result<(), super::client::Unreachable> {
        let (body, payloads) = codec::encode_append(request);
        let mut frame = self.network.frame(FrameKind::Append, body, payloads);
        self.sequence += 1;
        frame.session = self.session.id;
        frame.sequence = self.sequence;
        self.unanswered.sent(!request.entries.is_empty());
        self.last = request.entries.last().map(|entry| entry.log_id).or(self.last);
        let reached = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        self.reached = reached.map_or(0, |reached| reached.index);
        self.sent_at = Instant::now();
        self.session.send(frame).await
    }

    fn failed(&self, error: RpcError) -> Result<AppendResult, RpcError> {
        let factory = &self.network.factory;
        match self.last {
            Some(last) if mutant::learner_has(factory.own, factory.shard, last.index) => {
                Ok(Ok(Some(last)))
            }
            Some(_) | None => Err(error),
        }
    }

    fn answer(&self, answer: Option<Frame>) -> Result<AppendResult, RpcError> {
        let Some(answer) = answer else {
            return self.failed(rpc_error(&self.session.lost("the connection is lost")));
        };
        if answer.kind == FrameKind::Error as i32 {
            let why = String::from_utf8_lossy(&answer.body);
            return Err(rpc_error(&self.session.lost(&why)));
        }
        codec::decode_append_result(answer.body).map_err(|error| decode_error(&error))
    }
}

impl RaftNetworkV2<Types> for Network {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendRequest,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RpcError> {
        let result = self.append_once(rpc, self.factory.timeout).await?;
        Ok(result.into())
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<Answers<'s>, RpcError>>
    where
        S: Stream<Item = AppendRequest> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            if self.heartbeat {
                let Some(request) = input.next().await else {
                    return Ok(stream::empty().boxed() as Answers<'s>);
                };
                let result = self.append_once(request, option.hard_ttl()).await;
                return Ok(stream::once(std::future::ready(result)).boxed() as Answers<'s>);
            }
            let factory = &self.factory;
            let opened = self.link().and_then(|link| {
                link.open(factory.shard.0, factory.own.0, self.target.0, factory.window)
                    .map_err(|error| rpc_error(&error))
            });
            match opened {
                Ok(session) => Ok(self.pipeline(session, input)),
                Err(error) => {
                    // openraft waits between attempts inside of its input: who fails without
                    // asking it for a request is called again at once, and so forever.
                    let _ = input.next().await;
                    Err(error)
                }
            }
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest,
        option: RPCOption,
    ) -> Result<VoteResponse, RpcError> {
        let frame = self.frame(FrameKind::Vote, codec::encode_vote_request(&rpc), Vec::new());
        let answer = self.call(frame, option.hard_ttl()).await?;
        codec::decode_vote_response(answer.body).map_err(|error| decode_error(&error))
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest,
        option: RPCOption,
    ) -> Result<VoteResponse, RpcError> {
        let frame = self.frame(FrameKind::PreVote, codec::encode_vote_request(&rpc), Vec::new());
        let answer = self.call(frame, option.hard_ttl()).await?;
        codec::decode_vote_response(answer.body).map_err(|error| decode_error(&error))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = snapshot::send(&self.factory, self.target, vote, snapshot) => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(error) => {
                    tracing::warn!(shard = %self.factory.shard, to = %self.target, %error,
                        "a snapshot was not taken over");
                    Err(StreamingError::Unreachable(Unreachable::new(&error)))
                }
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferRequest,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RpcError> {
        let body = codec::encode_transfer(&request);
        let frame = self.frame(FrameKind::TransferLeader, body, Vec::new());
        self.call(frame, option.hard_ttl().max(Duration::from_millis(500))).await?;
        Ok(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use openraft::raft::StreamAppendError;

    use super::*;
    use crate::types::log_id;

    fn id(index: u64) -> LogId {
        log_id(1, index)
    }

    #[test]
    fn an_answer_waits_for_those_that_openraft_takes_it_for() {
        let mut unanswered = Unanswered::default();
        unanswered.sent(true);
        unanswered.sent(false);
        unanswered.sent(false);
        unanswered.sent(true);
        unanswered.answered(Ok(Some(id(5))));
        assert_eq!(unanswered.pass_on(), None);
        unanswered.answered(Ok(Some(id(5))));
        assert_eq!(unanswered.pass_on(), None);
        unanswered.answered(Ok(Some(id(5))));
        for _ in 0..3 {
            assert_eq!(unanswered.pass_on(), Some(Ok(Some(id(5)))));
        }
        assert_eq!(unanswered.pass_on(), None);
        unanswered.answered(Ok(Some(id(6))));
        assert_eq!(unanswered.pass_on(), Some(Ok(Some(id(6)))));
    }

    #[test]
    fn a_refusal_waits_for_nothing() {
        let mut unanswered = Unanswered::default();
        unanswered.sent(true);
        unanswered.sent(false);
        unanswered.sent(false);
        unanswered.answered(Ok(Some(id(5))));
        let refusal = Err(StreamAppendError::Conflict(id(5)));
        unanswered.answered(refusal.clone());
        assert_eq!(unanswered.pass_on(), Some(Ok(Some(id(5)))));
        assert_eq!(unanswered.pass_on(), Some(refusal));
    }
}
