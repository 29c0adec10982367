//! All replicas of one node: opens, creates and drops them, and finds them for everyone else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use bytes::Bytes;
use kontiki_proto::node::raft_server::RaftServer;
use kontiki_storage::engine::{Engine, Order, ScanLimit};
use kontiki_storage::id::{NodeId, ReplicaId, ShardId};
use kontiki_storage::payload::Payloads;
use kontiki_storage::{Accounting, Error, Family, View, WriteBatch, key};
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{InitializeError, RaftError};
use openraft::impls::EmptyNode;
use tonic::transport::Channel;

use crate::committer::{CommitQueue, Committer};
use crate::error::{ControlError, FatalError, StartError};
use crate::link::{Links, NetworkFactory, RaftService};
use crate::log::{LogContext, LogStore, ShardLog, TailBudget};
use crate::machine::MachineFactory;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::probe::Probe;
use crate::replica::{ReplicaContext, StateMachine};
use crate::shard::{Intake, Progress, Shard, ShardClock, ShardInner, Submitter};
use crate::snapshot::{self, Staging};
use crate::types::{Raft, Types};

/// The node's clock: milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Called when the process must end: going on would risk what has been promised.
pub type FatalHook = Arc<dyn Fn(FatalError) + Send + Sync>;

/// Connects to other nodes.
pub trait Dialer: Send + Sync {
    /// A channel to `host:port` that connects when it is used.
    fn dial(&self, address: &str) -> Channel;
}

/// What a node's Raft is made of.
pub struct Start {
    /// This node.
    pub node: NodeId,
    /// Limits and times.
    pub options: Options,
    /// Where rows are.
    pub engine: Arc<dyn Engine>,
    /// Where payloads are.
    pub payloads: Arc<dyn Payloads>,
    /// Which payloads are live.
    pub accounting: Arc<Accounting>,
    /// How other nodes are reached.
    pub dialer: Arc<dyn Dialer>,
    /// The shards' state machines.
    pub machines: Arc<dyn MachineFactory>,
    /// The node's clock.
    pub clock: Clock,
    /// What to do when storage has failed.
    pub fatal: FatalHook,
    /// Who hears what replicas do; [`NoProbe`](crate::NoProbe) in production.
    pub probe: Arc<dyn Probe>,
    /// Counters.
    pub metrics: Metrics,
}

/// All replicas of one node. Cheap to clone.
#[derive(Clone)]
pub struct RaftNode(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) node: NodeId,
    pub(crate) options: Options,
    pub(crate) staging: Staging,
    pub(crate) links: Arc<Links>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) metrics: Metrics,
    pub(crate) budget: Arc<TailBudget>,
    machines: Arc<dyn MachineFactory>,
    clock: Clock,
    fatal: FatalHook,
    probe: Arc<dyn Probe>,
    shards: RwLock<BTreeMap<ShardId, Shard>>,
    /// Replicas whose rows can't be opened.
    broken: Mutex<BTreeMap<ShardId, ReplicaId>>,
    /// Creating and dropping take turns.
    turn: tokio::sync::Mutex<()>,
}

impl RaftNode {
    /// Prepares the node; no replica runs yet. The committer must be run before one is opened.
    ///
    /// # Errors
    /// Settings that can't work.
    pub fn start(start: Start) -> Result<(Self, Committer), StartError> {
        start.options.validate()?;
        let Start { node, options, engine, payloads, accounting, dialer, .. } = start;
        let (committer, queue) = Committer::new(
            engine.clone(),
            payloads.clone(),
            &options,
            start.fatal.clone(),
            start.metrics.clone(),
        );
        let staging = Staging::new(engine, payloads, accounting, queue);
        let links = Links::new(node, dialer, &options);
        let lost = links.lost();
        let inner = Inner {
            node,
            links,
            intake: Intake::new(&options),
            budget: TailBudget::new(options.tail_bytes_max),
            staging,
            options,
            metrics: start.metrics,
            machines: start.machines,
            clock: start.clock,
            fatal: start.fatal,
            probe: start.probe,
            shards: RwLock::default(),
            broken: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
        };
        let inner = Arc::new(inner);
        tokio::spawn(crate::succession::run(Arc::downgrade(&inner), lost));
        Ok((Self(inner), committer))
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// Which cluster this node belongs to. Links to peers are opened from then on, and only
    /// members of the same cluster are listened to.
    pub fn set_cluster(&self, cluster_id: &str) {
        self.0.links.set_cluster(cluster_id);
    }

    /// Where the other nodes are. Links to new ones are opened, to missing ones closed.
    pub fn set_peers(&self, peers: &BTreeMap<NodeId, String>) {
        self.0.links.set_peers(peers);
    }

    /// Whether the link to a node is up.
    #[must_use]
    pub fn reachable(&self, node: NodeId) -> bool {
        node == self.0.node || self.0.links.get(node).is_some_and(|link| link.is_up())
    }

    /// Bytes of commands that wait or are under way.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.0.intake.waiting()
    }

    /// Starts every replica that is on disk, and the upkeep of all.
    ///
    /// # Errors
    /// I/O. A replica with damaged rows is no error: it is in [`failed`](Self::failed).
    pub async fn open_replicas(&self) -> Result<(), StartError> {
        for (shard, replica) in self.replicas_on_disk()? {
            match self.open(shard, replica).await {
                Ok(_) => {}
                Err(StartError::Storage(error)) if error.is_corrupt() => {
                    tracing::error!(%shard, %error, "a replica is damaged and must be rebuilt");
                    self.broken().insert(shard, replica);
                }
                Err(error) => return Err(error),
            }
        }
        tokio::spawn(crate::upkeep::run(Arc::downgrade(&self.0)));
        Ok(())
    }

    fn replicas_on_disk(&self) -> Result<Vec<(ShardId, ReplicaId)>, StartError> {
        let view: &dyn View = self.0.staging.engine.as_ref();
        let all = ScanLimit { rows: usize::MAX, bytes: usize::MAX };
        let rows = view.scan(Family::State, key::replicas(), Order::Forward, all)?;
        let decode = |(row_key, value): (Bytes, Bytes)| {
            let shard = key::replica_shard(&row_key);
            let replica = <[u8; 8]>::try_from(value.as_ref()).map(u64::from_be_bytes);
            match (shard, replica) {
                (Some(shard), Ok(replica)) => Ok((shard, ReplicaId(replica))),
                (_, _) => Err(Error::corrupt("a replica row", "it doesn't decode").into()),
            }
        };
        rows.into_iter().map(decode).collect()
    }

    async fn open(&self, shard: ShardId, replica: ReplicaId) -> Result<Shard, StartError> {
        let inner = &self.0;
        let options = &inner.options;
        let refused = |why: String| StartError::Raft { shard, why };
        let context = LogContext {
            engine: inner.staging.engine.clone(),
            payloads: inner.staging.payloads.clone(),
            queue: inner.staging.queue.clone(),
            budget: inner.budget.clone(),
            inline_bytes_max: options.inline_bytes_max,
            append_bytes_max: options.append_bytes_max,
        };
        let log = ShardLog::open(shard, context).map_err(|error| opened(shard, error))?;
        let progress = Arc::new(Progress::new(shard));
        let lock = Arc::new(Mutex::new(()));
        let context = ReplicaContext {
            shard,
            replica,
            probe: inner.probe.clone(),
            engine: inner.staging.engine.clone(),
            accounting: inner.staging.accounting.clone(),
            log: log.clone(),
            staging: inner.staging.clone(),
            progress: progress.clone(),
            lock: lock.clone(),
        };
        let machine = StateMachine::open(context, inner.machines.create(shard))
            .map_err(|error| opened(shard, error))?;
        let config = options.raft(shard).validate().map_err(|error| refused(error.to_string()))?;
        let network = NetworkFactory {
            shard,
            own: replica,
            links: inner.links.clone(),
            payloads: inner.staging.payloads.clone(),
            window: options.append_window,
            timeout: Duration::from_millis(options.append_timeout_ms),
            commit_gather: options.commit_gather(shard),
            snapshot_part_bytes: options.snapshot_part_bytes,
            log: log.clone(),
            progress: progress.clone(),
        };
        let store = LogStore(log.clone());
        // Entries that were committed and not applied are read, and applied, before it returns.
        let started = Raft::new(replica.0, Arc::new(config), network, store, machine).await;
        let raft = started.map_err(|error| {
            if log.is_corrupt() || progress.is_corrupt() {
                return Error::corrupt(format!("shard {shard}"), error.to_string()).into();
            }
            refused(error.to_string())
        })?;
        let submitter = Submitter::new(shard, inner.intake.clone(), options);
        let clock = Arc::new(ShardClock::new(inner.clock.clone(), progress.clone()));
        crate::mutant::register(replica, shard, &raft);
        let opened = Shard(Arc::new(ShardInner {
            id: shard,
            replica,
            raft: raft.clone(),
            log,
            engine: inner.staging.engine.clone(),
            progress,
            submitter: submitter.clone(),
            lock,
            lease: Duration::from_millis(options.lease_ms()),
            clock: Arc::clone(&clock),
        }));
        let payloads = inner.staging.payloads.clone();
        let free_bytes = move || payloads.stats().free_bytes;
        tokio::spawn(submitter.run(raft, clock, free_bytes));
        tokio::spawn(observe(opened.clone(), inner.fatal.clone(), inner.probe.clone()));
        self.shards_mut().insert(shard, opened.clone());
        Ok(opened)
    }

    /// Makes a replica of a shard on this node, durably, and starts it: an empty one, which takes
    /// part when it is initialized or when the shard's leader adds it. It is no error where this
    /// replica is here already.
    ///
    /// # Errors
    /// Another replica of the shard is here, or storage failed.
    pub async fn create_replica(
        &self,
        shard: ShardId,
        replica: ReplicaId,
    ) -> Result<Shard, ControlError> {
        let _turn = self.0.turn.lock().await;
        let node = self.0.node;
        if let Some(present) = self.shard(shard) {
            let present_id = present.replica();
            return if present_id == replica {
                Ok(present)
            } else {
                Err(ControlError::Present { node, shard, present: present_id })
            };
        }
        if let Some(present) = self.broken().get(&shard).copied() {
            return Err(ControlError::Present { node, shard, present });
        }
        let mut rows = self.erase_state(shard)?;
        rows.delete_range(Family::Log, key::raft_rows(shard));
        let value = Bytes::copy_from_slice(&replica.0.to_be_bytes());
        rows.put(Family::State, key::replica(shard), value);
        self.0.staging.queue.write(rows, false).await.map_err(ControlError::Storage)?;
        let opened = self.open(shard, replica).await;
        opened.map_err(|error| ControlError::Refused(error.to_string()))
    }

    /// Stops a replica and removes everything that it has on this node. It is no error where it
    /// isn't here.
    ///
    /// # Errors
    /// Another replica of the shard is here, or storage failed.
    pub async fn drop_replica(
        &self,
        shard: ShardId,
        replica: ReplicaId,
    ) -> Result<(), ControlError> {
        let _turn = self.0.turn.lock().await;
        let node = self.0.node;
        let present = self.shard(shard);
        let here = present.as_ref().map(Shard::replica);
        match here.or_else(|| self.broken().get(&shard).copied()) {
            None => return Ok(()),
            Some(present) if present != replica => {
                return Err(ControlError::Present { node, shard, present });
            }
            Some(_) => {}
        }
        self.shards_mut().remove(&shard);
        if let Some(present) = present {
            stop(&present).await;
        }
        // First what would let it take part again, at once and durably; then the rest.
        let mut rows = WriteBatch::new();
        rows.delete(Family::State, key::replica(shard));
        rows.delete_range(Family::Log, key::raft_rows(shard));
        self.0.staging.queue.write(rows, false).await.map_err(ControlError::Storage)?;
        let rows = self.erase_state(shard)?;
        self.0.staging.queue.write(rows, false).await.map_err(ControlError::Storage)?;
        self.broken().remove(&shard);
        Ok(())
    }

    /// Removes the states of a shard; the rows returned remove the last traces.
    fn erase_state(&self, shard: ShardId) -> Result<WriteBatch, ControlError> {
        let staging = &self.0.staging;
        let failed = |error: Error| ControlError::Storage(Arc::new(error));
        let current = snapshot::current_space(staging.engine.as_ref(), shard).map_err(failed)?;
        let next = key::Space { shard, generation: current.generation + 1 };
        for space in [next, current] {
            let engine = staging.engine.as_ref();
            staging.accounting.delete_space(engine, space).map_err(failed)?;
        }
        let mut rows = WriteBatch::new();
        rows.delete_range(Family::State, key::shard_state(shard));
        Ok(rows)
    }

    /// Founds a shard with these voters. To be called with the same voters on each of them (or on
    /// one); it is no error where the shard is founded already.
    ///
    /// # Errors
    /// No replica is here, or it has stopped.
    pub async fn initialize(
        &self,
        shard: ShardId,
        voters: &[ReplicaId],
    ) -> Result<(), ControlError> {
        let node = self.0.node;
        let present = self.shard(shard).ok_or(ControlError::NoReplica { node, shard })?;
        let members: BTreeMap<u64, EmptyNode> =
            voters.iter().map(|replica| (replica.0, EmptyNode::default())).collect();
        match present.0.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(error @ InitializeError::NotInMembers(_))) => {
                Err(ControlError::Refused(error.to_string()))
            }
            Err(RaftError::Fatal(_)) => Err(ControlError::Stopped),
        }
    }

    /// A shard's replica on this node.
    #[must_use]
    pub fn shard(&self, shard: ShardId) -> Option<Shard> {
        self.0.shards.read().expect("nothing panics under this lock").get(&shard).cloned()
    }

    /// All replicas on this node, by shard.
    #[must_use]
    pub fn shards(&self) -> Vec<Shard> {
        self.0.shards.read().expect("nothing panics under this lock").values().cloned().collect()
    }

    /// Replicas on this node that have failed and must be rebuilt under a new id.
    #[must_use]
    pub fn failed(&self) -> Vec<(ShardId, ReplicaId)> {
        let mut failed: BTreeMap<ShardId, ReplicaId> = self.broken().clone();
        for shard in self.shards().into_iter().filter(Shard::has_failed) {
            failed.insert(shard.id(), shard.replica());
        }
        failed.into_iter().collect()
    }

    /// The gRPC service that the other nodes speak to.
    #[must_use]
    pub fn service(&self) -> RaftServer<RaftService> {
        let limit = self.0.options.link_message_bytes_max;
        RaftServer::new(RaftService::new(self.clone()))
            .max_decoding_message_size(limit)
            .max_encoding_message_size(limit)
    }

    /// Stops all replicas; what was acknowledged is durable. Commands that wait are refused.
    pub async fn shutdown(&self) {
        self.0.intake.stop();
        for shard in self.shards() {
            stop(&shard).await;
        }
        self.0.links.set_peers(&BTreeMap::new());
        // A failure here has been reported by the committer.
        let _ = self.0.staging.queue.write(WriteBatch::new(), true).await;
        self.0.staging.queue.stop().await;
    }

    fn broken(&self) -> std::sync::MutexGuard<'_, BTreeMap<ShardId, ReplicaId>> {
        self.0.broken.lock().expect("nothing panics under this lock")
    }

    fn shards_mut(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<ShardId, Shard>> {
        self.0.shards.write().expect("nothing panics under this lock")
    }

    pub(crate) fn commits(&self) -> &CommitQueue {
        &self.0.staging.queue
    }
}

async fn stop(shard: &Shard) {
    shard.0.submitter.close();
    if let Err(error) = shard.0.raft.shutdown().await {
        tracing::warn!(shard = %shard.id(), %error, "a replica didn't stop in order");
    }
}

/// The storage error inside of an I/O error of this crate.
fn opened(shard: ShardId, error: std::io::Error) -> StartError {
    let text = error.to_string();
    let corrupt = error.kind() == std::io::ErrorKind::InvalidData;
    match error.downcast::<Error>() {
        Ok(error) => StartError::Storage(error),
        Err(_) if corrupt => StartError::Storage(Error::corrupt(format!("shard {shard}"), text)),
        Err(_) => StartError::Raft { shard, why: text },
    }
}

/// Passes on who leads, until the replica stops; a stop that nobody asked for is reported.
async fn observe(shard: Shard, fatal: FatalHook, probe: Arc<dyn Probe>) {
    let mut server = shard.0.raft.server_metrics();
    let mut led = None;
    loop {
        {
            let metrics = server.borrow_watched();
            let leader = metrics.current_leader.map(ReplicaId);
            let leads = metrics.state.is_leader() && leader == Some(shard.replica());
            let term = metrics.vote.leader_id.term;
            shard.0.progress.set_leader(leader, term, leads);
            if leads && led != Some(term) {
                led = Some(term);
                probe.leads(shard.id(), shard.replica(), term);
            }
        }
        tokio::select! {
            changed = server.changed() => {
                if changed.is_err() {
                    break;
                }
            }
            // Whoever needs its state could never have it: another one is to lead, which can give
            // it, and this one is rebuilt.
            () = shard.0.progress.unreadable.notified() => {
                shard.condemn("its state can't be read for another replica").await;
            }
        }
    }
    let state = shard.0.raft.metrics().borrow_watched().running_state.clone();
    shard.0.progress.set_leader(None, shard.role().term, false);
    let Err(why) = state else { return };
    if matches!(why, openraft::errors::Fatal::<Types>::Stopped) {
        return;
    }
    if shard.0.progress.is_corrupt() || shard.0.log.is_corrupt() {
        shard.0.progress.mark_corrupt();
        tracing::error!(shard = %shard.id(), %why, "a replica is damaged and must be rebuilt");
    } else {
        fatal(FatalError::Raft { shard: shard.id(), why: why.to_string() });
    }
}
