//! What leaders do in the background: retention, forgetting producers, and bringing the partitions
//! of their shards to what the catalog says.

use std::sync::Arc;

use crate::core::Core;

/// Runs until the node stops.
pub(crate) async fn run(core: Arc<Core>) {
    core.stopped().await;
}
