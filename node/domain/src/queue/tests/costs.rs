//! What commands look at: it must not grow with what was there before.

use std::sync::atomic::Ordering::Relaxed;

use super::{Bench, QUEUE};
use crate::queue::{Action, Attributes, Command, Grant, QueueSettings, Settlement};

const DELAY_MS: i64 = 1_000;

impl Bench {
    /// How often the engine was asked, and how many deleted rows it passed over.
    fn looks(&mut self, work: impl FnOnce(&mut Self)) -> (usize, usize) {
        self.shard.write();
        let rows = &self.shard.rows;
        let before = (rows.looks.load(Relaxed), rows.passed.load(Relaxed));
        work(self);
        let rows = &self.shard.rows;
        (rows.looks.load(Relaxed) - before.0, rows.passed.load(Relaxed) - before.1)
    }

    fn send_delayed(&mut self, count: u32) {
        let delayed =
            |number| Attributes { number, delay_ms: Some(DELAY_MS), ..Attributes::default() };
        self.send_to(QUEUE, count, (0..count).map(delayed).collect()).unwrap();
    }

    fn acknowledge_all(&mut self, grants: &[Grant]) {
        let done = |grant: &Grant| Settlement {
            offset: grant.offset,
            lease: grant.lease,
            action: Action::Acknowledge,
        };
        let settlements = grants.iter().map(done).collect();
        let reasons = Vec::new();
        self.apply(Command::Settle { queue: QUEUE, settlements, reasons }, &[]).unwrap();
    }
}

#[test]
fn many_messages_that_are_due_are_looked_for_in_pages() {
    let mut bench = Bench::new(QueueSettings::default());
    bench.send_delayed(1_000);
    bench.later(DELAY_MS);
    // Of a hundred each.
    let (looks, _) = bench.looks(|bench| while bench.tick() {});
    assert!(looks <= 60, "{looks} to see what is due");
    let mut grants = Vec::new();
    let (looks, _) = bench.looks(|bench| grants = bench.receive(1_000));
    assert_eq!(grants.len(), 1_000);
    assert!(looks <= 16, "{looks} to lease a thousand");
    let (looks, _) = bench.looks(|bench| bench.acknowledge_all(&grants));
    assert!(looks <= 6, "{looks} to settle a thousand of one batch");
}

#[test]
fn what_was_deleted_is_not_passed_over_again_and_again() {
    let mut bench = Bench::new(QueueSettings::default());
    for _ in 0..100 {
        bench.send_delayed(10);
    }
    bench.later(DELAY_MS);
    while bench.tick() {}
    let (looks, passed) = bench.looks(|bench| {
        for _ in 0..1_000 {
            let grants = bench.receive(1);
            assert_eq!(grants.len(), 1);
            bench.acknowledge_all(&grants);
            bench.shard.write();
        }
    });
    assert!(looks <= 10_000, "{looks} for a thousand");
    assert!(passed <= 10_000, "{passed} deleted rows were passed over for a thousand");
}
