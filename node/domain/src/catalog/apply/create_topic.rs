//! Creates a topic, or gives it more partitions: ids, and a shard for each.

use std::sync::Arc;

use std::collections::BTreeSet;

use kontiki_storage::batch::WriteBatch;
use kontiki_storage::id::{PartitionId, ShardId, TopicId};

use crate::catalog::command::CreateTopic;
use crate::catalog::{Catalog, PartitionPlacement, Reply, Topic, TopicState, validate_name};
use crate::rejection::Rejection;
use crate::stamp::Stamp;

pub(super) fn create(
    catalog: &mut Catalog,
    stamp: Stamp,
    create: &CreateTopic,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    catalog.founded()?;
    validate_name(&create.name)?;
    if let Some(known) = catalog.topic_named(&create.name) {
        if create.request.is_some() && known.request == create.request {
            return Ok(created(known, true));
        }
        let (name, topic) = (create.name.clone(), known.topic);
        return Err(Rejection::TopicExists { name, topic });
    }
    if let Some(other) = catalog.colliding(&create.name) {
        let (name, other) = (create.name.clone(), other.name.clone());
        return Err(Rejection::TopicNameCollision { name, other });
    }
    create.overrides.effective().validate()?;
    if create.partitions == 0 {
        return Err(Rejection::invalid("partitions", 0, "at least 1"));
    }
    if let Some(queue) = &create.queue {
        queue.validate()?;
        if create.partitions != 1 {
            let expected = "1: a queue has one partition";
            return Err(Rejection::invalid("partitions", create.partitions, expected));
        }
    }
    check_topics(catalog)?;
    check_partitions(catalog, create.partitions, create.partitions)?;
    if create.validate_only {
        return Ok(Reply::Valid);
    }

    let topic = Topic {
        topic: catalog.counters.next_topic,
        name: create.name.clone(),
        partitions: give_out(catalog, &[], create.partitions),
        overrides: create.overrides.clone(),
        settings_version: 1,
        state: TopicState::Active,
        created_ms: stamp.time_ms,
        request: create.request,
        queue: create.queue.clone().map(Arc::new),
    };
    catalog.counters.next_topic.0 += 1;
    let reply = created(&topic, false);
    catalog.put_topic(topic, batch);
    Ok(reply)
}

fn created(topic: &Topic, existed: bool) -> Reply {
    Reply::TopicCreated {
        topic: topic.topic,
        partitions: topic.partitions.clone(),
        settings: topic.settings(),
        existed,
    }
}

pub(super) fn add_partitions(
    catalog: &mut Catalog,
    topic: TopicId,
    total: u32,
    validate_only: bool,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    catalog.founded()?;
    let known = catalog.active_topic(topic)?;
    let first = u32::try_from(known.partitions.len()).expect("bounded by a u32 limit");
    let Some(more) = total.checked_sub(first) else {
        return Err(Rejection::PartitionsFall { topic, partitions: first, asked: total });
    };
    if more > 0 {
        if known.queue.is_some() {
            let expected = "1: a queue has one partition";
            return Err(Rejection::invalid("partitions", total, expected));
        }
        check_partitions(catalog, total, more)?;
    }
    if validate_only {
        return Ok(Reply::Valid);
    }
    let mut row = known.clone();
    let settings = row.settings();
    let partitions = give_out(catalog, &row.partitions, more);
    if more > 0 {
        row.partitions.extend(&partitions);
        catalog.put_topic(row, batch);
    }
    Ok(Reply::PartitionsAdded { first, partitions, settings })
}

fn check_topics(catalog: &Catalog) -> Result<(), Rejection> {
    let topics_max = catalog.founded()?.limits.topics_max;
    let topics = u32::try_from(catalog.topics.len()).unwrap_or(u32::MAX);
    if topics < topics_max { Ok(()) } else { Err(Rejection::TopicsLimit { topics, topics_max }) }
}

/// Whether a topic may have `total` partitions, `more` of them new.
fn check_partitions(catalog: &Catalog, total: u32, more: u32) -> Result<(), Rejection> {
    let limits = catalog.founded()?.limits;
    let partitions_max = limits.partitions_per_topic_max;
    if total > partitions_max {
        return Err(Rejection::TopicPartitionsLimit { asked: total, partitions_max });
    }
    let (partitions, partitions_max) = (catalog.partitions_count(), limits.partitions_max);
    if more > partitions_max.saturating_sub(partitions) {
        return Err(Rejection::PartitionsLimit { asked: more, partitions, partitions_max });
    }
    Ok(())
}

/// Takes ids for new partitions and chooses their shards: each time the shard that has the fewest
/// of the topic, among those the one that has the fewest at all.
fn give_out(
    catalog: &mut Catalog,
    present: &[PartitionPlacement],
    count: u32,
) -> Vec<PartitionPlacement> {
    let shard_count = catalog.cluster().map_or(0, |cluster| cluster.shard_count);
    let mut order: BTreeSet<(usize, u32, ShardId)> = (1..=shard_count)
        .map(|number| {
            let shard = ShardId(number);
            let of_topic = present.iter().filter(|partition| partition.shard == shard).count();
            (of_topic, catalog.partitions_on(shard), shard)
        })
        .collect();
    let mut given = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
    for _ in 0..count {
        let (of_topic, hosted, shard) = order.pop_first().expect("a cluster has shards");
        order.insert((of_topic + 1, hosted + 1, shard));
        let partition: PartitionId = catalog.counters.next_partition;
        catalog.counters.next_partition.0 += 1;
        given.push(PartitionPlacement { partition, shard });
    }
    given
}
