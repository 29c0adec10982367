//! Random changes: a table that was changed step by step answers what the model answers, and what a
//! table answers that is made at once.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;

use super::model::{Bound, End, HeaderList, Model};
use crate::{
    Candidate, Declaration, Error, Headers, Kind, QueueId, Routed, Syntax, Table, Verdict,
};

/// Numbers of gates.
const GATES: u64 = 4;
const NAMES: [&str; 6] = ["u", "v", "w", "x", "y", "z"];

#[derive(Debug, Clone)]
enum Step {
    Declare(String, Declaration),
    Alternate(String, Option<String>),
    Delete(String),
    Bind(Bound),
    Unbind(prop::sample::Index),
    RemoveQueue(u64),
}

fn name() -> impl Strategy<Value = String> {
    select(&NAMES[..]).prop_map(str::to_owned)
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        2 => Just(Kind::Direct),
        3 => Just(Kind::Topic),
        1 => Just(Kind::Fanout),
        3 => Just(Kind::Headers),
        1 => Just(Kind::ConsistentHash { header: None }),
        1 => Just(Kind::ConsistentHash { header: Some("h".into()) }),
    ]
}

fn declaration() -> impl Strategy<Value = Declaration> {
    (kind(), prop::option::weighted(0.4, name())).prop_map(|(kind, alternate)| Declaration {
        alternate: alternate.map(Into::into),
        ..Declaration::new(kind)
    })
}

fn bound() -> impl Strategy<Value = Bound> {
    let end = prop_oneof![
        4 => (0..9u64).prop_map(End::Queue),
        1 => name().prop_map(End::Exchange),
        1 => (0..GATES, name()).prop_map(|(gate, name)| End::Gate(gate, name)),
    ];
    // Keys for every kind of exchange: some are words, patterns and weights at once.
    let key = select(&["1", "2", "3", "*.1", "#", "#.2", "a.#.b", "*", "a", "a.b", ">", "a.>"][..]);
    let argument = select(&["h", "i", "x-h", "x-i"][..]).prop_map(str::to_owned);
    let arguments =
        prop::collection::btree_map(argument, prop::option::weighted(0.8, value()), 0..4);
    let modes = [None, None, Some("all"), Some("any"), Some("all-with-x"), Some("any-with-x")];
    let mode = select(modes.to_vec());
    let syntax = select(&[Syntax::Amqp, Syntax::Amqp, Syntax::Nats][..]);
    (name(), end, key, arguments, mode, syntax).prop_map(
        |(source, end, key, mut arguments, mode, syntax)| {
            if let Some(mode) = mode {
                arguments.insert("x-match".to_owned(), Some(mode.as_bytes().to_vec()));
            }
            Bound { source, end, key: key.to_owned(), syntax, arguments }
        },
    )
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    select(["1", "2", ""].as_slice()).prop_map(|value| value.as_bytes().to_vec())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (name(), declaration()).prop_map(|(name, d)| Step::Declare(name, d)),
        1 => (name(), prop::option::of(name())).prop_map(|(name, a)| Step::Alternate(name, a)),
        1 => name().prop_map(Step::Delete),
        20 => bound().prop_map(Step::Bind),
        6 => any::<prop::sample::Index>().prop_map(Step::Unbind),
        1 => (0..9u64).prop_map(Step::RemoveQueue),
    ]
}

/// Takes a step in the table and in the model, and compares what they say about it.
fn take(table: &mut Table, model: &mut Model, step: &Step) {
    match step {
        Step::Declare(name, declaration) => {
            let known = model.exchanges.get(name);
            match table.declare_exchange(name, declaration.clone()) {
                Ok(is_new) => assert_eq!(is_new, known.is_none()),
                Err(error) => {
                    assert!(matches!(error, Error::Inequivalent { .. }), "{error}");
                    assert!(known.is_some_and(|known| known != declaration));
                    return;
                }
            }
            model.exchanges.insert(name.clone(), declaration.clone());
        }
        Step::Alternate(name, alternate) => {
            let changed = table.set_alternate(name, alternate.as_deref());
            let known = model.exchanges.get_mut(name);
            assert_eq!(changed.is_ok(), known.is_some());
            if let Some(known) = known {
                known.alternate = alternate.clone().map(Into::into);
            }
        }
        Step::Delete(name) => {
            let was_there = model.exchanges.remove(name).is_some();
            assert_eq!(table.delete_exchange(name), Ok(was_there));
            let leads_there = |bound: &Bound| bound.end.exchange() == Some(name);
            model.bindings.retain(|bound| bound.source != *name && !leads_there(bound));
        }
        Step::Bind(bound) => bind(table, model, bound),
        Step::Unbind(index) => {
            if !model.bindings.is_empty() {
                let bound = model.bindings.remove(index.index(model.bindings.len()));
                assert!(bound.lend(|binding| table.unbind(binding)));
                assert!(!bound.lend(|binding| table.unbind(binding)));
            }
        }
        Step::RemoveQueue(queue) => {
            let before = model.bindings.len();
            model.bindings.retain(|bound| bound.end != End::Queue(*queue));
            assert_eq!(table.remove_queue(QueueId(*queue)), before - model.bindings.len());
        }
    }
    assert_eq!(table.bindings_len(), model.bindings.len());
    assert_eq!(table.exchanges_len(), model.exchanges.len());
}

fn bind(table: &mut Table, model: &mut Model, bound: &Bound) {
    let result = bound.lend(|binding| table.bind(binding));
    let source = model.exchanges.get(&bound.source);
    // The syntax is a part of what a binding is only where it means something.
    let mut bound = bound.clone();
    if source.is_some_and(|source| source.kind != Kind::Topic) {
        bound.syntax = Syntax::Amqp;
    }
    let is_known = model.bindings.contains(&bound);
    let makes_loop = bound.end.exchange().is_some_and(|end| model.reaches(end, &bound.source));
    match result {
        Ok(is_new) => {
            assert_eq!(is_new, !is_known);
            assert!(!makes_loop, "{bound:?}");
            if is_new {
                model.bindings.push(bound);
            }
        }
        Err(Error::UnknownExchange { name }) => assert!(!model.exchanges.contains_key(&name)),
        Err(Error::Loop { path }) => {
            assert!(makes_loop, "{path:?}");
            assert_eq!(path.first(), path.last());
        }
        Err(Error::BadWeight { key, .. }) => assert!(key.parse::<u16>().is_err()),
        Err(error) => panic!("{error}"),
    }
}

fn message() -> impl Strategy<Value = (String, HeaderList)> {
    let key = select(&["", "1", "2", "a", "a.b", "a.2", "a.1", "a.1.2", "b.a.b", "a.c.d.b"][..]);
    let header = select(&["h", "i", "x-h", "x-i", "other"][..]).prop_map(str::to_owned);
    (key.prop_map(str::to_owned), prop::collection::vec((header, value()), 0..4))
}

/// The queues of a message, where gates below `open` let everything through.
fn route_below<H: Headers + ?Sized>(
    table: &Table,
    exchange: &str,
    key: &str,
    headers: &H,
    open: u64,
) -> Vec<u64> {
    let mut routed = Routed::new();
    let accept = |candidate| match candidate {
        Candidate::Queue(_) => Verdict::Accepted,
        Candidate::Gate(gate) => (gate.0 < open).into(),
    };
    table.route_where(exchange, &[key], headers, &mut routed, accept).unwrap();
    let mut queues: Vec<u64> = routed.queues().iter().map(|queue| queue.0).collect();
    queues.sort_unstable();
    queues
}

fn compare(table: &Table, model: &Model, messages: &[(String, HeaderList)]) {
    let rebuilt = model.rebuild();
    for (key, headers) in messages {
        for name in model.exchanges.keys() {
            for open in [GATES / 2, GATES] {
                let headers = &headers[..];
                let expected = model.route(name, key, headers, open);
                let found = route_below(table, name, key, headers, open);
                assert_eq!(found, expected, "{name} {key} {headers:?}");
                let found = route_below(&rebuilt, name, key, headers, open);
                assert_eq!(found, expected, "rebuilt, {name} {key}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_changed_table_a_rebuilt_one_and_the_model_agree(
        first in prop::collection::vec(declaration(), NAMES.len()),
        steps in prop::collection::vec(step(), 0..120),
        messages in prop::collection::vec(message(), 8),
    ) {
        let mut table = Table::new(5);
        let mut model = Model { exchanges: BTreeMap::new(), bindings: Vec::new() };
        for (name, declaration) in NAMES.iter().zip(first) {
            take(&mut table, &mut model, &Step::Declare((*name).to_owned(), declaration));
        }
        for (index, step) in steps.iter().enumerate() {
            take(&mut table, &mut model, step);
            if index % 40 == 39 {
                compare(&table, &model, &messages);
            }
        }
        compare(&table, &model, &messages);
        while let Some(bound) = model.bindings.pop() {
            prop_assert!(bound.lend(|binding| table.unbind(binding)));
        }
        table.assert_bare();
    }
}
