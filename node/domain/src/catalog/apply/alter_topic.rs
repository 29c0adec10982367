//! Changes what somebody chose for a topic.

use std::sync::Arc;

use kontiki_storage::batch::WriteBatch;

use crate::catalog::command::AlterTopic;
use crate::catalog::{Catalog, Reply, Topic};
use crate::rejection::Rejection;

pub(super) fn apply(
    catalog: &mut Catalog,
    alter: &AlterTopic,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    catalog.founded()?;
    let known = catalog.active_topic(alter.topic)?;
    let current = known.settings_version;
    if let Some(expected) = alter.settings_version.filter(|expected| *expected != current) {
        return Err(Rejection::SettingsChanged { topic: alter.topic, expected, current });
    }
    let mut overrides = known.overrides.clone();
    for name in &alter.reset {
        overrides.reset(*name);
    }
    overrides.set(&alter.set);
    overrides.effective().validate()?;
    let queue = match (&known.queue, &alter.queue) {
        (Some(current), Some(changed)) => {
            current.validate_change(changed)?;
            Some(Arc::new(changed.clone()))
        }
        (None, Some(_)) => return Err(Rejection::TopicNotAQueue(alter.topic)),
        (current, None) => current.clone(),
    };
    if alter.validate_only {
        return Ok(Reply::Valid);
    }
    if overrides == known.overrides && queue == known.queue {
        return Ok(altered(known));
    }
    let settings_version = current + 1;
    let topic = Topic { overrides, settings_version, queue, ..known.clone() };
    let reply = altered(&topic);
    catalog.put_topic(topic, batch);
    Ok(reply)
}

fn altered(topic: &Topic) -> Reply {
    Reply::TopicAltered {
        settings_version: topic.settings_version,
        settings: topic.settings(),
        partitions: topic.partitions.clone(),
    }
}
