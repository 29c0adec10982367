//! Direct and fanout exchanges, exchanges behind exchanges, and alternate ones.

use super::{bind, route, table};
use crate::{Binding, Candidate, Declaration, Error, Kind, QueueId, Routed, Table};

fn exchanges(all: &[(&str, Kind)]) -> Table {
    let mut table = Table::new(1);
    for (name, kind) in all {
        table.declare_exchange(name, Declaration::new(kind.clone())).unwrap();
    }
    table
}

fn link(table: &mut Table, source: &str, destination: &str, key: &str) {
    assert!(table.bind(&Binding::to_exchange(source, destination, key)).unwrap());
}

#[test]
fn direct_takes_the_key_literally_and_fanout_takes_everything() {
    let mut table = exchanges(&[("d", Kind::Direct), ("f", Kind::Fanout)]);
    for (queue, key) in [(1, "a"), (2, "a"), (3, "b"), (4, "#"), (5, "")] {
        bind(&mut table, "d", queue, key);
        bind(&mut table, "f", queue, key);
    }
    assert_eq!(route(&table, "d", "a", &()), [1, 2]);
    assert_eq!(route(&table, "d", "#", &()), [4]);
    assert_eq!(route(&table, "d", "", &()), [5]);
    assert_eq!(route(&table, "d", "c", &()), []);
    assert_eq!(route(&table, "f", "c", &()), [1, 2, 3, 4, 5]);
}

#[test]
fn a_queue_gets_one_copy_however_many_ways_lead_to_it() {
    let mut table = exchanges(&[("t", Kind::Topic), ("f", Kind::Fanout), ("d", Kind::Direct)]);
    for key in ["#", "*.b", "a.*", "a.b"] {
        bind(&mut table, "t", 1, key);
    }
    link(&mut table, "t", "f", "a.#");
    link(&mut table, "t", "d", "a.#");
    link(&mut table, "f", "d", "");
    bind(&mut table, "f", 1, "");
    bind(&mut table, "d", 1, "a.b");
    bind(&mut table, "d", 2, "a.b");
    assert_eq!(route(&table, "t", "a.b", &()), [1, 2]);
    assert_eq!(route(&table, "t", "b", &()), [1]);
}

#[test]
fn a_binding_that_is_not_accepted_is_not_chosen() {
    let mut table = exchanges(&[("d", Kind::Direct), ("late", Kind::Fanout)]);
    table.set_alternate("d", Some("late")).unwrap();
    for queue in [1, 2] {
        bind(&mut table, "d", queue, "a");
    }
    bind(&mut table, "late", 2, "");
    bind(&mut table, "late", 3, "");
    let mut routed = Routed::new();
    let mut some = |refused: &[u64]| {
        let accept =
            |candidate| refused.iter().all(|id| candidate != Candidate::Queue(QueueId(*id))).into();
        table.route_where("d", &["a"], &(), &mut routed, accept).unwrap();
        let mut queues: Vec<u64> = routed.queues().iter().map(|queue| queue.0).collect();
        queues.sort_unstable();
        queues
    };
    assert_eq!(some(&[]), [1, 2]);
    assert_eq!(some(&[1]), [2]);
    assert_eq!(some(&[1, 2]), [3], "the alternate exchange is asked");
    assert_eq!(some(&[1, 2, 3]), [0; 0]);
}

#[test]
fn several_keys_lead_wherever_one_of_them_leads() {
    let mut table = exchanges(&[("d", Kind::Direct), ("t", Kind::Topic), ("late", Kind::Fanout)]);
    bind(&mut table, "late", 9, "");
    for (queue, key) in [(1, "a"), (2, "b"), (3, "c")] {
        bind(&mut table, "d", queue, key);
        bind(&mut table, "t", queue, key);
    }
    table.set_alternate("d", Some("late")).unwrap();
    let mut routed = Routed::new();
    for exchange in ["d", "t"] {
        assert!(table.route_keys(exchange, &["a", "x", "b", "a"], &(), &mut routed).unwrap());
        let mut queues = routed.queues().to_vec();
        queues.sort_unstable();
        assert_eq!(queues, [QueueId(1), QueueId(2)]);
    }
    assert!(table.route_keys("d", &["x", "y"], &(), &mut routed).unwrap());
    assert_eq!(routed.queues(), [QueueId(9)]);
    assert!(!table.route_keys("t", &[], &(), &mut routed).unwrap());
}

#[test]
fn an_alternate_exchange_gets_what_nobody_else_wants() {
    let mut table = table("first", Kind::Direct);
    let second = Declaration::new(Kind::Direct).with_alternate("third");
    table.declare_exchange("second", second).unwrap();
    table.set_alternate("first", Some("second")).unwrap();
    bind(&mut table, "first", 1, "a");
    bind(&mut table, "second", 2, "b");
    assert_eq!(route(&table, "first", "a", &()), [1]);
    assert_eq!(route(&table, "first", "b", &()), [2]);
    assert_eq!(route(&table, "first", "c", &()), [], "the third is not there");
    table.declare_exchange("third", Declaration::new(Kind::Fanout)).unwrap();
    bind(&mut table, "third", 3, "");
    assert_eq!(route(&table, "first", "c", &()), [3], "now it is");
    assert_eq!(table.set_alternate("first", None), Ok(true));
    assert_eq!(table.set_alternate("first", None), Ok(false));
    assert_eq!(route(&table, "first", "c", &()), []);
}

#[test]
fn alternates_may_go_in_circles_and_messages_do_not() {
    let mut table = Table::new(1);
    for (name, alternate) in [("a", "b"), ("b", "c"), ("c", "a"), ("self", "self")] {
        let declaration = Declaration::new(Kind::Direct).with_alternate(alternate);
        table.declare_exchange(name, declaration).unwrap();
    }
    bind(&mut table, "b", 2, "key");
    assert_eq!(route(&table, "c", "key", &()), [2]);
    assert_eq!(route(&table, "a", "other", &()), []);
    assert_eq!(route(&table, "self", "other", &()), []);
}

#[test]
fn an_exchange_that_was_chosen_keeps_the_alternate_away() {
    // As in RabbitMQ: what counts is whether a binding was chosen, not whether a queue was reached.
    let mut table = exchanges(&[("f", Kind::Fanout), ("d", Kind::Direct), ("late", Kind::Fanout)]);
    bind(&mut table, "late", 9, "");
    table.set_alternate("f", Some("late")).unwrap();
    link(&mut table, "f", "d", "");
    assert_eq!(route(&table, "f", "key", &()), []);
    table.set_alternate("d", Some("late")).unwrap();
    assert_eq!(route(&table, "f", "key", &()), [9]);
}

#[test]
fn loops_are_refused_and_what_is_no_loop_is_not() {
    let all = ["a", "b", "c", "d"].map(|name| (name, Kind::Fanout));
    let mut table = exchanges(&all);
    link(&mut table, "a", "b", "1");
    link(&mut table, "a", "b", "2");
    link(&mut table, "b", "c", "");
    link(&mut table, "a", "c", "");
    link(&mut table, "c", "d", "");
    let refused = |table: &mut Table, source, destination| {
        let before = table.bindings_len();
        let error = table.bind(&Binding::to_exchange(source, destination, "x")).unwrap_err();
        assert_eq!(table.bindings_len(), before);
        let Error::Loop { path } = &error else { panic!("{error}") };
        path.join(" ")
    };
    assert_eq!(refused(&mut table, "a", "a"), "a a");
    assert_eq!(refused(&mut table, "b", "a"), "b a b");
    assert_eq!(refused(&mut table, "d", "a"), "d a c d", "the shortest");
    assert!(table.unbind(&Binding::to_exchange("a", "c", "")));
    assert_eq!(refused(&mut table, "d", "a"), "d a b c d");
    assert!(table.unbind(&Binding::to_exchange("a", "b", "1")));
    assert_eq!(refused(&mut table, "d", "a"), "d a b c d", "another binding still leads there");
    assert!(table.unbind(&Binding::to_exchange("a", "b", "2")));
    link(&mut table, "d", "a", "x");
    assert_eq!(refused(&mut table, "a", "b"), "a b c d a");
}

#[test]
fn a_chain_of_delays_as_celery_declares_it() {
    // 28 levels: bit n of the delay, in front of the key, sends a message through queue n or past
    // it to the next level.
    let mut table = Table::new(1);
    let name = |level: u32| format!("celery_delayed_{level}");
    for level in 0..28 {
        table.declare_exchange(&name(level), Declaration::new(Kind::Topic)).unwrap();
    }
    table.declare_exchange("delivery", Declaration::new(Kind::Topic)).unwrap();
    bind(&mut table, "delivery", 100, "#.celery");
    for level in (0..28).rev() {
        let stars = "*.".repeat(27 - level as usize);
        bind(&mut table, &name(level), level.into(), &format!("{stars}1.#"));
        let next = if level > 0 { name(level - 1) } else { "delivery".to_owned() };
        link(&mut table, &name(level), &next, &format!("{stars}0.#"));
    }
    let key = |delay: u32| {
        let bits: Vec<String> = (0..28).rev().map(|bit| (delay >> bit & 1).to_string()).collect();
        format!("{}.celery", bits.join("."))
    };
    assert_eq!(route(&table, "celery_delayed_27", &key(0), &()), [100]);
    assert_eq!(route(&table, "celery_delayed_27", &key(1), &()), [0]);
    assert_eq!(route(&table, "celery_delayed_27", &key(0b1010), &()), [3]);
    assert_eq!(route(&table, "celery_delayed_2", &key(0b1010), &()), [1]);
    assert_eq!(route(&table, "celery_delayed_0", &key(0b1010), &()), [100]);
}

#[test]
fn declarations_are_kept_and_compared() {
    let mut table = Table::new(1);
    let declaration = Declaration { internal: true, ..Declaration::new(Kind::Topic) };
    assert_eq!(table.declare_exchange("t", declaration.clone()), Ok(true));
    assert_eq!(table.declare_exchange("t", declaration.clone()), Ok(false));
    assert_eq!(table.exchange("t"), Some(&declaration));
    assert_eq!(table.exchange("u"), None);
    assert_eq!(table.delete_exchange("t"), Ok(true));
    assert_eq!(table.delete_exchange("t"), Ok(false));
}
