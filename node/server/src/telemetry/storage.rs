//! Figures of storage, asked for when somebody looks.

use std::fmt;
use std::sync::Arc;

use kontiki_storage::Engine;
use kontiki_storage::payload::Payloads;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::process::figure;

/// What the engine and the segments cost.
pub struct StorageCollector {
    /// Rows.
    pub engine: Arc<dyn Engine>,
    /// Payloads.
    pub payloads: Arc<dyn Payloads>,
}

impl fmt::Debug for StorageCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageCollector").finish_non_exhaustive()
    }
}

impl Collector for StorageCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let (rows, segments) = (self.engine.stats(), self.payloads.stats());
        let gauges = [
            ("storage_rows_disk_bytes", "Bytes of the files of rows", rows.disk_bytes),
            (
                "storage_rows_memory_bytes",
                "Bytes of rows that are in memory and not in sorted files yet",
                rows.memory_bytes,
            ),
            ("storage_rows_cache_bytes", "Bytes of cached blocks of rows", rows.cache_bytes),
            ("storage_segments", "Segments of payloads", segments.segments),
            ("storage_segments_disk_bytes", "Bytes of segments", segments.disk_bytes),
        ];
        for (name, help, value) in gauges {
            figure(&mut encoder, name, help, &ConstGauge::new(value))?;
        }
        let counters = [
            ("storage_rows_wal_bytes", "Bytes written to the rows' log", rows.wal_bytes),
            (
                "storage_rows_compaction_bytes",
                "Bytes of rows written by flushes and compactions",
                rows.compaction_bytes,
            ),
            ("storage_rows_syncs", "Syncs of rows", rows.syncs),
            (
                "storage_segments_appended_bytes",
                "Bytes appended to segments",
                segments.appended_bytes,
            ),
            ("storage_segments_syncs", "Syncs of segments", segments.syncs),
        ];
        for (name, help, value) in counters {
            figure(&mut encoder, name, help, &ConstCounter::new(value))?;
        }
        // What is not known is left out.
        let free = rows.free_bytes.min(segments.free_bytes);
        if free != u64::MAX {
            let help = "Free bytes on the disk of the data folder";
            figure(&mut encoder, "storage_free_bytes", help, &ConstGauge::new(free))?;
        }
        Ok(())
    }
}
