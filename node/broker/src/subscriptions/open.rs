//! Opens subscriptions: checks what is wanted, attaches, and finds out where each partition begins.

use std::collections::BTreeMap;
use std::sync::Arc;

use kontiki_domain::catalog::Subscription;
use kontiki_storage::id::PartitionId;
use tokio::time::Instant;

use super::commit::{ByShard, Committer};
use super::keep::Attachment;
use super::parts::Parts;
use super::sessions::Counts;
use super::stream::{Begun, few};
use super::{Open, POSITIONS_MAX, Subscribe, Subscribed, pattern, start, unknown};
use crate::core::{Broker, Core};
use crate::error::Error;

impl Broker {
    /// Opens a subscription. The first thing that it says is where it begins.
    ///
    /// # Errors
    /// A pattern or filter that can't be compiled, no such durable subscription, one that has
    /// another consumer, too many partitions or subscriptions, or no leader in time.
    pub async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscribed, Error> {
        let core = &self.0;
        let deadline = core.default_deadline();
        core.catalog.look(|catalog| catalog.cluster().map(drop).ok_or_else(Error::not_ready))?;
        // Topics that are new later are new: their records were written after this.
        let catalog = core.catalog.watch();
        core.catalog_barrier(deadline).await?;
        let row = checked(core, &subscribe)?;
        let (text, syntax, filter) = match &row {
            Some(row) => (row.pattern.clone(), row.syntax, row.filter.clone()),
            None => (subscribe.pattern.clone(), subscribe.syntax, subscribe.filter.clone()),
        };
        let compiled = pattern(&text, syntax)?;
        if let Some(filter) = &filter {
            core.filters.compiled(filter)?;
        }
        let open = Open {
            node: core.node.0,
            name: subscribe.name.clone(),
            pattern: text,
            syntax,
            filter: filter.clone(),
            since_ms: (core.clock)(),
            counts: Counts::default(),
        };
        let options = &core.options;
        let retry_ms = options.fetch.retry_after_ms;
        let session = core.sessions.open(open, options.subscribe.open_max, retry_ms)?;
        let mut parts = Parts::new(compiled);
        let joined = core.catalog.look(|catalog| parts.look(catalog)).joined;
        few(parts.all.len(), options.subscribe.partitions_max)?;
        let (durable, starts) = match row {
            None => (None, begin(core, &subscribe, &parts, &joined, deadline).await?),
            Some(row) => {
                let named = (row.id, row.name.as_str());
                let attachment =
                    Attachment::begin(core, named, subscribe.takeover, deadline).await?;
                let generation = attachment.generation();
                let starts = if subscribe.reset {
                    let start = subscribe.start.unwrap_or_default();
                    let committer = Committer { subscription: row.id, generation, reset: true };
                    start::set(core, committer, start, &joined, deadline).await
                } else {
                    start::of_durable(core, &row, generation, &joined, deadline).await
                };
                match starts {
                    Ok(starts) => (Some((row, attachment)), starts),
                    Err(error) => {
                        attachment.end().await;
                        return Err(error);
                    }
                }
            }
        };
        for (id, offset) in starts {
            parts.begin(id, offset);
        }
        Ok(Subscribed::new(core, Begun { filter, session, durable, parts, joined, catalog }))
    }
}

/// The durable subscription that is meant, if one is.
fn checked(core: &Core, subscribe: &Subscribe) -> Result<Option<Subscription>, Error> {
    if subscribe.positions.len() > POSITIONS_MAX {
        let expected = format!("at most {POSITIONS_MAX}");
        let count = subscribe.positions.len();
        return Err(Error::invalid("the number of positions", count, &expected));
    }
    if subscribe.name.is_empty() {
        if subscribe.takeover || subscribe.reset {
            let expected = "the name of a durable subscription: others have nothing to take over";
            return Err(Error::invalid("subscription", "empty", expected));
        }
        return Ok(None);
    }
    let name = &subscribe.name;
    let row = core.catalog.look(|catalog| catalog.subscription_named(name).cloned());
    let row = row.ok_or_else(|| unknown(name))?;
    let other = !subscribe.pattern.is_empty() && subscribe.pattern != row.pattern;
    if other || (!subscribe.pattern.is_empty() && subscribe.syntax != row.syntax) {
        let expected = format!("empty, or that of subscription {name}, which is {}", row.pattern);
        return Err(Error::invalid("pattern", &subscribe.pattern, &expected));
    }
    if subscribe.filter.is_some() && subscribe.filter != row.filter {
        let expected = format!("absent, or that of subscription {name}");
        return Err(Error::invalid("filter", "another one", &expected));
    }
    if subscribe.start.is_some() && !subscribe.reset {
        let expected = format!("absent without reset: subscription {name} goes on where it was");
        return Err(Error::invalid("from", "set", &expected));
    }
    if !subscribe.positions.is_empty() {
        let expected = format!("none: subscription {name} has its own");
        return Err(Error::invalid("positions", subscribe.positions.len(), &expected));
    }
    Ok(Some(row))
}

/// Where an ephemeral subscription begins.
async fn begin(
    core: &Arc<Core>,
    subscribe: &Subscribe,
    parts: &Parts,
    joined: &ByShard<()>,
    deadline: Instant,
) -> Result<BTreeMap<PartitionId, u64>, Error> {
    if subscribe.positions.is_empty() {
        let start = subscribe.start.unwrap_or_default();
        return start::resolved(core, start, joined, deadline).await;
    }
    let named = subscribe.positions.iter();
    Ok(named.filter_map(|at| Some((parts.named(at)?, at.offset))).collect())
}
