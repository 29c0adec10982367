//! One connection for each node, made when it is first needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use kontiki_proto::v1;
use tonic::transport::{Channel, Endpoint};

use crate::{Error, Options};

/// What an HTTP/2 stream and connection may have under way, so that large batches aren't held up.
const WINDOW_BYTES: u32 = 8 << 20;

/// The connections of a client.
#[derive(Debug)]
pub(crate) struct Pool {
    options: Arc<Options>,
    connect: Arc<dyn Connect>,
    channels: Mutex<HashMap<Arc<str>, Channel>>,
}

impl Pool {
    pub(crate) fn new(options: Arc<Options>, connect: Arc<dyn Connect>) -> Self {
        Self { options, connect, channels: Mutex::new(HashMap::new()) }
    }

    /// A connection to a node, which stands at this moment or did so a moment ago.
    ///
    /// # Errors
    /// UNAVAILABLE, where it can't be made: nothing was sent then.
    pub(crate) async fn get(&self, address: &Arc<str>) -> Result<Channel, Error> {
        if let Some(channel) = self.channels().get(address) {
            return Ok(channel.clone());
        }
        let channel = self.connect(address).await?;
        let mut channels = self.channels();
        if channels.len() >= self.options.connections_max {
            // Whoever uses it keeps it until it is done.
            let any = channels.keys().next().cloned();
            any.and_then(|any| channels.remove(&any));
        }
        channels.insert(address.clone(), channel.clone());
        Ok(channel)
    }

    /// Forgets a connection that broke: the next one is made anew, and a failure to make it is told
    /// from a failure of a request.
    pub(crate) fn discard(&self, address: &str) {
        self.channels().remove(address);
    }

    async fn connect(&self, address: &Arc<str>) -> Result<Channel, Error> {
        let options = &self.options;
        let failed = |reason: String| {
            let message = format!("{address} can't be reached: {reason}");
            Error::new(v1::ErrorKind::Unavailable, message)
        };
        let keepalive = Duration::from_millis(options.keepalive_ms);
        let timeout = Duration::from_millis(options.connect_timeout_ms);
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| failed(error.to_string()))?
            .connect_timeout(timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(keepalive)
            .keep_alive_timeout(keepalive / 2)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES);
        let connected = self.connect.connect(endpoint);
        match tokio::time::timeout(timeout, connected).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(failed(reasons(&error))),
            Err(_) => Err(failed(format!("no answer within {} ms", timeout.as_millis()))),
        }
    }

    fn channels(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The innermost reason, which is the one that says something ("connection refused").
fn reasons(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Makes the connections of a client: for networks that aren't TCP (Unix sockets, a proxy, a
/// simulated network), or to see to TLS.
pub trait Connect: Send + Sync + std::fmt::Debug {
    /// Connects to an endpoint, whose timeouts and keepalive are those of the client's options.
    fn connect(&self, endpoint: Endpoint) -> Connecting;
}

/// A connection in the making.
pub type Connecting = BoxFuture<'static, Result<Channel, tonic::transport::Error>>;

/// Connects over TCP.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tcp;

impl Connect for Tcp {
    fn connect(&self, endpoint: Endpoint) -> Connecting {
        Box::pin(async move { endpoint.connect().await })
    }
}
