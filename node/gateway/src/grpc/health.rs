//! `grpc.health.v1`: whether this node can serve clients, asked anew on each check.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::BoxFuture;
use kontiki_proto::v1::cluster_server::ClusterServer;
use kontiki_proto::v1::exchanges_server::ExchangesServer;
use kontiki_proto::v1::log_server::LogServer;
use kontiki_proto::v1::pub_sub_server::PubSubServer;
use kontiki_proto::v1::queue_server::QueueServer;
use kontiki_proto::v1::requests_server::RequestsServer;
use kontiki_proto::v1::topics_server::TopicsServer;
use tonic::server::NamedService;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::Service;

/// The services that it knows; the empty name is the whole node.
const NAMES: [&str; 8] = [
    "",
    <LogServer<Service> as NamedService>::NAME,
    <QueueServer<Service> as NamedService>::NAME,
    <ExchangesServer<Service> as NamedService>::NAME,
    <PubSubServer<Service> as NamedService>::NAME,
    <RequestsServer<Service> as NamedService>::NAME,
    <TopicsServer<Service> as NamedService>::NAME,
    <ClusterServer<Service> as NamedService>::NAME,
];

/// Resolves when the node is about to end.
pub(super) type Stopped = BoxFuture<'static, ()>;
type Ready = Arc<dyn Fn() -> bool + Send + Sync>;
type OnStop = Arc<dyn Fn() -> Stopped + Send + Sync>;

/// The service; a watched status is looked at as often as `watched` says.
pub(super) fn service(ready: Ready, stopped: OnStop, watched: Duration) -> HealthServer<Readiness> {
    HealthServer::new(Readiness { ready, stopped, watched })
}

/// Health as the node's readiness.
pub(super) struct Readiness {
    ready: Ready,
    stopped: OnStop,
    watched: Duration,
}

impl Readiness {
    fn status(ready: &Ready, service: &str) -> ServingStatus {
        if !NAMES.contains(&service) {
            return ServingStatus::ServiceUnknown;
        }
        if ready() { ServingStatus::Serving } else { ServingStatus::NotServing }
    }
}

/// Where a watch has come to.
struct Watch {
    ready: Ready,
    service: String,
    seen: Option<ServingStatus>,
    stopped: Option<Stopped>,
    watched: Duration,
}

impl Watch {
    /// The next status that differs from the one before; none after the node's end.
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        loop {
            let now = Readiness::status(&self.ready, &self.service);
            if self.seen != Some(now) {
                self.seen = Some(now);
                return Some((Ok(HealthCheckResponse { status: now.into() }), self));
            }
            let stopped = self.stopped.as_mut()?;
            tokio::select! {
                () = tokio::time::sleep(self.watched) => {}
                // The last status still has to be told.
                () = stopped => self.stopped = None,
            }
        }
    }
}

#[tonic::async_trait]
impl Health for Readiness {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        match Self::status(&self.ready, &service) {
            ServingStatus::ServiceUnknown => Err(Status::not_found(format!(
                "there is no service of that name: ask for one of {}, or for the empty name",
                NAMES[1..].join(", ")
            ))),
            status @ (ServingStatus::Unknown
            | ServingStatus::Serving
            | ServingStatus::NotServing) => {
                Ok(Response::new(HealthCheckResponse { status: status.into() }))
            }
        }
    }

    type WatchStream =
        Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send + 'static>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let watch = Watch {
            ready: Arc::clone(&self.ready),
            service: request.into_inner().service,
            seen: None,
            stopped: Some((self.stopped)()),
            watched: self.watched,
        };
        Ok(Response::new(Box::pin(futures_util::stream::unfold(watch, Watch::next))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_util::StreamExt;
    use tokio::sync::Notify;
    use tonic::Code;

    use super::*;

    struct Node {
        ready: Arc<AtomicBool>,
        stop: Arc<Notify>,
        health: Readiness,
    }

    fn node() -> Node {
        let ready = Arc::new(AtomicBool::new(false));
        let stop = Arc::new(Notify::new());
        let (is_ready, on_stop) = (Arc::clone(&ready), Arc::clone(&stop));
        let health = Readiness {
            ready: Arc::new(move || is_ready.load(Ordering::SeqCst)),
            stopped: Arc::new(move || Box::pin(Arc::clone(&on_stop).notified_owned())),
            watched: Duration::from_secs(1),
        };
        Node { ready, stop, health }
    }

    fn about(service: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: service.to_owned() })
    }

    #[tokio::test]
    async fn a_check_says_what_is_true_now() {
        let Node { ready, health, .. } = node();
        for name in ["", "kontiki.v1.Log", "kontiki.v1.Topics", "kontiki.v1.Cluster"] {
            for (is, status) in [(false, ServingStatus::NotServing), (true, ServingStatus::Serving)]
            {
                ready.store(is, Ordering::SeqCst);
                let answer = health.check(about(name)).await.expect("a known service");
                assert_eq!(answer.into_inner().status(), status, "{name}");
            }
        }
        let unknown = health.check(about("kontiki.v1.Logs")).await.expect_err("unknown");
        assert_eq!(unknown.code(), Code::NotFound);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_tells_changes_and_ends_with_the_node() {
        let Node { ready, stop, health } = node();
        let mut watch = health.watch(about("")).await.expect("watched").into_inner();
        let first = watch.next().await.expect("a first status").expect("a status");
        assert_eq!(first.status(), ServingStatus::NotServing);
        ready.store(true, Ordering::SeqCst);
        let second = watch.next().await.expect("a change").expect("a status");
        assert_eq!(second.status(), ServingStatus::Serving);
        ready.store(false, Ordering::SeqCst);
        stop.notify_one();
        let third = watch.next().await.expect("a change").expect("a status");
        assert_eq!(third.status(), ServingStatus::NotServing);
        stop.notify_one();
        assert!(watch.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_service_can_be_watched() {
        let Node { health, .. } = node();
        let mut watch = health.watch(about("x")).await.expect("watched").into_inner();
        let first = watch.next().await.expect("a first status").expect("a status");
        assert_eq!(first.status(), ServingStatus::ServiceUnknown);
    }
}
