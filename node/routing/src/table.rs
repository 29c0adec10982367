//! The table: exchanges by name, bindings by number, and where each of them is kept.
//!
//! A binding is in four places: in the index of its source, in the lists of its source and of its
//! destination, and in the table of identities. It remembers its positions, so that it comes out of
//! all of them in constant time.

mod bind;
mod route;

use std::collections::{BTreeMap, BTreeSet};

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};

use crate::Error;
use crate::binding::{GateId, QueueId, Record};
use crate::exchange::{Declaration, Exchange, Index, check_alternate};
use crate::limits::{EXCHANGES_MAX, NAME_BYTES_MAX};
use crate::slab::Slab;

/// A queue, exchange or gate that bindings lead to.
#[derive(Debug, Clone)]
struct Target {
    node: Node,
    /// The bindings that lead to it.
    incoming: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Queue(QueueId),
    /// By number.
    Exchange(u32),
    /// In front of an exchange.
    Gate {
        gate: GateId,
        exchange: u32,
    },
}

impl Node {
    /// The exchange that it is, or leads to.
    fn exchange(self) -> Option<u32> {
        match self {
            Self::Queue(_) => None,
            Self::Exchange(exchange) | Self::Gate { exchange, .. } => Some(exchange),
        }
    }
}

/// The exchanges of one virtual host with their bindings, compiled for routing.
///
/// Every change takes time in proportion to what changes (a binding to its words or arguments; see
/// [`Kind::ConsistentHash`](crate::Kind) for weights), however large the table is; a change that is
/// refused changes nothing. What a table answers depends on what is declared and bound, and not on
/// the order in which it came about.
///
/// The default exchange `""`, which leads to every queue by the queue's name, is not in a table:
/// the caller looks the queue up by the routing key itself.
///
/// ```
/// use kontiki_routing::{Binding, Declaration, Kind, QueueId, Routed, Table};
///
/// let mut table = Table::new(7);
/// table.declare_exchange("orders", Declaration::new(Kind::Topic))?;
/// table.bind(&Binding::to_queue("orders", QueueId(1), "eu.#"))?;
/// table.bind(&Binding::to_queue("orders", QueueId(2), "*.paid"))?;
///
/// let mut routed = Routed::new();
/// assert!(table.route("orders", "eu.sent", &(), &mut routed)?);
/// assert_eq!(routed.queues(), [QueueId(1)]);
/// # Ok::<(), kontiki_routing::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Table {
    exchanges: Slab<Exchange>,
    names: HashMap<Box<str>, u32, FixedState>,
    bindings: Slab<Record>,
    /// Bindings by everything that makes them what they are.
    identities: HashTable<u32>,
    targets: Slab<Target>,
    /// The targets that are queues.
    queues: HashMap<QueueId, u32, FixedState>,
    /// The targets that are gates, with the exchanges behind them.
    gates: HashMap<(GateId, u32), u32, FixedState>,
    hasher: FixedState,
}

impl Table {
    /// An empty table. `seed` is that of its hash tables: what nobody outside can guess keeps
    /// clients from choosing names and keys that collide. It has no influence on where messages go.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self {
            exchanges: Slab::new(),
            names: HashMap::with_hasher(hasher),
            bindings: Slab::new(),
            identities: HashTable::new(),
            targets: Slab::new(),
            queues: HashMap::with_hasher(hasher),
            gates: HashMap::with_hasher(hasher),
            hasher,
        }
    }

    /// Declares an exchange; false if it is there already, just as declared.
    ///
    /// # Errors
    /// [`Error::Inequivalent`] if it is there and is another one, [`Error::DefaultExchange`],
    /// [`Error::TooLong`] for a name above [`NAME_BYTES_MAX`], and [`Error::TooMany`] above
    /// [`EXCHANGES_MAX`].
    pub fn declare_exchange(
        &mut self,
        name: &str,
        declaration: Declaration,
    ) -> Result<bool, Error> {
        if name.is_empty() {
            return Err(Error::DefaultExchange);
        }
        Error::check_length("name of exchange", name, NAME_BYTES_MAX)?;
        declaration.check()?;
        if let Some(id) = self.names.get(name) {
            self.exchanges.get(*id).declaration.check_same(name, &declaration)?;
            return Ok(false);
        }
        if self.exchanges.len() >= EXCHANGES_MAX {
            return Err(Error::TooMany {
                what: format!("exchange {name:?} is one too many"),
                limit: EXCHANGES_MAX,
                advice: "delete some that are not used",
            });
        }
        let id = self.exchanges.insert(Exchange {
            name: name.into(),
            target: 0,
            outgoing: Vec::new(),
            downstream: BTreeMap::new(),
            gates: BTreeSet::new(),
            index: Index::new(&declaration.kind, self.hasher),
            declaration,
        });
        let target = Target { node: Node::Exchange(id), incoming: Vec::new() };
        self.exchanges.get_mut(id).target = self.targets.insert(target);
        self.names.insert(name.into(), id);
        Ok(true)
    }

    /// Changes the alternate exchange of a declared one, as a policy may; false if it was the same.
    ///
    /// # Errors
    /// [`Error::UnknownExchange`], [`Error::DefaultExchange`], and [`Error::TooLong`].
    pub fn set_alternate(&mut self, name: &str, alternate: Option<&str>) -> Result<bool, Error> {
        let id = self.find_exchange(name)?;
        check_alternate(alternate)?;
        let current = &mut self.exchanges.get_mut(id).declaration.alternate;
        let changes = current.as_deref() != alternate;
        *current = alternate.map(Into::into);
        Ok(changes)
    }

    /// Deletes an exchange with all bindings that lead from it and to it; false if it isn't there.
    ///
    /// # Errors
    /// [`Error::DefaultExchange`].
    pub fn delete_exchange(&mut self, name: &str) -> Result<bool, Error> {
        if name.is_empty() {
            return Err(Error::DefaultExchange);
        }
        let Some(id) = self.names.get(name).copied() else { return Ok(false) };
        // The last one first: nothing need be moved within the lists.
        while let Some(binding) = self.exchanges.get(id).outgoing.last() {
            self.remove_binding(*binding);
        }
        let target = self.exchanges.get(id).target;
        while let Some(binding) = self.targets.get(target).incoming.last() {
            self.remove_binding(*binding);
        }
        while let Some(gate) = self.exchanges.get(id).gates.first() {
            let last = self.targets.get(*gate).incoming.last();
            self.remove_binding(*last.expect("a gate goes with the last binding that leads there"));
        }
        self.targets.remove(target);
        self.names.remove(name);
        self.exchanges.remove(id);
        Ok(true)
    }

    /// What an exchange was declared to be.
    #[must_use]
    pub fn exchange(&self, name: &str) -> Option<&Declaration> {
        let id = self.names.get(name)?;
        Some(&self.exchanges.get(*id).declaration)
    }

    /// How many bindings lead from an exchange: with none it is unused (AMQP's `if-unused`, and
    /// auto-delete). 0 if it isn't there.
    #[must_use]
    pub fn bindings_from(&self, name: &str) -> usize {
        self.names.get(name).map_or(0, |id| self.exchanges.get(*id).outgoing.len())
    }

    /// How many exchanges are declared.
    #[must_use]
    pub fn exchanges_len(&self) -> usize {
        self.exchanges.len()
    }

    /// How many bindings there are.
    #[must_use]
    pub fn bindings_len(&self) -> usize {
        self.bindings.len()
    }

    fn find_exchange(&self, name: &str) -> Result<u32, Error> {
        if let Some(id) = self.names.get(name) {
            return Ok(*id);
        }
        if name.is_empty() {
            return Err(Error::DefaultExchange);
        }
        Error::check_length("name of exchange", name, NAME_BYTES_MAX)?;
        Err(Error::UnknownExchange { name: name.to_owned() })
    }

    #[cfg(test)]
    pub(crate) fn indexes(&self) -> impl Iterator<Item = &Index> {
        self.names.values().map(|id| &self.exchanges.get(*id).index)
    }

    /// Identities, queues and gates, and targets.
    #[cfg(test)]
    pub(crate) fn parts(&self) -> (usize, usize, usize) {
        let ends = self.queues.len() + self.gates.len();
        (self.identities.len(), ends, self.targets.len())
    }
}
