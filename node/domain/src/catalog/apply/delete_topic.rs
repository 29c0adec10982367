//! Deletes a topic: its name is free at once, the row stays until every partition is purged.

use kontiki_storage::batch::WriteBatch;
use kontiki_storage::id::{PartitionId, TopicId};

use crate::catalog::{Catalog, Reply, Topic, TopicState};
use crate::rejection::Rejection;
use crate::stamp::Stamp;

pub(super) fn delete(
    catalog: &mut Catalog,
    stamp: Stamp,
    topic: TopicId,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    catalog.founded()?;
    let known = catalog.topic(topic).ok_or(Rejection::UnknownTopic { topic })?;
    let partitions = known.partitions.clone();
    if known.is_active() {
        let state = TopicState::Deleting { since_ms: stamp.time_ms };
        let row = Topic { state, ..known.clone() };
        catalog.put_topic(row, batch);
    }
    Ok(Reply::TopicDeleted { partitions })
}

pub(super) fn purged(
    catalog: &mut Catalog,
    topic: TopicId,
    purged: &[PartitionId],
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    catalog.founded()?;
    let Some(known) = catalog.topic(topic) else {
        return Ok(Reply::Purged { remaining: 0 });
    };
    if known.is_active() {
        return Err(Rejection::TopicNotDeleting(topic));
    }
    let before = known.partitions.len();
    let mut row = known.clone();
    row.partitions.retain(|partition| !purged.contains(&partition.partition));
    let remaining = row.partitions.len();
    if remaining == 0 {
        catalog.remove_topic(topic, batch);
    } else if remaining < before {
        catalog.put_topic(row, batch);
    }
    Ok(Reply::Purged { remaining: u32::try_from(remaining).expect("bounded by a u32 limit") })
}
