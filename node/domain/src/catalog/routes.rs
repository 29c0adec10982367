//! Exchanges and bindings in memory: the rows, and what is looked up among them.
//!
//! Some 300 bytes for each binding, besides its texts. [`RoutingChange`] tells whoever compiles
//! them what a command has changed.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use super::exchange::{Binding, BindingId, Destination, Exchange, Route};
use crate::rejection::{ExchangeRefusal, Rejection};

/// What became of exchanges and bindings. In this order, each leads from one sound state to the
/// next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoutingChange {
    /// There is one more.
    ExchangeCreated(Arc<Exchange>),
    /// It is gone; its bindings went before it.
    ExchangeDeleted(Arc<Exchange>),
    /// There is one more.
    Bound(Arc<Binding>),
    /// It is gone.
    Unbound(Arc<Binding>),
}

/// A binding, in the order of its route.
#[derive(Debug, Clone)]
struct ByRoute(Arc<Binding>);

impl Borrow<Route> for ByRoute {
    fn borrow(&self) -> &Route {
        &self.0.route
    }
}

impl PartialEq for ByRoute {
    fn eq(&self, other: &Self) -> bool {
        self.0.route == other.0.route
    }
}

impl Eq for ByRoute {}

impl PartialOrd for ByRoute {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByRoute {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.route.cmp(&other.0.route)
    }
}

/// All exchanges and bindings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    exchanges: BTreeMap<String, Arc<Exchange>>,
    bindings: BTreeMap<BindingId, Arc<Binding>>,
    by_route: BTreeSet<ByRoute>,
    incoming: BTreeMap<Destination, BTreeSet<BindingId>>,
}

impl Routes {
    /// The exchange of this name. The default exchange is not among them.
    pub fn exchange(&self, name: &str) -> Option<&Arc<Exchange>> {
        self.exchanges.get(name)
    }

    /// All exchanges, by name.
    pub fn exchanges(&self) -> impl Iterator<Item = &Arc<Exchange>> {
        self.exchanges.values()
    }

    /// Exchanges from this name on (after it, unless `inclusive`), by name.
    pub fn exchanges_from(
        &self,
        name: &str,
        inclusive: bool,
    ) -> impl Iterator<Item = &Arc<Exchange>> {
        let start = if inclusive { Included(name) } else { Excluded(name) };
        self.exchanges.range::<str, _>((start, Unbounded)).map(|(_, exchange)| exchange)
    }

    /// How many exchanges there are.
    pub fn exchanges_count(&self) -> usize {
        self.exchanges.len()
    }

    /// How many bindings there are.
    pub fn bindings_count(&self) -> usize {
        self.bindings.len()
    }

    /// A binding by its number.
    pub fn binding(&self, id: BindingId) -> Option<&Arc<Binding>> {
        self.bindings.get(&id)
    }

    /// The binding with this route, in its normal form.
    pub fn binding_of(&self, route: &Route) -> Option<&Arc<Binding>> {
        self.by_route.get(route).map(|binding| &binding.0)
    }

    /// All bindings after a number, by number.
    pub fn bindings_after(&self, after: BindingId) -> impl Iterator<Item = &Arc<Binding>> {
        self.bindings.range((Excluded(after), Unbounded)).map(|(_, binding)| binding)
    }

    /// The bindings that lead from an exchange.
    pub fn bindings_from(&self, source: &str) -> impl Iterator<Item = &Arc<Binding>> {
        self.from(Route::first_of(source))
    }

    /// The bindings that lead to a queue or an exchange, after a number, by number.
    pub fn bindings_to(
        &self,
        destination: &Destination,
        after: BindingId,
    ) -> impl Iterator<Item = &Arc<Binding>> {
        let ids = self.incoming.get(destination).into_iter();
        let ids = ids.flat_map(move |ids| ids.range((Excluded(after), Unbounded)));
        ids.filter_map(|id| self.bindings.get(id))
    }

    fn from(&self, first: Route) -> impl Iterator<Item = &Arc<Binding>> {
        let source = first.source.clone();
        let rest = self.by_route.range::<Route, _>((Included(first), Unbounded));
        rest.map(|binding| &binding.0).take_while(move |binding| binding.route.source == source)
    }

    /// The known exchange of this name.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn known(&self, name: &str) -> Result<&Arc<Exchange>, Rejection> {
        let unknown = || ExchangeRefusal::Unknown { name: name.to_owned() };
        self.exchange(name).ok_or_else(|| unknown().into())
    }

    /// Refuses a binding between exchanges if messages could come back to its source.
    pub(super) fn check_loop(&self, source: &str, destination: &str) -> Result<(), Rejection> {
        // Breadth first: the path that is named is a shortest one.
        let mut from = BTreeMap::from([(destination.to_owned(), String::new())]);
        let mut waiting = VecDeque::from([destination.to_owned()]);
        while let Some(at) = waiting.pop_front() {
            if at == source {
                let mut path = vec![source.to_owned()];
                let mut step = at;
                while step != destination {
                    step.clone_from(&from[&step]);
                    path.push(step.clone());
                }
                path.push(source.to_owned());
                path.reverse();
                return Err(ExchangeRefusal::Loop { path }.into());
            }
            // Queues come first in the order of routes.
            let destination = Destination::Exchange(String::new());
            for binding in self.from(Route { destination, ..Route::first_of(&at) }) {
                let Destination::Exchange(next) = &binding.route.destination else { continue };
                if !from.contains_key(next) {
                    from.insert(next.clone(), at.clone());
                    waiting.push_back(next.clone());
                }
            }
        }
        Ok(())
    }

    pub(super) fn insert_exchange(&mut self, exchange: Arc<Exchange>) {
        let former = self.exchanges.insert(exchange.name.clone(), exchange);
        assert!(former.is_none(), "an exchange was inserted over another");
    }

    pub(super) fn take_exchange(&mut self, name: &str) -> Arc<Exchange> {
        self.exchanges.remove(name).expect("an exchange was removed that isn't there")
    }

    pub(super) fn insert_binding(&mut self, binding: Arc<Binding>) {
        let to = self.incoming.entry(binding.route.destination.clone()).or_default();
        to.insert(binding.id);
        let is_new = self.by_route.insert(ByRoute(Arc::clone(&binding)));
        assert!(is_new, "a binding was inserted over another");
        self.bindings.insert(binding.id, binding);
    }

    pub(super) fn take_binding(&mut self, id: BindingId) -> Arc<Binding> {
        let binding = self.bindings.remove(&id).expect("a binding was removed that isn't there");
        assert!(self.by_route.remove(&binding.route), "every binding is found by its route");
        let destination = &binding.route.destination;
        let to = self.incoming.get_mut(destination).expect("noted when it was inserted");
        to.remove(&id);
        if to.is_empty() {
            self.incoming.remove(destination);
        }
        binding
    }
}
