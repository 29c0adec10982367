//! Connections to the other nodes: one for each address, made when it is used, and again when it
//! breaks.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kontiki_raft::Dialer;
use tonic::transport::{Channel, Endpoint};

use crate::config::DialOptions;

/// The other nodes.
#[derive(Debug)]
pub struct Peers {
    options: DialOptions,
    channels: Mutex<BTreeMap<String, Channel>>,
}

impl Peers {
    /// No connection yet.
    #[must_use]
    pub fn new(options: DialOptions) -> Self {
        Self { options, channels: Mutex::default() }
    }

    fn endpoint(&self, address: &str) -> Endpoint {
        let options = &self.options;
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap_or_else(|error| {
            // Addresses of a catalog were checked when they came into it; should one be no URI
            // all the same, nobody answers at this one, and whoever dials is told so.
            tracing::error!(address, %error, "the address of a node is none");
            Endpoint::from_static("http://127.0.0.1:0")
        });
        endpoint
            .connect_timeout(Duration::from_millis(options.connect_timeout_ms))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_millis(options.keepalive_ms))
            .keep_alive_timeout(Duration::from_millis(options.keepalive_timeout_ms))
            .keep_alive_while_idle(true)
            .initial_stream_window_size(options.stream_window_bytes)
            .initial_connection_window_size(options.connection_window_bytes)
    }
}

impl Dialer for Peers {
    fn dial(&self, address: &str) -> Channel {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return channel.clone();
        }
        if channels.len() >= self.options.addresses_max {
            // Who uses one of them keeps it.
            channels.clear();
        }
        let channel = self.endpoint(address).connect_lazy();
        channels.insert(address.to_owned(), channel.clone());
        channel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(peers: &Peers) -> Vec<String> {
        peers.channels.lock().expect("no test panics").keys().cloned().collect()
    }

    #[tokio::test]
    async fn an_address_has_one_connection_and_the_number_of_them_is_limited() {
        let peers = Peers::new(DialOptions { addresses_max: 2, ..DialOptions::default() });
        for address in ["a:1", "b:2", "a:1"] {
            peers.dial(address);
        }
        assert_eq!(known(&peers), ["a:1", "b:2"]);
        peers.dial("c:3");
        assert_eq!(known(&peers), ["c:3"]);
    }

    #[tokio::test]
    async fn what_is_no_address_is_dialled_in_vain() {
        let peers = Peers::new(DialOptions::default());
        let mut channel = peers.dial("no address");
        let ready = std::future::poll_fn(|cx| tower_ready(&mut channel, cx)).await;
        let called = match ready {
            Ok(()) => tonic::client::GrpcService::call(&mut channel, http::Request::default())
                .await
                .map(|_| ()),
            Err(error) => Err(error),
        };
        assert!(called.is_err());
    }

    fn tower_ready(
        channel: &mut Channel,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), tonic::transport::Error>> {
        tonic::client::GrpcService::<tonic::body::Body>::poll_ready(channel, cx)
    }
}
