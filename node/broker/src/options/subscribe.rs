//! Limits on subscriptions.

use serde::{Deserialize, Serialize};

/// Limits on subscriptions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubscribeOptions {
    /// Subscriptions that are open on this node at a time; over it, they are refused as throttled.
    /// 1 up; default 10,000.
    pub open_max: usize,
    /// Partitions of one subscription, of all its topics together; over it, it ends with an error.
    /// 1 up; default 10,000.
    pub partitions_max: usize,
    /// Bytes of batches that one subscription reads ahead of its client, compressed where they
    /// are; of each partition's, the one that is given out is decoded, and counts as such. 64 KiB
    /// up; default 4 MiB.
    pub buffer_bytes: u32,
    /// Bytes of batches that a leader looks at for one request of a subscription (at least one
    /// batch), and of records that it answers out of them where not all match (at least one
    /// record). 4 KiB ..= 64 MiB; default 1 MiB.
    pub examined_bytes: u32,
    /// Records that a leader evaluates a filter on for one request. 1 up; default 5,000.
    pub examined_records: usize,
    /// Compiled filters that a node keeps, for as long as they are used; others are compiled anew
    /// when they are needed again. 2 up; default 1,024.
    pub filters_cached_max: usize,
    /// How often the positions of a durable subscription are committed while it is attached. 10
    /// ..= 60,000; default 500.
    pub commit_ms: u64,
    /// How long a consumer that isn't heard of stays attached to its durable subscription, and how
    /// long a new leader of the catalog waits for those that are. 100 ..= 60,000; default 5,000.
    pub attach_ms: u64,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self {
            open_max: 10_000,
            partitions_max: 10_000,
            buffer_bytes: 4 << 20,
            examined_bytes: 1 << 20,
            examined_records: 5_000,
            filters_cached_max: 1_024,
            commit_ms: 500,
            attach_ms: 5_000,
        }
    }
}

impl SubscribeOptions {
    /// Name, value, smallest and largest value of each.
    pub(super) fn ranges(&self) -> [(&'static str, u64, u64, u64); 8] {
        const ANY: u64 = u64::MAX;
        [
            ("subscribe.open_max", self.open_max as u64, 1, ANY),
            ("subscribe.partitions_max", self.partitions_max as u64, 1, ANY),
            ("subscribe.buffer_bytes", self.buffer_bytes.into(), 64 << 10, ANY),
            ("subscribe.examined_bytes", self.examined_bytes.into(), 4 << 10, 64 << 20),
            ("subscribe.examined_records", self.examined_records as u64, 1, ANY),
            ("subscribe.filters_cached_max", self.filters_cached_max as u64, 2, ANY),
            ("subscribe.commit_ms", self.commit_ms, 10, 60_000),
            ("subscribe.attach_ms", self.attach_ms, 100, 60_000),
        ]
    }
}
