//! Names of topics, page by page.

use kontiki_domain::catalog::{Catalog, Topic};

use super::Listed;
use crate::core::{Broker, Core};
use crate::error::Error;
use crate::options::bounds;

impl Broker {
    /// Names with a prefix, after a name, at most `limit` (0 is the default); and whether more
    /// follow.
    ///
    /// # Errors
    /// A limit out of bounds, or no catalog yet.
    pub fn list_topics(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<(Vec<Listed>, bool), Error> {
        self.0.list(prefix, after, limit, |topic| Some(listed(topic)))
    }
}

impl Core {
    /// What `show` makes of topics with a prefix, after a name, at most `limit` (0 is the default);
    /// and whether more follow. Those of which it makes nothing are left out.
    pub(crate) fn list<T>(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
        show: impl Fn(&Topic) -> Option<T>,
    ) -> Result<(Vec<T>, bool), Error> {
        let limit = match limit {
            0 => bounds::LIST_DEFAULT,
            limit if limit <= bounds::LIST_MAX => limit,
            limit => {
                let expected = format!("at most {}, or 0 for the default", bounds::LIST_MAX);
                return Err(Error::invalid("limit", limit, &expected));
            }
        };
        self.catalog.look(|catalog| match catalog.cluster() {
            None => Err(Error::not_ready()),
            Some(_) => Ok(page(catalog, prefix, after, limit as usize, show)),
        })
    }
}

/// Names come in the order of their bytes, so those with a prefix are together.
fn page<T>(
    catalog: &Catalog,
    prefix: &str,
    after: &str,
    limit: usize,
    show: impl Fn(&Topic) -> Option<T>,
) -> (Vec<T>, bool) {
    // The prefix itself may be a name, and is the first that has it.
    let first = catalog.topic_named(prefix).filter(|_| after < prefix);
    let rest = catalog.active_topics_after(after.max(prefix));
    let matching = first.into_iter().chain(rest);
    let matching = matching.take_while(|topic| topic.name.starts_with(prefix));
    let mut matching = matching.filter_map(show);
    let listed = matching.by_ref().take(limit).collect();
    (listed, matching.next().is_some())
}

fn listed(topic: &Topic) -> Listed {
    let partitions = u32::try_from(topic.partitions.len()).expect("bounded by a u32 limit");
    let is_queue = topic.queue.is_some();
    Listed { topic: topic.name.clone(), topic_id: topic.topic.0, partitions, is_queue }
}

#[cfg(test)]
#[path = "list_test.rs"]
mod tests;
