//! What the consensus layer says about itself.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Counters of one node's Raft. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    commit_seconds: Histogram,
    commit_operations: Histogram,
    commit_bytes: Counter,
    pub(crate) tail_bytes: Gauge,
    pub(crate) waiting_bytes: Gauge,
    pub(crate) leaders: Gauge,
    pub(crate) replicas: Gauge,
    pub(crate) failed: Gauge,
    pub(crate) applied: Gauge<u64, AtomicU64>,
    pub(crate) compacted_bytes: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            commit_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            commit_operations: Histogram::new(exponential_buckets(1.0, 2.0, 12)),
            commit_bytes: Counter::default(),
            tail_bytes: Gauge::default(),
            waiting_bytes: Gauge::default(),
            leaders: Gauge::default(),
            replicas: Gauge::default(),
            failed: Gauge::default(),
            applied: Gauge::default(),
            compacted_bytes: Counter::default(),
        }
    }
}

impl Metrics {
    /// Registers everything under the prefix `raft`.
    pub fn register(&self, registry: &mut Registry) {
        let raft = registry.sub_registry_with_prefix("raft");
        let help = "Time of one group commit: write and sync, in seconds";
        raft.register("commit_seconds", help, self.commit_seconds.clone());
        let help = "Log operations of all shards that shared one sync";
        raft.register("commit_operations", help, self.commit_operations.clone());
        let help = "Bytes of log rows written, payloads in segments not included";
        raft.register("commit_bytes", help, self.commit_bytes.clone());
        let help = "Bytes of recent entries in memory";
        raft.register("tail_bytes", help, self.tail_bytes.clone());
        let help = "Bytes of commands that wait or are under way";
        raft.register("waiting_bytes", help, self.waiting_bytes.clone());
        raft.register("leaders", "Shards that this node leads", self.leaders.clone());
        raft.register("replicas", "Replicas on this node", self.replicas.clone());
        let help = "Replicas that have failed and wait to be rebuilt";
        raft.register("failed_replicas", help, self.failed.clone());
        let help = "Sum of the applied indexes of all replicas";
        raft.register("applied_entries", help, self.applied.clone());
        let help = "Bytes of live payloads moved out of sparse segments";
        raft.register("compacted_bytes", help, self.compacted_bytes.clone());
    }

    pub(crate) fn commit(&self, elapsed: Duration, operations: usize, bytes: usize) {
        self.commit_seconds.observe(elapsed.as_secs_f64());
        self.commit_operations.observe(operations as f64);
        self.commit_bytes.inc_by(bytes as u64);
    }
}
