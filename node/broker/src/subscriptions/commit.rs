//! Positions of durable subscriptions, in the shards of their partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use kontiki_domain::partition::{Command, CommitPosition, POSITIONS_MAX};
use kontiki_storage::id::{Offset, PartitionId, ShardId, SubscriptionId};
use tokio::time::Instant;

use crate::core::Core;
use crate::error::Error;
use crate::read::wire::{Positions, Request, Response};

/// Partitions that one request asks about.
const ASKED_MAX: usize = 1_024;

/// Partitions by the shard that they are on, with something of each.
pub(super) type ByShard<T> = BTreeMap<ShardId, Vec<(PartitionId, T)>>;

/// Who commits, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Committer {
    pub(super) subscription: SubscriptionId,
    /// Of the consumer: see [`CommitPosition::generation`].
    pub(super) generation: u64,
    /// Also where that is a step back.
    pub(super) reset: bool,
}

/// Commits positions. What a consumer says that was attached before one that has reset them is not
/// noted, and no error.
///
/// # Errors
/// Of the first shard that could not be asked; what others have stays committed.
pub(super) async fn commit(
    core: &Arc<Core>,
    committer: Committer,
    positions: ByShard<u64>,
    deadline: Instant,
) -> Result<(), Error> {
    let Committer { subscription, generation, reset } = committer;
    let chunks = positions.into_iter().flat_map(|(shard, positions)| {
        let commands = positions.chunks(POSITIONS_MAX).map(|some| {
            let commits = some.iter().map(|(partition, offset)| CommitPosition {
                partition: *partition,
                subscription,
                offset: Offset(*offset),
                reset,
                generation,
            });
            Command::CommitPositions(commits.collect())
        });
        commands.map(move |command| (shard, command)).collect::<Vec<_>>()
    });
    let asked = chunks.map(|(shard, command)| core.persuade_partition(shard, command, deadline));
    for done in join_all(asked).await {
        done?;
    }
    Ok(())
}

/// The positions that are noted, of all partitions of a map.
///
/// # Errors
/// Of the first shard that could not be asked.
pub(super) async fn noted(
    core: &Arc<Core>,
    subscription: SubscriptionId,
    partitions: &ByShard<()>,
    deadline: Instant,
) -> Result<BTreeMap<PartitionId, u64>, Error> {
    let chunks = partitions.iter().flat_map(|(shard, partitions)| {
        partitions.chunks(ASKED_MAX).map(move |some| (*shard, some))
    });
    let asked = chunks.map(|(shard, some)| async move {
        let partitions: Vec<u64> = some.iter().map(|(id, ())| id.0).collect();
        let request = Request::Positions(Positions { subscription: subscription.0, partitions });
        let (response, _) = core.read_shard(shard, &request, deadline).await?;
        let Response::Positions(found) = response else {
            return Err(Error::internal("positions were answered with something else"));
        };
        if found.len() != some.len() {
            return Err(Error::internal("positions are missing in an answer"));
        }
        let found = some.iter().zip(found);
        Ok(found.filter_map(|((id, ()), at)| Some((*id, at?))).collect::<Vec<_>>())
    });
    let mut all = BTreeMap::new();
    for found in join_all(asked).await {
        all.extend(found?);
    }
    Ok(all)
}
