//! To the leader of a shard: proposals in the order of the calls, and reads.
//!
//! Each shard has a [`lane`](Lane). While its leader is known and stays, a proposal goes straight
//! to it: into the replica here, or over the one stream to the node that leads ([`link`]). When a
//! leader refuses because it leads no more, or none is known, the lane is *stirred*: what was
//! refused and what comes after it waits, until those that are under way have been answered; then
//! everything goes to the new leader, in the order in which it came.

mod lane;
mod link;
mod proposed;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use bytes::Bytes;
use kontiki_domain::queue::Brings;
use kontiki_proto::node::peer_client::PeerClient;
use kontiki_proto::node::{ReadRequest, StatusRequest};
use kontiki_raft::{Dialer, RaftNode, Shard};
use kontiki_storage::id::{NodeId, ReplicaId, ShardId};
use tokio::time::Instant;
use tonic::transport::Channel;

use self::lane::Lane;
use self::link::Link;
pub(crate) use self::proposed::Proposed;
use crate::catalog::CatalogCopy;
use crate::error::{Code, Error, Kind};
use crate::options::RouteOptions;
use crate::queues::Prepared;

/// What a node does with a request whose leader is another node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Routing {
    /// Forward it.
    #[default]
    Forward,
    /// Answer [`Kind::NotLeader`] with a hint.
    LeaderOnly,
}

/// When a proposal is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ack {
    /// When it has been applied.
    Applied,
    /// When the leader has taken it into its log; there is no reply then.
    Accepted,
}

/// How a command is proposed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    /// Nothing is begun after it.
    pub(crate) deadline: Instant,
    pub(crate) ack: Ack,
    pub(crate) routing: Routing,
    /// What it may bring receivers: what they wait with goes right behind it.
    pub(crate) brings: Option<Brings>,
}

impl How {
    /// Wait for it to be applied, wherever that is.
    pub(crate) fn applied_by(deadline: Instant) -> Self {
        Self { deadline, ack: Ack::Applied, routing: Routing::Forward, brings: None }
    }
}

/// Whether a read whose answer is lost may be asked again, where the leader may have served it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    /// It changes nothing.
    Often,
    /// It changes something each time: whoever asked decides.
    Once,
}

/// The answer to a read.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// In the codec of [`crate::read`].
    pub(crate) response: Bytes,
    /// Record batches that the response refers to.
    pub(crate) payloads: Vec<Bytes>,
}

/// Finds leaders. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Router(Arc<Inner>);

struct Inner {
    node: NodeId,
    raft: RaftNode,
    catalog: Arc<CatalogCopy>,
    dialer: Arc<dyn Dialer>,
    prepared: Arc<Prepared>,
    options: RouteOptions,
    lanes: RwLock<HashMap<ShardId, Arc<Lane>>>,
    links: Mutex<HashMap<NodeId, Arc<Link>>>,
    /// Who leads the shards that have no replica here, as far as it is known.
    hints: Mutex<BTreeMap<ShardId, NodeId>>,
    /// Proposals that wait for a leader.
    waiting: AtomicUsize,
    stopping: AtomicBool,
}

/// What a router is made of.
pub(crate) struct Start {
    pub(crate) raft: RaftNode,
    pub(crate) catalog: Arc<CatalogCopy>,
    pub(crate) dialer: Arc<dyn Dialer>,
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) options: RouteOptions,
}

impl Router {
    pub(crate) fn new(start: Start) -> Self {
        let Start { raft, catalog, dialer, prepared, options } = start;
        Self(Arc::new(Inner {
            node: raft.node(),
            raft,
            catalog,
            dialer,
            prepared,
            options,
            lanes: RwLock::default(),
            links: Mutex::default(),
            hints: Mutex::default(),
            waiting: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        }))
    }

    /// Nothing new is taken.
    pub(crate) fn stop(&self) {
        self.0.stopping.store(true, Ordering::Release);
    }

    /// Proposes a command. It takes its place in the order of the shard at once; the future is its
    /// outcome.
    pub(crate) fn propose(
        &self,
        shard: ShardId,
        command: Bytes,
        payloads: Vec<Bytes>,
        how: How,
    ) -> Proposed {
        if self.0.stopping.load(Ordering::Acquire) {
            return Proposed::failed(shard, Error::stopping());
        }
        let request = Request { command, payloads, how };
        self.lane(shard).propose(self, request)
    }

    fn lane(&self, shard: ShardId) -> Arc<Lane> {
        let lanes = &self.0.lanes;
        if let Some(lane) = lanes.read().expect("nothing panics under this lock").get(&shard) {
            return Arc::clone(lane);
        }
        let mut lanes = lanes.write().expect("nothing panics under this lock");
        Arc::clone(lanes.entry(shard).or_insert_with(|| Arc::new(Lane::new(shard))))
    }

    fn link(&self, node: NodeId) -> Option<Arc<Link>> {
        let address = self.peer_address(node)?;
        let mut links = self.0.links.lock().expect("nothing panics under this lock");
        let link = links.entry(node).or_insert_with(|| Arc::new(Link::new(node)));
        link.set_address(address);
        Some(Arc::clone(link))
    }

    fn peer_address(&self, node: NodeId) -> Option<String> {
        self.0.catalog.look(|c| c.node(node).map(|node| node.spec.peer_address.clone()))
    }

    /// For questions to another node that are not about one shard.
    pub(crate) fn peer(&self, node: NodeId) -> Option<PeerClient<Channel>> {
        self.peer_address(node).map(|address| self.client(&address))
    }

    fn client(&self, address: &str) -> PeerClient<Channel> {
        let limit = self.0.options.message_bytes_max;
        PeerClient::new(self.0.dialer.dial(address))
            .max_decoding_message_size(limit)
            .max_encoding_message_size(limit)
    }

    /// Who leads a shard, as far as this node knows.
    pub(crate) fn leader(&self, shard: ShardId) -> Option<NodeId> {
        match self.replica(shard) {
            Some(replica) => replica.role().leader.map(ReplicaId::node),
            None => self.hints().get(&shard).copied(),
        }
    }

    /// The leader and the term of a shard, as far as this node knows.
    pub(crate) fn leader_and_term(&self, shard: ShardId) -> (Option<NodeId>, u64) {
        match self.replica(shard) {
            Some(replica) => {
                let role = replica.role();
                (role.leader.map(ReplicaId::node), role.term)
            }
            None => (self.hints().get(&shard).copied(), 0),
        }
    }

    /// The replica here, if it takes part.
    fn replica(&self, shard: ShardId) -> Option<Shard> {
        let replica = self.0.raft.shard(shard).filter(|replica| !replica.has_failed())?;
        // One that is still empty, or follows as a learner of nobody, knows nothing.
        (replica.role().term > 0).then_some(replica)
    }

    fn hints(&self) -> std::sync::MutexGuard<'_, BTreeMap<ShardId, NodeId>> {
        self.0.hints.lock().expect("nothing panics under this lock")
    }

    /// A node has refused because it doesn't lead: who might, then?
    fn refused(&self, shard: ShardId, by: NodeId, hint: Option<NodeId>) {
        let mut hints = self.hints();
        if let Some(leader) = hint.filter(|leader| *leader != by) {
            hints.insert(shard, leader);
            return;
        }
        if hints.get(&shard) == Some(&by) {
            hints.remove(&shard);
        }
    }

    /// The node to ask next: the leader where it is known, else one of the replicas, by turns.
    fn candidate(&self, shard: ShardId, turn: usize) -> Option<NodeId> {
        if let Some(leader) = self.leader(shard) {
            return Some(leader);
        }
        if self.replica(shard).is_some() {
            // This node takes part in the election, and will hear of its end.
            return None;
        }
        let nodes: Vec<NodeId> = self.0.catalog.look(|catalog| {
            let replicas = catalog.placement(shard).map(|placement| placement.replicas());
            replicas.unwrap_or_default().into_iter().map(ReplicaId::node).collect()
        });
        let others: Vec<NodeId> = nodes.into_iter().filter(|node| *node != self.0.node).collect();
        (!others.is_empty()).then(|| others[turn % others.len()])
    }

    /// Waits for news of who leads a shard, or for the time to ask again.
    async fn wait_for_leader(&self, shard: ShardId) {
        let pause = tokio::time::sleep(Duration::from_millis(self.0.options.retry_ms));
        match self.0.raft.shard(shard) {
            Some(replica) => {
                let mut role = replica.watch();
                role.mark_unchanged();
                tokio::select! {
                    _ = role.changed() => {}
                    () = pause => {}
                }
            }
            None => pause.await,
        }
    }

    /// Reads from the leader of a shard: here with `serve`, or on the node that leads. What is
    /// served once, and may have been, ends with [`Kind::Unknown`].
    pub(crate) async fn read<S, F>(
        &self,
        shard: ShardId,
        request: Bytes,
        how: How,
        served: Served,
        serve: S,
    ) -> Result<Answer, Error>
    where
        S: Fn(Shard, Bytes) -> F,
        F: Future<Output = Result<Answer, Error>>,
    {
        let mut turn = 0;
        loop {
            let (asked, failure) = match self.candidate(shard, turn) {
                None => (None, Error::not_leader(&format!("shard {shard}"), None)),
                Some(node) if node == self.0.node => {
                    let replica = self.0.raft.shard(shard);
                    match replica {
                        None => (None, Error::not_leader(&format!("shard {shard}"), None)),
                        Some(replica) => match serve(replica, request.clone()).await {
                            Ok(answer) => return Ok(answer),
                            Err(failure) => (Some(node), failure),
                        },
                    }
                }
                Some(node) if how.routing == Routing::LeaderOnly => {
                    return Err(Error::not_leader(&format!("shard {shard}"), Some(node)));
                }
                Some(node) => {
                    match self.read_from(node, shard, request.clone(), how, served).await {
                        Ok(answer) => return Ok(answer),
                        Err(failure) => (Some(node), failure),
                    }
                }
            };
            let passing = matches!(failure.code, Code::NOT_LEADER | Code::UNREACHABLE)
                || failure.code == Code::NO_LEADER
                || failure.code == Code::SHARD_FAILED;
            if !passing || how.routing == Routing::LeaderOnly {
                return Err(failure);
            }
            if Instant::now() >= how.deadline {
                return Err(self.late(shard, failure));
            }
            if let Some(node) = asked {
                self.refused(shard, node, failure.leader);
            }
            turn += 1;
            // Time is up while nothing is asked: then it is known that nothing was done.
            let _ = tokio::time::timeout_at(how.deadline, self.wait_for_leader(shard)).await;
        }
    }

    fn late(&self, shard: ShardId, failure: Error) -> Error {
        if failure.kind == Kind::NotLeader {
            return Error::not_done_in_time(&format!("shard {shard}"));
        }
        failure
    }

    async fn read_from(
        &self,
        node: NodeId,
        shard: ShardId,
        request: Bytes,
        how: How,
        served: Served,
    ) -> Result<Answer, Error> {
        let address = self.peer_address(node);
        let address = address.ok_or_else(|| Error::unreachable(node, "its address is unknown"))?;
        let left = how.deadline.saturating_duration_since(Instant::now());
        // A node that stands still must not use up all the time that there is.
        let left = left.max(Duration::from_millis(1));
        let timeout_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
        let mut message = tonic::Request::new(ReadRequest { shard: shard.0, request, timeout_ms });
        message.set_timeout(left);
        let mut client = self.client(&address);
        let unknown = || Error::outcome_unknown(&format!("the leader of shard {shard}"));
        let answer = match tokio::time::timeout(left, client.read(message)).await {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) if served == Served::Once && may_have_arrived(&status) => {
                tracing::debug!(%shard, %node, %status, "an answer is lost");
                return Err(unknown());
            }
            Ok(Err(status)) => return Err(Error::unreachable(node, status.message())),
            Err(_) if served == Served::Once => return Err(unknown()),
            Err(_) => return Err(Error::unreachable(node, "no answer in time")),
        };
        match answer.failure {
            Some(failure) => Err(failure.into()),
            None => Ok(Answer { response: answer.response, payloads: answer.payloads }),
        }
    }

    /// Asks other nodes who leads the shards that have no replica here. Ends never.
    pub(crate) async fn watch_leaders(&self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let absent: Vec<ShardId> = self.0.catalog.look(|catalog| {
                let shards = catalog.placements().map(|placement| placement.shard);
                shards.filter(|shard| self.0.raft.shard(*shard).is_none()).collect()
            });
            if absent.is_empty() {
                continue;
            }
            self.ask_for_leaders(&absent, every).await;
        }
    }

    async fn ask_for_leaders(&self, absent: &[ShardId], within: Duration) {
        let nodes: Vec<(NodeId, String)> = self.0.catalog.look(|catalog| {
            let others = catalog.nodes().filter(|node| node.spec.node != self.0.node);
            others.map(|node| (node.spec.node, node.spec.peer_address.clone())).collect()
        });
        let mut newest: BTreeMap<ShardId, (u64, NodeId)> = BTreeMap::new();
        for (node, address) in nodes.into_iter().filter(|(node, _)| self.0.raft.reachable(*node)) {
            let mut client = self.client(&address);
            let asked = tokio::time::timeout(within, client.status(StatusRequest {})).await;
            let Ok(Ok(answer)) = asked else {
                tracing::debug!(%node, "doesn't say who leads");
                continue;
            };
            for status in answer.into_inner().shards {
                let shard = ShardId(status.shard);
                if status.leader == 0 || !absent.contains(&shard) {
                    continue;
                }
                let found = (status.term, ReplicaId(status.leader).node());
                let known = newest.entry(shard).or_insert(found);
                *known = (*known).max(found);
            }
        }
        let mut hints = self.hints();
        hints.extend(newest.into_iter().map(|(shard, (_, leader))| (shard, leader)));
    }
}

/// Whether a call may have reached the other node, for all that is known.
fn may_have_arrived(status: &tonic::Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return false;
        }
        source = error.source();
    }
    true
}

/// A command and how it is to be proposed. Kept while it is under way, for it may be refused and
/// go elsewhere; payloads are shared, not copied.
#[derive(Debug, Clone)]
struct Request {
    command: Bytes,
    payloads: Vec<Bytes>,
    how: How,
}

impl Request {
    fn bytes(&self) -> usize {
        self.command.len() + self.payloads.iter().map(Bytes::len).sum::<usize>()
    }
}

#[cfg(test)]
#[path = "read_test.rs"]
mod tests;
