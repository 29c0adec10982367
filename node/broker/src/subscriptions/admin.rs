//! Creates and deletes durable subscriptions, and lists all of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kontiki_domain::catalog::{
    Command, CreateSubscription, NodeState, Reply, RequestId, Start, Subscription,
};
use kontiki_domain::filter::{FilterText, PatternSyntax};
use kontiki_domain::{Rejection, partition};
use kontiki_proto::node::SubscriptionsRequest;
use kontiki_storage::id::{NodeId, PartitionId, ShardId};
use tokio::time::Instant;

use super::commit::{self, ByShard};
use super::parts::Parts;
use super::{Open, filters, pattern, start};
use crate::core::{Broker, Core};
use crate::error::{Code, Error};
use crate::options::bounds;
use crate::read::wire::Size;
use crate::topics::{Asked, Repeat};

/// Durable subscriptions in one page of a list.
const LIST_MAX: u32 = 1_000;
/// Durable subscriptions in one page when the client doesn't say.
const LIST_DEFAULT: u32 = 100;
/// How long another node may take to say what is open there.
const ASK: Duration = Duration::from_secs(2);

/// A durable subscription to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// Its name.
    pub name: String,
    /// Over the names of topics.
    pub pattern: String,
    /// How the pattern is written.
    pub syntax: PatternSyntax,
    /// Which records.
    pub filter: Option<FilterText>,
    /// Where it begins in partitions that are there already.
    pub start: Start,
    /// Succeed where it exists with the same pattern and filter.
    pub if_not_exists: bool,
}

/// A durable subscription, as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Over the names of topics.
    pub pattern: String,
    /// How the pattern is written.
    pub syntax: PatternSyntax,
    /// Which records.
    pub filter: Option<FilterText>,
    /// Where it began.
    pub start: Start,
    /// When it was created, in milliseconds since 1970.
    pub created_ms: i64,
    /// Who is attached.
    pub attached: Option<Open>,
    /// How far it is behind, where that was asked for.
    pub lag: Vec<Lag>,
}

/// How far a subscription is behind in a partition.
#[derive(Debug, Clone, PartialEq)]
pub struct Lag {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: u32,
    /// The next offset that it wants, and the high watermark.
    pub outcome: Result<(u64, u64), Error>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Durable ones, by name.
    pub durable: Vec<Description>,
    /// More durable ones follow.
    pub more: bool,
    /// Ephemeral ones that are open, of all nodes that answer.
    pub ephemeral: Vec<Open>,
    /// Nodes that did not answer.
    pub silent: Vec<u32>,
}

impl Broker {
    /// Creates a durable subscription; when it returns, where it begins is fixed.
    ///
    /// # Errors
    /// It exists, a name, pattern or filter that can't be, a limit, or the catalog or a leader
    /// can't be asked in time.
    pub async fn create_subscription(&self, create: Create) -> Result<(), Error> {
        let core = &self.0;
        let deadline = core.default_deadline();
        let compiled = pattern(&create.pattern, create.syntax)?;
        if let Some(filter) = &create.filter {
            filters::compile(filter)?;
        }
        let Create { name, pattern, syntax, filter, start, if_not_exists } = create;
        let command = Command::CreateSubscription(CreateSubscription {
            name: name.clone(),
            pattern: pattern.clone(),
            syntax,
            filter: filter.clone(),
            start,
            request: Some(RequestId((core.random)())),
        });
        let asked = core.persuade_catalog(command, Repeat::Always, deadline).await.done();
        let exists = Code(Rejection::SubscriptionExists(String::new()).code().into());
        match asked {
            Ok(Reply::SubscriptionCreated { .. }) => {}
            Ok(other) => {
                let detail = format!("a new subscription was answered with {other:?}");
                return Err(Error::internal(detail));
            }
            Err(error) if !(if_not_exists && error.code == exists) => return Err(error),
            Err(error) => {
                core.catalog_barrier(deadline).await?;
                let known = core.catalog.look(|c| c.subscription_named(&name).cloned());
                let is_same = |row: &Subscription| {
                    (&row.pattern, row.syntax, &row.filter) == (&pattern, syntax, &filter)
                };
                return if known.is_some_and(|row| is_same(&row)) { Ok(()) } else { Err(error) };
            }
        }
        let begun = async {
            core.catalog_barrier(deadline).await?;
            let mut parts = Parts::new(compiled);
            let (row, there) = core.catalog.look(|catalog| {
                (catalog.subscription_named(&name).cloned(), parts.look(catalog).joined)
            });
            // Somebody may have deleted it already.
            let Some(row) = row else { return Ok(()) };
            start::of_durable(core, &row, 0, &there, deadline).await.map(drop)
        };
        let (begun, ()) = tokio::join!(begun, core.catalog_everywhere());
        begun.map_err(|error| {
            let detail = format!(
                "subscription {name} is created, but not yet where it begins in all partitions; \
                 the first consumer that attaches decides it, or delete it and try again: {}",
                error.detail
            );
            Error { detail, ..error }
        })
    }

    /// Deletes a durable subscription; when it returns, its name is free.
    ///
    /// # Errors
    /// No such subscription, or the catalog can't be asked.
    pub async fn delete_subscription(&self, name: &str) -> Result<(), Error> {
        let core = &self.0;
        let command = Command::DeleteSubscription { name: name.to_owned() };
        let deadline = core.default_deadline();
        let Asked { outcome, maybe_before } =
            core.persuade_catalog(command, Repeat::Always, deadline).await;
        let forgotten = Code(Rejection::UnknownSubscription(String::new()).code().into());
        match outcome {
            Ok(_) => {}
            // An earlier attempt has deleted it.
            Err(error) if maybe_before && error.code == forgotten => {}
            Err(error) => return Err(error),
        }
        core.catalog_everywhere().await;
        Ok(())
    }

    /// Durable subscriptions with a prefix, after a name, at most `limit` (0 is the default), and
    /// all that are open.
    ///
    /// # Errors
    /// A limit out of bounds, or no catalog yet.
    pub async fn list_subscriptions(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
        with_lag: bool,
    ) -> Result<Listed, Error> {
        let core = &self.0;
        let limit = match limit {
            0 => LIST_DEFAULT,
            limit if limit <= LIST_MAX => limit,
            limit => {
                let expected = format!("at most {LIST_MAX}, or 0 for the default");
                return Err(Error::invalid("limit", limit, &expected));
            }
        };
        let deadline = core.default_deadline();
        core.catalog.look(|catalog| catalog.cluster().map(drop).ok_or_else(Error::not_ready))?;
        core.catalog_barrier(deadline).await?;
        let (rows, more) = core.catalog.look(|catalog| {
            let first = catalog.subscription_named(prefix).filter(|_| after < prefix);
            let rest = catalog.subscriptions_after(after.max(prefix));
            let matching = first.into_iter().chain(rest);
            let mut matching = matching.take_while(|row| row.name.starts_with(prefix));
            let rows: Vec<Subscription> = matching.by_ref().take(limit as usize).cloned().collect();
            (rows, matching.next().is_some())
        });
        let (open, silent) = core.open_everywhere().await;
        let (ephemeral, attached): (Vec<Open>, Vec<Open>) =
            open.into_iter().partition(|open| open.name.is_empty());
        let mut durable = Vec::with_capacity(rows.len());
        for row in rows {
            let lag = if with_lag { core.lag(&row, deadline).await } else { Vec::new() };
            // Where one has taken over a moment ago, the newer one counts.
            let mine = attached.iter().filter(|open| open.name == row.name);
            durable.push(Description {
                attached: mine.max_by_key(|open| open.since_ms).cloned(),
                name: row.name,
                pattern: row.pattern,
                syntax: row.syntax,
                filter: row.filter,
                start: row.start,
                created_ms: row.created_ms,
                lag,
            });
        }
        Ok(Listed { durable, more, ephemeral, silent })
    }
}

impl Core {
    /// What clients have open on all nodes, and the nodes that don't answer.
    async fn open_everywhere(&self) -> (Vec<Open>, Vec<u32>) {
        let nodes: Vec<NodeId> = self.catalog.look(|catalog| {
            let nodes = catalog.nodes().filter(|node| node.state != NodeState::Removed);
            nodes.map(|node| node.spec.node).filter(|node| *node != self.node).collect()
        });
        let asked = nodes.into_iter().map(|node| async move {
            let reachable = self.raft.reachable(node);
            let client = self.router.peer(node).filter(|_| reachable);
            let Some(mut client) = client else { return (node, None) };
            let asked = tokio::time::timeout(ASK, client.subscriptions(SubscriptionsRequest {}));
            let answer = asked.await.ok().and_then(Result::ok);
            (node, answer.map(|answer| answer.into_inner().subscriptions))
        });
        let (mut open, mut silent) = (self.sessions.all(), Vec::new());
        for (node, there) in join_all(asked).await {
            match there {
                Some(there) => open.extend(there.into_iter().map(|one| Open::of(node.0, one))),
                None => silent.push(node.0),
            }
        }
        (open, silent)
    }

    /// How far a durable subscription is behind, in all partitions that match.
    async fn lag(self: &Arc<Self>, row: &Subscription, deadline: Instant) -> Vec<Lag> {
        let Ok(compiled) = pattern(&row.pattern, row.syntax) else { return Vec::new() };
        let mut parts = Parts::new(compiled);
        let there = self.catalog.look(|catalog| parts.look(catalog).joined);
        let noted = commit::noted(self, row.id, &there, deadline).await;
        let sizes = self.sizes(&there, deadline).await;
        let one = |(id, part): (&PartitionId, &super::parts::Part)| {
            let outcome = match (&noted, sizes.get(id)) {
                (Err(error), _) | (Ok(_), Some(Err(error))) => Err(error.clone()),
                (Ok(_), None) => Err(Error::not_done_in_time(&format!("shard {}", part.shard))),
                (Ok(noted), Some(Ok(size))) => {
                    let (first, end) = (size.log_start_offset, size.high_watermark);
                    let is_new = id.0 >= row.next_partition.0;
                    let from = if is_new || row.start == Start::Earliest { first } else { end };
                    let position = noted.get(id).copied().unwrap_or(from);
                    Ok((position.clamp(first, end), end))
                }
            };
            Lag { topic: Arc::clone(&part.topic), partition: part.number, outcome }
        };
        let mut lag: Vec<Lag> = parts.all.iter().map(one).collect();
        lag.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        lag
    }

    async fn sizes(
        self: &Arc<Self>,
        partitions: &ByShard<()>,
        deadline: Instant,
    ) -> BTreeMap<PartitionId, Result<Size, Error>> {
        let chunks = partitions.iter().flat_map(|(shard, ids)| {
            ids.chunks(bounds::PARTITIONS_MAX).map(move |some| (*shard, some))
        });
        let asked = chunks.map(|(shard, some): (ShardId, &[(PartitionId, ())])| async move {
            let ids: Vec<PartitionId> = some.iter().map(|(id, ())| *id).collect();
            match self.read_sizes(shard, ids.clone(), deadline).await {
                Ok(sizes) => ids.into_iter().zip(sizes).collect::<Vec<_>>(),
                Err(error) => ids.into_iter().map(|id| (id, Err(error.clone()))).collect(),
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// Forgets positions of subscriptions that are deleted, in the shards that this node leads.
    pub(crate) async fn forget_positions(
        self: &Arc<Self>,
        replica: &kontiki_raft::Shard,
        after: Option<partition::PositionOf>,
    ) -> Result<Option<partition::PositionOf>, Error> {
        let (view, space) = replica.view();
        let limit = partition::POSITIONS_MAX;
        let found = partition::read::positions(view.as_ref(), space, after, limit)?;
        drop(view);
        let last = found.last().copied().filter(|_| found.len() == limit);
        if found.is_empty() {
            return Ok(None);
        }
        // A subscription of which there is a row was made before this look; this copy knows it
        // then, or it is deleted.
        self.catalog_barrier(self.default_deadline()).await?;
        let gone: Vec<partition::PositionOf> = self.catalog.look(|catalog| {
            let is_gone =
                |of: &partition::PositionOf| catalog.subscription(of.subscription).is_none();
            found.into_iter().filter(is_gone).collect()
        });
        if !gone.is_empty() {
            let command = partition::Command::ForgetPositions(gone);
            self.ask_partitions(replica.id(), command, self.default_deadline()).await?;
        }
        Ok(last)
    }
}
