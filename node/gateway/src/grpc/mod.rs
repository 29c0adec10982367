//! gRPC: `kontiki.v1`, with health and reflection.
//!
//! | module | what it holds |
//! |---|---|
//! | `log` | records, a file for each verb |
//! | `queue` | messages of queues, and queues |
//! | `exchange` | exchanges, bindings, and what is published |
//! | `pubsub` | subscriptions to topics |
//! | `requests` | messages that are answered |
//! | `topics`, `cluster` | what administrators ask for |
//! | `answers` | streams of requests, each answered when it has finished |
//! | `fields`, `deadline` | what all verbs check: fields, and how long a caller waits |
//! | `error` | from the broker's kinds to status codes, once |
//! | `health`, `reflection` | the standard services |
//! | [`options`] | every limit |
//!
//! A request that can't be understood is refused as a whole, with the name of the field. What
//! concerns one partition (it doesn't exist, it has no leader) is said in its place in the answer.

mod answers;
mod cluster;
mod deadline;
mod error;
mod exchange;
mod fields;
mod filters;
mod health;
mod log;
pub mod options;
mod pubsub;
mod queue;
mod reflection;
mod requests;
mod topics;

use std::sync::Arc;
use std::time::Duration;

use kontiki_broker::{Broker, Error};
use kontiki_proto::v1;
use kontiki_proto::v1::cluster_server::ClusterServer;
use kontiki_proto::v1::exchanges_server::ExchangesServer;
use kontiki_proto::v1::log_server::LogServer;
use kontiki_proto::v1::pub_sub_server::PubSubServer;
use kontiki_proto::v1::queue_server::QueueServer;
use kontiki_proto::v1::requests_server::RequestsServer;
use kontiki_proto::v1::topics_server::TopicsServer;
use tonic::Status;
use tonic::service::Routes;
use tonic::transport::Server;

pub use self::options::{InvalidOption, Options};

/// What the answers of all verbs need. Cheap to clone.
#[derive(Clone)]
struct Service {
    broker: Broker,
    options: Arc<Options>,
}

impl Service {
    /// A failure, inside an answer.
    fn error(&self, error: Error) -> v1::Error {
        error::wire(error, |node| self.broker.client_address(node))
    }

    /// A failure of the whole call.
    fn status(&self, error: Error) -> Status {
        error::status(error, |node| self.broker.client_address(node))
    }
}

/// Sets what connections of clients may do.
#[must_use]
pub fn configure(server: Server, options: &Options) -> Server {
    server
        .max_concurrent_streams(options.streams_max)
        .http2_keepalive_interval(Some(Duration::from_millis(options.keepalive_interval_ms)))
        .http2_keepalive_timeout(Some(Duration::from_millis(options.keepalive_timeout_ms)))
        .initial_stream_window_size(options.stream_window_bytes)
        .initial_connection_window_size(options.connection_window_bytes)
        .http2_max_header_list_size(options.header_bytes_max)
        .tcp_nodelay(true)
}

/// All services: `kontiki.v1`, health, reflection.
#[must_use]
pub fn routes(broker: Broker, options: &Options) -> Routes {
    let ready = {
        let broker = broker.clone();
        Arc::new(move || broker.is_ready().is_ok())
    };
    let stopped = {
        let broker = broker.clone();
        Arc::new(move || {
            let broker = broker.clone();
            Box::pin(async move { broker.stopped().await }) as health::Stopped
        })
    };
    let watched = Duration::from_millis(options.health_watch_ms);
    let service = Arc::new(Service { broker, options: Arc::new(options.clone()) });
    let log = LogServer::from_arc(Arc::clone(&service))
        .max_decoding_message_size(options.message_bytes_max);
    let topics = TopicsServer::from_arc(Arc::clone(&service))
        .max_decoding_message_size(options.admin_message_bytes_max);
    let queue = QueueServer::from_arc(Arc::clone(&service))
        .max_decoding_message_size(options.message_bytes_max);
    let exchanges = ExchangesServer::from_arc(Arc::clone(&service))
        .max_decoding_message_size(options.message_bytes_max);
    let pubsub = PubSubServer::from_arc(Arc::clone(&service))
        .max_decoding_message_size(options.admin_message_bytes_max);
    let requests = RequestsServer::from_arc(Arc::clone(&service))
        .max_decoding_message_size(options.message_bytes_max);
    let cluster =
        ClusterServer::from_arc(service).max_decoding_message_size(options.admin_message_bytes_max);
    let routes = Routes::new(log)
        .add_service(topics)
        .add_service(queue)
        .add_service(exchanges)
        .add_service(pubsub)
        .add_service(requests)
        .add_service(cluster)
        .add_service(health::service(ready, stopped, watched));
    reflection::add(routes).prepare()
}
