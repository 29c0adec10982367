//! Everything that `/metrics` shows. The list for people is `METRICS.md` beside this crate's
//! manifest; a test compares the two.

use std::sync::{Arc, Mutex, PoisonError};

use kontiki_storage::Engine;
use kontiki_storage::payload::Payloads;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::process::ProcessCollector;
use super::shards::{ShardCollector, Statuses};
use super::storage::StorageCollector;

/// The figures of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("kontiki");
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        let build = Info::new([("version", env!("CARGO_PKG_VERSION")), ("profile", profile)]);
        registry.register("build", "The release that runs", build);
        registry.register_collector(Box::new(ProcessCollector));
        Self(Arc::new(Mutex::new(registry)))
    }
}

impl Metrics {
    /// Adds figures.
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Adds those of storage.
    pub fn storage(&self, engine: Arc<dyn Engine>, payloads: Arc<dyn Payloads>) {
        let collector = StorageCollector { engine, payloads };
        self.register(|registry| registry.register_collector(Box::new(collector)));
    }

    /// Adds those of the replicas on this node, of up to `shards_max` one by one.
    pub fn shards(&self, statuses: Statuses, shards_max: usize) {
        let collector = ShardCollector { statuses, shards_max };
        self.register(|registry| registry.register_collector(Box::new(collector)));
    }

    /// The page.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = String::new();
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        prometheus_text::encode(&mut page, &registry).expect("a string takes everything");
        page
    }
}

/// Counts the connections of the listeners.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    open: Family<[(&'static str, &'static str); 1], Gauge>,
    accepted: Family<[(&'static str, &'static str); 1], Counter>,
    refused: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Connections {
    /// Registers the counters.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Open connections of a listener";
        registry.register("connections", help, self.open.clone());
        let help = "Connections that a listener has taken";
        registry.register("connections_accepted", help, self.accepted.clone());
        let help = "Connections closed at once, because there were connections_max";
        registry.register("connections_refused", help, self.refused.clone());
    }

    /// One was taken.
    pub fn opened(&self, listener: &'static str) {
        self.open.get_or_create(&[("listener", listener)]).inc();
        self.accepted.get_or_create(&[("listener", listener)]).inc();
    }

    /// One has ended.
    pub fn closed(&self, listener: &'static str) {
        self.open.get_or_create(&[("listener", listener)]).dec();
    }

    /// One was too much.
    pub fn refused(&self, listener: &'static str) {
        self.refused.get_or_create(&[("listener", listener)]).inc();
    }
}

#[cfg(test)]
#[path = "metrics_test.rs"]
mod tests;
