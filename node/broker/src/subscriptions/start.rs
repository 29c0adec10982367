//! Where a subscription begins in each partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use kontiki_domain::catalog::{Start, Subscription};
use kontiki_storage::id::PartitionId;
use tokio::time::Instant;

use super::commit::{self, ByShard, Committer};
use crate::core::Core;
use crate::error::{Error, Kind};
use crate::options::bounds;
use crate::read::wire::At;
use crate::route::Routing;

/// Offsets by partition, as a start says. Where there is nothing to say (the partition is being
/// created, or deleted), it is 0: the log start.
///
/// # Errors
/// A shard has no leader in time.
pub(super) async fn resolved(
    core: &Arc<Core>,
    start: Start,
    partitions: &ByShard<()>,
    deadline: Instant,
) -> Result<BTreeMap<PartitionId, u64>, Error> {
    let at = match start {
        Start::Earliest => return Ok(BTreeMap::new()),
        Start::Latest => At::Latest,
        Start::Timestamp(time) => At::Timestamp(time),
    };
    let chunks = partitions.iter().flat_map(|(shard, partitions)| {
        partitions.chunks(bounds::PARTITIONS_MAX).map(move |some| (*shard, some))
    });
    let asked = chunks.map(|(shard, some)| async move {
        let ask = async |at: At, ids: Vec<PartitionId>| {
            let queries = ids.iter().map(|id| (*id, at)).collect();
            let found = core.read_offsets(shard, queries, deadline, Routing::Forward).await?;
            Ok::<_, Error>(ids.into_iter().zip(found).collect::<Vec<_>>())
        };
        let mut starts = Vec::with_capacity(some.len());
        let mut later = Vec::new();
        for (id, found) in ask(at, some.iter().map(|(id, ())| *id).collect()).await? {
            match found {
                Ok(found) => match found.offset {
                    Some(offset) => starts.push((id, offset)),
                    // Nothing is that new: what comes is.
                    None => later.push(id),
                },
                Err(error) if error.kind == Kind::Internal => return Err(error),
                Err(_) => {}
            }
        }
        if !later.is_empty() {
            let ends = ask(At::Latest, later).await?;
            starts
                .extend(ends.into_iter().filter_map(|(id, found)| Some((id, found.ok()?.offset?))));
        }
        Ok::<_, Error>(starts)
    });
    let mut all = BTreeMap::new();
    for starts in join_all(asked).await {
        all.extend(starts?);
    }
    Ok(all)
}

/// Where a durable subscription goes on in partitions; what isn't noted yet is noted.
///
/// # Errors
/// A shard has no leader in time.
pub(super) async fn of_durable(
    core: &Arc<Core>,
    subscription: &Subscription,
    generation: u64,
    partitions: &ByShard<()>,
    deadline: Instant,
) -> Result<BTreeMap<PartitionId, u64>, Error> {
    let mut positions = commit::noted(core, subscription.id, partitions, deadline).await?;
    // Partitions that were made after the subscription are read from their beginning.
    let is_open =
        |id: &PartitionId| !positions.contains_key(id) && id.0 < subscription.next_partition.0;
    let open = only(partitions, is_open);
    if open.is_empty() {
        return Ok(positions);
    }
    let committer = Committer { subscription: subscription.id, generation, reset: false };
    let starts = set(core, committer, subscription.start, &open, deadline).await?;
    positions.extend(starts);
    Ok(positions)
}

/// Resolves where a durable subscription begins in partitions, and notes it.
///
/// # Errors
/// A shard has no leader in time.
pub(super) async fn set(
    core: &Arc<Core>,
    committer: Committer,
    start: Start,
    partitions: &ByShard<()>,
    deadline: Instant,
) -> Result<BTreeMap<PartitionId, u64>, Error> {
    let starts = resolved(core, start, partitions, deadline).await?;
    let mut positions = ByShard::new();
    for (shard, ids) in partitions {
        let of_shard = ids.iter().map(|(id, ())| (*id, starts.get(id).copied().unwrap_or(0)));
        positions.insert(*shard, of_shard.collect());
    }
    commit::commit(core, committer, positions, deadline).await?;
    Ok(starts)
}

fn only(partitions: &ByShard<()>, wanted: impl Fn(&PartitionId) -> bool) -> ByShard<()> {
    let mut some = ByShard::new();
    for (shard, ids) in partitions {
        let ids: Vec<_> = ids.iter().copied().filter(|(id, ())| wanted(id)).collect();
        if !ids.is_empty() {
            some.insert(*shard, ids);
        }
    }
    some
}
