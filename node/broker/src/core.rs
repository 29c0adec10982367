//! The broker itself: what it is made of, how it starts and how it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kontiki_domain::catalog::{self, Catalog, CatalogVersion, NodeSpec, NodeState};
use kontiki_domain::partition;
use kontiki_domain::queue;
use kontiki_domain::shard::{self, decode_outcome};
use kontiki_proto::node::peer_server::PeerServer;
use kontiki_proto::node::raft_server::RaftServer;
use kontiki_raft::{Clock, Committer, Dialer, FatalHook, RaftNode, RaftService};
use kontiki_storage::Accounting;
use kontiki_storage::engine::Engine;
use kontiki_storage::id::{NodeId, ShardId};
use kontiki_storage::payload::Payloads;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::catalog::CatalogCopy;
use crate::cluster::{self, Cluster, Identity, IdentityError};
use crate::error::Error;
use crate::exchanges::Compiled;
use crate::hub::Hub;
use crate::machine::Machines;
use crate::metrics::Metrics;
use crate::options::{InvalidOption, Options};
use crate::peer::PeerService;
use crate::produce::{Budget, Gatherer};
use crate::producers::ProducerIds;
use crate::queues::{Consumers, Desks, Dues, Gauges, Pools, Prepared, Wishes, send::Parcel};
use crate::requests::Waiting;
use crate::route::{self, How, Router};
use crate::subscriptions::{Attachments, Filters, Sessions};

/// What a broker is made of.
pub struct Start {
    /// The node; its disk is read from the engine.
    pub spec: NodeSpec,
    /// Where rows are.
    pub engine: Arc<dyn Engine>,
    /// Where payloads are.
    pub payloads: Arc<dyn Payloads>,
    /// How other nodes are reached.
    pub dialer: Arc<dyn Dialer>,
    /// The node's clock.
    pub clock: Clock,
    /// Random bytes.
    pub random: Arc<dyn Fn() -> [u8; 16] + Send + Sync>,
    /// What to do when storage has failed.
    pub fatal: FatalHook,
    /// Who hears what replicas do; [`NoProbe`](kontiki_raft::NoProbe) in production.
    pub probe: Arc<dyn kontiki_raft::Probe>,
    /// Peer addresses of the nodes that found the cluster together; empty on a node that joins.
    pub initial_members: BTreeMap<NodeId, String>,
    /// Peer addresses of members of a cluster to join.
    pub join: Vec<String>,
    /// Settings of the broker.
    pub options: Options,
    /// Settings of membership.
    pub cluster: cluster::Options,
    /// Settings of Raft.
    pub raft: kontiki_raft::Options,
}

/// Why a broker can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting.
    #[error(transparent)]
    Options(#[from] InvalidOption),
    /// The data directory is another node's, or can't be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Storage.
    #[error(transparent)]
    Storage(#[from] kontiki_storage::Error),
    /// Raft.
    #[error(transparent)]
    Raft(#[from] kontiki_raft::StartError),
}

/// A node's broker. Cheap to clone.
#[derive(Clone)]
pub struct Broker(pub(crate) Arc<Core>);

pub(crate) struct Core {
    pub(crate) node: NodeId,
    pub(crate) options: Options,
    pub(crate) raft: RaftNode,
    pub(crate) catalog: Arc<CatalogCopy>,
    pub(crate) exchanges: Arc<Compiled>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) router: Router,
    pub(crate) cluster: Cluster,
    pub(crate) payloads: Arc<dyn Payloads>,
    pub(crate) clock: Clock,
    pub(crate) random: Arc<dyn Fn() -> [u8; 16] + Send + Sync>,
    pub(crate) metrics: Metrics,
    pub(crate) produce_budget: Arc<Budget>,
    pub(crate) gatherer: Gatherer,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) fetch: crate::fetch::Limits,
    pub(crate) dues: Arc<Dues>,
    pub(crate) desks: Desks,
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) sends: Pools<Parcel>,
    pub(crate) settlements: Pools<Wishes>,
    pub(crate) filters: Filters,
    pub(crate) attachments: Attachments,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) requests: Waiting,
    pub(crate) consumers: Consumers,
    raft_metrics: kontiki_raft::Metrics,
    stopping: watch::Sender<bool>,
    /// Those that have something to end in order.
    open: watch::Sender<usize>,
}

/// How long a node that stops waits for those that have something to end in order.
const IN_ORDER: Duration = Duration::from_secs(2);

/// Somebody who has something to end in order when the node stops, such as to give back messages.
/// The node takes commands until this is dropped, for 2 s at most after
/// [`stopped`](Broker::stopped).
pub struct Open(Arc<Core>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

impl Broker {
    /// Prepares a node. Run the committer on a thread of its own before [`run`](Self::run).
    ///
    /// # Errors
    /// Settings that can't work, a data directory that isn't this node's, storage.
    pub async fn start(start: Start) -> Result<(Self, Committer), StartError> {
        start.options.validate()?;
        let node = start.spec.node;
        let engine = start.engine;
        let random = start.random;
        let identity = Identity::open(engine.as_ref(), node, || random()).await?;
        let accounting = Arc::new(Accounting::open(engine.as_ref())?);
        let catalog = CatalogCopy::new(engine.as_ref())?;
        let seed = random()[..8].try_into().expect("eight of sixteen bytes");
        let exchanges = Arc::new(Compiled::new(u64::from_be_bytes(seed)));
        let hub = Arc::new(Hub::default());
        let dues = Arc::new(Dues::default());
        let machines = Machines {
            catalog: Arc::clone(&catalog),
            exchanges: Arc::clone(&exchanges),
            hub: Arc::clone(&hub),
            dues: Arc::clone(&dues),
        };
        let raft_metrics = kontiki_raft::Metrics::default();
        let (raft, committer) = RaftNode::start(kontiki_raft::Start {
            node,
            options: start.raft,
            engine: Arc::clone(&engine),
            payloads: Arc::clone(&start.payloads),
            accounting,
            dialer: Arc::clone(&start.dialer),
            machines: Arc::new(machines),
            clock: Arc::clone(&start.clock),
            fatal: start.fatal,
            probe: start.probe,
            metrics: raft_metrics.clone(),
        })?;
        let route = start.options.route.clone();
        let dialer = Arc::clone(&start.dialer);
        let prepared = Arc::new(Prepared::default());
        let router = Router::new(route::Start {
            raft: raft.clone(),
            catalog: Arc::clone(&catalog),
            dialer,
            prepared: Arc::clone(&prepared),
            options: route,
        });
        let cluster = Cluster::new(cluster::Start {
            spec: start.spec,
            identity,
            initial_members: start.initial_members,
            join: start.join,
            options: start.cluster,
            raft: raft.clone(),
            engine,
            dialer: start.dialer,
            random: Arc::clone(&random),
        })?;
        let metrics = Metrics::default();
        let core = Arc::new(Core {
            node,
            raft,
            catalog,
            exchanges,
            hub,
            router,
            cluster: cluster.clone(),
            payloads: start.payloads,
            clock: start.clock,
            random,
            produce_budget: Budget::new(start.options.produce.in_flight_bytes_max),
            gatherer: Gatherer::default(),
            producer_ids: ProducerIds::default(),
            fetch: crate::fetch::Limits::new(&start.options.fetch, metrics.fetch_waiting.clone()),
            dues,
            desks: Desks::default(),
            prepared,
            sends: Pools::default(),
            settlements: Pools::default(),
            filters: Filters::new(start.options.subscribe.filters_cached_max),
            attachments: Attachments::new(Duration::from_millis(start.options.subscribe.attach_ms)),
            sessions: Arc::new(Sessions::new(metrics.subscriptions.clone())),
            requests: Waiting::new(start.options.requests.waiting_max),
            consumers: Consumers::default(),
            metrics,
            raft_metrics,
            stopping: watch::channel(false).0,
            open: watch::channel(0).0,
            options: start.options,
        });
        cluster.attach(Arc::clone(&core) as Arc<dyn cluster::Port>);
        Ok((Self(core), committer))
    }

    /// Founds, joins or comes back, and does what a member does. Ends after
    /// [`shutdown`](Self::shutdown).
    ///
    /// # Errors
    /// What makes it impossible to be a member; the process should end.
    pub async fn run(&self) -> Result<(), Error> {
        let mut stopping = self.0.stopping.subscribe();
        let leaders = self.0.router.watch_leaders(Duration::from_secs(1));
        let work = async {
            tokio::select! {
                done = self.0.cluster.run() => done,
                () = crate::timers::run(Arc::clone(&self.0)) => Ok(()),
                () = leaders => Ok(()),
            }
        };
        tokio::select! {
            done = work => done,
            _ = stopping.wait_for(|stopping| *stopping) => Ok(()),
        }
    }

    /// Membership: for what operators ask.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.0.cluster
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// Raft between nodes, for the listener for peers.
    #[must_use]
    pub fn raft_service(&self) -> RaftServer<RaftService> {
        self.0.raft.service()
    }

    /// Everything else between nodes, for the listener for peers.
    #[must_use]
    pub fn peer_service(&self) -> PeerServer<PeerService> {
        let limit = self.0.options.route.message_bytes_max;
        PeerServer::new(PeerService::new(Arc::clone(&self.0)))
            .max_decoding_message_size(limit)
            .max_encoding_message_size(limit)
    }

    /// Whether clients can be served: the catalog is known, and the shards of which this node has
    /// a replica have a leader.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn is_ready(&self) -> Result<(), String> {
        if *self.0.stopping.borrow() {
            return Err("the node is stopping".to_owned());
        }
        if self.has_left(self.0.node) {
            return Err("this node has been removed from the cluster: stop it".to_owned());
        }
        let shards: Vec<ShardId> = self.0.catalog.look(|catalog| {
            let placements = catalog.placements().filter(|placement| placement.founded);
            placements.map(|placement| placement.shard).collect()
        });
        if shards.is_empty() {
            return Err("this node doesn't know the cluster's catalog yet".to_owned());
        }
        let without = |shard: &&ShardId| {
            let replica = self.0.raft.shard(**shard);
            replica.is_some_and(|replica| replica.role().leader.is_none())
        };
        let count = shards.iter().filter(without).count();
        if count > 0 {
            return Err(format!("{count} of {} shards have no leader", shards.len()));
        }
        if shards.len() < 2 {
            return Err("no data shard is founded yet".to_owned());
        }
        Ok(())
    }

    /// Whether a node has left the cluster for good, as far as this one has heard.
    #[must_use]
    pub fn has_left(&self, node: NodeId) -> bool {
        self.0.catalog.look(|catalog: &Catalog| {
            catalog.node(node).is_some_and(|node| node.state == NodeState::Removed)
        })
    }

    /// Resolves when the node is about to end: for streams that would go on for ever.
    pub async fn stopped(&self) {
        self.0.stopped().await;
    }

    /// Somebody has something to end in order when the node stops.
    #[must_use]
    pub fn open(&self) -> Open {
        self.0.open.send_modify(|open| *open += 1);
        Open(Arc::clone(&self.0))
    }

    /// This node's clock, in milliseconds since 1970.
    #[must_use]
    pub fn time_ms(&self) -> i64 {
        (self.0.clock)()
    }

    /// Registers the metrics of the broker and of Raft.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.0.metrics.register(registry);
        self.0.raft_metrics.register(registry);
        registry.register_collector(Box::new(Gauges::new(&self.0)));
    }

    /// The replicas of this node, as they are.
    #[must_use]
    pub fn shard_statuses(&self) -> Vec<kontiki_raft::Status> {
        self.0.raft.shards().iter().map(kontiki_raft::Shard::status).collect()
    }

    /// Ends in order: leaderships move away, streams give back what they have, nothing new is
    /// taken, what is under way is finished.
    pub async fn shutdown(&self) {
        self.0.cluster.hand_over().await;
        self.0.stopping.send_replace(true);
        self.0.hub.all_changed();
        let mut open = self.0.open.subscribe();
        let ended = open.wait_for(|open| *open == 0);
        if tokio::time::timeout(IN_ORDER, ended).await.is_err() {
            tracing::debug!("not everything has ended in order");
        }
        self.0.router.stop();
        self.0.raft.shutdown().await;
    }
}

impl Core {
    /// The node is about to end.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Resolves when the node is about to end.
    pub(crate) async fn stopped(&self) {
        // The sender lives as long as the core.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// When a call has to be answered that has no deadline of its own.
    pub(crate) fn default_deadline(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.options.route.timeout_ms)
    }

    /// Asks the partitions of a shard, wherever they are led.
    pub(crate) async fn ask_partitions(
        &self,
        shard: ShardId,
        command: partition::Command,
        deadline: Instant,
    ) -> Result<partition::Reply, Error> {
        let command = shard::Command::from(command).encode();
        match self.ask(shard, command, Vec::new(), How::applied_by(deadline)).await? {
            shard::Reply::Partition(reply) => Ok(reply),
            shard::Reply::Catalog(_) | shard::Reply::Queue(_) => {
                Err(Error::internal("a partition's answer was expected"))
            }
        }
    }

    /// Asks the catalog, wherever it is led.
    pub(crate) async fn ask_catalog(
        &self,
        command: catalog::Command,
        deadline: Instant,
    ) -> Result<catalog::Reply, Error> {
        let command = shard::Command::from(command).encode();
        match self.ask(ShardId::CATALOG, command, Vec::new(), How::applied_by(deadline)).await? {
            shard::Reply::Catalog(reply) => Ok(reply),
            shard::Reply::Partition(_) | shard::Reply::Queue(_) => {
                Err(Error::internal("the catalog's answer was expected"))
            }
        }
    }

    /// Asks a queue of a shard, wherever that is led. The command has its place in the order of the
    /// shard when this returns.
    pub(crate) fn ask_queue(
        &self,
        shard: ShardId,
        command: queue::Command,
        payloads: Vec<Bytes>,
        deadline: Instant,
    ) -> impl Future<Output = Result<queue::Reply, Error>> + Send + use<> {
        let brings = command.brings();
        let command = shard::Command::from(command).encode();
        let how = How { brings, ..How::applied_by(deadline) };
        let asked = self.ask(shard, command, payloads, how);
        async move {
            match asked.await? {
                shard::Reply::Queue(reply) => Ok(reply),
                shard::Reply::Partition(_) | shard::Reply::Catalog(_) => {
                    Err(Error::internal("a queue's answer was expected"))
                }
            }
        }
    }

    fn ask(
        &self,
        shard: ShardId,
        command: Bytes,
        payloads: Vec<Bytes>,
        how: How,
    ) -> impl Future<Output = Result<shard::Reply, Error>> + Send + use<> {
        let deadline = how.deadline;
        let proposed = self.router.propose(shard, command, payloads, how);
        async move {
            let answer = tokio::time::timeout_at(deadline, proposed).await;
            let late = |_| Error::outcome_unknown(&format!("the leader of shard {shard}"));
            let reply = answer.map_err(late)??;
            decode_outcome(&reply)?.map_err(Error::from)
        }
    }
}

impl cluster::Port for Core {
    fn propose_catalog(
        &self,
        command: catalog::Command,
        within: Duration,
    ) -> BoxFuture<'_, Result<catalog::Reply, Error>> {
        Box::pin(self.ask_catalog(command, Instant::now() + within))
    }

    fn with_catalog(&self, look: &mut dyn FnMut(&Catalog)) {
        self.catalog.look(look);
    }

    fn catalog_version(&self) -> watch::Receiver<CatalogVersion> {
        self.catalog.watch()
    }
}
