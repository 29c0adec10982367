//! Binds queues and exchanges to exchanges, takes that back, and lists bindings.

use kontiki_domain::Rejection;
use kontiki_domain::catalog::{
    Argument, Bind, Binding, BindingId, Catalog, Command, Destination, Route,
};
use kontiki_domain::filter::{FilterText, PatternSyntax};
use kontiki_storage::id::TopicId;

use super::admin::page;
use super::check::check;
use super::unknown;
use crate::core::Broker;
use crate::error::{Code, Error};

/// Where a binding leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// The queue of this name.
    Queue(String),
    /// The exchange of this name.
    Exchange(String),
}

/// A binding, by names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The exchange whose messages it leads on.
    pub source: String,
    /// Where it leads them.
    pub to: To,
    /// The routing key, pattern or weight, by the kind of the source.
    pub key: String,
    /// How a pattern is written.
    pub syntax: PatternSyntax,
    /// What a headers exchange asks for.
    pub arguments: Vec<Argument>,
    /// Which of the messages.
    pub filter: Option<FilterText>,
}

/// Bindings to be listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ends {
    /// Only those of this exchange.
    pub source: Option<String>,
    /// Only those that lead there.
    pub to: Option<To>,
    /// After this number.
    pub after: u64,
    /// At most so many; 0 is the default.
    pub limit: u32,
}

/// A binding in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its number.
    pub id: u64,
    /// What it is.
    pub bound: Bound,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
}

impl Broker {
    /// Binds; when it returns, it counts on every node. False: it was bound already.
    ///
    /// # Errors
    /// No such exchange or queue, a key, argument or filter that can't be, a loop of exchanges, a
    /// limit, or the catalog can't be asked.
    pub async fn bind(&self, bound: Bound) -> Result<bool, Error> {
        let core = &self.0;
        core.catalog_barrier(core.default_deadline()).await?;
        let name = bound.source.clone();
        let filter = bound.filter.clone();
        let to = bound.to.clone();
        let (route, kind) = core.catalog.look(|catalog| {
            let kind = catalog.routes().exchange(&name).map(|exchange| exchange.kind.clone());
            Ok::<_, Error>((route(catalog, bound)?, kind))
        })?;
        let bind = Bind { route, filter };
        // Where the exchange isn't known, the catalog says what is wrong with its name.
        if let Some(kind) = kind {
            check(&bind, &kind)?;
        }
        let changed = core.reroute(&name, Command::Bind(bind)).await;
        changed.map(|changed| changed.here).map_err(|error| by_name(&to, error))
    }

    /// Takes a binding back; its filter doesn't matter. False: there was none.
    ///
    /// # Errors
    /// No such exchange or queue, or the catalog can't be asked.
    pub async fn unbind(&self, bound: Bound) -> Result<bool, Error> {
        let core = &self.0;
        core.catalog_barrier(core.default_deadline()).await?;
        let name = bound.source.clone();
        let route = core.catalog.look(|catalog| route(catalog, bound))?;
        let changed = core.reroute(&name, Command::Unbind { route }).await?;
        Ok(changed.here)
    }

    /// Bindings by number, a page; and whether more follow.
    ///
    /// # Errors
    /// No such exchange or queue, a limit out of bounds, or no catalog yet.
    pub fn list_bindings(&self, ends: &Ends) -> Result<(Vec<Listed>, bool), Error> {
        let limit = page(ends.limit)?;
        let after = BindingId(ends.after);
        self.0.catalog.look(|catalog| {
            let routes = catalog.routes();
            if let Some(source) = &ends.source {
                routes.exchange(source).ok_or_else(|| unknown(source))?;
            }
            let mut found: Vec<Listed> = Vec::new();
            let mut take = |binding: &Binding| {
                found.extend(listed(catalog, binding));
                found.len() <= limit
            };
            match (&ends.to, &ends.source) {
                (Some(to), source) => {
                    let to = destination(catalog, to)?;
                    let of = |binding: &Binding| {
                        source.as_ref().is_none_or(|name| *name == binding.route.source)
                    };
                    let all = routes.bindings_to(&to, after).filter(|binding| of(binding));
                    all.map(|binding| take(binding)).take_while(|more| *more).for_each(drop);
                }
                (None, Some(source)) => {
                    let mut all: Vec<_> = routes.bindings_from(source).collect();
                    all.retain(|binding| binding.id > after);
                    all.sort_unstable_by_key(|binding| binding.id);
                    all.into_iter().map(|binding| take(binding)).take_while(|m| *m).for_each(drop);
                }
                (None, None) => {
                    let all = routes.bindings_after(after);
                    all.map(|binding| take(binding)).take_while(|more| *more).for_each(drop);
                }
            }
            let more = found.len() > limit;
            found.truncate(limit);
            Ok((found, more))
        })
    }
}

fn route(catalog: &Catalog, bound: Bound) -> Result<Route, Error> {
    let destination = destination(catalog, &bound.to)?;
    let Bound { source, key, syntax, arguments, .. } = bound;
    Ok(Route { source, destination, key, syntax, arguments })
}

fn destination(catalog: &Catalog, to: &To) -> Result<Destination, Error> {
    match to {
        To::Queue(name) => {
            let (place, _) = crate::queues::find(catalog, name)?;
            Ok(Destination::Queue(place.topic))
        }
        To::Exchange(name) => Ok(Destination::Exchange(name.clone())),
    }
}

/// `None`: its queue was deleted this moment.
fn listed(catalog: &Catalog, binding: &Binding) -> Option<Listed> {
    let Binding { id, route, filter, created_ms } = binding.clone();
    let Route { source, destination, key, syntax, arguments } = route;
    let to = match destination {
        Destination::Queue(topic) => To::Queue(catalog.topic(topic)?.name.clone()),
        Destination::Exchange(name) => To::Exchange(name),
    };
    let bound = Bound { source, to, key, syntax, arguments, filter };
    Some(Listed { id: id.0, bound, created_ms })
}

/// The caller knows queues by name.
fn by_name(to: &To, error: Error) -> Error {
    let gone = Rejection::UnknownTopic { topic: TopicId(0) }.code();
    match to {
        To::Queue(name) if error.code == Code(gone.into()) => crate::queues::unknown(name),
        To::Queue(_) | To::Exchange(_) => error,
    }
}
