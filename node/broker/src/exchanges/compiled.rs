//! The exchanges and bindings of the catalog, compiled for routing.
//!
//! Changed by the catalog's replica alone, in the order of its log; everybody else reads. The lock
//! is held while one message is routed, and not while filters are evaluated.

use std::collections::HashMap;
use std::sync::{Mutex, RwLock};

use kontiki_domain::catalog::{self, Destination, Exchange, ExchangeKind, Routes, RoutingChange};
use kontiki_domain::mutant::{self, Mutant};
use kontiki_filter::{Filter, Meta};
use kontiki_records::Header;
use kontiki_routing::Destination as End;
use kontiki_routing::{
    Binding, Candidate, Declaration, GateId, Kind, QueueId, Routed, Table, Verdict,
};
use kontiki_storage::id::TopicId;

use super::unknown;
use crate::error::{self, Error};
use crate::filters::{self, Named, TURN_STEPS, Turn};

/// A queue's number in the table that stands for one binding with a filter; the rest of it is the
/// binding's number. Ids of topics are counted from 1 and don't come here. A binding with a filter
/// to an exchange is a gate in the table, with the binding's number.
const FILTERED: u64 = 1 << 63;
/// Memory for routing that is kept for the next ones who route.
const SCRATCHES_MAX: usize = 64;
/// What finding a message or one of its queues is worth, in steps of filters: others have the
/// thread after a thousand of them.
const FOUND_STEPS: u64 = TURN_STEPS / 1_000;

/// See the module.
pub(crate) struct Compiled {
    routing: RwLock<Routing>,
    scratches: Mutex<Vec<Scratch>>,
    seed: u64,
}

struct Routing {
    table: Table,
    /// Filters by the numbers of their bindings.
    filters: HashMap<u64, Filtered>,
}

struct Filtered {
    /// Where it decides about a queue. Otherwise it is the gate of an exchange.
    queue: Option<TopicId>,
    /// `None`: this release can't compile it. It matches nothing.
    filter: Option<Filter>,
}

/// What routing one message needs.
#[derive(Default)]
struct Scratch {
    routed: Routed,
    /// By the numbers of bindings.
    verdicts: HashMap<u64, Verdict>,
    pending: Vec<(u64, Option<Filter>)>,
}

/// What bindings look at in a message.
#[derive(Clone, Copy)]
pub(crate) struct Content<'a> {
    pub(crate) headers: &'a [Header],
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) body: &'a [u8],
    pub(crate) timestamp_ms: i64,
    pub(crate) priority: u8,
}

/// Where a message goes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ways {
    /// The queues, in the order of their ids. Some may have been deleted meanwhile.
    pub(crate) queues: Vec<TopicId>,
    /// Filters of bindings that could not be evaluated on it.
    pub(crate) filter_errors: u64,
}

impl Compiled {
    /// Without exchanges. `seed` is that of hash tables, which nobody outside should guess.
    pub(crate) fn new(seed: u64) -> Self {
        let routing = RwLock::new(Routing::new(seed));
        Self { routing, scratches: Mutex::new(Vec::new()), seed }
    }

    /// Compiles all of them anew: the catalog was loaded from its rows.
    pub(crate) fn replace(&self, routes: &Routes) {
        let mut routing = Routing::new(self.seed);
        routes.exchanges().for_each(|exchange| routing.declare(exchange));
        routes.bindings_after(catalog::BindingId(0)).for_each(|binding| routing.bind(binding));
        *self.routing.write().expect("an invariant of the table is broken") = routing;
    }

    /// Follows changes of the catalog.
    pub(crate) fn change(&self, changes: Vec<RoutingChange>) {
        if changes.is_empty() {
            return;
        }
        let mut routing = self.routing.write().expect("an invariant of the table is broken");
        for change in changes {
            match change {
                RoutingChange::ExchangeCreated(exchange) => routing.declare(&exchange),
                RoutingChange::ExchangeDeleted(exchange) => routing.delete(&exchange),
                RoutingChange::Bound(binding) => routing.bind(&binding),
                RoutingChange::Unbound(binding) => routing.unbind(&binding),
            }
        }
    }

    /// Finds the queues that a message goes to, each once however many of its keys lead there.
    ///
    /// # Errors
    /// No such exchange, or a routing key that is too long.
    pub(crate) async fn route(
        &self,
        exchange: &str,
        keys: &[&str],
        content: Content<'_>,
        turn: &mut Turn,
    ) -> Result<Ways, Error> {
        let mut scratch = self.scratches().pop().unwrap_or_default();
        let found = self.route_with(exchange, keys, content, &mut scratch, turn).await;
        let mut scratches = self.scratches();
        if scratches.len() < SCRATCHES_MAX {
            scratches.push(scratch);
        }
        found
    }

    fn scratches(&self) -> std::sync::MutexGuard<'_, Vec<Scratch>> {
        self.scratches.lock().expect("nothing panics under this lock")
    }

    async fn route_with(
        &self,
        exchange: &str,
        keys: &[&str],
        content: Content<'_>,
        scratch: &mut Scratch,
        turn: &mut Turn,
    ) -> Result<Ways, Error> {
        scratch.verdicts.clear();
        let mut filter_errors = 0;
        // Each round decides about filters that no round before has met, so there is a last one.
        let mut queues = loop {
            if let Some(queues) = self.choose(exchange, keys, content, scratch)? {
                break queues;
            }
            while !scratch.pending.is_empty() {
                let (steps, errors) = scratch.decide(exchange, content, turn.left());
                filter_errors += errors;
                turn.worked(steps).await;
            }
        };
        queues.sort_unstable();
        queues.dedup();
        turn.worked(FOUND_STEPS * (queues.len() as u64 + 1)).await;
        Ok(Ways { queues, filter_errors })
    }

    /// Goes through the table as far as the verdicts allow: either that is the end, or the filters
    /// that have to be asked are pending.
    fn choose(
        &self,
        exchange: &str,
        keys: &[&str],
        content: Content<'_>,
        scratch: &mut Scratch,
    ) -> Result<Option<Vec<TopicId>>, Error> {
        let Scratch { routed, verdicts, pending } = scratch;
        pending.clear();
        let routing = self.routing.read().expect("an invariant of the table is broken");
        let accept = |candidate: Candidate| {
            let Some(binding) = filtered(candidate) else { return Verdict::Accepted };
            // Asked once: several keys may lead here in one round.
            *verdicts.entry(binding).or_insert_with(|| {
                let filtered = routing.filters.get(&binding);
                pending.push((binding, filtered.and_then(|filtered| filtered.filter.clone())));
                Verdict::Undecided
            })
        };
        let named = Named(content.headers);
        let found = routing.table.route_where(exchange, keys, &named, routed, accept);
        found.map_err(|error| refused(&error))?;
        if !pending.is_empty() {
            return Ok(None);
        }
        let queue = |queue: &QueueId| match filtered(Candidate::Queue(*queue)) {
            Some(binding) => routing.filters.get(&binding)?.queue,
            None => Some(TopicId(queue.0)),
        };
        Ok(Some(routed.queues().iter().filter_map(queue).collect()))
    }
}

impl Scratch {
    /// Asks pending filters about a message, for so many steps. Answers how many it took, and how
    /// many filters could not tell.
    ///
    /// The body is parsed anew each time, so that no parsed one is kept while others have the
    /// thread: it may be a hundred times as large as what it was parsed from. Where that took
    /// longer than all of the time that there was, filters have as much again, so that parsing is
    /// at most half of all work.
    fn decide(&mut self, exchange: &str, content: Content<'_>, left: u64) -> (u64, u64) {
        let meta = Meta {
            topic: exchange,
            timestamp_ms: content.timestamp_ms,
            priority: content.priority,
            ..Meta::default()
        };
        let named = Named(content.headers);
        let message = kontiki_filter::Message::new(&named, content.key, content.body, meta);
        let (mut steps, mut errors) = (0, 0);
        while steps < left.max(2 * message.parse_steps())
            && let Some((binding, filter)) = self.pending.pop()
        {
            let asked = filter.map(|filter| filter.evaluate_counted(&message));
            let (matches, taken) = asked.map_or((Ok(false), 0), |it| (it.matches, it.steps));
            errors += u64::from(matches.is_err());
            // One that ends at once isn't for nothing.
            steps += taken + 1;
            self.verdicts.insert(binding, matches.unwrap_or(false).into());
        }
        (steps, errors)
    }
}

impl Routing {
    fn new(seed: u64) -> Self {
        Self { table: Table::new(seed), filters: HashMap::new() }
    }

    fn declare(&mut self, exchange: &Exchange) {
        if let Err(error) = self.table.declare_exchange(&exchange.name, declaration(exchange)) {
            tracing::warn!(exchange = exchange.name, %error, "this release can't follow it");
        }
    }

    fn delete(&mut self, exchange: &Exchange) {
        // Only the default exchange can't be, and it is not in the catalog.
        let _ = self.table.delete_exchange(&exchange.name);
    }

    fn bind(&mut self, binding: &catalog::Binding) {
        if let Some(filter) = &binding.filter {
            let compiled = filters::compile(filter);
            if let Err(error) = &compiled {
                tracing::warn!(binding = binding.id.0, %error, "its filter matches nothing");
            }
            let queue = match &binding.route.destination {
                Destination::Queue(topic) => Some(*topic),
                Destination::Exchange(_) => None,
            };
            self.filters.insert(binding.id.0, Filtered { queue, filter: compiled.ok() });
        }
        let bound = compiled(&binding.route, filter_of(binding), |one| self.table.bind(one));
        if let Err(error) = bound {
            tracing::warn!(binding = binding.id.0, %error, "this release can't follow it");
        }
    }

    fn unbind(&mut self, binding: &catalog::Binding) {
        if mutant::is(Mutant::KeepsUnbound) {
            return;
        }
        compiled(&binding.route, filter_of(binding), |one| self.table.unbind(one));
        self.filters.remove(&binding.id.0);
    }
}

/// The number under which a binding's filter is known, if it has one.
fn filter_of(binding: &catalog::Binding) -> Option<u64> {
    binding.filter.is_some().then_some(binding.id.0)
}

/// The binding whose filter decides about a candidate; without one it may be chosen.
fn filtered(candidate: Candidate) -> Option<u64> {
    match candidate {
        Candidate::Queue(QueueId(queue)) => (queue & FILTERED != 0).then_some(queue & !FILTERED),
        Candidate::Gate(GateId(binding)) => Some(binding),
    }
}

/// An exchange, as a table takes it.
pub(super) fn declaration(exchange: &Exchange) -> Declaration {
    let kind = match &exchange.kind {
        ExchangeKind::Direct => Kind::Direct,
        ExchangeKind::Topic => Kind::Topic,
        ExchangeKind::Fanout => Kind::Fanout,
        ExchangeKind::Headers => Kind::Headers,
        ExchangeKind::ConsistentHash { header } => {
            Kind::ConsistentHash { header: header.as_deref().map(Into::into) }
        }
    };
    let alternate = exchange.alternate.as_deref().map(Into::into);
    Declaration { kind, internal: exchange.internal, alternate }
}

/// Shows a route as a table takes it; with the number of its binding where that has a filter.
pub(super) fn compiled<T>(
    route: &catalog::Route,
    filter: Option<u64>,
    take: impl FnOnce(&Binding<'_>) -> T,
) -> T {
    let arguments: Vec<(&str, Option<&[u8]>)> = route
        .arguments
        .iter()
        .map(|argument| (argument.name.as_str(), argument.value.as_deref()))
        .collect();
    let destination = match (&route.destination, filter) {
        (Destination::Queue(topic), None) => End::Queue(QueueId(topic.0)),
        (Destination::Queue(_), Some(binding)) => End::Queue(QueueId(FILTERED | binding)),
        (Destination::Exchange(name), None) => End::Exchange(name),
        (Destination::Exchange(name), Some(binding)) => End::Gate(GateId(binding), name),
    };
    let syntax = filters::syntax(route.syntax);
    let (source, key, arguments) = (route.source.as_str(), route.key.as_str(), &arguments);
    take(&Binding { source, destination, key, syntax, arguments })
}

/// Why a table can't do something, for whoever asked.
pub(super) fn refused(why: &kontiki_routing::Error) -> Error {
    if let kontiki_routing::Error::UnknownExchange { name } = why {
        return unknown(name);
    }
    Error::new(error::Kind::Invalid, error::Code::INVALID_FIELD, why.to_string())
}

#[cfg(test)]
#[path = "compiled_test.rs"]
mod tests;
