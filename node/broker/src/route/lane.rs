//! The proposals of one shard, in order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::poll_fn;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use kontiki_storage::id::{NodeId, ShardId};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::proposed::{Carrier, Place, Sent, is_refusal};
use super::{Ack, Proposed, Request, Router, Routing};
use crate::error::Error;

type Answer = oneshot::Sender<Result<Bytes, Error>>;

/// One shard's proposals on this node.
#[derive(Debug)]
pub(super) struct Lane {
    shard: ShardId,
    state: Mutex<State>,
    /// All that were under way have been answered.
    home: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Number of the next proposal.
    next: u64,
    /// Raised when proposals are sent to another leader; answers of earlier rounds don't count.
    round: u64,
    /// Proposals of this round without an answer.
    under_way: usize,
    /// The leader that they went to.
    leader: Option<NodeId>,
    /// What waits, by number.
    waiting: BTreeMap<u64, Waiting>,
    /// What waits is being sent by a task.
    stirred: bool,
    /// Who refused last, and when: not to be asked again at once.
    refused: Option<(NodeId, Instant)>,
}

#[derive(Debug)]
struct Waiting {
    request: Request,
    answer: Answer,
}

/// A proposal that was taken out of the lane to be sent.
struct Taken {
    place: Place,
    leader: NodeId,
    request: Request,
    answer: Answer,
    carrier: Result<Carrier, Error>,
}

impl Lane {
    pub(super) fn new(shard: ShardId) -> Self {
        Self { shard, state: Mutex::default(), home: Notify::new() }
    }

    pub(super) fn shard(&self) -> ShardId {
        self.shard
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }

    /// Takes the next place, and goes to the leader if there is one.
    pub(super) fn propose(self: &Arc<Self>, router: &Router, request: Request) -> Proposed {
        let leader = router.leader(self.shard);
        if request.how.routing == Routing::LeaderOnly && leader != Some(router.0.node) {
            let thing = format!("shard {}", self.shard);
            return Proposed::failed(self.shard, Error::not_leader(&thing, leader));
        }
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        let moved = state.leader != leader && state.under_way > 0;
        let leader = leader.filter(|_| !state.stirred && !moved);
        let Some(leader) = leader else {
            return self.wait(router, &mut state, number, request);
        };
        match self.carry(router, leader, &request) {
            Ok(carrier) => {
                state.leader = Some(leader);
                state.under_way += 1;
                let place = Place { number, round: state.round };
                drop(state);
                let (router, lane) = (router.clone(), Arc::clone(self));
                let (request, carrier) = (Some(request), Some(carrier));
                let sent = Sent { router, lane, place, leader, request, carrier };
                Proposed::sent(self.shard, sent)
            }
            Err(error) if is_refusal(&error) => self.wait(router, &mut state, number, request),
            Err(error) => Proposed::failed(self.shard, error),
        }
    }

    fn wait(
        self: &Arc<Self>,
        router: &Router,
        state: &mut State,
        number: u64,
        request: Request,
    ) -> Proposed {
        let limit = router.0.options.waiting_max;
        if !router.enter_waiting(limit) {
            let retry_ms = u32::try_from(router.0.options.retry_ms).unwrap_or(u32::MAX);
            let error = Error::throttled("broker.route.waiting_max", limit, retry_ms);
            return Proposed::failed(self.shard, error);
        }
        let (answer, receiver) = oneshot::channel();
        state.waiting.insert(number, Waiting { request, answer });
        self.stir(router, state);
        Proposed::waits(self.shard, receiver)
    }

    /// Gives a proposal to a leader.
    fn carry(&self, router: &Router, leader: NodeId, request: &Request) -> Result<Carrier, Error> {
        if leader != router.0.node {
            let link = router.link(leader);
            let link = link.ok_or_else(|| Error::unreachable(leader, "it is unknown"))?;
            return link.send(router, self.shard, request).map(Carrier::There);
        }
        let thing = format_args!("shard {}", self.shard).to_string();
        let replica = router.0.raft.shard(self.shard);
        let replica = replica.ok_or_else(|| Error::not_leader(&thing, None))?;
        let pending = replica.submit(request.command.clone(), request.payloads.clone());
        if let Some(brings) = request.how.brings {
            router.0.prepared.follow(&replica, brings);
        }
        Ok(match request.how.ack {
            Ack::Applied => Carrier::Here(pending),
            Ack::Accepted => Carrier::Accepted(Box::pin(pending.accepted())),
        })
    }

    /// A proposal has been answered, or nobody waits for its answer.
    pub(super) fn landed(&self, place: Place) {
        let mut state = self.lock();
        if place.round == state.round {
            state.under_way -= 1;
            if state.under_way == 0 && state.stirred {
                self.home.notify_one();
            }
        }
    }

    /// A leader has refused: the proposal takes its place among those that wait.
    pub(super) fn turn_back(
        self: &Arc<Self>,
        router: &Router,
        place: Place,
        leader: NodeId,
        request: Request,
        answer: Answer,
    ) {
        router.enter_waiting(usize::MAX);
        let mut state = self.lock();
        state.waiting.insert(place.number, Waiting { request, answer });
        state.refused = Some((leader, Instant::now()));
        self.stir(router, &mut state);
        drop(state);
        self.landed(place);
    }

    fn stir(self: &Arc<Self>, router: &Router, state: &mut State) {
        if state.stirred {
            return;
        }
        state.stirred = true;
        tokio::spawn(Arc::clone(self).settle(router.clone()));
    }

    /// Waits for what is under way, then sends what waits to whoever leads.
    async fn settle(self: Arc<Self>, router: Router) {
        self.come_home(&router).await;
        let mut turn = 0;
        loop {
            self.expire(&router);
            let leader =
                router.candidate(self.shard, turn).filter(|leader| self.may_ask(*leader, &router));
            let Some(leader) = leader else {
                if self.is_done() {
                    return;
                }
                turn += 1;
                router.wait_for_leader(self.shard).await;
                continue;
            };
            let taken = self.take(&router, leader);
            if !taken.is_empty() {
                tokio::spawn(drive(Arc::clone(&self), router, taken));
            }
            return;
        }
    }

    /// Nobody waits any more.
    fn is_done(&self) -> bool {
        let mut state = self.lock();
        let done = state.waiting.is_empty();
        state.stirred = !done;
        done
    }

    fn may_ask(&self, leader: NodeId, router: &Router) -> bool {
        let pause = Duration::from_millis(router.0.options.retry_ms);
        let state = self.lock();
        state.refused.is_none_or(|(node, when)| node != leader || when.elapsed() >= pause)
    }

    /// All proposals under way are answered, or have had the time to be. Those that are not are
    /// given up: nobody can say what became of them.
    async fn come_home(&self, router: &Router) {
        let settle = tokio::time::sleep(Duration::from_millis(router.0.options.settle_ms));
        tokio::pin!(settle);
        loop {
            let former = {
                let state = self.lock();
                if state.under_way == 0 {
                    return;
                }
                state.leader
            };
            tokio::select! {
                () = self.home.notified() => {}
                () = &mut settle => {
                    if let Some(link) = former.and_then(|former| router.known_link(former)) {
                        link.give_up(self.shard);
                    }
                    return;
                }
            }
        }
    }

    /// Refuses what has waited for too long: it was never sent, so it is not done.
    fn expire(&self, router: &Router) {
        let now = Instant::now();
        let mut state = self.lock();
        let late: Vec<u64> = state
            .waiting
            .iter()
            .filter(|(_, waiting)| {
                waiting.request.how.deadline <= now || waiting.answer.is_closed()
            })
            .map(|(number, _)| *number)
            .collect();
        for number in late {
            let waiting = state.waiting.remove(&number).expect("found a moment ago");
            router.leave_waiting();
            // Whoever asked may have gone.
            let _ =
                waiting.answer.send(Err(Error::not_done_in_time(&format!("shard {}", self.shard))));
        }
    }

    /// Sends everything that waits, in order.
    fn take(self: &Arc<Self>, router: &Router, leader: NodeId) -> Vec<Taken> {
        let mut state = self.lock();
        state.round += 1;
        state.leader = Some(leader);
        state.stirred = false;
        let waiting = std::mem::take(&mut state.waiting);
        state.under_way = waiting.len();
        let round = state.round;
        let taken = waiting.into_iter().map(|(number, waiting)| {
            router.leave_waiting();
            let Waiting { request, answer } = waiting;
            let carrier = self.carry(router, leader, &request);
            Taken { place: Place { number, round }, leader, request, answer, carrier }
        });
        taken.collect()
    }
}

/// Waits for the answers to proposals that were sent out of the lane.
async fn drive(lane: Arc<Lane>, router: Router, taken: Vec<Taken>) {
    let shard = lane.shard;
    let mut under_way: FuturesUnordered<_> = taken
        .into_iter()
        .map(|taken| async move {
            let Taken { place, leader, request, answer, carrier } = taken;
            let outcome = match carrier {
                Ok(mut carrier) => poll_fn(|context| carrier.poll(shard, context)).await,
                Err(error) => Err(error),
            };
            (place, leader, request, answer, outcome)
        })
        .collect();
    while let Some((place, leader, request, answer, outcome)) = under_way.next().await {
        match outcome {
            Err(error) if is_refusal(&error) => {
                router.refused(shard, leader, error.leader);
                lane.turn_back(&router, place, leader, request, answer);
            }
            outcome => {
                // Whoever asked may have gone.
                let _ = answer.send(outcome);
                lane.landed(place);
            }
        }
    }
}

impl Router {
    fn enter_waiting(&self, limit: usize) -> bool {
        use std::sync::atomic::Ordering::AcqRel;
        let before = self.0.waiting.fetch_add(1, AcqRel);
        if before >= limit {
            self.0.waiting.fetch_sub(1, AcqRel);
            return false;
        }
        true
    }

    fn leave_waiting(&self) {
        self.0.waiting.fetch_sub(1, std::sync::atomic::Ordering::AcqRel);
    }

    fn known_link(&self, node: NodeId) -> Option<Arc<super::Link>> {
        self.0.links.lock().expect("nothing panics under this lock").get(&node).cloned()
    }
}
