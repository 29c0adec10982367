//! What is in the partitions of a shard.

use std::sync::Arc;

use kontiki_domain::partition::{self, PartitionState};
use kontiki_storage::id::{PartitionId, ShardId};
use tokio::time::Instant;

use super::PartitionSize;
use crate::core::Core;
use crate::error::Error;

/// The sizes of partitions of one shard, in the order in which they are asked for; `None` for one
/// that isn't there (yet, or any more).
///
/// This is the place to ask the leader on another node; today a shard that is led elsewhere is
/// answered with `NOT_LEADER`.
///
/// # Errors
/// Its leader can't be asked, or storage.
pub(super) async fn sizes(
    core: &Arc<Core>,
    shard: ShardId,
    partitions: &[PartitionId],
    deadline: Instant,
) -> Result<Vec<Option<PartitionSize>>, Error> {
    let leader = core.router.leader(shard);
    let replica = core.raft.shard(shard).filter(|_| leader == Some(core.node));
    let Some(replica) = replica else {
        return Err(Error::not_leader(&format!("shard {shard}"), leader));
    };
    let led = tokio::time::timeout_at(deadline, replica.read_barrier()).await;
    led.map_err(|_| Error::not_done_in_time(&format!("shard {shard}")))?
        .map_err(|error| Error::read(shard, &error))?;
    let (view, space) = replica.view();
    let size = |partition: &PartitionId| {
        let state = partition::read::partition(view.as_ref(), space, *partition)?;
        Ok(state.filter(PartitionState::is_live).map(|state| PartitionSize {
            log_start_offset: state.log_start_offset.0,
            high_watermark: state.log_end_offset.0,
            bytes: state.bytes,
        }))
    };
    partitions.iter().map(size).collect()
}
