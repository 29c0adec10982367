//! What is written down about failed deliveries, and what becomes of which.

use super::{Bench, QUEUE, reason};
use crate::queue::{
    ATTEMPTS_KEPT, Action, Backoff, Command, How, QueueSettings, Reason, Retry, Settled,
    Settlement, Transfer, read,
};

const FAIL: Action = Action::Release { delay_ms: None, failed: true };

fn dead_lettered() -> QueueSettings {
    QueueSettings { dead_letter: Some("dead".to_owned()), ..QueueSettings::default() }
}

fn reasons_of_outbox(bench: &mut Bench) -> Vec<Transfer> {
    bench.shard.write();
    let (rows, space, state) = (&bench.shard.rows, bench.shard.space, bench.state());
    let outbox = read::outbox(rows, space, QUEUE, &state, 100).unwrap();
    outbox.into_iter().map(|(_, outgoing)| outgoing.transfer).collect()
}

#[test]
fn each_failure_is_written_down_until_the_message_is_gone() {
    let mut bench = Bench::new(dead_lettered());
    bench.send(2);
    let grants = bench.receive(2);
    assert_eq!(bench.fail(&grants[0], "timeout", "no answer from billing"), Settled::Done);
    let again = bench.receive(1);
    bench.later(30_000);
    bench.tick();
    let again = [bench.receive(1), again].concat();
    bench.settle_saying(&again[0], Action::Reject, vec![reason("", "")]).unwrap();
    let history = bench.history(0).unwrap();
    let seen = history.attempts.iter();
    let seen: Vec<_> = seen.map(|one| (one.at_ms, one.how, one.class.as_str())).collect();
    let expected = [
        (1_000, How::Released, "timeout"),
        (31_000, How::LeaseEnded, ""),
        (31_000, How::Rejected, ""),
    ];
    assert_eq!(seen, expected);
    // The last that was said.
    assert_eq!(history.error, "no answer from billing");
    assert_eq!(reasons_of_outbox(&mut bench), [Transfer::Rejected]);
    // The other one is done in the end, and so is what was written down about it.
    assert!(bench.history(1).is_some());
    let other = bench.receive(1);
    assert_eq!(bench.settle(&other[0], Action::Acknowledge), Settled::Done);
    assert_eq!(bench.history(1), None);
    let through = Command::Transferred { queue: QUEUE, through: 0, dropped: None };
    bench.apply(through, &[]).unwrap();
    assert_eq!(bench.history(0), None);
}

#[test]
fn nothing_is_written_down_where_nobody_would_read_it() {
    let mut bench = Bench::new(QueueSettings::default());
    bench.send(1);
    let grants = bench.receive(1);
    bench.fail(&grants[0], "timeout", "no answer");
    assert_eq!(bench.history(0), None);
    // A release that is no failure is none, wherever.
    let mut bench = Bench::new(dead_lettered());
    bench.send(1);
    let grants = bench.receive(1);
    bench.settle(&grants[0], Action::Release { delay_ms: None, failed: false });
    assert_eq!(bench.history(0), None);
}

#[test]
fn the_latest_attempts_are_kept() {
    let mut bench = Bench::new(dead_lettered());
    bench.send(1);
    let count = u32::try_from(ATTEMPTS_KEPT).unwrap() + 3;
    for _ in 0..count {
        bench.later(1);
        let grants = bench.receive(1);
        bench.fail(&grants[0], &"c".repeat(64), &"e".repeat(1_024));
    }
    let history = bench.history(0).unwrap();
    assert_eq!(history.attempts.len(), ATTEMPTS_KEPT);
    assert_eq!(history.attempts[0].at_ms, 1_004);
    bench.shard.write();
    let rows = bench.shard.rows.all();
    let (_, row) = rows.iter().find(|(key, _)| key[8] == 45).unwrap();
    assert!(row.len() < 2_560, "{} bytes, more than documented", row.len());
}

#[test]
fn a_class_of_errors_has_its_own_pause_or_none() {
    let slow = Backoff { base_ms: 60_000, ..Backoff::default() };
    let classes =
        [("slow", Retry::Backoff(slow)), ("poison", Retry::Reject), ("last", Retry::Never)];
    let settings = QueueSettings {
        backoff: Backoff { base_ms: 100, ..Backoff::default() },
        backoff_classes: classes.map(|(name, retry)| (name.to_owned(), retry)).into(),
        ..dead_lettered()
    };
    let mut bench = Bench::new(settings);
    bench.send(5);
    let grants = bench.receive(5);
    bench.fail(&grants[0], "slow", "");
    bench.fail(&grants[1], "poison", "");
    bench.fail(&grants[2], "last", "");
    bench.fail(&grants[3], "unknown", "");
    // A pause that the consumer names is that of this failure.
    let own = Action::Release { delay_ms: Some(7), failed: true };
    bench.settle_saying(&grants[4], own, vec![reason("slow", "")]).unwrap();
    assert_eq!(reasons_of_outbox(&mut bench), [Transfer::Rejected, Transfer::AttemptsExhausted]);
    for (wait, offset) in [(7, 4), (93, 3), (59_900, 0)] {
        bench.later(wait - 1);
        bench.tick();
        assert_eq!(bench.offsets(9), [0; 0], "{offset} came early");
        bench.later(1);
        bench.tick();
        let grants = bench.receive(9);
        assert_eq!(grants.iter().map(|grant| grant.offset.0).collect::<Vec<_>>(), [offset]);
        bench.settle(&grants[0], Action::Acknowledge);
    }
}

#[test]
fn what_is_said_about_no_failure_is_refused_with_everything_beside_it() {
    let mut bench = Bench::new(dead_lettered());
    bench.send(1);
    let grants = bench.receive(1);
    let mut refused = |action, reasons| {
        let refused = bench.settle_saying(&grants[0], action, reasons).unwrap_err();
        assert_eq!(bench.state().leased, 1);
        refused.to_string()
    };
    let released = Action::Release { delay_ms: None, failed: false };
    assert!(refused(released, vec![reason("a", "")]).contains("places of settlements"));
    assert!(refused(Action::Acknowledge, vec![reason("a", "")]).contains("places of settlements"));
    assert!(refused(FAIL, vec![reason("a", ""); 2]).contains("places of settlements"));
    assert!(refused(FAIL, vec![reason("a b", "")]).contains("error_class"));
    let long = refused(FAIL, vec![reason("", &"x".repeat(1_025))]);
    assert!(long.contains("error is 1025 bytes, expected at most 1024 bytes"), "{long}");
}

#[test]
fn one_reason_may_be_about_several_messages() {
    let mut bench = Bench::new(dead_lettered());
    bench.send(6);
    let grants = bench.receive(6);
    let actions = [Action::Acknowledge, FAIL, FAIL, Action::Reject, FAIL, FAIL];
    let settlements = grants.iter().zip(actions).map(|(grant, action)| Settlement {
        offset: grant.offset,
        lease: grant.lease,
        action,
    });
    let said = |first, count, class| Reason { first, count, ..reason(class, "") };
    let reasons = vec![said(1, 2, "a"), said(3, 1, "b"), said(5, 1, "c")];
    let settlements = settlements.collect();
    bench.apply(Command::Settle { queue: QUEUE, settlements, reasons }, &[]).unwrap();
    let mut class = |offset| bench.history(offset).unwrap().attempts[0].class.clone();
    let seen: Vec<String> = (1..6).map(&mut class).collect();
    assert_eq!(seen, ["a", "a", "b", "", "c"]);
}
