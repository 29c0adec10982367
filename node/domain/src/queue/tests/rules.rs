//! One rule, one test.

use kontiki_storage::id::{Offset, PartitionId};

use super::{Bench, QUEUE, header};
use crate::queue::{
    Action, Attributes, Backoff, Command, Counter, Deduplication, Dropped, Enqueue, Origin,
    Overflow, QueueSettings, Reply, Settled, Shared,
};

const RELEASE: Action = Action::Release { delay_ms: None, failed: false };
const FAIL: Action = Action::Release { delay_ms: None, failed: true };
const DEAD: PartitionId = PartitionId(8);

fn dead_lettered() -> QueueSettings {
    QueueSettings { dead_letter: Some("dead".to_owned()), ..QueueSettings::default() }
}

#[test]
fn a_message_is_with_one_consumer_until_its_lease_ends() {
    let mut bench = Bench::new(QueueSettings::default());
    bench.send(3);
    let first = bench.receive(2);
    assert_eq!(first.iter().map(|grant| grant.offset.0).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(bench.offsets(5), [2]);
    assert_eq!(bench.offsets(5), [0; 0]);
    bench.later(30_000);
    assert!(!bench.tick());
    let again = bench.receive(1);
    assert_eq!((again[0].offset, again[0].acquired, again[0].failed), (Offset(0), 2, 1));
    assert_eq!(bench.settle(&first[0], Action::Acknowledge), Settled::LeaseEnded);
    assert_eq!(bench.settle(&again[0], Action::Acknowledge), Settled::Done);
    assert_eq!(bench.settle(&again[0], Action::Acknowledge), Settled::LeaseEnded);
}

#[test]
fn a_batch_leaves_when_its_last_message_is_settled() {
    let mut bench = Bench::new(QueueSettings::default());
    bench.send(1);
    bench.send(3);
    bench.send(1);
    let grants = bench.receive(5);
    for grant in &grants[1..] {
        bench.settle(grant, Action::Acknowledge);
    }
    assert_eq!(bench.batches(), 1, "an unsettled message pins its neighbours");
    bench.settle(&grants[0], Action::Acknowledge);
    assert_eq!(bench.batches(), 0);
    assert_eq!(bench.state().unsettled, 0);
}

#[test]
fn what_was_released_comes_first() {
    let mut bench = Bench::new(QueueSettings::default());
    bench.send(4);
    let grants = bench.receive(2);
    bench.settle(&grants[1], RELEASE);
    assert_eq!(bench.offsets(2), [1, 2]);
    bench.settle(&grants[0], Action::Release { delay_ms: Some(500), failed: false });
    assert_eq!(bench.offsets(1), [3]);
    assert_eq!(bench.state().counts().scheduled, 1);
    bench.later(500);
    bench.tick();
    let again = bench.receive(1);
    assert_eq!((again[0].offset, again[0].acquired, again[0].failed), (Offset(0), 2, 0));
}

#[test]
fn a_delay_is_never_cut_short() {
    let settings = QueueSettings { delay_ms: 1_000, ..QueueSettings::default() };
    let mut bench = Bench::new(settings);
    bench.send(1);
    let at = bench.now() + 300;
    bench.send_with(Attributes { deliver_at_ms: Some(at), ..Attributes::default() }).unwrap();
    bench.later(299);
    bench.tick();
    assert_eq!(bench.offsets(2), [0; 0]);
    bench.later(1);
    bench.tick();
    assert_eq!(bench.offsets(2), [1]);
    bench.later(700);
    bench.tick();
    assert_eq!(bench.offsets(2), [0]);
}

#[test]
fn the_higher_priority_comes_first() {
    let settings = QueueSettings { priority_max: 5, ..QueueSettings::default() };
    let mut bench = Bench::new(settings);
    for priority in [0, 3, 5, 3, 200] {
        bench.send_with(Attributes { priority, ..Attributes::default() }).unwrap();
    }
    let first = bench.receive(1);
    assert_eq!(first[0].offset, Offset(2));
    bench.settle(&first[0], RELEASE);
    assert_eq!(bench.offsets(9), [2, 4, 1, 3, 0]);
}

#[test]
fn a_group_goes_on_when_its_message_is_settled() {
    let settings = QueueSettings { fifo: true, ..QueueSettings::default() };
    let mut bench = Bench::new(settings);
    for group in [1, 1, 2, 1, 2] {
        bench.send_with(Attributes { group: Some(group), ..Attributes::default() }).unwrap();
    }
    let one = bench.receive(1);
    assert_eq!(one[0].offset, Offset(0));
    // Another consumer gets the other group, both of its messages.
    let two = bench.receive(9);
    assert_eq!(two.iter().map(|grant| grant.offset.0).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(bench.offsets(9), [0; 0]);
    bench.settle(&one[0], FAIL);
    assert_eq!(bench.offsets(9), [0, 1, 3], "a group came out of order");
    bench.settle(&two[1], Action::Acknowledge);
    bench.settle(&two[0], RELEASE);
    assert_eq!(bench.offsets(9), [2]);
}

/// Found by the simulation: what the cursor met came before what it had passed over.
#[test]
fn a_group_has_its_order_for_a_consumer_of_several_groups() {
    let settings = QueueSettings { fifo: true, ..QueueSettings::default() };
    let mut bench = Bench::new(settings);
    let send = |bench: &mut Bench, group| {
        bench.send_with(Attributes { group: Some(group), ..Attributes::default() }).unwrap();
    };
    for group in [2, 3, 2, 2] {
        send(&mut bench, group);
    }
    let one = bench.receive(1);
    let other = bench.receive(5);
    assert_eq!((one[0].offset, other[0].offset, other.len()), (Offset(0), Offset(1), 1));
    send(&mut bench, 2);
    bench.settle(&one[0], FAIL);
    bench.settle(&other[0], FAIL);
    assert_eq!(bench.offsets(9), [0, 1, 2, 3, 4]);
}

#[test]
fn what_waits_for_a_time_in_order_is_counted_so_until_then() {
    let backoff = Backoff { base_ms: 100, ..Backoff::default() };
    let delayed = QueueSettings { fifo: true, delay_ms: 50, backoff, ..QueueSettings::default() };
    let mut bench = Bench::new(delayed);
    bench.reload = true;
    let counts = |bench: &Bench| {
        let counts = bench.state().counts();
        (counts.available, counts.leased, counts.scheduled)
    };
    for group in [1, 1, 2] {
        bench.send_with(Attributes { group: Some(group), ..Attributes::default() }).unwrap();
    }
    assert_eq!(counts(&bench), (0, 0, 3));
    assert_eq!(bench.offsets(9), [0; 0]);
    bench.later(50);
    assert_eq!(bench.state().due_ms, Some(bench.now()));
    assert!(!bench.tick());
    assert_eq!(counts(&bench), (3, 0, 0));
    bench.send(1);
    let grants = bench.receive(1);
    assert_eq!(counts(&bench), (2, 1, 1));
    bench.settle(&grants[0], FAIL);
    // The other of its group is available as soon as the group is free.
    assert_eq!(counts(&bench), (2, 0, 2));
    assert_eq!(bench.offsets(9), [2]);
    // Nobody asks meanwhile, and the time comes nevertheless.
    bench.later(50);
    bench.tick();
    assert_eq!(counts(&bench), (2, 1, 1));
    bench.later(50);
    bench.tick();
    assert_eq!(counts(&bench), (3, 1, 0));
    assert_eq!(bench.offsets(9), [0, 1, 3]);
    assert_eq!(counts(&bench), (0, 4, 0));
}

#[test]
fn a_repeated_send_is_noticed_in_its_window() {
    let settings = QueueSettings {
        deduplication: Deduplication::Explicit,
        deduplication_window_ms: 1_000,
        ..QueueSettings::default()
    };
    let mut bench = Bench::new(settings);
    let message = |id| Attributes { deduplication: Some([id; 16]), ..Attributes::default() };
    assert_eq!(bench.send_with(message(1)).unwrap().duplicates, []);
    assert_eq!(bench.send_with(message(1)).unwrap().duplicates, [(0, 0)]);
    assert_eq!(bench.state().counts().available, 1);
    let two = vec![
        Attributes { number: 0, ..message(2) },
        Attributes { number: 1, ..message(1) },
        Attributes { number: 2, ..message(2) },
    ];
    let sent = bench.send_to(QUEUE, 3, two).unwrap();
    let base = sent.base_offset.0;
    assert_eq!(sent.duplicates, [(1, 0), (2, base)]);
    assert_eq!(bench.offsets(9), [0, base]);
    bench.later(1_001);
    assert_eq!(bench.send_with(message(1)).unwrap().duplicates, []);
    bench.later(60_000);
    bench.tick();
    assert_eq!(bench.state().seen, 0);
}

#[test]
fn what_has_had_its_attempts_goes_to_the_dead_letter_queue_once() {
    let settings = QueueSettings { attempts_max: 2, ..dead_lettered() };
    let mut bench = Bench::new(settings);
    bench.create(DEAD, QueueSettings::default());
    bench.send(2);
    for _ in 0..2 {
        for grant in bench.receive(2) {
            bench.settle(&grant, FAIL);
        }
    }
    assert_eq!(bench.offsets(2), [0; 0]);
    let counts = bench.state().counts();
    assert_eq!((counts.available, counts.moving), (0, 2));
    let hand_over = |first_sequence, count| Enqueue {
        queue: DEAD,
        payload: 0,
        header: header(count, 1_000),
        attributes: Vec::new(),
        origin: Some(Origin { queue: QUEUE, first_sequence, shared: None }),
    };
    bench.enqueue(hand_over(0, 1)).unwrap();
    assert_eq!(bench.state().counts().moving, 1, "the move is one command");
    bench.enqueue(hand_over(0, 1)).unwrap();
    let overlapping = bench.enqueue(hand_over(0, 2)).unwrap_err();
    assert!(overlapping.to_string().contains("hand over from 1 on"), "{overlapping}");
    bench.enqueue(hand_over(1, 1)).unwrap();
    let dead = bench.shard.machine.partitions().unwrap().queues().get(DEAD).unwrap().clone();
    assert_eq!(dead.unsettled, 2);
    assert_eq!((bench.state().unsettled, bench.batches()), (0, 0));
}

#[test]
fn what_goes_to_several_queues_leaves_when_all_have_it() {
    let settings = QueueSettings { attempts_max: 1, ..dead_lettered() };
    let mut bench = Bench::new(settings);
    let other = PartitionId(9);
    bench.create(DEAD, QueueSettings::default());
    bench.create(other, QueueSettings::default());
    bench.send(3);
    for grant in bench.receive(3) {
        bench.settle(&grant, FAIL);
    }
    let hand_over = |queue, first_sequence, count| Enqueue {
        queue,
        payload: 0,
        header: header(count, 1_000),
        attributes: Vec::new(),
        origin: Some(Origin { queue: QUEUE, first_sequence, shared: Some(Shared::Yes) }),
    };
    // The first two go to both, and once each; the third goes to one that has not got all before.
    for queue in [DEAD, other, DEAD, other] {
        bench.enqueue(hand_over(queue, 0, 2)).unwrap();
        assert_eq!(bench.state().counts().moving, 3, "others may not have it yet");
    }
    let transferred = |through, dropped| Command::Transferred { queue: QUEUE, through, dropped };
    bench.apply(transferred(1, None), &[]).unwrap();
    bench.apply(transferred(2, Some(Dropped::Unroutable)), &[]).unwrap();
    let totals = bench.state().totals;
    assert_eq!((totals.moved, totals.dropped), (2, 1));
    for queue in [DEAD, other] {
        let queues = bench.shard.machine.partitions().unwrap().queues();
        assert_eq!(queues.get(queue).unwrap().unsettled, 2);
    }
    assert_eq!((bench.state().unsettled, bench.batches()), (0, 0));
}

#[test]
fn only_failures_count_where_the_queue_says_so() {
    let settings = QueueSettings {
        attempts_max: 1,
        attempts_counted: Counter::Failed,
        ..QueueSettings::default()
    };
    let mut bench = Bench::new(settings);
    bench.send(1);
    for _ in 0..3 {
        let grants = bench.receive(1);
        bench.settle(&grants[0], RELEASE);
    }
    let grants = bench.receive(1);
    bench.settle(&grants[0], FAIL);
    assert_eq!(bench.state().totals.dropped, 1);
    assert_eq!(bench.state().unsettled, 0);
}

#[test]
fn failures_wait_longer_and_longer() {
    let backoff = Backoff { base_ms: 100, factor_milli: 2_000, ..Backoff::default() };
    let mut bench = Bench::new(QueueSettings { backoff, ..QueueSettings::default() });
    bench.send(1);
    for wait in [100, 200, 400] {
        let grants = bench.receive(1);
        bench.settle(&grants[0], FAIL);
        bench.later(wait - 1);
        bench.tick();
        assert_eq!(bench.offsets(1), [0; 0]);
        bench.later(1);
        bench.tick();
    }
    assert_eq!(bench.offsets(1), [0]);
}

#[test]
fn what_is_too_old_is_not_delivered() {
    let settings = QueueSettings { time_to_live_ms: 1_000, ..QueueSettings::default() };
    let mut bench = Bench::new(settings);
    bench.send(3);
    let held = bench.receive(1);
    let at = bench.now() + 100;
    bench.send_with(Attributes { expires_at_ms: Some(at), ..Attributes::default() }).unwrap();
    bench.later(100);
    bench.tick();
    assert_eq!(bench.state().unsettled, 3);
    bench.later(899);
    bench.tick();
    assert_eq!(bench.state().counts().available, 2);
    bench.later(1);
    bench.tick();
    assert_eq!(bench.state().counts().available, 0);
    bench.settle(&held[0], RELEASE);
    assert_eq!(bench.offsets(9), [0; 0], "a requeue gave it new time");
    assert_eq!((bench.state().unsettled, bench.batches()), (0, 0));
}

#[test]
fn one_command_disposes_of_so_many_and_says_that_there_is_more() {
    let settings = QueueSettings { time_to_live_ms: 1_000, ..dead_lettered() };
    let mut bench = Bench::new(settings);
    bench.send(10_000);
    bench.later(1_000);
    bench.send(2);
    for moved in [4_096, 8_192] {
        assert!(bench.receive_for(&[1, 1]).iter().all(Vec::is_empty));
        assert_eq!(bench.state().moving(), moved);
        assert_eq!(bench.state().due_ms, Some(bench.now()), "nobody is told to ask again");
    }
    let before = bench.state();
    bench.tick();
    assert_ne!(bench.state(), before);
    assert_eq!(bench.offsets(9), [10_000, 10_001]);
    assert_eq!(bench.state().moving(), 10_000);
}

#[test]
fn a_full_queue_refuses_or_drops_its_head() {
    let full = QueueSettings { length_max: 2, ..QueueSettings::default() };
    let mut bench = Bench::new(full.clone());
    bench.send(2);
    let refused = bench.send_to(QUEUE, 1, Vec::new()).unwrap_err();
    assert!(refused.to_string().contains("has 2 messages and no room for 1 more"), "{refused}");

    let mut bench = Bench::new(QueueSettings { overflow: Overflow::DropHead, ..full.clone() });
    bench.send(4);
    assert_eq!(bench.offsets(9), [2, 3]);

    let overflow = Overflow::DeadLetterHead;
    let dead_letter = Some("dead".to_owned());
    let mut bench = Bench::new(QueueSettings { overflow, dead_letter, ..full });
    bench.send(3);
    assert_eq!(bench.state().counts().moving, 1);
    assert_eq!(bench.offsets(9), [1, 2]);
}

fn dropping(length_max: i64) -> QueueSettings {
    QueueSettings { length_max, overflow: Overflow::DropHead, ..QueueSettings::default() }
}

#[test]
fn what_is_scheduled_makes_room_where_nothing_waits() {
    let mut bench = Bench::new(dropping(3));
    let delayed = |delay| Attributes { delay_ms: Some(delay), ..Attributes::default() };
    for delay in [500, 400, 300, 200] {
        bench.send_with(delayed(delay)).unwrap();
        assert!(bench.state().unsettled <= 3, "more are scheduled than there may be");
    }
    // The third one went for the last one, whose time comes first now: it goes next.
    bench.send(1);
    assert_eq!((bench.state().counts().available, bench.state().scheduled), (1, 2));
    bench.send(1);
    assert_eq!((bench.state().counts().available, bench.state().scheduled), (1, 2));
    assert_eq!(bench.offsets(9), [5]);
    bench.later(500);
    bench.tick();
    assert_eq!(bench.offsets(9), [1, 0], "in the order of their times");
    assert_eq!(bench.state().totals.dropped, 3);
}

#[test]
fn a_queue_whose_messages_are_all_leased_refuses_whatever_its_policy() {
    let overflow = Overflow::DeadLetterHead;
    for settings in [dropping(2), QueueSettings { overflow, ..dropping(2) }] {
        let mut bench =
            Bench::new(QueueSettings { dead_letter: Some("dead".to_owned()), ..settings });
        bench.send(2);
        let grants = bench.receive(2);
        let refused = bench.send_to(QUEUE, 1, Vec::new()).unwrap_err();
        assert!(refused.to_string().contains("has 2 messages and no room for 1 more"), "{refused}");
        assert_eq!((bench.state().unsettled, bench.batches()), (2, 1));
        bench.settle(&grants[0], Action::Acknowledge);
        bench.send(3);
        assert_eq!(bench.offsets(9), [4], "the others of its batch made room for it");
    }
    let bytes = QueueSettings { bytes_max: 250, ..dropping(-1) };
    let mut bench = Bench::new(bytes);
    bench.send(1);
    bench.send(1);
    let grants = bench.receive(2);
    let refused = bench.send_to(QUEUE, 1, Vec::new()).unwrap_err();
    assert!(refused.to_string().contains("has 200 bytes and no room for 100"), "{refused}");
    bench.settle(&grants[0], Action::Acknowledge);
    bench.send(1);
    bench.send(1);
    assert_eq!(bench.offsets(9), [3]);
    assert_eq!(bench.state().totals.dropped, 1);
}

#[test]
fn the_oldest_of_the_lowest_priority_makes_room() {
    let mut bench = Bench::new(QueueSettings { priority_max: 5, ..dropping(3) });
    for priority in [0, 5, 0, 0, 5, 0, 5, 0] {
        bench.send_with(Attributes { priority, ..Attributes::default() }).unwrap();
    }
    assert_eq!(bench.offsets(9), [4, 6, 7]);
    let mut bench = Bench::new(dropping(2));
    bench.send(2);
    let grants = bench.receive(2);
    bench.settle(&grants[1], RELEASE);
    bench.settle(&grants[0], RELEASE);
    bench.send(1);
    assert_eq!(bench.offsets(9), [1, 2]);
}

#[test]
fn what_waits_behind_its_group_makes_room() {
    let mut bench = Bench::new(QueueSettings { fifo: true, ..dropping(3) });
    let send = |bench: &mut Bench, group| {
        bench.send_with(Attributes { group: Some(group), ..Attributes::default() }).unwrap();
    };
    for group in [1, 1, 2] {
        send(&mut bench, group);
    }
    let held = bench.receive(1);
    // The cursor passes over what waits behind it.
    let other = bench.receive(9);
    assert_eq!((held[0].offset, other[0].offset, other.len()), (Offset(0), Offset(2), 1));
    send(&mut bench, 1);
    bench.settle(&held[0], Action::Acknowledge);
    assert_eq!(bench.offsets(9), [3]);
    assert_eq!(bench.state().totals.dropped, 1);
}

#[test]
fn the_repetition_of_a_send_that_filled_the_queue_is_no_further_message() {
    // Each batch has 100 bytes.
    for full in [
        QueueSettings { length_max: 1, ..QueueSettings::default() },
        QueueSettings { bytes_max: 100, ..QueueSettings::default() },
    ] {
        let mut bench = Bench::new(full);
        let message = |id| Attributes { deduplication: Some([id; 16]), ..Attributes::default() };
        bench.send_with(message(1)).unwrap();
        assert_eq!(bench.send_with(message(1)).unwrap().duplicates, [(0, 0)]);
        let refused = bench.send_with(message(2)).unwrap_err();
        assert!(refused.to_string().contains("no room for"), "{refused}");
        assert_eq!((bench.state().unsettled, bench.batches()), (1, 1));
    }
}

#[test]
fn a_purge_leaves_what_is_in_flight() {
    let settings = QueueSettings { priority_max: 3, ..QueueSettings::default() };
    let mut bench = Bench::new(settings);
    bench.send(3);
    bench.send_with(Attributes { priority: 3, ..Attributes::default() }).unwrap();
    let at = bench.now() + 100;
    bench.send_with(Attributes { deliver_at_ms: Some(at), ..Attributes::default() }).unwrap();
    let held = bench.receive(2);
    let before = Offset(5);
    bench.send(1);
    let mut removed = 0;
    for _ in 0..9 {
        let purge = Command::Purge { queue: QUEUE, before, limit: 2 };
        let reply = bench.apply(purge, &[]).unwrap();
        let Reply::Purged { removed: now, more } = reply else { panic!("{reply:?}") };
        removed += now;
        if !more {
            break;
        }
    }
    assert_eq!(removed, 3);
    assert_eq!(bench.offsets(9), [5]);
    for grant in &held {
        assert_eq!(bench.settle(grant, Action::Acknowledge), Settled::Done);
    }
    assert_eq!(bench.state().unsettled, 1);
}

#[test]
fn a_log_and_a_queue_are_not_mistaken_for_each_other() {
    let mut bench = Bench::new(QueueSettings::default());
    let trim = crate::partition::Command::Retain { partition: QUEUE, limit: 1 };
    let refused = bench.shard.apply(trim, &[]).unwrap_err();
    assert_eq!(refused.code(), 151, "{refused}");
}

#[test]
fn no_more_are_in_flight_than_may_be() {
    let settings = QueueSettings { in_flight_max: 2, fifo: true, ..QueueSettings::default() };
    let mut bench = Bench::new(settings);
    for group in [1, 1, 2, 3] {
        bench.send_with(Attributes { group: Some(group), ..Attributes::default() }).unwrap();
    }
    let first = bench.receive_for(&[1, 1]);
    assert_eq!(bench.offsets(9), [0; 0]);
    bench.settle(&first[0][0], FAIL);
    assert_eq!(bench.offsets(9), [0], "only what comes again has a place");
    bench.settle(&first[1][0], Action::Acknowledge);
    assert_eq!(bench.offsets(9).len(), 1);
}

#[test]
fn a_lease_can_be_made_longer() {
    let mut bench = Bench::new(QueueSettings::default());
    bench.send(1);
    let grants = bench.receive(1);
    bench.later(20_000);
    let until_ms = bench.now() + 30_000;
    let extended = bench.settle(&grants[0], Action::Extend { lease_ms: 30_000 });
    assert_eq!(extended, Settled::Extended { until_ms });
    bench.later(29_999);
    bench.tick();
    assert_eq!(bench.offsets(1), [0; 0]);
    bench.later(1);
    bench.tick();
    assert_eq!(bench.offsets(1), [0]);
}

#[test]
fn what_nobody_was_given_is_not_counted_as_an_attempt() {
    for fifo in [false, true] {
        let settings = QueueSettings { attempts_max: 2, fifo, ..QueueSettings::default() };
        let mut bench = Bench::new(settings);
        bench.send_with(Attributes { group: Some(1), ..Attributes::default() }).unwrap();
        for _ in 0..5 {
            let grants = bench.receive(1);
            assert_eq!((grants[0].acquired, grants[0].failed), (1, 0));
            assert_eq!(bench.settle(&grants[0], Action::Return), Settled::Done);
            assert_eq!(bench.settle(&grants[0], Action::Return), Settled::LeaseEnded);
            let state = bench.state();
            assert_eq!((state.leased, state.counts().available), (0, 1));
        }
        let totals = bench.state().totals;
        assert_eq!((totals.acquired, totals.released, totals.failed), (0, 0, 0));
        bench.receive(1);
    }
}
