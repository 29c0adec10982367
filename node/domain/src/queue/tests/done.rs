//! Messages that are done, and what is left of a queue then.

use super::Bench;
use crate::queue::{Action, QueueSettings, Settled};

const RELEASE: Action = Action::Release { delay_ms: None, failed: false };

#[test]
fn what_is_done_may_be_so_whoever_has_it() {
    let mut bench = Bench::new(QueueSettings::default());
    bench.send(3);
    let first = bench.receive(3);
    bench.later(30_000);
    assert!(!bench.tick());
    // The first one waits again, the second one is scheduled, the third one is leased again.
    let again = bench.receive(3);
    bench.settle(&again[0], RELEASE);
    bench.settle(&again[1], Action::Release { delay_ms: Some(500), failed: false });
    for grant in &first {
        assert_eq!(bench.settle(grant, Action::Acknowledge), Settled::LeaseEnded);
        assert_eq!(bench.settle(grant, Action::Delete), Settled::Done);
        assert_eq!(bench.settle(grant, Action::Delete), Settled::Done, "it is done already");
    }
    assert_eq!(bench.offsets(3), [0; 0]);
    let state = bench.state();
    assert_eq!((state.unsettled, state.leased, state.totals.acknowledged), (0, 0, 3));
    assert_eq!(bench.batches(), 0);
}

#[test]
fn in_a_fifo_queue_only_the_lease_says_that_a_message_is_done() {
    let mut bench = Bench::new(QueueSettings { fifo: true, ..QueueSettings::default() });
    bench.send(1);
    let first = bench.receive(1);
    bench.later(30_000);
    assert!(!bench.tick());
    let again = bench.receive(1);
    assert_eq!(bench.settle(&first[0], Action::Delete), Settled::LeaseEnded);
    assert_eq!(bench.settle(&again[0], Action::Delete), Settled::Done);
    assert_eq!(bench.state().unsettled, 0);
}

#[test]
fn an_empty_queue_waits_for_nothing() {
    let mut bench = Bench::new(QueueSettings::default());
    bench.send(2);
    let grants = bench.receive(2);
    bench.settle(&grants[0], Action::Acknowledge);
    assert_eq!(bench.state().due_ms, Some(grants[0].until_ms));
    bench.settle(&grants[1], Action::Acknowledge);
    assert_eq!(bench.state().due_ms, None, "a lease that isn't there any more has no end");
}
