//! Membership: how a cluster is founded, how nodes join and leave, and how every shard gets the
//! replicas that the catalog has decided on.
//!
//! The catalog decides and remembers; this module carries out, on every node, what the node's own
//! copy of the catalog says, and on a shard's leader what concerns its Raft group. Nothing here is
//! on the data path.
//!
//! `identity` is what a node knows of itself before it has a catalog; `bootstrap` founds or joins;
//! `replicas` makes the node's replicas what they should be; `lead` does so with the groups that
//! the node leads; `admin` is what operators ask for.

mod admin;
mod bootstrap;
mod describe;
mod identity;
mod lead;
mod peers;
mod replicas;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use kontiki_domain::catalog::{Catalog, CatalogVersion, Command, DiskId, NodeSpec, Reply};
use kontiki_raft::{Dialer, RaftNode};
use kontiki_storage::Engine;
use kontiki_storage::id::{NodeId, ReplicaId, ShardId};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

pub use self::admin::{Move, Rebalance, Transfer};
pub use self::describe::{ClusterDescription, NodeDescription, ShardDescription};
pub use self::identity::{Identity, IdentityError};
use crate::error::{Code, Error, Kind};

/// Settings of membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Data shards of a new cluster; fixed when it is founded. 1 ..= 4,096; default 4.
    pub shards: u32,
    /// Replicas that each shard should have. 1 ..= 9; default 3.
    pub replication_factor: u32,
    /// How often a node compares what it has with what the catalog says. 50 up; default 1,000.
    pub check_ms: u64,
    /// How long a question to another node may take. 100 up; default 3,000.
    pub call_timeout_ms: u64,
    /// A node must have been reachable for this long before leaderships are given back to it.
    /// Default 10,000.
    pub leader_return_ms: u64,
    /// A leader keeps a shard for at least this long before it gives it back to the node that
    /// should lead it, so that a leadership handed over by hand stays for a while. Default 60,000.
    pub leader_keep_ms: u64,
    /// Leaderships handed over at a time, to spread them. 1 up; default 4.
    pub leader_moves_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shards: 4,
            replication_factor: 3,
            check_ms: 1_000,
            call_timeout_ms: 3_000,
            leader_return_ms: 10_000,
            leader_keep_ms: 60_000,
            leader_moves_max: 4,
        }
    }
}

impl Options {
    /// Checks every setting against its documented range.
    ///
    /// # Errors
    /// The first one that is out of it.
    pub fn validate(&self) -> Result<(), crate::options::InvalidOption> {
        let rows: [(&'static str, u64, u64, u64); 5] = [
            ("cluster.shards", self.shards.into(), 1, 4_096),
            ("cluster.replication_factor", self.replication_factor.into(), 1, 9),
            ("cluster.check_ms", self.check_ms, 50, u64::MAX),
            ("cluster.call_timeout_ms", self.call_timeout_ms, 100, u64::MAX),
            ("cluster.leader_moves_max", self.leader_moves_max as u64, 1, u64::MAX),
        ];
        for (field, value, low, high) in rows {
            if !(low..=high).contains(&value) {
                return Err(crate::options::InvalidOption { field, value, low, high });
            }
        }
        Ok(())
    }

    fn check(&self) -> Duration {
        Duration::from_millis(self.check_ms)
    }

    fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_ms)
    }
}

/// What a node is told about itself and its cluster.
pub struct Start {
    /// The node, but for its disk, which is in its identity.
    pub spec: NodeSpec,
    /// Who it is, from its data directory.
    pub identity: Identity,
    /// Peer addresses of the nodes that found the cluster together, this one included; empty on
    /// a node that only joins.
    pub initial_members: BTreeMap<NodeId, String>,
    /// Peer addresses of members of a cluster to join.
    pub join: Vec<String>,
    /// Settings.
    pub options: Options,
    /// The node's replicas.
    pub raft: RaftNode,
    /// Where the identity is kept.
    pub engine: Arc<dyn Engine>,
    /// How other nodes are reached.
    pub dialer: Arc<dyn Dialer>,
    /// Random bytes, for the id of a new cluster.
    pub random: Arc<dyn Fn() -> [u8; 16] + Send + Sync>,
}

/// What membership needs of the rest of the broker.
pub trait Port: Send + Sync {
    /// Proposes a command to the catalog, on whichever node leads it.
    fn propose_catalog(
        &self,
        command: Command,
        within: Duration,
    ) -> BoxFuture<'_, Result<Reply, Error>>;

    /// Looks at this node's copy of the catalog.
    fn with_catalog(&self, look: &mut dyn FnMut(&Catalog));

    /// Changes with this node's copy of the catalog.
    fn catalog_version(&self) -> watch::Receiver<CatalogVersion>;
}

/// This node's membership. Cheap to clone.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    node: NodeId,
    spec: NodeSpec,
    initial_members: BTreeMap<NodeId, String>,
    options: Options,
    raft: RaftNode,
    engine: Arc<dyn Engine>,
    dialer: Arc<dyn Dialer>,
    random: Arc<dyn Fn() -> [u8; 16] + Send + Sync>,
    identity: Mutex<Identity>,
    join: Mutex<Vec<String>>,
    port: OnceLock<Arc<dyn Port>>,
    /// Something has changed that can't wait for the next check.
    wake: Notify,
    /// Groups that are being changed by a task of their own.
    busy: Mutex<std::collections::BTreeSet<ShardId>>,
}

impl Cluster {
    /// Prepares membership; nothing is done before [`run`](Self::run).
    ///
    /// # Errors
    /// Settings that can't work.
    pub fn new(start: Start) -> Result<Self, crate::options::InvalidOption> {
        start.options.validate()?;
        let mut spec = start.spec;
        spec.disk = start.identity.disk;
        Ok(Self(Arc::new(Inner {
            node: spec.node,
            spec,
            initial_members: start.initial_members,
            options: start.options,
            raft: start.raft,
            engine: start.engine,
            dialer: start.dialer,
            random: start.random,
            identity: Mutex::new(start.identity),
            join: Mutex::new(start.join),
            port: OnceLock::new(),
            wake: Notify::new(),
            busy: Mutex::default(),
        })))
    }

    /// Gives it the rest of the broker; to be called once, before [`run`](Self::run).
    pub fn attach(&self, port: Arc<dyn Port>) {
        assert!(self.0.port.set(port).is_ok(), "membership is attached once");
    }

    /// Founds, joins or comes back, and then keeps this node's replicas and the groups that it
    /// leads as the catalog wants them. Ends with the process.
    ///
    /// # Errors
    /// Storage that fails while there is no replica yet whose failure would be reported.
    pub async fn run(&self) -> Result<(), Error> {
        self.begin().await?;
        let port = self.port().clone();
        let mut version = port.catalog_version();
        let mut peers = peers::Reachable::default();
        loop {
            self.check(&mut peers).await;
            let wait = tokio::time::sleep(self.0.options.check());
            tokio::select! {
                () = wait => {}
                () = self.0.wake.notified() => {}
                changed = version.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// One round: peers, own replicas, led groups.
    async fn check(&self, peers: &mut peers::Reachable) {
        self.update_peers();
        self.remember_members().await;
        self.check_catalog_replica().await;
        self.check_replicas().await;
        peers.look(&self.0.raft, &self.known_nodes());
        self.check_groups();
        self.check_leaders(peers).await;
        self.announce().await;
    }

    /// A newer copy of something is wanted at once.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// The id of the cluster, once the node belongs to one.
    #[must_use]
    pub fn cluster_id(&self) -> Option<String> {
        self.identity().membership.as_ref().map(|membership| membership.cluster_id.clone())
    }

    /// The node's disk.
    #[must_use]
    pub fn disk(&self) -> DiskId {
        self.identity().disk
    }

    fn port(&self) -> &Arc<dyn Port> {
        self.0.port.get().expect("attached before it is used")
    }

    fn with_catalog<T>(&self, look: impl FnOnce(&Catalog) -> T) -> T {
        let mut look = Some(look);
        let mut seen = None;
        self.port().with_catalog(&mut |catalog| {
            if let Some(look) = look.take() {
                seen = Some(look(catalog));
            }
        });
        seen.expect("the port shows the catalog")
    }

    fn identity(&self) -> Identity {
        self.0.identity.lock().expect("nothing panics under this lock").clone()
    }

    async fn propose(&self, command: Command) -> Result<Reply, Error> {
        self.port().propose_catalog(command, self.0.options.call_timeout()).await
    }
}

/// A new id for the catalog replica of a node that is no voter of the catalog: it only follows.
/// Such ids can't meet those of voters, which count from 1, and are never used twice.
fn new_follower(node: NodeId, random: [u8; 16]) -> ReplicaId {
    let [a, b, c, d, ..] = random;
    ReplicaId::new(node, FOLLOWER_BIT | u32::from_be_bytes([a, b, c, d]))
}

/// Whether a catalog replica only follows.
fn is_follower(replica: ReplicaId) -> bool {
    replica.incarnation() & FOLLOWER_BIT != 0
}

const FOLLOWER_BIT: u32 = 1 << 31;

fn not_ready(detail: &str) -> Error {
    Error::new(Kind::Unavailable, Code::NOT_READY, detail)
}
