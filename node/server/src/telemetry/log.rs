//! The log, on standard error.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

use super::options::{LogFormat, TelemetryOptions};
use super::traces;

static PANICS: AtomicU64 = AtomicU64::new(0);

/// How many tasks have panicked since the start.
#[must_use]
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter.
    #[error("telemetry.log_filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Traces.
    #[error("telemetry.otlp_endpoint: {0}")]
    Traces(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Something else has been installed already.
    #[error("the log is installed already: {0}")]
    Installed(#[from] tracing_subscriber::util::TryInitError),
}

/// The log and the traces of this process.
#[derive(Debug)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Installs both. Needs to be called in a tokio runtime where traces are on.
    ///
    /// # Errors
    /// A setting that can't work, or an earlier installation.
    pub fn install(options: &TelemetryOptions, node: u32) -> Result<Self, TelemetryError> {
        let filter = options.log_filter.parse::<EnvFilter>()?;
        let pretty = match options.log_format {
            LogFormat::Auto => std::io::stderr().is_terminal(),
            LogFormat::Json => false,
            LogFormat::Pretty => true,
        };
        let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = if pretty {
            format.with_ansi(std::io::stderr().is_terminal()).boxed()
        } else {
            format.json().flatten_event(true).boxed()
        };
        let traces = traces::provider(options, node)?;
        tracing_subscriber::registry()
            .with(lines.with_filter(filter))
            .with(traces.as_ref().map(traces::layer))
            .try_init()?;
        log_panics();
        Ok(Self { traces })
    }

    /// Sends what waits to be sent. Blocks for as long as the collector may take.
    pub fn finish(self) {
        if let Some(Err(error)) = self.traces.map(|traces| traces.shutdown()) {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// The log of a command: warnings, for people. `KONTIKI_LOG` is its filter.
pub fn install_for_commands() {
    let filter = std::env::var("KONTIKI_LOG").unwrap_or_else(|_| "warn".to_owned());
    let filter = filter.parse::<EnvFilter>().unwrap_or_else(|_| EnvFilter::new("warn"));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(filter);
    // Only tests install two.
    let _ = tracing_subscriber::registry().with(lines).try_init();
}

/// A panic is a line of the log like others, and counted.
fn log_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        let at = info.location().map(ToString::to_string).unwrap_or_default();
        let why = info.payload_as_str().unwrap_or("no text");
        tracing::error!(at, why, "a fault of this release: a task has panicked");
        default(info);
    }));
}
