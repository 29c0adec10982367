//! Bindings come and go.

use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use super::{Node, Table, Target};
use crate::Error;
use crate::arguments::Arguments;
use crate::binding::{Binding, Destination, Place, QueueId, Record};
use crate::exchange::Plan;
use crate::limits::{BINDINGS_MAX, KEY_BYTES_MAX};
use crate::pattern::Syntax;
use crate::ring::{exchange_identity, gate_identity, queue_identity};
use crate::sinks::Sink;

/// Everything that makes a binding what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity<'a> {
    source: u32,
    target: u32,
    syntax: Syntax,
    key: &'a str,
    arguments: &'a [u8],
}

impl<'a> Identity<'a> {
    fn of(record: &'a Record) -> Self {
        let Record { source, target, syntax, key, arguments, .. } = record;
        Self { source: *source, target: *target, syntax: *syntax, key, arguments }
    }

    fn hash(&self, hasher: &FixedState) -> u64 {
        hasher.hash_one(self)
    }
}

impl Table {
    /// Adds a binding; false if the same one is there already, which changes nothing.
    ///
    /// # Errors
    /// [`Error::UnknownExchange`] for its source and its destination, [`Error::DefaultExchange`],
    /// [`Error::TooLong`] for its key, what [`Pattern::compile`](crate::Pattern::compile) says of
    /// a pattern, [`Error::BadArgument`], [`Error::BadWeight`], [`Error::Loop`] if messages could
    /// come back to its source, and [`Error::TooMany`] above [`BINDINGS_MAX`].
    pub fn bind(&mut self, binding: &Binding<'_>) -> Result<bool, Error> {
        let source = self.find_exchange(binding.source)?;
        let onward = match binding.destination {
            Destination::Queue(_) => None,
            Destination::Exchange(name) | Destination::Gate(_, name) => {
                Some(self.find_exchange(name)?)
            }
        };
        Error::check_length("routing key of binding", binding.key, KEY_BYTES_MAX)?;
        let arguments = Arguments::new(binding.source, binding.arguments)?;
        let plan = self.exchanges.get(source).index.plan(binding, &arguments)?;
        let encoded = arguments.encoded();
        let syntax = match plan {
            Plan::Pattern(_) => binding.syntax,
            Plan::Key(_) | Plan::Always | Plan::Headers(_) | Plan::Weight(_) => Syntax::Amqp,
        };
        if let Some(target) = self.find_target(binding.destination) {
            let identity =
                Identity { source, target, syntax, key: binding.key, arguments: &encoded };
            if self.find_binding(&identity).is_some() {
                return Ok(false);
            }
        }
        if let Some(destination) = onward {
            self.check_loop(source, destination)?;
        }
        if self.bindings.len() >= BINDINGS_MAX {
            return Err(Error::TooMany {
                what: format!("binding {:?} of {:?} is one too many", binding.key, binding.source),
                limit: BINDINGS_MAX,
                advice: "remove some that are not used",
            });
        }
        let target = self.take_target(binding.destination);
        let record = Record {
            source,
            target,
            syntax,
            key: binding.key.into(),
            arguments: encoded,
            at_source: 0,
            at_target: 0,
            place: Place::default(),
        };
        self.insert_binding(record, &plan, binding.destination);
        Ok(true)
    }

    fn insert_binding(&mut self, record: Record, plan: &Plan<'_>, destination: Destination<'_>) {
        let (source, target) = (record.source, record.target);
        let hash = Identity::of(&record).hash(&self.hasher);
        let id = self.bindings.insert(record);
        let rehash = |id: &u32| Identity::of(self.bindings.get(*id)).hash(&self.hasher);
        self.identities.insert_unique(hash, id, rehash);

        let incoming = &mut self.targets.get_mut(target).incoming;
        incoming.push(id);
        let at_target = last_position(incoming);

        let identity = match destination {
            Destination::Queue(queue) => queue_identity(queue.0),
            Destination::Exchange(name) => exchange_identity(name),
            Destination::Gate(gate, name) => gate_identity(gate.0, name),
        };
        let exchange = self.exchanges.get_mut(source);
        exchange.outgoing.push(id);
        let at_source = last_position(&exchange.outgoing);
        let place = exchange.index.insert(plan, Sink { target, owner: id }, identity);
        if let Some(downstream) = self.targets.get(target).node.exchange() {
            *exchange.downstream.entry(downstream).or_default() += 1;
        }

        let record = self.bindings.get_mut(id);
        (record.at_source, record.at_target, record.place) = (at_source, at_target, place);
    }

    /// Removes a binding; false if there is none that is just the same.
    pub fn unbind(&mut self, binding: &Binding<'_>) -> bool {
        let Some(source) = self.names.get(binding.source).copied() else { return false };
        let Some(target) = self.find_target(binding.destination) else { return false };
        let Ok(arguments) = Arguments::new(binding.source, binding.arguments) else { return false };
        let is_topic = self.exchanges.get(source).declaration.kind == crate::Kind::Topic;
        let syntax = if is_topic { binding.syntax } else { Syntax::Amqp };
        let arguments = &arguments.encoded();
        let identity = Identity { source, target, syntax, key: binding.key, arguments };
        let Some(id) = self.find_binding(&identity) else { return false };
        self.remove_binding(id);
        true
    }

    /// Removes all bindings that lead to a queue, and answers how many there were.
    pub fn remove_queue(&mut self, queue: QueueId) -> usize {
        let before = self.bindings.len();
        // The queue is forgotten with its last binding. The last one first: nothing need be moved.
        while let Some(target) = self.queues.get(&queue) {
            let last = self.targets.get(*target).incoming.last();
            self.remove_binding(*last.expect("a queue is known by its bindings"));
        }
        before - self.bindings.len()
    }

    pub(super) fn remove_binding(&mut self, id: u32) {
        let hash = Identity::of(self.bindings.get(id)).hash(&self.hasher);
        let entry = self.identities.find_entry(hash, |other| *other == id);
        entry.expect("every binding is in the table of identities").remove();
        let record = self.bindings.remove(id);

        let exchange = self.exchanges.get_mut(record.source);
        if let Some(moved) = take_out(&mut exchange.outgoing, record.at_source, id) {
            self.bindings.get_mut(moved).at_source = record.at_source;
        }
        if let Some(moved) = exchange.index.remove(id, &record) {
            self.bindings.get_mut(moved).place.position = record.place.position;
        }

        let target = self.targets.get_mut(record.target);
        if let Some(moved) = take_out(&mut target.incoming, record.at_target, id) {
            self.bindings.get_mut(moved).at_target = record.at_target;
        }
        let (node, is_bare) = (target.node, target.incoming.is_empty());
        if let Some(downstream) = node.exchange() {
            let count = exchange.downstream.get_mut(&downstream);
            let count = count.expect("it was counted when it was bound");
            *count -= 1;
            if *count == 0 {
                exchange.downstream.remove(&downstream);
            }
        }
        match node {
            Node::Queue(queue) if is_bare => {
                self.queues.remove(&queue);
                self.targets.remove(record.target);
            }
            Node::Gate { gate, exchange } if is_bare => {
                self.gates.remove(&(gate, exchange));
                self.exchanges.get_mut(exchange).gates.remove(&record.target);
                self.targets.remove(record.target);
            }
            Node::Queue(_) | Node::Gate { .. } | Node::Exchange(_) => {}
        }
    }

    fn find_binding(&self, identity: &Identity<'_>) -> Option<u32> {
        let is_same = |id: &u32| Identity::of(self.bindings.get(*id)) == *identity;
        self.identities.find(identity.hash(&self.hasher), is_same).copied()
    }

    fn find_target(&self, destination: Destination<'_>) -> Option<u32> {
        match destination {
            Destination::Queue(queue) => self.queues.get(&queue).copied(),
            Destination::Exchange(name) => {
                let id = self.names.get(name)?;
                Some(self.exchanges.get(*id).target)
            }
            Destination::Gate(gate, name) => {
                let exchange = self.names.get(name)?;
                self.gates.get(&(gate, *exchange)).copied()
            }
        }
    }

    /// The number of a destination; a queue or gate that is not yet known gets one.
    fn take_target(&mut self, destination: Destination<'_>) -> u32 {
        match (self.find_target(destination), destination) {
            (Some(target), _) => target,
            (None, Destination::Queue(queue)) => {
                let node = Node::Queue(queue);
                let target = self.targets.insert(Target { node, incoming: Vec::new() });
                self.queues.insert(queue, target);
                target
            }
            (None, Destination::Gate(gate, name)) => {
                let exchange = self.names[name];
                let node = Node::Gate { gate, exchange };
                let target = self.targets.insert(Target { node, incoming: Vec::new() });
                self.gates.insert((gate, exchange), target);
                self.exchanges.get_mut(exchange).gates.insert(target);
                target
            }
            (None, Destination::Exchange(name)) => {
                unreachable!("exchange {name:?} was looked up before")
            }
        }
    }

    /// Refuses a binding from `source` to `destination` if bindings lead from there to `source`.
    fn check_loop(&self, source: u32, destination: u32) -> Result<(), Error> {
        // Breadth first: the path that is named is a shortest one.
        let mut from = BTreeMap::from([(destination, destination)]);
        let mut waiting = VecDeque::from([destination]);
        while let Some(at) = waiting.pop_front() {
            if at == source {
                return Err(self.loop_through(source, destination, &from));
            }
            for next in self.exchanges.get(at).downstream.keys() {
                from.entry(*next).or_insert_with(|| {
                    waiting.push_back(*next);
                    at
                });
            }
        }
        Ok(())
    }

    fn loop_through(&self, source: u32, destination: u32, from: &BTreeMap<u32, u32>) -> Error {
        let name = |id: u32| self.exchanges.get(id).name.clone().into_string();
        let mut path = vec![name(source)];
        let mut at = source;
        while at != destination {
            at = from[&at];
            path.push(name(at));
        }
        path.push(name(source));
        path.reverse();
        Error::Loop { path }
    }
}

fn last_position(list: &[u32]) -> u32 {
    u32::try_from(list.len() - 1).expect("BINDINGS_MAX is below 32 bits")
}

/// Takes a binding out of a list, and answers which one took its position, if any did.
fn take_out(list: &mut Vec<u32>, position: u32, id: u32) -> Option<u32> {
    let at = position as usize;
    assert_eq!(list.get(at), Some(&id), "a binding remembers its position");
    list.swap_remove(at);
    list.get(at).copied()
}
