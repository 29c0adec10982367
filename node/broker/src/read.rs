//! What the leader of a shard answers to reads, its own node's and those of others.

use std::sync::Arc;

use bytes::Bytes;
use kontiki_raft::Shard;
use tokio::time::Instant;

use crate::core::Core;
use crate::error::Error;
use crate::route::Answer;

/// Serves a read here, if this replica leads.
///
/// # Errors
/// It doesn't lead, or what the read itself meets.
pub(crate) async fn serve(
    core: &Arc<Core>,
    replica: Shard,
    request: Bytes,
    deadline: Instant,
) -> Result<Answer, Error> {
    let _ = (core, replica, request, deadline);
    Err(Error::internal("to be written"))
}
