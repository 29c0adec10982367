//! Messages that are too old, and those that have nowhere to go.

use kontiki_storage::id::{Offset, PartitionId};

use super::{Bench, QUEUE};
use crate::queue::{Action, Attributes, Backoff, Command, QueueSettings, Reply};

fn kept_for_a_second() -> QueueSettings {
    QueueSettings {
        retention_ms: 1_000,
        dead_letter: Some("dead".to_owned()),
        ..QueueSettings::default()
    }
}

#[test]
fn what_is_older_than_its_retention_is_dropped_wherever_it_waits() {
    let settings = QueueSettings { priority_max: 5, ..kept_for_a_second() };
    let mut bench = Bench::new(settings);
    bench.send(3);
    bench.send_with(Attributes { priority: 5, ..Attributes::default() }).unwrap();
    bench.send_with(Attributes { delay_ms: Some(999), ..Attributes::default() }).unwrap();
    let grants = bench.receive(2);
    bench.settle(&grants[0], Action::Release { delay_ms: None, failed: true });
    bench.later(500);
    bench.send(1);
    bench.later(499);
    assert!(!bench.tick());
    assert_eq!(bench.state().totals.dropped, 0);
    bench.later(1);
    assert!(!bench.tick());
    let state = bench.state();
    // What a consumer has is its own until it comes back.
    assert_eq!((state.unsettled, state.totals.dropped, state.moving()), (2, 4, 0), "{state:?}");
    assert_eq!(bench.batches(), 2);
    bench.settle(&grants[1], Action::Release { delay_ms: Some(10), failed: true });
    assert_eq!((bench.state().unsettled, bench.state().totals.dropped), (1, 5));
    assert_eq!(bench.offsets(9), [5]);
}

#[test]
fn nothing_too_old_is_delivered_before_a_tick_has_come() {
    let mut bench = Bench::new(kept_for_a_second());
    bench.send(2);
    bench.later(1_000);
    bench.send(1);
    assert_eq!(bench.offsets(9), [2]);
    assert_eq!((bench.state().totals.dropped, bench.state().moving()), (2, 0));
}

#[test]
fn what_a_time_to_live_comes_to_first_is_dead_lettered() {
    let short = QueueSettings { time_to_live_ms: 400, ..kept_for_a_second() };
    let mut bench = Bench::new(short.clone());
    bench.send(1);
    let own = Attributes { time_to_live_ms: Some(2_000), ..Attributes::default() };
    bench.send_with(own).unwrap();
    // Both times are over when somebody looks.
    bench.later(5_000);
    bench.tick();
    assert_eq!((bench.state().totals.dropped, bench.state().moving()), (0, 2));
    let long = QueueSettings { time_to_live_ms: 1_500, ..short };
    let mut bench = Bench::new(long);
    bench.send(1);
    bench.send_with(own).unwrap();
    bench.later(5_000);
    bench.tick();
    assert_eq!((bench.state().totals.dropped, bench.state().moving()), (2, 0));
}

#[test]
fn a_delay_beyond_the_retention_is_refused() {
    let mut bench = Bench::new(kept_for_a_second());
    let at = Some(bench.now() + 1_000);
    let late = [
        Attributes { delay_ms: Some(1_000), ..Attributes::default() },
        Attributes { deliver_at_ms: at, ..Attributes::default() },
    ];
    for late in late {
        let said = bench.send_with(late).unwrap_err().to_string();
        assert!(said.contains("the delay of a message is 1000, expected less than 1000"), "{said}");
    }
}

#[test]
fn a_delay_beyond_the_time_to_live_is_refused() {
    let lives = QueueSettings { time_to_live_ms: 1_000, ..QueueSettings::default() };
    let waits = QueueSettings { delay_ms: 1_000, ..QueueSettings::default() };
    let now = Bench::new(QueueSettings::default()).now();
    let own = Attributes::default;
    let late = [
        (&lives, Attributes { delay_ms: Some(1_000), ..own() }),
        (&lives, Attributes { deliver_at_ms: Some(now + 1_000), ..own() }),
        (&waits, Attributes { time_to_live_ms: Some(1_000), ..own() }),
        (&waits, Attributes { expires_at_ms: Some(now + 1_000), ..own() }),
    ];
    for (settings, late) in late {
        let mut bench = Bench::new(settings.clone());
        let said = bench.send_with(late).unwrap_err().to_string();
        let expected = "the delay of a message is 1000, expected less than 1000: it would expire \
                        before it is delivered";
        assert!(said.contains(expected), "{said}");
        assert_eq!(bench.state().unsettled, 0);
    }
    let mut bench = Bench::new(waits);
    let soon = Attributes { delay_ms: Some(0), time_to_live_ms: Some(5), ..own() };
    bench.send_with(soon).unwrap();
    bench.send_with(Attributes { time_to_live_ms: Some(1_001), ..own() }).unwrap();
    assert_eq!(bench.offsets(9), [0]);
    bench.later(1_000);
    bench.tick();
    assert_eq!(bench.offsets(9), [1]);
}

/// Ticks until there is nothing to do any more.
fn tick_to_the_end(bench: &mut Bench) {
    for _ in 0..100 {
        if !bench.tick() {
            assert!(bench.state().due_ms.is_none_or(|due| due > bench.now()));
            return;
        }
    }
    panic!("ticks without end: {:?}", bench.state());
}

#[test]
fn what_waits_behind_its_group_expires_although_nobody_receives() {
    let settings = QueueSettings { fifo: true, time_to_live_ms: 1_000, ..kept_for_a_second() };
    let settings = QueueSettings { retention_ms: -1, lease_ms: 9_000, ..settings };
    let mut bench = Bench::new(settings);
    bench.reload = true;
    for group in [1, 1, 2, 1] {
        bench.send_with(Attributes { group: Some(group), ..Attributes::default() }).unwrap();
    }
    let held = bench.receive(1);
    // The cursor passes over the others of the group.
    assert_eq!(bench.offsets(9), [2]);
    bench.later(999);
    tick_to_the_end(&mut bench);
    assert_eq!((bench.state().counts().available, bench.state().moving()), (2, 0));
    bench.later(1);
    tick_to_the_end(&mut bench);
    assert_eq!((bench.state().counts().available, bench.state().moving()), (0, 2));
    // The group goes on with what comes later.
    bench.send_with(Attributes { group: Some(1), ..Attributes::default() }).unwrap();
    bench.settle(&held[0], Action::Acknowledge);
    assert_eq!(bench.offsets(9), [4]);
}

#[test]
fn a_delay_in_order_does_not_outlive_a_time_to_live_that_is_set_later() {
    let delayed = QueueSettings { fifo: true, delay_ms: 600_000, ..QueueSettings::default() };
    let mut bench = Bench::new(delayed.clone());
    bench.send(3);
    bench.later(1_000);
    bench.send(1);
    bench.alter(QueueSettings { delay_ms: 0, time_to_live_ms: 60_000, ..delayed });
    bench.send(1);
    bench.later(58_999);
    tick_to_the_end(&mut bench);
    assert_eq!(bench.state().totals.dropped, 0);
    bench.later(1);
    tick_to_the_end(&mut bench);
    assert_eq!((bench.state().totals.dropped, bench.state().unsettled), (3, 2));
    bench.later(1_000);
    tick_to_the_end(&mut bench);
    assert_eq!((bench.state().totals.dropped, bench.batches()), (5, 0));
}

#[test]
fn a_retention_that_is_set_later_holds_for_what_is_there() {
    let mut bench = Bench::new(QueueSettings::default());
    bench.send(300);
    bench.later(2_000);
    bench.send(1);
    bench.alter(kept_for_a_second());
    while bench.tick() {}
    assert_eq!(bench.state().totals.dropped, 300);
    // Back and forth: what is there now stays.
    bench.alter(QueueSettings::default());
    bench.later(9_000);
    while bench.tick() {}
    assert_eq!(bench.offsets(9), [300]);
}

#[test]
fn without_a_dead_letter_queue_any_more_its_outbox_is_dropped() {
    let mut bench = Bench::new(kept_for_a_second());
    bench.create(PartitionId(8), QueueSettings::default());
    bench.send(5);
    for grant in bench.receive(3) {
        bench.settle(&grant, Action::Reject);
    }
    let (offsets, target) = (vec![Offset(3)], "other".to_owned());
    bench.apply(Command::Divert { queue: QUEUE, offsets, target }, &[]).unwrap();
    assert_eq!(bench.state().moving(), 4);
    bench.alter(QueueSettings::default());
    assert!(bench.state().due_ms.is_some(), "nobody is told to look");
    while bench.tick() {}
    let state = bench.state();
    assert_eq!((state.moving(), state.totals.dropped, state.totals.moved), (1, 3, 0), "{state:?}");
    let transferred = Command::Transferred { queue: QUEUE, through: 3, dropped: None };
    let reply = bench.apply(transferred, &[]).unwrap();
    assert_eq!(reply, Reply::Transferred { removed: 1 });
    assert_eq!((bench.state().unsettled, bench.state().totals.moved), (1, 1));
    assert_eq!(bench.history(0), None);
}

#[test]
fn what_waits_behind_a_move_is_dropped_after_it() {
    let mut bench = Bench::new(kept_for_a_second());
    bench.send(3);
    let (offsets, target) = (vec![Offset(0)], "other".to_owned());
    bench.apply(Command::Divert { queue: QUEUE, offsets, target }, &[]).unwrap();
    for grant in bench.receive(2) {
        bench.settle(&grant, Action::Reject);
    }
    bench.alter(QueueSettings::default());
    while bench.tick() {}
    assert_eq!(bench.state().moving(), 3);
    bench.apply(Command::Transferred { queue: QUEUE, through: 0, dropped: None }, &[]).unwrap();
    let state = bench.state();
    assert_eq!((state.unsettled, state.totals.moved, state.totals.dropped), (0, 1, 2), "{state:?}");
}

#[test]
fn a_message_that_is_shorter_kept_than_its_backoff_does_not_come_again() {
    let backoff = Backoff { base_ms: 5_000, ..Backoff::default() };
    let mut bench = Bench::new(QueueSettings { backoff, ..kept_for_a_second() });
    bench.send(1);
    let grants = bench.receive(1);
    bench.settle(&grants[0], Action::Release { delay_ms: None, failed: true });
    bench.later(1_000);
    bench.tick();
    let state = bench.state();
    assert_eq!((state.unsettled, state.totals.dropped, state.scheduled), (0, 1, 0), "{state:?}");
    assert_eq!(bench.history(0), None, "what was written down about it is still there");
}
