//! Shares of the deliveries: of priorities, and of groups.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Bench, QUEUE};
use crate::queue::{Action, Attributes, Grant, PriorityOrder, QueueSettings};

const FAIL: Action = Action::Release { delay_ms: None, failed: true };

fn weighted() -> QueueSettings {
    let priority_order = PriorityOrder::Weighted;
    QueueSettings { priority_max: 9, priority_order, ..QueueSettings::default() }
}

fn fair() -> QueueSettings {
    QueueSettings { fair_groups: true, ..QueueSettings::default() }
}

/// Messages of one priority and group.
fn send(bench: &mut Bench, count: u32, own: Attributes) {
    let all = (0..count).map(|number| Attributes { number, ..own }).collect();
    bench.send_to(QUEUE, count, all).unwrap();
}

fn of(group: u64) -> Attributes {
    Attributes { group: Some(group), ..Attributes::default() }
}

#[test]
fn a_lower_priority_has_its_share_of_the_deliveries() {
    let mut bench = Bench::new(weighted());
    bench.send(100);
    send(&mut bench, 100, Attributes { priority: 3, ..Attributes::default() });
    send(&mut bench, 100, Attributes { priority: 9, ..Attributes::default() });
    let mut got: BTreeMap<u64, u32> = BTreeMap::new();
    for _ in 0..15 {
        for grant in bench.receive(5) {
            *got.entry(grant.offset.0 / 100).or_default() += 1;
            bench.settle(&grant, Action::Acknowledge);
        }
    }
    // 1, 4 and 10 of 15.
    assert_eq!(got, BTreeMap::from([(0, 5), (1, 20), (2, 50)]));
    assert!(bench.state().leads.len() <= 3, "{:?}", bench.state());
    // Where nothing else waits, it gets everything.
    bench.alter(QueueSettings { priority_order: PriorityOrder::Strict, ..weighted() });
    let first = bench.receive(50);
    assert!(first.iter().all(|grant| grant.offset.0 >= 200), "{first:?}");
    assert!(bench.state().leads.is_empty());
}

#[test]
fn what_comes_again_has_the_share_of_its_priority() {
    let settings = QueueSettings { in_flight_max: 40, ..weighted() };
    let mut bench = Bench::new(settings);
    bench.send(20);
    send(&mut bench, 20, Attributes { priority: 3, ..Attributes::default() });
    for grant in bench.receive(40) {
        bench.settle(&grant, FAIL);
    }
    let got = bench.offsets(15);
    let low = got.iter().filter(|offset| **offset < 20).count();
    assert!((2..=4).contains(&low), "{got:?}");
}

#[test]
fn one_group_with_much_does_not_delay_the_others() {
    let mut bench = Bench::new(fair());
    send(&mut bench, 200, of(1));
    send(&mut bench, 1, of(2));
    bench.send(1);
    send(&mut bench, 2, of(3));
    // The first one has nothing in flight yet; then each other group comes, and what has no group.
    assert_eq!(bench.offsets(6), [0, 200, 201, 202, 1, 203]);
    assert_eq!(bench.state().passed, 1);
    // A group that comes later comes next.
    send(&mut bench, 1, of(4));
    assert_eq!(bench.offsets(1), [204]);
    // With nobody else left, the one with much has everything.
    let rest = bench.offsets(500);
    assert_eq!(rest, (2..200).collect::<Vec<_>>());
    assert_eq!((bench.state().passed, bench.state().counts().available), (0, 0));
}

#[test]
fn a_group_whose_messages_are_done_has_its_turn_again() {
    let mut bench = Bench::new(fair());
    for group in [1, 1, 1, 2, 2, 2] {
        send(&mut bench, 1, of(group));
    }
    let first = bench.receive(3);
    assert_eq!(first.iter().map(|grant| grant.offset.0).collect::<Vec<_>>(), [0, 3, 1]);
    // Group 2 is done with what it had: now it has the fewest.
    bench.settle(&first[1], Action::Acknowledge);
    assert_eq!(bench.offsets(3), [4, 5, 2]);
}

#[test]
fn a_group_that_is_scheduled_does_not_come_in_front_of_the_others() {
    let mut bench = Bench::new(fair());
    send(&mut bench, 50, Attributes { delay_ms: Some(100), ..of(1) });
    send(&mut bench, 2, of(2));
    let early = bench.receive(1);
    assert_eq!(early[0].offset.0, 50);
    bench.later(100);
    bench.tick();
    assert_eq!(bench.offsets(3), [0, 1, 51]);
}

#[test]
fn shares_can_be_given_and_taken_away_at_run_time() {
    let mut bench = Bench::new(QueueSettings::default());
    send(&mut bench, 3, of(1));
    bench.alter(fair());
    send(&mut bench, 3, of(2));
    send(&mut bench, 3, of(3));
    // Groups from before the change are not known.
    assert_eq!(bench.offsets(5), [0, 1, 2, 3, 6]);
    assert_eq!(bench.offsets(1), [4]);
    bench.alter(QueueSettings::default());
    assert_eq!(bench.offsets(9), [5, 7, 8]);
    assert_eq!(bench.state().passed, 0);
}

#[test]
fn a_purge_and_a_time_to_live_find_what_was_passed_over() {
    let settings = QueueSettings { time_to_live_ms: 1_000, ..fair() };
    let mut bench = Bench::new(settings);
    send(&mut bench, 10, of(1));
    bench.later(500);
    send(&mut bench, 10, of(1));
    send(&mut bench, 1, of(2));
    assert_eq!(bench.offsets(2), [0, 20]);
    bench.later(500);
    bench.tick();
    assert_eq!(bench.state().counts().available, 10);
    assert_eq!(bench.state().passed, 1);
    assert_eq!(bench.offsets(1), [10]);
    let before = kontiki_storage::id::Offset(15);
    let purge = crate::queue::Command::Purge { queue: QUEUE, before, limit: 100 };
    bench.apply(purge, &[]).unwrap();
    assert_eq!(bench.offsets(9), [15, 16, 17, 18, 19]);
}

/// A message of the group with the most in flight, while another one has none.
fn is_unfair(in_flight: &BTreeMap<u64, u32>, waiting: &BTreeMap<u64, u32>, group: u64) -> bool {
    let own = in_flight.get(&group).copied().unwrap_or(0);
    let fewest = |(other, count): (&u64, &u32)| {
        *count > 0 && in_flight.get(other).copied().unwrap_or(0) < own
    };
    waiting.iter().any(fewest)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// As long as no more waits than is looked ahead, the group that is delivered has the fewest
    /// in flight of all that have something.
    #[test]
    fn nobody_is_before_a_group_with_fewer_in_flight(
        steps in prop::collection::vec((0..3_u8, 1..12_u32, 1..6_u64), 1..60),
        reload in any::<bool>(),
    ) {
        let mut bench = Bench::new(QueueSettings { lease_ms: 1_000_000, ..fair() });
        bench.reload = reload;
        let mut groups: BTreeMap<u64, u64> = BTreeMap::new();
        let (mut in_flight, mut waiting) = (BTreeMap::<u64, u32>::new(), BTreeMap::new());
        let mut leased: Vec<Grant> = Vec::new();
        let mut sent = 0;
        for (kind, count, group) in steps {
            match kind {
                0 => {
                    send(&mut bench, count, of(group));
                    for _ in 0..count {
                        groups.insert(sent, group);
                        sent += 1;
                    }
                    *waiting.entry(group).or_insert(0_u32) += count;
                }
                1 => {
                    for grant in bench.receive(count) {
                        let group = groups[&grant.offset.0];
                        prop_assert!(!is_unfair(&in_flight, &waiting, group), "{grant:?}");
                        *in_flight.entry(group).or_default() += 1;
                        *waiting.get_mut(&group).unwrap() -= 1;
                        leased.push(grant);
                    }
                }
                _ => {
                    for _ in 0..count {
                        if leased.is_empty() {
                            break;
                        }
                        let grant = leased.remove(usize::try_from(group).unwrap() % leased.len());
                        bench.settle(&grant, Action::Acknowledge);
                        *in_flight.get_mut(&groups[&grant.offset.0]).unwrap() -= 1;
                    }
                }
            }
        }
        let all = waiting.values().sum::<u32>();
        prop_assert_eq!(bench.state().counts().available, u64::from(all));
        if all > 0 {
            prop_assert_eq!(bench.receive(all).len(), all as usize);
        }
        prop_assert_eq!(bench.state().passed, 0);
    }
}
