//! Calls to one node, made once: through which it went, and what became of the attempt, is known
//! then. The shipped client asks one node after the other, and again.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use kontiki_client::{Error, v1};
use kontiki_proto::details;
use rand::Rng as _;
use rand::rngs::SmallRng;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use crate::cluster::{CLIENT_PORT, Connector, host};

/// How long a node may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(4);
/// How long a connection may take, and a ping on it.
const CONNECT: Duration = Duration::from_millis(500);

/// The nodes that founded the cluster, one by one.
pub struct Direct {
    connector: Connector,
    nodes: u32,
    channels: Mutex<BTreeMap<u32, Channel>>,
}

impl Direct {
    /// Over these connections, to so many nodes.
    #[must_use]
    pub fn new(connector: Connector, nodes: u32) -> Self {
        Self { connector, nodes, channels: Mutex::default() }
    }

    /// Any of the nodes, whether it is there or not.
    pub(super) fn any(&self, rng: &mut SmallRng) -> u32 {
        rng.random_range(1..=self.nodes)
    }

    fn channels(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, Channel>> {
        self.channels.lock().expect("nothing panics under this lock")
    }

    /// A connection to a node.
    pub(super) async fn channel(&self, node: u32) -> Result<Channel, Error> {
        if let Some(channel) = self.channels().get(&node) {
            return Ok(channel.clone());
        }
        let address = format!("http://{}:{CLIENT_PORT}", host(node));
        let endpoint = Endpoint::from_shared(address)
            .expect("addresses of nodes are host:port")
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(CONNECT)
            .keep_alive_timeout(CONNECT)
            .keep_alive_while_idle(true);
        let connected = timeout(CONNECT, self.connector.at_once(&endpoint)).await;
        let Ok(Ok(channel)) = connected else {
            return Err(failure(v1::ErrorKind::Unavailable, "it can't be reached"));
        };
        self.channels().insert(node, channel.clone());
        Ok(channel)
    }

    /// One call to a node.
    pub(super) async fn call<A>(
        &self,
        node: u32,
        work: impl AsyncFnOnce(Channel) -> Result<Response<A>, Status>,
    ) -> Result<A, Error> {
        let channel = self.channel(node).await?;
        let error = match timeout(PATIENCE, work(channel)).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(status)) => self::error(&status),
            Err(_) => failure(v1::ErrorKind::Unknown, "no answer in time"),
        };
        self.broke(node, &error);
        Err(error)
    }

    /// What is known of a connection after a failure: one that may be dead is made anew.
    pub(super) fn broke(&self, node: u32, error: &Error) {
        if error.kind == v1::ErrorKind::Unknown && error.code == 0 {
            self.channels().remove(&node);
        }
    }
}

/// What a node said with a status. Where it said nothing, nobody knows what became of it.
pub(super) fn error(status: &Status) -> Error {
    let said = details::error(status).map(Error::from);
    said.unwrap_or_else(|| failure(v1::ErrorKind::Unknown, status.message()))
}

pub(super) fn failure(kind: v1::ErrorKind, message: &str) -> Error {
    let error = v1::Error { message: message.to_owned(), ..v1::Error::default() };
    Error::from(v1::Error { kind: kind.into(), ..error })
}
