//! An exchange: what was declared, and the index of its bindings.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::Error;
use crate::arguments::{Arguments, Demand};
use crate::binding::{Binding, Place, Record};
use crate::headers::{HeaderIndex, Headers};
use crate::limits::{NAME_BYTES_MAX, WEIGHT_MAX};
use crate::pattern::Pattern;
use crate::ring::Ring;
use crate::routed::Scratch;
use crate::sinks::{Sink, Sinks};
use crate::trie::Trie;

/// How an exchange chooses among its bindings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Those whose key is the message's routing key.
    Direct,
    /// Those whose pattern matches the message's routing key.
    Topic,
    /// All of them.
    Fanout,
    /// Those whose arguments match the message's headers.
    Headers,
    /// One destination, always the same for the same value as long as the destinations are the
    /// same; each has a share in proportion to its weight. The share is the more exact the larger
    /// the weights are: with weights of 1 it may be off by a quarter, with weights of 10 by a
    /// twelfth. A destination that is bound more than once has the largest of its weights.
    ///
    /// A destination has 16 points on the ring for each unit of its weight, of 27 bytes each.
    /// Adding or removing one takes time in proportion: for a weight of 1000 about two
    /// milliseconds.
    ConsistentHash {
        /// The header whose value counts; a message without it has an empty one. `None` is the
        /// routing key.
        header: Option<Box<str>>,
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("direct"),
            Self::Topic => f.write_str("topic"),
            Self::Fanout => f.write_str("fanout"),
            Self::Headers => f.write_str("headers"),
            Self::ConsistentHash { header: None } => f.write_str("consistent-hash"),
            Self::ConsistentHash { header: Some(header) } => {
                write!(f, "consistent-hash of header {header:?}")
            }
        }
    }
}

/// What an exchange is declared to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// How it chooses.
    pub kind: Kind,
    /// Whether clients may not publish to it. The table only keeps this: whoever takes a message
    /// from a client looks at it.
    pub internal: bool,
    /// The exchange that gets a message for which no binding was chosen. It need not be there: a
    /// message for it is then not routed. The default exchange can't be one.
    pub alternate: Option<Box<str>>,
}

impl Declaration {
    /// An exchange that isn't internal and has no alternate.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self { kind, internal: false, alternate: None }
    }

    /// The same with this alternate exchange.
    #[must_use]
    pub fn with_alternate(mut self, name: &str) -> Self {
        self.alternate = Some(name.into());
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        check_alternate(self.alternate.as_deref())?;
        if let Kind::ConsistentHash { header: Some(header) } = &self.kind {
            Error::check_length("name of the header to hash", header, NAME_BYTES_MAX)?;
        }
        Ok(())
    }

    /// Refuses another declaration of the same exchange.
    pub(crate) fn check_same(&self, name: &str, wanted: &Self) -> Result<(), Error> {
        let differs = |field, current, wanted| {
            Err(Error::Inequivalent { name: name.to_owned(), field, current, wanted })
        };
        if self.kind != wanted.kind {
            return differs("kind", self.kind.to_string(), wanted.kind.to_string());
        }
        if self.internal != wanted.internal {
            return differs("internal", self.internal.to_string(), wanted.internal.to_string());
        }
        if self.alternate != wanted.alternate {
            let named =
                |a: &Option<Box<str>>| a.as_ref().map_or("none".into(), |a| format!("{a:?}"));
            return differs("alternate exchange", named(&self.alternate), named(&wanted.alternate));
        }
        Ok(())
    }
}

pub(crate) fn check_alternate(name: Option<&str>) -> Result<(), Error> {
    if name == Some("") {
        return Err(Error::DefaultExchange);
    }
    let name = name.unwrap_or_default();
    Error::check_length("name of alternate exchange", name, NAME_BYTES_MAX)
}

/// An exchange, as a table keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) name: Box<str>,
    pub(crate) declaration: Declaration,
    /// Its number as a destination.
    pub(crate) target: u32,
    /// The bindings whose source it is.
    pub(crate) outgoing: Vec<u32>,
    /// The exchanges to which it is bound, by number, with how many bindings lead there.
    pub(crate) downstream: BTreeMap<u32, u32>,
    /// The gates in front of it, by their numbers as destinations.
    pub(crate) gates: BTreeSet<u32>,
    pub(crate) index: Index,
}

/// The bindings of an exchange, ready to be chosen from.
#[derive(Debug, Clone)]
pub(crate) enum Index {
    Direct(HashMap<Box<str>, Sinks, FixedState>),
    Topic(Trie),
    Fanout(Sinks),
    Headers(HeaderIndex),
    ConsistentHash(Ring, Option<Box<str>>),
}

/// A binding that has been checked against the kind of its source.
#[derive(Debug)]
pub(crate) enum Plan<'a> {
    Key(&'a str),
    Pattern(Pattern),
    Always,
    Headers(Demand<'a>),
    Weight(u16),
}

/// The weight that a key of a binding is.
fn weight(key: &str) -> Option<u16> {
    let is_number = key.bytes().all(|byte| byte.is_ascii_digit());
    let weight = key.parse().ok().filter(|_| is_number)?;
    (1..=WEIGHT_MAX).contains(&weight).then_some(weight)
}

impl Index {
    pub(crate) fn new(kind: &Kind, hasher: FixedState) -> Self {
        match kind {
            Kind::Direct => Self::Direct(HashMap::with_hasher(hasher)),
            Kind::Topic => Self::Topic(Trie::new(hasher)),
            Kind::Fanout => Self::Fanout(Sinks::Empty),
            Kind::Headers => Self::Headers(HeaderIndex::new(hasher)),
            Kind::ConsistentHash { header } => {
                Self::ConsistentHash(Ring::new(hasher), header.clone())
            }
        }
    }

    /// Checks a binding whose source this is the index of.
    pub(crate) fn plan<'a>(
        &self,
        binding: &Binding<'a>,
        arguments: &Arguments<'a>,
    ) -> Result<Plan<'a>, Error> {
        match self {
            Self::Direct(_) => Ok(Plan::Key(binding.key)),
            Self::Topic(_) => Ok(Plan::Pattern(Pattern::compile(binding.key, binding.syntax)?)),
            Self::Fanout(_) => Ok(Plan::Always),
            Self::Headers(_) => Ok(Plan::Headers(arguments.demand(binding.source)?)),
            Self::ConsistentHash(..) => {
                let (exchange, key) = (binding.source.to_owned(), binding.key.to_owned());
                let weight = weight(binding.key);
                weight.map(Plan::Weight).ok_or(Error::BadWeight { exchange, key })
            }
        }
    }

    /// Adds a binding; `identity` is that of its destination on rings.
    pub(crate) fn insert(&mut self, plan: &Plan<'_>, sink: Sink, identity: u64) -> Place {
        match (self, plan) {
            (Self::Direct(keys), Plan::Key(key)) => {
                let position = keys.entry((*key).into()).or_default().push(sink);
                Place { part: 0, position }
            }
            (Self::Topic(trie), Plan::Pattern(pattern)) => {
                let (part, position) = trie.insert(pattern, sink);
                Place { part, position }
            }
            (Self::Fanout(sinks), Plan::Always) => Place { part: 0, position: sinks.push(sink) },
            (Self::Headers(index), Plan::Headers(demand)) => {
                let (part, position) = index.insert(demand, sink);
                Place { part, position }
            }
            (Self::ConsistentHash(ring, _), Plan::Weight(weight)) => {
                ring.insert(sink.target, identity, *weight);
                Place::default()
            }
            (index, plan) => unreachable!("{plan:?} was made by another index than {index:?}"),
        }
    }

    /// Removes a binding, and answers the number of the one that took its position, if any did.
    pub(crate) fn remove(&mut self, id: u32, record: &Record) -> Option<u32> {
        let Place { part, position } = record.place;
        match self {
            Self::Direct(keys) => {
                let sinks = keys.get_mut(&*record.key).expect("a bound key has its place");
                let moved = sinks.remove(position, id);
                if sinks.is_empty() {
                    keys.remove(&*record.key);
                }
                moved
            }
            Self::Topic(trie) => trie.remove(part, position, id),
            Self::Fanout(sinks) => sinks.remove(position, id),
            Self::Headers(index) => index.remove(part, position, id),
            Self::ConsistentHash(ring, _) => {
                let weight = weight(&record.key);
                ring.remove(record.target, weight.expect("it was checked when it was bound"));
                None
            }
        }
    }

    /// Calls `found` with the numbers of the destinations of all bindings that are chosen.
    pub(crate) fn route<H: Headers + ?Sized>(
        &self,
        keys: &[&str],
        headers: &H,
        scratch: &mut Scratch,
        mut found: impl FnMut(u32),
    ) {
        let mut all = |sinks: &[Sink]| sinks.iter().for_each(|sink| found(sink.target));
        match self {
            Self::Direct(bound) => {
                keys.iter().filter_map(|key| bound.get(*key)).for_each(|s| all(s.as_slice()));
            }
            Self::Topic(trie) => {
                keys.iter().for_each(|key| trie.route(key, &mut scratch.walk, &mut all));
            }
            Self::Fanout(sinks) => all(sinks.as_slice()),
            Self::Headers(index) => index.route(headers, &mut scratch.present, all),
            Self::ConsistentHash(ring, None) => {
                keys.iter().filter_map(|key| ring.route(key.as_bytes())).for_each(found);
            }
            Self::ConsistentHash(ring, Some(header)) => {
                let value = &mut scratch.value;
                value.clear();
                let mut is_there = false;
                headers.each(&mut |name, bytes| {
                    if *name == **header && !is_there {
                        is_there = true;
                        value.extend_from_slice(bytes);
                    }
                });
                ring.route(value).into_iter().for_each(found);
            }
        }
    }
}
