//! Which page says what.

use std::sync::Arc;

use http::{Method, Response, StatusCode, header};

use crate::telemetry::Metrics;

/// Whether the node serves; where it doesn't, why not.
pub type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the pages are made of.
#[derive(Clone)]
pub struct Pages {
    /// The node's number.
    pub node: u32,
    /// For `/metrics`.
    pub metrics: Metrics,
    /// For `/readyz`.
    pub ready: Ready,
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

impl Pages {
    /// The answer to a request.
    #[must_use]
    pub fn answer(&self, method: &Method, path: &str) -> Response<String> {
        if method != Method::GET && method != Method::HEAD {
            let text = format!("{method} is not offered here, only GET\n");
            let mut answer = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, text);
            let allowed = header::HeaderValue::from_static("GET, HEAD");
            answer.headers_mut().insert(header::ALLOW, allowed);
            return answer;
        }
        match path {
            "/" => page(StatusCode::OK, HTML, self.index()),
            "/metrics" => {
                let kind = prometheus_client::encoding::prometheus_text::CONTENT_TYPE;
                page(StatusCode::OK, kind, self.metrics.page())
            }
            "/livez" => self.state(StatusCode::OK, "live", None),
            "/readyz" => match (self.ready)() {
                Ok(()) => self.state(StatusCode::OK, "ready", None),
                Err(why) => self.state(StatusCode::SERVICE_UNAVAILABLE, "not ready", Some(why)),
            },
            _ => {
                let text = "no such page; there are /, /metrics, /livez and /readyz\n".to_owned();
                page(StatusCode::NOT_FOUND, TEXT, text)
            }
        }
    }

    fn state(&self, status: StatusCode, state: &str, why: Option<String>) -> Response<String> {
        let mut body = serde_json::json!({ "node": self.node, "status": state });
        if let Some(why) = why {
            body["why"] = why.into();
        }
        page(status, JSON, format!("{body}\n"))
    }

    fn index(&self) -> String {
        let (node, version) = (self.node, env!("CARGO_PKG_VERSION"));
        format!(
            "<!doctype html><meta charset=\"utf-8\"><title>Kontiki node {node}</title>\n\
             <h1>Kontiki {version}, node {node}</h1>\n<ul>\n\
             <li><a href=\"/livez\">/livez</a>: whether the process answers\n\
             <li><a href=\"/readyz\">/readyz</a>: whether it serves clients, and why not\n\
             <li><a href=\"/metrics\">/metrics</a>: figures, for Prometheus\n</ul>\n"
        )
    }
}

fn page(status: StatusCode, kind: &'static str, body: String) -> Response<String> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    answer
}
