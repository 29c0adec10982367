//! What is removed leaves nothing behind.

use super::{bind, table};
use crate::exchange::Index;
use crate::{Binding, Declaration, Kind, QueueId, Table};

impl Table {
    /// There are no bindings, and nothing is left of those that there were.
    pub(super) fn assert_bare(&self) {
        assert_eq!(self.bindings_len(), 0);
        assert_eq!(
            self.parts(),
            (0, 0, self.exchanges_len()),
            "identities, queues and gates, targets"
        );
        for index in self.indexes() {
            match index {
                Index::Direct(keys) => assert!(keys.is_empty()),
                Index::Topic(trie) => assert_eq!(trie.sizes(), (0, 0, 0)),
                Index::Fanout(sinks) => assert!(sinks.is_empty()),
                Index::Headers(index) => assert_eq!(index.sizes(), (0, 0, 0)),
                Index::ConsistentHash(ring, _) => assert_eq!(ring.sizes(), (0, 0)),
            }
        }
    }
}

#[test]
fn words_are_kept_as_long_as_a_pattern_has_them() {
    let mut table = table("t", Kind::Topic);
    let words = |table: &Table| match table.indexes().next() {
        Some(Index::Topic(trie)) => trie.sizes(),
        other => panic!("{other:?}"),
    };
    bind(&mut table, "t", 1, "a.b.*");
    bind(&mut table, "t", 2, "a.c.#");
    bind(&mut table, "t", 3, "b.a");
    assert_eq!(words(&table), (7, 3, 5), "nodes, words, branches");
    assert_eq!(table.remove_queue(QueueId(2)), 1);
    assert_eq!(words(&table), (5, 2, 4));
    assert_eq!(table.remove_queue(QueueId(3)), 1);
    assert_eq!(words(&table), (3, 2, 2));
    assert_eq!(table.remove_queue(QueueId(1)), 1);
    table.assert_bare();
}

#[test]
fn a_deleted_exchange_takes_its_bindings_along_in_both_directions() {
    let mut table = table("a", Kind::Topic);
    table.declare_exchange("b", Declaration::new(Kind::Headers)).unwrap();
    table.declare_exchange("c", Declaration::new(Kind::Fanout)).unwrap();
    table.bind(&Binding::to_exchange("a", "b", "#")).unwrap();
    table.bind(&Binding::to_exchange("a", "b", "x")).unwrap();
    table.bind(&Binding::to_exchange("b", "c", "")).unwrap();
    for queue in 0..5 {
        bind(&mut table, "b", queue, "");
    }
    assert_eq!(table.bindings_from("b"), 6);
    assert_eq!(table.delete_exchange("b"), Ok(true));
    assert_eq!(table.bindings_from("a"), 0);
    assert_eq!(table.exchange("b"), None);
    table.assert_bare();
}

#[test]
fn a_queue_leaves_every_exchange() {
    let mut table = table("t", Kind::Topic);
    table.declare_exchange("r", Declaration::new(Kind::ConsistentHash { header: None })).unwrap();
    for key in ["1", "2", "3"] {
        bind(&mut table, "t", 7, key);
        bind(&mut table, "r", 7, key);
    }
    assert_eq!(table.remove_queue(QueueId(7)), 6);
    assert_eq!(table.remove_queue(QueueId(7)), 0);
    table.assert_bare();
}
