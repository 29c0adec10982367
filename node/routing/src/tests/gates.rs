//! Gates: bindings to exchanges that only some messages may follow.

use super::{bind, table};
use crate::{
    Binding, Candidate, Declaration, Error, GateId, Kind, QueueId, Routed, Table, Verdict,
};

fn exchanges(all: &[(&str, Kind)]) -> Table {
    let mut table = Table::new(1);
    for (name, kind) in all {
        table.declare_exchange(name, Declaration::new(kind.clone())).unwrap();
    }
    table
}

fn gate(table: &mut Table, source: &str, gate: u64, destination: &str, key: &str) {
    assert!(table.bind(&Binding::to_gate(source, GateId(gate), destination, key)).unwrap());
}

/// The queues of a message that these gates let through, and which gates were asked, in order.
fn route(table: &Table, exchange: &str, keys: &[&str], open: &[u64]) -> (Vec<u64>, Vec<u64>) {
    let mut routed = Routed::new();
    let mut asked = Vec::new();
    let accept = |candidate| match candidate {
        Candidate::Queue(_) => Verdict::Accepted,
        Candidate::Gate(gate) => {
            asked.push(gate.0);
            open.contains(&gate.0).into()
        }
    };
    let is_routed = table.route_where(exchange, keys, &(), &mut routed, accept).unwrap();
    assert_eq!(is_routed, routed.is_routed());
    let mut queues: Vec<u64> = routed.queues().iter().map(|queue| queue.0).collect();
    queues.sort_unstable();
    asked.sort_unstable();
    (queues, asked)
}

#[test]
fn a_gate_in_the_middle_lets_some_messages_through() {
    let mut table = exchanges(&[("f", Kind::Fanout), ("t", Kind::Topic), ("d", Kind::Direct)]);
    bind(&mut table, "f", 1, "");
    gate(&mut table, "f", 10, "t", "");
    bind(&mut table, "t", 2, "#");
    gate(&mut table, "t", 11, "d", "*.b");
    bind(&mut table, "d", 3, "a.b");
    assert_eq!(route(&table, "f", &["a.b"], &[10, 11]), (vec![1, 2, 3], vec![10, 11]));
    assert_eq!(route(&table, "f", &["a.b"], &[10]), (vec![1, 2], vec![10, 11]));
    // Nobody asks what is behind a gate that is shut.
    assert_eq!(route(&table, "f", &["a.b"], &[11]), (vec![1], vec![10]));
    assert_eq!(route(&table, "f", &["a.c"], &[10, 11]), (vec![1, 2], vec![10]));
    // One key leads to the gate, another one on from there.
    assert_eq!(route(&table, "t", &["x.b", "a.b", "y"], &[11]), (vec![2, 3], vec![11]));
}

#[test]
fn a_gate_that_is_shut_is_no_way_and_leaves_it_to_the_alternate() {
    let mut table = exchanges(&[("a", Kind::Direct), ("b", Kind::Fanout), ("late", Kind::Fanout)]);
    table.set_alternate("a", Some("late")).unwrap();
    gate(&mut table, "a", 1, "b", "k");
    bind(&mut table, "late", 9, "");
    assert_eq!(route(&table, "a", &["k"], &[]), (vec![9], vec![1]));
    assert_eq!(route(&table, "a", &["k"], &[1]), (vec![], vec![1]), "b was chosen");
    bind(&mut table, "b", 2, "");
    assert_eq!(route(&table, "a", &["k"], &[1]), (vec![2], vec![1]));
    // A way around it.
    assert!(table.bind(&Binding::to_exchange("a", "b", "x")).unwrap());
    assert_eq!(route(&table, "a", &["k", "x"], &[]), (vec![2], vec![1]));
}

#[test]
fn while_a_gate_is_undecided_nobody_asks_the_alternate_exchange_or_what_is_behind_it() {
    let names = ["a", "b", "c", "late"];
    let kinds = names.map(|name| (name, if name == "a" { Kind::Direct } else { Kind::Fanout }));
    let mut table = exchanges(&kinds);
    table.set_alternate("a", Some("late")).unwrap();
    gate(&mut table, "a", 1, "b", "k");
    gate(&mut table, "b", 2, "late", "");
    gate(&mut table, "late", 3, "c", "");
    let mut routed = Routed::new();
    let mut asked = Vec::new();
    let accept = |candidate| {
        asked.push(candidate);
        Verdict::Undecided
    };
    assert!(!table.route_where("a", &["k"], &(), &mut routed, accept).unwrap());
    assert_eq!(asked, [Candidate::Gate(GateId(1))]);
}

#[test]
fn a_ring_leads_to_a_gate_or_not_at_all() {
    let mut table = table("r", Kind::ConsistentHash { header: None });
    table.declare_exchange("f", Declaration::new(Kind::Fanout)).unwrap();
    bind(&mut table, "f", 1, "");
    gate(&mut table, "r", 1, "f", "10");
    gate(&mut table, "r", 2, "f", "10");
    let keys: Vec<String> = (0..16).map(|key| format!("key-{key}")).collect();
    let asked = keys.iter().map(|key| route(&table, "r", &[key], &[1]));
    let mut owners = Vec::new();
    for (queues, asked) in asked {
        assert_eq!(queues, if asked == [1] { vec![1] } else { vec![] });
        owners.extend(asked);
    }
    // Frozen: if this fails, an upgrade would send keys elsewhere.
    assert_eq!(owners, FROZEN);
}

const FROZEN: [u64; 16] = [2, 2, 1, 2, 2, 1, 1, 2, 1, 2, 1, 2, 1, 2, 2, 2];

#[test]
fn loops_through_gates_are_refused() {
    let all = ["a", "b", "c"].map(|name| (name, Kind::Fanout));
    let mut table = exchanges(&all);
    gate(&mut table, "a", 1, "b", "");
    assert!(table.bind(&Binding::to_exchange("b", "c", "")).unwrap());
    let refused = |table: &mut Table, binding: Binding<'_>| {
        let error = table.bind(&binding).unwrap_err();
        let Error::Loop { path } = &error else { panic!("{error}") };
        path.join(" ")
    };
    assert_eq!(refused(&mut table, Binding::to_exchange("c", "a", "")), "c a b c");
    assert_eq!(refused(&mut table, Binding::to_gate("c", GateId(2), "a", "")), "c a b c");
    assert_eq!(refused(&mut table, Binding::to_gate("c", GateId(1), "b", "")), "c b c");
    assert_eq!(refused(&mut table, Binding::to_gate("b", GateId(1), "b", "")), "b b");
    assert!(table.unbind(&Binding::to_gate("a", GateId(1), "b", "")));
    gate(&mut table, "c", 2, "a", "");
    assert_eq!(refused(&mut table, Binding::to_gate("a", GateId(1), "b", "")), "a b c a");
}

#[test]
fn gates_are_what_their_number_and_their_exchange_say() {
    let mut table = exchanges(&[("a", Kind::Direct), ("b", Kind::Fanout), ("c", Kind::Fanout)]);
    bind(&mut table, "b", 2, "");
    bind(&mut table, "c", 3, "");
    gate(&mut table, "a", 1, "b", "k");
    assert_eq!(table.bind(&Binding::to_gate("a", GateId(1), "b", "k")), Ok(false));
    gate(&mut table, "a", 1, "c", "k");
    gate(&mut table, "a", 2, "b", "k");
    assert_eq!(route(&table, "a", &["k"], &[1]).0, [2, 3]);
    assert_eq!(route(&table, "a", &["k"], &[2]).0, [2]);
    assert!(!table.unbind(&Binding::to_exchange("a", "b", "k")), "there is none without a gate");
    assert!(!table.unbind(&Binding::to_gate("a", GateId(3), "b", "k")));
    assert!(table.unbind(&Binding::to_gate("a", GateId(1), "b", "k")));
    assert_eq!(route(&table, "a", &["k"], &[1]).0, [3]);
    let unknown = table.bind(&Binding::to_gate("a", GateId(1), "nowhere", "k"));
    assert!(matches!(unknown, Err(Error::UnknownExchange { .. })));
}

#[test]
fn gates_go_with_what_they_join() {
    let all = ["a", "b", "c"].map(|name| (name, Kind::Fanout));
    let mut table = exchanges(&all);
    for key in ["1", "2"] {
        gate(&mut table, "a", 1, "b", key);
        gate(&mut table, "b", 2, "c", key);
    }
    gate(&mut table, "a", 3, "b", "");
    bind(&mut table, "c", 1, "");
    assert_eq!(route(&table, "a", &[""], &[1, 2]).0, [1]);
    assert_eq!(table.delete_exchange("b"), Ok(true));
    assert_eq!(table.bindings_from("a"), 0);
    assert_eq!(route(&table, "a", &[""], &[1, 2, 3]), (vec![], vec![]));
    // No loop any more: the way was through what is gone.
    gate(&mut table, "c", 1, "a", "");
    assert!(table.unbind(&Binding::to_gate("c", GateId(1), "a", "")));
    assert_eq!(table.remove_queue(QueueId(1)), 1);
    table.assert_bare();
}
