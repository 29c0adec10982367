//! Spans reach a collector, and belong to the trace of the caller.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use hyper::body::Body as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

/// What a collector is to a client: it takes every call, and passes on what was in it.
#[derive(Clone)]
struct Collector(mpsc::Sender<(String, Bytes)>);

impl NamedService for Collector {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

type Answer = Result<http::Response<Body>, Infallible>;

impl Service<http::Request<Body>> for Collector {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let calls = self.0.clone();
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let mut body = request.into_body();
            let mut bytes = Vec::new();
            while let Some(frame) =
                std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
            {
                bytes.extend_from_slice(&frame.expect("it comes").into_data().unwrap_or_default());
            }
            calls.send((path, bytes.into())).await.expect("the test waits for it");
            Ok(tonic::Status::ok("").into_http())
        })
    }
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_part_of_its_callers_trace() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().unwrap();
    let (calls, mut called) = mpsc::channel(4);
    let server = tonic::transport::Server::builder()
        .add_service(Collector(calls))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);

    let options = TelemetryOptions {
        otlp_endpoint: Some(format!("http://{address}")),
        otlp_sampling_ratio: 0.0,
        ..TelemetryOptions::default()
    };
    let provider = provider(&options, 7).unwrap().expect("an endpoint is set");
    let subscriber = tracing_subscriber::registry().with(layer(&provider));
    tracing::subscriber::with_default(subscriber, || {
        let request = |caller: Option<&str>, path: &str| {
            let mut request = http::Request::new(());
            *request.uri_mut() = path.parse().unwrap();
            if let Some(caller) = caller {
                request.headers_mut().insert("traceparent", caller.parse().unwrap());
            }
            request
        };
        // Nobody has decided, and of those none is to be traced.
        drop(request_span(&request(None, "/kontiki.v1.Log/Fetch")));
        // The caller has decided that it is traced.
        let caller = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";
        drop(request_span(&request(Some(caller), "/kontiki.v1.Log/Produce")));
    });
    let flushed = tokio::task::spawn_blocking(move || provider.shutdown());
    let (path, body) = called.recv().await.expect("it is sent");
    flushed.await.unwrap().expect("the collector has answered");
    assert_eq!(path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    assert!(holds(&body, b"kontiki.v1.Log/Produce"), "{body:?}");
    assert!(!holds(&body, b"kontiki.v1.Log/Fetch"), "{body:?}");
    let trace = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes();
    assert!(holds(&body, &trace), "{body:?}");
    assert!(holds(&body, b"service.name") && holds(&body, b"kontiki"), "{body:?}");
}

#[test]
fn nothing_is_traced_unless_it_is_asked_for() {
    assert!(provider(&TelemetryOptions::default(), 1).unwrap().is_none());
    let filter = TelemetryOptions::default().log_filter.parse::<tracing_subscriber::EnvFilter>();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::sink);
    let log = tracing_subscriber::registry().with(lines.with_filter(filter.unwrap()));
    tracing::subscriber::with_default(log, || {
        assert!(request_span(&http::Request::new(())).is_disabled(), "the log alone wants none");
    });
}
