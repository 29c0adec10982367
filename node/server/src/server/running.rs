//! The life of a node, from its first file to its last connection.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::anyhow;
use kontiki_broker::Broker;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::service::Routes;

use super::folder::Folder;
use super::listeners;
use super::parts::{self, Listeners, Storage};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::http::{self, Pages};
use crate::telemetry::{Metrics, Telemetry};

/// Connections have this long to end by themselves when the node has stopped: those of fetch
/// streams and of other nodes never would.
const HANG_UP: Duration = Duration::from_secs(1);

/// The broker, once there is one; and whether the node is about to stop.
#[derive(Clone, Default)]
struct State {
    broker: Arc<OnceLock<Broker>>,
    stopping: watch::Sender<bool>,
}

impl State {
    fn ready(&self) -> Result<(), String> {
        if *self.stopping.borrow() {
            return Err("the node is stopping".to_owned());
        }
        match self.broker.get() {
            Some(broker) => broker.is_ready(),
            None => Err("the data directory is being opened".to_owned()),
        }
    }

    fn statuses(&self) -> Vec<kontiki_raft::Status> {
        self.broker.get().map(Broker::shard_statuses).unwrap_or_default()
    }
}

/// Runs a node until it is asked to stop.
///
/// # Errors
/// Why it couldn't start, or had to end.
pub async fn run(config: Config) -> Result<(), Failure> {
    let telemetry = Telemetry::install(&config.telemetry, config.node.id)
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    let ended = live(config).await;
    match &ended {
        Ok(()) => tracing::info!("the node has stopped"),
        Err(failure) => {
            tracing::error!(error = %failure, status = failure.status, "the node ends");
        }
    }
    // Where the tasks of the exporter need this thread, it may not block it.
    let _ = tokio::task::spawn_blocking(move || telemetry.finish()).await;
    ended
}

async fn live(config: Config) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let folder = Folder::take(&config.node.data_dir)?;
    parts::announce(&config, &config.node.data_dir);
    let metrics = Metrics::default();
    let state = State::default();
    let listeners = Listeners::bind(&config, &metrics).await?;
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let pages = pages(&config, &metrics, &state);
    let options = config.server.http.clone();
    let serving = http::serve(listeners.http, pages, options, stopped.clone());
    tasks.spawn(async move {
        serving.await;
        ("the pages", Ok(()))
    });

    let storage = tokio::select! {
        opened = Storage::open(&folder, &config) => opened?,
        () = signals.any() => return Ok(()),
    };
    metrics.storage(Arc::clone(&storage.engine), Arc::clone(&storage.payloads));
    let (broker, committer) = parts::broker(&config, &storage).await?;
    metrics.register(|registry| broker.register_metrics(registry));
    let committed = parts::committer(committer)
        .map_err(|error| Failure::new(Exit::Failed, anyhow!("no thread to commit: {error}")))?;
    tasks.spawn(async move { ("the committer", committed.await) });

    let peer_routes = Routes::new(broker.raft_service()).add_service(broker.peer_service());
    let client_routes = kontiki_gateway::grpc::routes(broker.clone(), &config.grpc);
    let server = &config.server;
    let peers = listeners::for_peers(&server.peer);
    let peers = listeners::serve(peers, listeners.peer, peer_routes, stopped.clone());
    tasks.spawn(async move { ("the peer listener", peers.await) });
    let clients = listeners::for_clients(&server.client, &config.grpc);
    let clients = listeners::serve(clients, listeners.client, client_routes, stopped);
    tasks.spawn(async move { ("the client listener", clients.await) });
    let membership = broker.clone();
    tasks.spawn(async move {
        let ended = membership.run().await;
        ("membership", ended.map_err(|error| error.to_string()))
    });
    assert!(state.broker.set(broker.clone()).is_ok(), "a node has one broker");

    let failed = tokio::select! {
        () = signals.any() => None,
        Some(ended) = tasks.join_next() => Some(unexpected(ended)),
    };
    let within = Duration::from_millis(server.stop_timeout_ms);
    let ended = end(&broker, &state, &stop, &mut tasks, within, &mut signals).await;
    // Rows and payloads are closed before the lock is given back.
    drop((tasks, broker, state, storage));
    drop(folder);
    failed.map_or(ended, Err)
}

fn pages(config: &Config, metrics: &Metrics, state: &State) -> Pages {
    let shown = state.clone();
    metrics.shards(Arc::new(move || shown.statuses()), config.server.http.shards_max);
    let asked = state.clone();
    let ready = Arc::new(move || asked.ready());
    Pages { node: config.node.id, metrics: metrics.clone(), ready }
}

type Ended = Result<(&'static str, Result<(), String>), tokio::task::JoinError>;

/// A part has ended that should not have.
fn unexpected(ended: Ended) -> Failure {
    let why = match ended {
        Ok((part, Ok(()))) => format!("{part} ended by itself"),
        Ok((part, Err(why))) => format!("{part} failed: {why}"),
        Err(error) => format!("a part of the server panicked: {error}"),
    };
    Failure::new(Exit::Fault, anyhow!(why))
}

/// Ends in order; a second signal ends at once.
async fn end(
    broker: &Broker,
    state: &State,
    stop: &watch::Sender<bool>,
    tasks: &mut JoinSet<(&'static str, Result<(), String>)>,
    within: Duration,
    signals: &mut Signals,
) -> Result<(), Failure> {
    tracing::info!("the node stops: leaderships are handed over");
    state.stopping.send_replace(true);
    let late = |why: &str| Failure::new(Exit::StopTimeout, anyhow!("{why}"));
    tokio::select! {
        () = broker.shutdown() => {}
        () = tokio::time::sleep(within) => {
            return Err(late("not stopped within server.stop_timeout_ms"));
        }
        () = signals.any() => return Err(late("a second signal came while the node stopped")),
    }
    stop.send_replace(true);
    let hang_up = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(HANG_UP, hang_up).await.is_err() {
        tracing::debug!("connections are cut off");
        tasks.shutdown().await;
    }
    Ok(())
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::from(anyhow!("signals can't be heard: {error}")))
        };
        let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
        Ok(Self { terminate: listen(terminate)?, interrupt: listen(interrupt)? })
    }

    /// The next of them.
    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
