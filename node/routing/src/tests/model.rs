//! The definition of routing, without any thought for speed.

use std::collections::{BTreeMap, BTreeSet};

use crate::hash::xxh64;
use crate::ring::{POINTS_PER_WEIGHT, exchange_identity, gate_identity, queue_identity};
use crate::{Binding, Declaration, Destination, GateId, Kind, QueueId, Syntax, Table};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Queue(u64),
    Exchange(String),
    Gate(u64, String),
}

impl End {
    /// The exchange that it is, or leads to.
    pub(super) fn exchange(&self) -> Option<&str> {
        match self {
            Self::Queue(_) => None,
            Self::Exchange(name) | Self::Gate(_, name) => Some(name),
        }
    }
}

/// A binding that owns what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) source: String,
    pub(super) end: End,
    pub(super) key: String,
    pub(super) syntax: Syntax,
    pub(super) arguments: BTreeMap<String, Option<Vec<u8>>>,
}

impl Bound {
    /// Calls `use_it` with the binding as a table takes it.
    pub(super) fn lend<T>(&self, use_it: impl FnOnce(&Binding<'_>) -> T) -> T {
        // Not in order: a table puts arguments in order itself.
        let arguments: Vec<_> =
            self.arguments.iter().rev().map(|(n, v)| (n.as_str(), v.as_deref())).collect();
        let destination = match &self.end {
            End::Queue(queue) => Destination::Queue(QueueId(*queue)),
            End::Exchange(name) => Destination::Exchange(name),
            End::Gate(gate, name) => Destination::Gate(GateId(*gate), name),
        };
        let (source, key, syntax) = (self.source.as_str(), self.key.as_str(), self.syntax);
        use_it(&Binding { source, destination, key, syntax, arguments: &arguments })
    }
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) exchanges: BTreeMap<String, Declaration>,
    pub(super) bindings: Vec<Bound>,
}

pub(super) type HeaderList = Vec<(String, Vec<u8>)>;

impl Model {
    /// The table of all that is declared and bound, made at once, in another order and with another
    /// seed.
    pub(super) fn rebuild(&self) -> Table {
        let mut table = Table::new(99);
        for (name, declaration) in self.exchanges.iter().rev() {
            table.declare_exchange(name, declaration.clone()).unwrap();
        }
        for bound in self.bindings.iter().rev() {
            assert!(bound.lend(|binding| table.bind(binding)).unwrap());
        }
        table
    }

    pub(super) fn reaches(&self, from: &str, goal: &str) -> bool {
        from == goal
            || self.bindings.iter().any(|bound| {
                let mut next = bound.end.exchange().into_iter();
                bound.source == from && next.any(|next| self.reaches(next, goal))
            })
    }

    /// Gates below `open` let everything through, others nothing.
    pub(super) fn route(
        &self,
        exchange: &str,
        key: &str,
        headers: &[(String, Vec<u8>)],
        open: u64,
    ) -> Vec<u64> {
        let mut seen = BTreeSet::new();
        let mut queues = BTreeSet::new();
        let mut waiting = vec![exchange.to_owned()];
        while let Some(name) = waiting.pop() {
            let Some(declaration) = self.exchanges.get(&name) else { continue };
            if !seen.insert(name.clone()) {
                continue;
            }
            let mut chosen = self.choose(&name, &declaration.kind, key, headers);
            chosen.retain(|end| !matches!(end, End::Gate(gate, _) if *gate >= open));
            if chosen.is_empty() {
                waiting.extend(declaration.alternate.as_ref().map(ToString::to_string));
            }
            for end in chosen {
                match end {
                    End::Queue(queue) => _ = queues.insert(queue),
                    End::Exchange(name) | End::Gate(_, name) => waiting.push(name),
                }
            }
        }
        queues.into_iter().collect()
    }

    fn choose(
        &self,
        name: &str,
        kind: &Kind,
        key: &str,
        headers: &[(String, Vec<u8>)],
    ) -> BTreeSet<End> {
        let bindings = self.bindings.iter().filter(|bound| bound.source == name);
        if let Kind::ConsistentHash { header } = kind {
            let value = header.as_ref().map(|header| {
                let found = headers.iter().find(|(name, _)| **name == **header);
                found.map_or(&[][..], |(_, value)| value)
            });
            let hash = xxh64(value.unwrap_or(key.as_bytes()), 0);
            let points: BTreeMap<u64, &End> = bindings.flat_map(points).collect();
            let point = points.range(hash..).next().or(points.first_key_value());
            return point.map(|(_, end)| (*end).clone()).into_iter().collect();
        }
        let chosen = bindings.filter(|bound| match kind {
            Kind::Direct => bound.key == key,
            Kind::Topic => matches_naively(&bound.key, bound.syntax, key),
            Kind::Fanout | Kind::ConsistentHash { .. } => true,
            Kind::Headers => has_naively(&bound.arguments, headers),
        });
        chosen.map(|bound| bound.end.clone()).collect()
    }
}

fn points(bound: &Bound) -> impl Iterator<Item = (u64, &End)> {
    let identity = match &bound.end {
        End::Queue(queue) => queue_identity(*queue),
        End::Exchange(name) => exchange_identity(name),
        End::Gate(gate, name) => gate_identity(*gate, name),
    };
    let points = bound.key.parse::<u64>().unwrap() * POINTS_PER_WEIGHT;
    (0..points).map(move |index| (xxh64(&identity.to_le_bytes(), index), &bound.end))
}

pub(super) fn matches_naively(pattern: &str, syntax: Syntax, key: &str) -> bool {
    fn split(text: &str) -> Vec<&str> {
        if text.is_empty() { Vec::new() } else { text.split('.').collect() }
    }
    fn go(pattern: &[&str], syntax: Syntax, key: &[&str]) -> bool {
        match (pattern, key, syntax) {
            (["#", rest @ ..], _, Syntax::Amqp) => {
                (0..=key.len()).any(|taken| go(rest, syntax, &key[taken..]))
            }
            ([">"], _, Syntax::Nats) => !key.is_empty(),
            ([], _, _) => key.is_empty(),
            (["*", rest @ ..], [_, after @ ..], _) => go(rest, syntax, after),
            ([word, rest @ ..], [other, after @ ..], _) => word == other && go(rest, syntax, after),
            ([_, ..], [], _) => false,
        }
    }
    go(&split(pattern), syntax, &split(key))
}

fn has_naively(
    arguments: &BTreeMap<String, Option<Vec<u8>>>,
    headers: &[(String, Vec<u8>)],
) -> bool {
    let mode = arguments.get("x-match").cloned().flatten().unwrap_or(b"all".to_vec());
    let mode = String::from_utf8(mode).unwrap();
    let asked = arguments
        .iter()
        .filter(|(name, _)| *name != "x-match")
        .filter(|(name, _)| mode.ends_with("-with-x") || !name.starts_with("x-"));
    let mut has = asked.map(|(name, value)| {
        headers.iter().any(|(n, v)| n == name && value.as_ref().is_none_or(|value| value == v))
    });
    if mode.starts_with("all") { has.all(|has| has) } else { has.any(|has| has) }
}
