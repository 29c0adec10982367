//! Figures of each replica on this node, up to a number of them.

use std::fmt;
use std::sync::Arc;

use kontiki_raft::Status;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// All replicas on this node, as they are now.
pub type Statuses = Arc<dyn Fn() -> Vec<Status> + Send + Sync>;

/// Term, leader and log of each replica.
pub struct ShardCollector {
    /// The replicas.
    pub statuses: Statuses,
    /// So many are shown, those of the lowest shards.
    pub shards_max: usize,
}

impl fmt::Debug for ShardCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardCollector").field("shards_max", &self.shards_max).finish()
    }
}

type Column = (&'static str, &'static str, fn(&Status) -> Option<u64>);

const COLUMNS: [Column; 7] = [
    ("shard_term", "Raft term of a replica", |status| Some(status.term)),
    ("shard_leader_node", "The node that leads the shard; 0 where none is known", |status| {
        Some(status.leader.map_or(0, |leader| leader.node().0.into()))
    }),
    ("shard_leads", "1 where the replica leads and serves", |status| Some(status.ready.into())),
    ("shard_last_index", "Last log index of a replica", |status| Some(status.last.0)),
    ("shard_applied_index", "Last log index that a replica has applied", |status| {
        Some(status.applied.0)
    }),
    (
        "shard_behind_entries",
        "Entries that the slowest other replica lacks, where this one leads",
        |status| {
            let slowest = status.matched.iter().map(|(_, index)| index.0).min()?;
            status.ready.then(|| status.last.0.saturating_sub(slowest))
        },
    ),
    ("shard_failed", "1 where the replica has failed and waits to be rebuilt", |status| {
        Some(status.failed.into())
    }),
];

impl Collector for ShardCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut statuses = (self.statuses)();
        statuses.sort_by_key(|status| status.shard);
        statuses.truncate(self.shards_max);
        for (name, help, value) in COLUMNS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for status in &statuses {
                let Some(value) = value(status) else { continue };
                let labels = [("shard", status.shard.0)];
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
