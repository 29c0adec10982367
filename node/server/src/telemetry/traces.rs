//! Traces, sent over OTLP where an endpoint is configured.

use std::time::Duration;

use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider,
};
use tracing::{Level, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, filter};

use super::options::TelemetryOptions;

/// Spans of requests have a target of their own: they cost nothing unless somebody listens to it.
const TARGET: &str = "kontiki::request";

/// What sends spans; `None` where nothing is to be sent.
pub fn provider(
    options: &TelemetryOptions,
    node: u32,
) -> Result<Option<SdkTracerProvider>, ExporterBuildError> {
    let Some(endpoint) = &options.otlp_endpoint else { return Ok(None) };
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(Duration::from_millis(options.otlp_timeout_ms))
        .build()?;
    let batches = BatchConfigBuilder::default().with_max_queue_size(options.otlp_queue_max).build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    let resource = Resource::builder()
        .with_service_name("kontiki")
        .with_attributes([
            KeyValue::new("service.instance.id", node.to_string()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .build();
    let ratio = Sampler::TraceIdRatioBased(options.otlp_sampling_ratio);
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_sampler(Sampler::ParentBased(Box::new(ratio)))
        .with_resource(resource)
        .build();
    Ok(Some(provider))
}

/// Hands the product's own spans to the provider. What the libraries below say is left out: the
/// exporter uses them itself, and would trace its own sending.
pub fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let targets: filter::Targets = Targets::new().with_target("kontiki", Level::DEBUG);
    tracing_opentelemetry::layer().with_tracer(provider.tracer("kontiki")).with_filter(targets)
}

/// The span of a gRPC request: a part of the caller's trace where the request says which.
pub fn request_span(request: &http::Request<()>) -> Span {
    let path = request.uri().path();
    let span = tracing::debug_span!(
        target: TARGET,
        "request",
        otel.name = path.trim_start_matches('/'),
        otel.kind = "server",
        rpc.system = "grpc",
    );
    if !span.is_disabled() {
        let caller = TraceContextPropagator::new()
            .extract_with_context(&Context::new(), &Headers(request.headers()));
        // It fails for spans that nobody records.
        let _ = span.set_parent(caller);
    }
    span
}

struct Headers<'a>(&'a http::HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
#[path = "traces_test.rs"]
mod tests;
