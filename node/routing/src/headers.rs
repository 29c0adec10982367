//! All bindings of one headers exchange, indexed by what they ask for.
//!
//! Each pair of a name and a value (or a name alone) that a binding asks for has a number. One that
//! asks for any of its pairs is found through each of them. One that asks for all is found through
//! one of them, that which fewest others asked for at the time, and is then compared with the
//! numbers of all pairs that the message has. So the work is in proportion to the headers of a
//! message and the bindings that share a pair with it, not to all bindings.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::arguments::{Argument, Demand, How};
use crate::sinks::{Sink, Sinks};
use crate::slab::Slab;

/// The headers of a message, as a headers exchange looks at them.
///
/// Values are compared byte for byte with those of a binding's arguments; a protocol whose values
/// have types puts a tag in front of both. A name may come more than once, and then has each of its
/// values.
pub trait Headers {
    /// Calls `visit` with the name and the value of every header.
    fn each(&self, visit: &mut dyn FnMut(&str, &[u8]));
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for [(N, V)] {
    fn each(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        for (name, value) in self {
            visit(name.as_ref(), value.as_ref());
        }
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>, const COUNT: usize> Headers for [(N, V); COUNT] {
    fn each(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        self[..].each(visit);
    }
}

/// Headers of a message that has none.
impl Headers for () {
    fn each(&self, _visit: &mut dyn FnMut(&str, &[u8])) {}
}

#[derive(Debug, Clone)]
struct Pair {
    name: Box<str>,
    value: Option<Box<[u8]>>,
    /// How many bindings ask for it.
    uses: u32,
    /// Those of them that ask for all of their pairs and are found through this one.
    all: Sinks,
    /// Those that ask for any.
    any: Sinks,
}

impl Pair {
    fn is(&self, (name, value): Argument<'_>) -> bool {
        *self.name == *name && self.value.as_deref() == value
    }
}

#[derive(Debug, Clone)]
struct Asker {
    how: How,
    /// In order, with the position there: in `any` of each; in `all` of one, `through`.
    pairs: Box<[(u32, u32)]>,
    /// Which of the pairs leads to one that asks for all; none if it asks for nothing.
    through: Option<u32>,
}

/// What matching needs besides the index, kept from message to message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Present {
    pairs: Vec<u32>,
}

#[derive(Debug, Clone)]
pub(crate) struct HeaderIndex {
    pairs: Slab<Pair>,
    numbers: HashTable<u32>,
    askers: Slab<Asker>,
    /// Bindings that ask for nothing, all of it: every message will do.
    always: Sinks,
    hasher: FixedState,
}

impl HeaderIndex {
    pub(crate) fn new(hasher: FixedState) -> Self {
        let (pairs, askers) = (Slab::new(), Slab::new());
        Self { pairs, numbers: HashTable::new(), askers, always: Sinks::Empty, hasher }
    }

    /// Adds a binding that leads to `target`, and answers its number and, where it asks for
    /// nothing, its position. Sinks belong to the numbers given here, not to bindings, but for
    /// those in `always`, which belong to `owner`.
    pub(crate) fn insert(&mut self, demand: &Demand<'_>, sink: Sink) -> (u32, u32) {
        let mut pairs: Vec<u32> = demand.pairs.iter().map(|pair| self.take(*pair)).collect();
        pairs.sort_unstable();
        let rarest = pairs.iter().copied().min_by_key(|pair| self.pairs.get(*pair).uses);
        let through = rarest.filter(|_| demand.how == How::All);
        let mut asker = Asker {
            how: demand.how,
            pairs: pairs.into_iter().map(|pair| (pair, 0)).collect(),
            through,
        };
        let mut position = 0;
        let owner = self.askers.insert(asker.clone());
        let own = Sink { target: sink.target, owner };
        match asker.how {
            How::All if asker.pairs.is_empty() => position = self.always.push(sink),
            How::All => {
                for (pair, at) in &mut asker.pairs {
                    if Some(*pair) == through {
                        *at = self.pairs.get_mut(*pair).all.push(own);
                    }
                }
            }
            How::Any => {
                for (pair, at) in &mut asker.pairs {
                    *at = self.pairs.get_mut(*pair).any.push(own);
                }
            }
        }
        *self.askers.get_mut(owner) = asker;
        (owner, position)
    }

    /// Removes the binding with a number, and answers the owner of the sink that took its place in
    /// `always`, if any did.
    pub(crate) fn remove(&mut self, number: u32, position: u32, owner: u32) -> Option<u32> {
        let asker = self.askers.remove(number);
        let mut moved = None;
        if asker.how == How::All && asker.pairs.is_empty() {
            moved = self.always.remove(position, owner);
        }
        for (pair, at) in &asker.pairs {
            let sinks = match asker.how {
                How::All if asker.through != Some(*pair) => None,
                How::All => Some(&mut self.pairs.get_mut(*pair).all),
                How::Any => Some(&mut self.pairs.get_mut(*pair).any),
            };
            if let Some(other) = sinks.and_then(|sinks| sinks.remove(*at, number)) {
                let pairs = &mut self.askers.get_mut(other).pairs;
                let index = pairs.binary_search_by_key(pair, |(pair, _)| *pair);
                pairs[index.expect("it was found through this pair")].1 = *at;
            }
            self.give_back(*pair);
        }
        moved
    }

    /// Calls `found` with the sinks of each binding that has what it asks for.
    pub(crate) fn route<H: Headers + ?Sized>(
        &self,
        headers: &H,
        present: &mut Present,
        mut found: impl FnMut(&[Sink]),
    ) {
        if !self.always.is_empty() {
            found(self.always.as_slice());
        }
        if self.pairs.len() == 0 {
            return;
        }
        let Present { pairs } = present;
        pairs.clear();
        headers.each(&mut |name, value| {
            pairs.extend(self.find((name, Some(value))));
            pairs.extend(self.find((name, None)));
        });
        pairs.sort_unstable();
        pairs.dedup();
        for pair in pairs.iter() {
            let pair = self.pairs.get(*pair);
            if !pair.any.is_empty() {
                found(pair.any.as_slice());
            }
            for sink in pair.all.as_slice() {
                let asked = &self.askers.get(sink.owner).pairs;
                if asked.iter().all(|(pair, _)| pairs.binary_search(pair).is_ok()) {
                    found(std::slice::from_ref(sink));
                }
            }
        }
    }

    fn find(&self, pair: Argument<'_>) -> Option<u32> {
        let hash = self.hasher.hash_one(pair);
        self.numbers.find(hash, |id| self.pairs.get(*id).is(pair)).copied()
    }

    /// The number of a pair, which one more binding asks for from now on.
    fn take(&mut self, pair: Argument<'_>) -> u32 {
        if let Some(id) = self.find(pair) {
            self.pairs.get_mut(id).uses += 1;
            return id;
        }
        let (name, value) = (pair.0.into(), pair.1.map(Into::into));
        let new = Pair { name, value, uses: 1, all: Sinks::Empty, any: Sinks::Empty };
        let id = self.pairs.insert(new);
        let rehash = |id: &u32| {
            let pair = self.pairs.get(*id);
            self.hasher.hash_one((&*pair.name, pair.value.as_deref()))
        };
        self.numbers.insert_unique(self.hasher.hash_one(pair), id, rehash);
        id
    }

    fn give_back(&mut self, id: u32) {
        let pair = self.pairs.get_mut(id);
        pair.uses -= 1;
        if pair.uses > 0 {
            return;
        }
        assert!(pair.all.is_empty() && pair.any.is_empty(), "nobody asks for this pair");
        let hash = self.hasher.hash_one((&*pair.name, pair.value.as_deref()));
        let entry = self.numbers.find_entry(hash, |other| *other == id);
        entry.expect("every pair is in the table of numbers").remove();
        self.pairs.remove(id);
    }

    /// Pairs, their numbers, and bindings.
    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        (self.pairs.len(), self.numbers.len(), self.askers.len())
    }
}
