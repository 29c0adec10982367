//! The gRPC listeners, for clients and for the other nodes.

use std::time::Duration;

use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::config::ListenOptions;
use crate::net::{AcceptOptions, Acceptor};
use crate::telemetry;

impl From<&ListenOptions> for AcceptOptions {
    fn from(options: &ListenOptions) -> Self {
        Self {
            connections_max: options.connections_max,
            first_byte: Duration::from_millis(options.first_byte_ms),
        }
    }
}

/// Serves until `stop` is true, and then until every connection has ended.
///
/// # Errors
/// What tonic says; it has no reason to.
pub async fn serve(
    acceptor: Acceptor,
    routes: Routes,
    options: ListenOptions,
    mut stop: watch::Receiver<bool>,
) -> Result<(), tonic::transport::Error> {
    let stopped = async move {
        // Without a sender there is nobody left to serve for.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    Server::builder()
        .trace_fn(telemetry::request_span)
        .max_concurrent_streams(options.streams_max)
        .initial_stream_window_size(options.stream_window_bytes)
        .initial_connection_window_size(options.connection_window_bytes)
        .http2_max_header_list_size(options.header_bytes_max)
        .http2_max_pending_accept_reset_streams(Some(options.resets_max))
        .http2_keepalive_interval(Some(Duration::from_millis(options.keepalive_ms)))
        .http2_keepalive_timeout(Some(Duration::from_millis(options.keepalive_timeout_ms)))
        .add_routes(routes)
        .serve_with_incoming_shutdown(acceptor.into_stream(), stopped)
        .await
}
