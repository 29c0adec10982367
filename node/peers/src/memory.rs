//! The most memory that processes had.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kontiki_figures::Cost;
use tokio::task::JoinHandle;

/// How often [`PeakMemory`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The most resident memory that processes and their descendants had together, looked at twice a
/// second.
#[derive(Debug)]
pub struct PeakMemory {
    bytes: Arc<AtomicU64>,
    looking: JoinHandle<()>,
}

impl PeakMemory {
    /// Begins to look.
    #[must_use]
    pub fn watch(roots: Vec<u32>) -> Self {
        let bytes = Arc::new(AtomicU64::new(0));
        let peak = Arc::clone(&bytes);
        let looking = tokio::spawn(async move {
            loop {
                peak.fetch_max(Cost::of_trees(&roots).rss_bytes, Ordering::Relaxed);
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self { bytes, looking }
    }

    /// What it was so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for PeakMemory {
    fn drop(&mut self) {
        self.looking.abort();
    }
}
