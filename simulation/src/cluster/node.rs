//! One node: the parts of the real one, on a simulated disk, network and clock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kontiki_broker::{Broker, Start};
use kontiki_domain::catalog::{DiskId, FeatureRange, NodeSpec};
use kontiki_raft::Dialer;
use kontiki_storage::id::{NodeId, ReplicaId, ShardId};
use kontiki_storage::memory::{Device, Disk, MemoryEngine, MemoryPayloads};
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint, Server};

use super::clock::NodeClock;
use super::net::{Connector, listen};
use crate::check::{Deed, Probe};
use crate::entropy::fork;
use crate::profile::Shape;
use crate::trace::{Event, Trace};

/// Where clients are served.
pub const CLIENT_PORT: u16 = 9640;
/// Where other nodes are served.
pub const PEER_PORT: u16 = 9641;

/// The name of a node's host.
pub fn host(node: u32) -> String {
    format!("n{node}")
}

/// What replicas did, of all nodes.
pub type Probes = Arc<Mutex<Vec<Probe>>>;

/// A node as the harness knows it; it outlives the lives of its process.
pub struct Node {
    /// Its number.
    pub id: u32,
    /// Its clock.
    pub clock: NodeClock,
    /// Why it wants to end; set by the node.
    fate: Mutex<Option<String>>,
    /// The broker of its present life.
    broker: Mutex<Option<Broker>>,
    disk: Mutex<Disk>,
    lives: AtomicU64,
    shape: Arc<Shape>,
    founders: BTreeMap<NodeId, String>,
    join: Vec<String>,
    trace: Trace,
    probes: Probes,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    /// A node that founds a cluster with the others of its shape, or joins one.
    pub fn new(id: u32, shape: &Arc<Shape>, founds: bool, trace: &Trace, probes: &Probes) -> Self {
        let all = (1..=shape.nodes).map(|id| (NodeId(id), format!("{}:{PEER_PORT}", host(id))));
        let (founders, join) = if founds {
            (all.collect(), Vec::new())
        } else {
            (BTreeMap::new(), all.map(|(_, address)| address).collect())
        };
        let node = Self {
            id,
            clock: NodeClock::new(trace.clone()),
            fate: Mutex::default(),
            broker: Mutex::default(),
            disk: Mutex::default(),
            lives: AtomicU64::new(0),
            shape: Arc::clone(shape),
            founders,
            join,
            trace: trace.clone(),
            probes: Arc::clone(probes),
        };
        node.replace_disk();
        node
    }

    /// Its disk.
    pub fn disk(&self) -> Disk {
        lock(&self.disk).clone()
    }

    /// An empty disk takes the place of the old one. Only while the node is down.
    pub fn replace_disk(&self) {
        let disk = Disk::new();
        *lock(&self.disk) = disk;
        self.set_sync_ms(self.shape.sync_ms);
    }

    /// How long a sync takes from now on.
    pub fn set_sync_ms(&self, ms: u64) {
        let faults = self.disk().faults();
        for device in [Device::Rows, Device::Payloads] {
            faults.set_sync_delay(device, Duration::from_millis(ms));
        }
    }

    /// The broker, while it runs.
    pub fn broker(&self) -> Option<Broker> {
        lock(&self.broker).clone()
    }

    /// Why the node wants to end, once.
    pub fn take_fate(&self) -> Option<String> {
        lock(&self.fate).take()
    }

    /// Its process is gone.
    pub fn forget(&self) {
        lock(&self.broker).take();
        lock(&self.fate).take();
    }

    /// One life of its process: ends only if it can't go on, and then waits to be ended.
    pub async fn live(self: Arc<Self>) -> turmoil::Result {
        if let Err(why) = Box::pin(self.run()).await {
            lock(&self.fate).get_or_insert(why);
        }
        std::future::pending().await
    }

    async fn run(self: &Arc<Self>) -> Result<(), String> {
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        let (broker, committer) =
            Broker::start(self.start(life)).await.map_err(|e| e.to_string())?;
        tokio::spawn(committer.run());
        let peers = Routes::new(broker.raft_service()).add_service(broker.peer_service());
        let grpc = kontiki_gateway::grpc::Options {
            keepalive_interval_ms: 2_000,
            keepalive_timeout_ms: 1_000,
            ..kontiki_gateway::grpc::Options::default()
        };
        let clients = kontiki_gateway::grpc::routes(broker.clone(), &grpc);
        let mut for_peers = Server::builder()
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE));
        let mut for_clients = kontiki_gateway::grpc::configure(Server::builder(), &grpc);
        let name = host(self.id);
        let incoming = |port| listen(&name, port, self.trace.clone());
        let peers_in = incoming(PEER_PORT).await.map_err(|error| error.to_string())?;
        let clients_in = incoming(CLIENT_PORT).await.map_err(|error| error.to_string())?;
        *lock(&self.broker) = Some(broker.clone());
        let text = |error: tonic::transport::Error| error.to_string();
        tokio::select! {
            biased;
            ended = broker.run() => match ended {
                Ok(()) => Err("the broker ended by itself".to_owned()),
                Err(error) => Err(error.to_string()),
            },
            ended = for_peers.add_routes(peers).serve_with_incoming(peers_in) => {
                ended.map_err(text)
            }
            ended = for_clients.add_routes(clients).serve_with_incoming(clients_in) => {
                ended.map_err(text)
            }
        }
    }

    fn start(self: &Arc<Self>, life: u64) -> Start {
        let disk = self.disk();
        let (clock, doomed) = (self.clock.clone(), Arc::clone(self));
        let stream = fork(self.shape.seed, &format!("node {} life {life}", self.id));
        let drawn = AtomicU64::new(0);
        let random = move || {
            let draw = drawn.fetch_add(1, Ordering::Relaxed);
            let half = |which: &str| fork(stream ^ draw, which);
            (u128::from(half("high")) << 64 | u128::from(half("low"))).to_be_bytes()
        };
        let options = kontiki_storage::memory::Options { segment_bytes: self.shape.segment_bytes };
        Start {
            spec: self.spec(),
            engine: MemoryEngine::open(&disk),
            payloads: MemoryPayloads::open(&disk, options),
            dialer: Arc::new(Peers::new(Connector::new(&host(self.id), self.trace.clone()))),
            clock: Arc::new(move || clock.now_ms()),
            random: Arc::new(random),
            fatal: Arc::new(move |error| {
                lock(&doomed.fate).get_or_insert_with(|| error.to_string());
            }),
            probe: Arc::new(NodeProbe(Arc::clone(self))),
            initial_members: self.founders.clone(),
            join: self.join.clone(),
            options: self.shape.broker.clone(),
            cluster: self.shape.cluster.clone(),
            raft: self.shape.raft.clone(),
        }
    }

    fn spec(&self) -> NodeSpec {
        NodeSpec {
            node: NodeId(self.id),
            disk: DiskId([0; 16]),
            peer_address: format!("{}:{PEER_PORT}", host(self.id)),
            client_address: format!("{}:{CLIENT_PORT}", host(self.id)),
            listeners: BTreeMap::new(),
            rack: None,
            labels: BTreeMap::new(),
            features: FeatureRange::THIS_RELEASE,
        }
    }
}

const KEEPALIVE: Duration = Duration::from_millis(500);

/// How a node dials the others: one channel for each address, as in production.
struct Peers {
    connector: Connector,
    channels: Mutex<BTreeMap<String, Channel>>,
}

impl Peers {
    fn new(connector: Connector) -> Self {
        Self { connector, channels: Mutex::default() }
    }

    fn channel(&self, address: &str) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .expect("addresses of nodes are host:port")
            .connect_timeout(KEEPALIVE)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20);
        self.connector.lazily(&endpoint)
    }
}

impl Dialer for Peers {
    fn dial(&self, address: &str) -> Channel {
        let mut channels = lock(&self.channels);
        channels.entry(address.to_owned()).or_insert_with(|| self.channel(address)).clone()
    }
}

/// Takes down what the replicas of a node do.
struct NodeProbe(Arc<Node>);

impl NodeProbe {
    fn add(&self, shard: ShardId, replica: ReplicaId, deed: Deed) {
        let at = self.0.trace.now();
        let probe = Probe { at, node: self.0.id, shard: shard.0, replica: replica.0, deed };
        self.0.trace.add(Event::Probe(probe.clone()));
        lock(&self.0.probes).push(probe);
    }
}

impl kontiki_raft::Probe for NodeProbe {
    fn wants_applied(&self) -> bool {
        true
    }

    fn leads(&self, shard: ShardId, replica: ReplicaId, term: u64) {
        self.add(shard, replica, Deed::Leads { term });
    }

    fn applied(&self, shard: ShardId, replica: ReplicaId, applied: kontiki_raft::AppliedEntry) {
        let kontiki_raft::AppliedEntry { index, term, entry, replies } = applied;
        self.add(shard, replica, Deed::Applied { index, term, entry, replies });
    }

    fn installed(&self, shard: ShardId, replica: ReplicaId, next: u64) {
        self.add(shard, replica, Deed::Installed { next });
    }

    fn opened(&self, shard: ShardId, replica: ReplicaId, next: u64) {
        self.add(shard, replica, Deed::Opened { next });
    }
}
