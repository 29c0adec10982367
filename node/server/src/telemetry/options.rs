//! `[telemetry]`: what is logged and traced.

use serde::{Deserialize, Serialize};

/// What the process tells about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryOptions {
    /// Lines of the log: `json` (one object a line), `pretty` (for people), or `auto`: pretty
    /// where standard error is a terminal, else json. Default auto.
    pub log_format: LogFormat,
    /// What is logged: a level, or levels by module, such as `info,kontiki_raft=debug`. Default
    /// `info,openraft=error`.
    pub log_filter: String,
    /// Where traces are sent, over OTLP (gRPC), such as `http://127.0.0.1:4317`. Not set: nothing
    /// is traced.
    pub otlp_endpoint: Option<String>,
    /// Which part of the requests is traced, 0.0 ..= 1.0, where the caller hasn't decided.
    /// Default 0.01.
    pub otlp_sampling_ratio: f64,
    /// How long the collector may take to answer. 100 ..= 60,000; default 5,000.
    pub otlp_timeout_ms: u64,
    /// Spans that wait to be sent; over it they are dropped. 64 ..= 1,048,576; default 4,096.
    pub otlp_queue_max: usize,
}

impl Default for TelemetryOptions {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Auto,
            log_filter: "info,openraft=error".to_owned(),
            otlp_endpoint: None,
            otlp_sampling_ratio: 0.01,
            otlp_timeout_ms: 5_000,
            otlp_queue_max: 4_096,
        }
    }
}

/// How the lines of the log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty where standard error is a terminal.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

impl TelemetryOptions {
    /// Checks every setting.
    ///
    /// # Errors
    /// Key and complaint of the first that can't work.
    pub fn validate(&self) -> Result<(), (String, String)> {
        let wrong = |key: &str, why: String| Err((key.to_owned(), why));
        if let Err(error) = self.log_filter.parse::<tracing_subscriber::EnvFilter>() {
            return wrong("log_filter", format!("= {:?}: {error}", self.log_filter));
        }
        let endpoint = self.otlp_endpoint.as_deref();
        if let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.starts_with("http://")) {
            let why = format!("= {endpoint:?}: must be http://host:port (TLS isn't offered yet)");
            return wrong("otlp_endpoint", why);
        }
        let ratio = self.otlp_sampling_ratio;
        if !(0.0..=1.0).contains(&ratio) {
            return wrong("otlp_sampling_ratio", format!("= {ratio}: must be 0.0 to 1.0"));
        }
        crate::config::in_range(
            "",
            &[
                ("otlp_timeout_ms", self.otlp_timeout_ms, 100, 60_000),
                ("otlp_queue_max", self.otlp_queue_max as u64, 64, 1 << 20),
            ],
        )
    }
}
