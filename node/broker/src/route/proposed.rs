//! A proposal under way, wherever it is.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kontiki_raft::{Pending, ProposeError};
use kontiki_storage::id::{NodeId, ShardId};
use tokio::sync::oneshot;

use super::lane::Lane;
use super::{Request, Router};
use crate::error::{Error, Kind};

/// A proposal: resolves to the reply's bytes, which are empty where only acceptance was asked for.
/// Dropped before, the command may be applied all the same.
pub(crate) struct Proposed {
    shard: ShardId,
    state: State,
}

enum State {
    Failed(Option<Error>),
    Sent(Sent),
    /// It waits in the lane for a leader; whoever sends it then answers here.
    Waits(oneshot::Receiver<Result<Bytes, Error>>),
}

/// On its way to a leader.
pub(super) struct Sent {
    pub(super) router: Router,
    pub(super) lane: Arc<Lane>,
    pub(super) place: Place,
    pub(super) leader: NodeId,
    pub(super) request: Option<Request>,
    pub(super) carrier: Option<Carrier>,
}

/// Where a proposal stands in its lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) number: u64,
    pub(super) round: u64,
}

/// What brings the answer.
pub(super) enum Carrier {
    Here(Pending),
    Accepted(BoxFuture<'static, Result<(), ProposeError>>),
    There(oneshot::Receiver<Result<Bytes, Error>>),
}

impl Carrier {
    pub(super) fn poll(
        &mut self,
        shard: ShardId,
        context: &mut Context<'_>,
    ) -> Poll<Result<Bytes, Error>> {
        let failed = |error: ProposeError| Error::propose(shard, &error);
        Poll::Ready(match self {
            Self::Here(pending) => {
                ready!(pending.poll_unpin(context)).map(|done| done.reply).map_err(failed)
            }
            Self::Accepted(pending) => {
                ready!(pending.poll_unpin(context)).map(|()| Bytes::new()).map_err(failed)
            }
            Self::There(answer) => match ready!(answer.poll_unpin(context)) {
                Ok(answer) => answer,
                // The stream's task has ended, with the process.
                Err(_) => Err(Error::outcome_unknown(&format!("the leader of shard {shard}"))),
            },
        })
    }
}

/// The leader has surely not taken it, and another may.
pub(super) fn is_refusal(error: &Error) -> bool {
    match error.kind {
        Kind::NotLeader => true,
        Kind::Unavailable => {
            use crate::error::Code;
            matches!(error.code, Code::UNREACHABLE | Code::SHARD_FAILED | Code::STOPPING)
        }
        Kind::Invalid
        | Kind::NotFound
        | Kind::Exists
        | Kind::Denied
        | Kind::Fenced
        | Kind::Conflict
        | Kind::Throttled
        | Kind::Unknown
        | Kind::Internal => false,
    }
}

impl Proposed {
    pub(super) fn failed(shard: ShardId, error: Error) -> Self {
        Self { shard, state: State::Failed(Some(error)) }
    }

    pub(super) fn sent(shard: ShardId, sent: Sent) -> Self {
        Self { shard, state: State::Sent(sent) }
    }

    pub(super) fn waits(shard: ShardId, answer: oneshot::Receiver<Result<Bytes, Error>>) -> Self {
        Self { shard, state: State::Waits(answer) }
    }

    /// Time is up: what is to be said about it.
    pub(crate) fn late(&self) -> Error {
        Error::outcome_unknown(&format!("the leader of shard {}", self.shard))
    }
}

impl Future for Proposed {
    type Output = Result<Bytes, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let shard = self.shard;
        loop {
            let next = match &mut self.state {
                State::Failed(error) => {
                    return Poll::Ready(Err(error.take().expect("polled once after it failed")));
                }
                State::Waits(answer) => {
                    let answer = ready!(answer.poll_unpin(context));
                    return Poll::Ready(answer.unwrap_or_else(|_| Err(Error::stopping())));
                }
                State::Sent(sent) => {
                    let carrier = sent.carrier.as_mut().expect("until it has answered");
                    let answer = ready!(carrier.poll(shard, context));
                    match sent.answered(answer) {
                        Ok(answer) => return Poll::Ready(answer),
                        Err(waits) => State::Waits(waits),
                    }
                }
            };
            self.state = next;
        }
    }
}

type Waits = oneshot::Receiver<Result<Bytes, Error>>;

impl Sent {
    /// An answer has come: it is passed on, or the proposal goes back into its lane.
    fn answered(&mut self, answer: Result<Bytes, Error>) -> Result<Result<Bytes, Error>, Waits> {
        self.carrier = None;
        let request = self.request.take().expect("kept until it is answered");
        match answer {
            Err(error) if is_refusal(&error) && request.how.is_forwarded() => {
                self.router.refused(self.lane.shard(), self.leader, error.leader);
                let (sender, receiver) = oneshot::channel();
                self.lane.turn_back(&self.router, self.place, self.leader, request, sender);
                Err(receiver)
            }
            answer => {
                self.lane.landed(self.place);
                Ok(answer)
            }
        }
    }
}

impl super::How {
    pub(super) fn is_forwarded(self) -> bool {
        self.routing == super::Routing::Forward
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if self.carrier.is_some() {
            self.lane.landed(self.place);
        }
    }
}
