//! Consistent hashing: what is frozen, how even it is, and what moves.

use std::collections::BTreeMap;

use super::{bind, route, table};
use crate::{Binding, Declaration, Kind, QueueId, Table};

const RING: Kind = Kind::ConsistentHash { header: None };

/// The queue of each of some keys.
fn owners(table: &Table, keys: u32) -> Vec<u64> {
    let owner = |key: u32| match route(table, "r", &format!("key-{key}"), &())[..] {
        [queue] => queue,
        ref other => panic!("{other:?}"),
    };
    (0..keys).map(owner).collect()
}

fn shares(owners: &[u64]) -> BTreeMap<u64, usize> {
    let mut shares = BTreeMap::new();
    owners.iter().for_each(|queue| *shares.entry(*queue).or_default() += 1);
    shares
}

#[test]
fn keys_stay_with_their_queues_from_release_to_release() {
    let mut table = table("r", RING);
    for queue in 1..=5 {
        bind(&mut table, "r", queue, "10");
    }
    table.declare_exchange("next", Declaration::new(Kind::Fanout)).unwrap();
    bind(&mut table, "next", 100, "");
    table.bind(&Binding::to_exchange("r", "next", "10")).unwrap();
    // Frozen: if this fails, an upgrade would send keys to other queues.
    assert_eq!(owners(&table, 16), FROZEN);
}

const FROZEN: [u64; 16] = [2, 100, 2, 3, 4, 3, 5, 4, 3, 4, 1, 100, 4, 1, 1, 3];

#[test]
fn every_weight_gets_its_share() {
    let mut table = table("r", RING);
    let weights = [(1, "50"), (2, "50"), (3, "100"), (4, "200")];
    for (queue, weight) in weights {
        bind(&mut table, "r", queue, weight);
    }
    let keys = 20_000;
    let shares = shares(&owners(&table, keys));
    for (queue, weight) in weights {
        let expected = f64::from(keys) * weight.parse::<f64>().unwrap() / 400.0;
        let share = shares[&queue] as f64 / expected;
        assert!((0.85..1.15).contains(&share), "queue {queue} has {share} of its share");
    }
}

#[test]
fn another_queue_takes_its_share_and_nothing_else_moves() {
    let mut table = table("r", RING);
    for queue in 1..=4 {
        bind(&mut table, "r", queue, "20");
    }
    let before = owners(&table, 4000);
    bind(&mut table, "r", 5, "20");
    let with_fifth = owners(&table, 4000);
    let moved: Vec<u64> = before
        .iter()
        .zip(&with_fifth)
        .filter(|(old, new)| old != new)
        .map(|(_, new)| *new)
        .collect();
    assert!(moved.iter().all(|queue| *queue == 5), "only to the new one");
    assert!((600..1000).contains(&moved.len()), "{} of 4000 moved", moved.len());

    assert_eq!(table.remove_queue(QueueId(2)), 1);
    let without_second = owners(&table, 4000);
    for (old, new) in with_fifth.iter().zip(&without_second) {
        assert!(old == new || *old == 2, "only from the removed one");
        assert_ne!(*new, 2);
    }
    // And the way back is the way there.
    assert_eq!(table.remove_queue(QueueId(5)), 1);
    bind(&mut table, "r", 2, "20");
    assert_eq!(owners(&table, 4000), before);
}

#[test]
fn a_queue_that_is_bound_twice_has_the_larger_weight() {
    let mut once = table("r", RING);
    bind(&mut once, "r", 1, "10");
    bind(&mut once, "r", 2, "30");
    let mut twice = once.clone();
    bind(&mut twice, "r", 2, "3");
    bind(&mut twice, "r", 1, "2");
    assert_eq!(owners(&once, 300), owners(&twice, 300));
    assert!(twice.unbind(&Binding::to_queue("r", QueueId(2), "30")));
    assert!(once.unbind(&Binding::to_queue("r", QueueId(2), "30")));
    bind(&mut once, "r", 2, "3");
    assert_eq!(owners(&once, 300), owners(&twice, 300));
}

#[test]
fn a_header_may_be_hashed_instead_of_the_key() {
    let mut by_key = table("r", RING);
    let mut by_header = table("r", Kind::ConsistentHash { header: Some("customer".into()) });
    for queue in 1..=8 {
        bind(&mut by_key, "r", queue, "5");
        bind(&mut by_header, "r", queue, "5");
    }
    for value in ["", "1", "2", "alice", "bob"] {
        let expected = route(&by_key, "r", value, &());
        let headers = [("other", "x"), ("customer", value), ("customer", "not this")];
        assert_eq!(route(&by_header, "r", "some key", &headers), expected);
    }
    let missing = route(&by_header, "r", "some key", &());
    assert_eq!(missing, route(&by_key, "r", "", &()), "a missing header is an empty one");
}

#[test]
fn an_empty_ring_leads_nowhere() {
    let table = table("r", RING);
    assert_eq!(route(&table, "r", "key", &()), []);
}
