//! The gRPC listeners, for clients and for the other nodes.

use std::time::Duration;

use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::config::{ClientOptions, PageOptions, PeerOptions};
use crate::net::{AcceptOptions, Acceptor};
use crate::telemetry;

impl From<&ClientOptions> for AcceptOptions {
    fn from(options: &ClientOptions) -> Self {
        Self::new(options.connections_max, options.first_byte_ms)
    }
}

impl From<&PeerOptions> for AcceptOptions {
    fn from(options: &PeerOptions) -> Self {
        Self::new(options.connections_max, options.first_byte_ms)
    }
}

impl From<&PageOptions> for AcceptOptions {
    fn from(options: &PageOptions) -> Self {
        Self::new(options.connections_max, options.header_timeout_ms)
    }
}

/// A server for clients.
pub fn for_clients(options: &ClientOptions, grpc: &kontiki_gateway::grpc::Options) -> Server {
    let server = kontiki_gateway::grpc::configure(Server::builder(), grpc);
    server
        .http2_max_pending_accept_reset_streams(Some(options.resets_max))
        .trace_fn(telemetry::request_span)
}

/// A server for the other nodes.
pub fn for_peers(options: &PeerOptions) -> Server {
    Server::builder()
        .max_concurrent_streams(options.streams_max)
        .initial_stream_window_size(options.stream_window_bytes)
        .initial_connection_window_size(options.connection_window_bytes)
        .http2_max_header_list_size(options.header_bytes_max)
        .http2_max_pending_accept_reset_streams(Some(options.resets_max))
        .http2_keepalive_interval(Some(Duration::from_millis(options.keepalive_ms)))
        .http2_keepalive_timeout(Some(Duration::from_millis(options.keepalive_timeout_ms)))
}

/// Serves until `stop` is true, and then until every connection has ended.
///
/// # Errors
/// What tonic says; it has no reason to.
pub async fn serve(
    mut server: Server,
    acceptor: Acceptor,
    routes: Routes,
    mut stop: watch::Receiver<bool>,
) -> Result<(), String> {
    let stopped = async move {
        // Without a sender there is nobody left to serve for.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let serving =
        server.add_routes(routes).serve_with_incoming_shutdown(acceptor.into_stream(), stopped);
    serving.await.map_err(|error| error.to_string())
}
