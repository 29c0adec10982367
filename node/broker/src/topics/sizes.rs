//! What is in the partitions of a shard.

use std::sync::Arc;

use kontiki_storage::id::{PartitionId, ShardId};
use tokio::time::Instant;

use super::PartitionSize;
use crate::core::Core;
use crate::error::Error;

/// The sizes of partitions of one shard, in the order in which they are asked for; `None` for one
/// that isn't there (yet, or any more).
///
/// # Errors
/// Its leader can't be asked.
pub(super) async fn sizes(
    core: &Arc<Core>,
    shard: ShardId,
    partitions: &[PartitionId],
    deadline: Instant,
) -> Result<Vec<Option<PartitionSize>>, Error> {
    let sizes = core.read_sizes(shard, partitions.to_vec(), deadline).await?;
    let size = |size: crate::read::wire::Size| PartitionSize {
        log_start_offset: size.log_start_offset,
        high_watermark: size.high_watermark,
        bytes: size.bytes,
    };
    Ok(sizes.into_iter().map(|part| part.ok().map(size)).collect())
}
