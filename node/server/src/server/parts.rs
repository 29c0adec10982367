//! What a node is made of: opened and bound in the order in which a failure says most.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use kontiki_broker::{Broker, StartError};
use kontiki_domain::catalog::{DiskId, FeatureRange, NodeSpec};
use kontiki_raft::{Committer, FatalError};
use kontiki_storage::Engine;
use kontiki_storage::files::Files;
use kontiki_storage::id::NodeId;
use kontiki_storage::payload::Payloads;
use kontiki_storage_rocks::RocksEngine;

use super::folder::{Folder, FolderError};
use crate::config::{Config, NodeOptions};
use crate::exit::{Exit, Failure};
use crate::net::{AcceptOptions, Acceptor, Peers};
use crate::telemetry::{Connections, Metrics};

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        let exit = match &error {
            FolderError::InUse { .. } => Exit::InUse,
            FolderError::Io { .. } => Exit::Data,
        };
        Self::new(exit, error)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let exit = match &error {
            StartError::Options(_) => Exit::Usage,
            StartError::Identity(_) | StartError::Storage(_) | StartError::Raft(_) => Exit::Data,
        };
        Self::new(exit, error)
    }
}

/// The listeners of a node.
pub struct Listeners {
    /// For clients.
    pub client: Acceptor,
    /// For the other nodes.
    pub peer: Acceptor,
    /// For operators.
    pub http: Acceptor,
}

impl Listeners {
    /// Binds all three.
    ///
    /// # Errors
    /// The one that can't be bound.
    pub async fn bind(config: &Config, metrics: &Metrics) -> Result<Self, Failure> {
        let connections = Connections::default();
        metrics.register(|registry| connections.register(registry));
        let (node, server) = (&config.node, &config.server);
        let bind = async |name, key, address: &str, options: AcceptOptions| {
            let bound = Acceptor::bind(name, address, options, connections.clone()).await;
            bound
                .with_context(|| format!("node.{key} = {address} can't be listened on"))
                .map_err(|error| Failure::new(Exit::Address, error))
        };
        let (client, peer, http) = (&server.client, &server.peer, &server.http);
        Ok(Self {
            http: bind("http", "http_listen", &node.http_listen, http.into()).await?,
            peer: bind("peer", "peer_listen", &node.peer_listen, peer.into()).await?,
            client: bind("client", "client_listen", &node.client_listen, client.into()).await?,
        })
    }
}

/// Where a node keeps everything.
pub struct Storage {
    /// Rows.
    pub engine: Arc<dyn Engine>,
    /// Payloads.
    pub payloads: Arc<dyn Payloads>,
}

impl Storage {
    /// Opens both, which may take a while after a crash.
    ///
    /// # Errors
    /// I/O and damage.
    pub async fn open(folder: &Folder, config: &Config) -> Result<Self, Failure> {
        let (rows, segments) = (folder.rows(), folder.segments());
        let (row_options, segment_options) = (config.storage.clone(), config.segments.clone());
        let opened =
            tokio::task::spawn_blocking(move || -> Result<Self, kontiki_storage::Error> {
                let engine: Arc<dyn Engine> = RocksEngine::open(&rows, row_options)?;
                let payloads = Arc::new(Files::open(&segments, segment_options)?);
                Ok(Self { engine, payloads })
            });
        let opened = opened.await.context("opening the data directory failed")?;
        opened.map_err(|error| Failure::new(Exit::Data, error))
    }
}

/// Prepares the broker.
///
/// # Errors
/// Settings that can't work, a data directory that isn't this node's, storage.
pub async fn broker(config: &Config, storage: &Storage) -> Result<(Broker, Committer), Failure> {
    let members = config.node.initial_members.0.iter();
    let initial_members: BTreeMap<NodeId, String> =
        members.map(|(node, address)| (NodeId(*node), address.clone())).collect();
    let started = Broker::start(kontiki_broker::Start {
        spec: spec(&config.node),
        engine: Arc::clone(&storage.engine),
        payloads: Arc::clone(&storage.payloads),
        dialer: Arc::new(Peers::new(config.server.dial.clone())),
        clock: Arc::new(now_ms),
        random: Arc::new(random),
        fatal: Arc::new(|error| fatal(&error)),
        probe: Arc::new(kontiki_raft::NoProbe),
        initial_members,
        join: config.node.join.clone(),
        options: config.broker.clone(),
        cluster: config.cluster.clone(),
        raft: config.raft.clone(),
    });
    Ok(started.await?)
}

fn spec(node: &NodeOptions) -> NodeSpec {
    NodeSpec {
        node: NodeId(node.id),
        // The broker puts in that of the data directory.
        disk: DiskId([0; 16]),
        peer_address: node.peer_address(),
        client_address: node.client_address(),
        listeners: BTreeMap::new(),
        rack: node.rack.clone(),
        labels: node.labels.clone(),
        features: FeatureRange::THIS_RELEASE,
    }
}

/// Runs the committer on a thread of its own, where it may wait for the disk. Its answers are given
/// here, and it rings by a socket: whoever waits for sockets hears of it, and nobody else is woken.
/// A wake from another thread has the runtime look for work on a second one, each time.
///
/// # Errors
/// The system has no thread, or no socket.
pub fn committer(
    mut committer: Committer,
) -> io::Result<impl Future<Output = Result<(), String>> + Send> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (bell, heard) = UnixStream::pair()?;
    bell.set_nonblocking(true)?;
    heard.set_nonblocking(true)?;
    let heard = tokio::net::UnixStream::from_std(heard)?;
    let answers = committer.answered_elsewhere(move || {
        // Where there is no room for another byte, there are bytes to be heard.
        let _ = (&bell).write(&[0]);
    });
    let (done, mut ended) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("committer".to_owned()).spawn(move || {
        runtime.block_on(committer.run());
        // Nobody listens where the process ends anyway.
        let _ = done.send(());
    })?;
    Ok(async move {
        let mut rings = true;
        loop {
            tokio::select! {
                biased;
                _ = heard.readable(), if rings => {
                    let mut bytes = [0; 64];
                    rings = !matches!(heard.try_read(&mut bytes), Ok(0));
                    answers.give();
                }
                ended = &mut ended => {
                    answers.give();
                    return ended.map_err(|_| "the committer has panicked".to_owned());
                }
            }
        }
    })
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        let got =
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty());
        match got {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the system has no random bytes: {error}"),
        }
    }
    bytes
}

/// Ends the process: going on would risk what has been promised.
fn fatal(error: &FatalError) {
    let exit = match error {
        FatalError::Storage(_) => Exit::StorageFailed,
        FatalError::Raft { .. } => Exit::RaftFailed,
    };
    tracing::error!(%error, status = exit.code(), "this node has to end");
    std::process::exit(exit.code().into());
}

/// Says where things are, for the log.
pub fn announce(config: &Config, path: &Path) {
    let node = &config.node;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        node = node.id,
        data = %path.display(),
        client = node.client_listen,
        client_advertised = node.client_address(),
        peer = node.peer_listen,
        peer_advertised = node.peer_address(),
        http = node.http_listen,
        members = %node.initial_members,
        "a node starts"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_and_the_time_are_what_they_are_called() {
        assert_ne!(random(), random());
        // 2020 and 2100, in milliseconds.
        assert!((1_577_836_800_000..4_102_444_800_000).contains(&now_ms()), "{}", now_ms());
    }
}
