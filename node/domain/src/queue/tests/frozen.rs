//! The bytes of version 1 of what queues have in the log and on disk. A line that changes here
//! breaks every log that was ever written: add lines, don't edit them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use kontiki_storage::id::{Offset, ShardId};

use super::{Bench, QUEUE, header, reason};
use crate::filter::{FilterText, Language};
use crate::partition::PartitionState;
use crate::queue::held::Held;
use crate::queue::mark::{Mark, Outgoing};
use crate::queue::{
    Acquire, Action, Attributes, Backoff, Command, Dropped, Enqueue, Enqueued, Grant, Origin,
    Overflow, PriorityOrder, QueueSettings, QueueState, RedriveMove, RedriveProgress, RedriveSpec,
    RedriveStatus, RedriveStep, Reply, Retry, Settled, Settlement, Shared,
};
use crate::settings::UNLIMITED;
use crate::shard::{self, decode_outcome, encode_outcome};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn compare(name: &str, got: &str, frozen: &str) {
    let frozen: String = frozen.lines().map(|line| format!("{line}\n")).collect();
    assert!(got == frozen, "{name}: the bytes are\n\n{got}");
}

fn attributes() -> Attributes {
    Attributes {
        number: 1,
        deliver_at_ms: Some(1_700_000_000_000),
        expires_at_ms: Some(1_700_000_000_001),
        priority: 3,
        group: Some(9),
        deduplication: Some([7; 16]),
        ..Attributes::default()
    }
}

fn redrive_spec() -> RedriveSpec {
    let text = "{}".to_owned();
    RedriveSpec {
        target: Some("other".to_owned()),
        filter: Some(FilterText { language: Language::PolicyOnBody, text }),
        per_second: 5,
        max: 6,
        dry_run: false,
        set_headers: vec![("color".to_owned(), b"red".to_vec().into())],
        remove_headers: vec!["shape".to_owned()],
    }
}

fn redrive_step() -> RedriveStep {
    let offsets = vec![Offset(0), Offset(1)];
    RedriveStep {
        redrive: 1,
        from: Offset(0),
        to: Offset(2),
        counted: RedriveProgress { examined: 2, ..RedriveProgress::default() },
        moves: vec![RedriveMove { target: "other".to_owned(), offsets }],
        failure: None,
    }
}

fn commands() -> Vec<(&'static str, Command)> {
    let queue = QUEUE;
    let attributes = vec![attributes()];
    let origin = Some(Origin { queue, first_sequence: 4, shared: None });
    let header = header(2, 1_700_000_000_000);
    let settle = |action| Settlement { offset: Offset(3), lease: 5, action };
    let settlements = vec![
        settle(Action::Acknowledge),
        settle(Action::Release { delay_ms: Some(7), failed: true }),
        settle(Action::Release { delay_ms: None, failed: false }),
        settle(Action::Reject),
        settle(Action::Extend { lease_ms: 8 }),
    ];
    let wanted = vec![Acquire { max: 10, lease_ms: 30_000 }];
    let spans = Attributes { delay_ms: Some(5), time_to_live_ms: Some(6), ..Attributes::default() };
    let spans = Enqueue {
        queue,
        payload: 0,
        header,
        attributes: vec![Attributes { number: 1, ..spans }],
        origin: None,
    };
    let shared = Some(Origin { queue, first_sequence: 4, shared: Some(Shared::Yes) });
    let dropped = Some(Dropped::Unroutable);
    let (offsets, target) = (vec![Offset(3), Offset(4)], "other".to_owned());
    vec![
        ("enqueue", Command::Enqueue(Enqueue { queue, payload: 0, header, attributes, origin })),
        ("acquire", Command::Acquire { queue, wanted }),
        ("settle", Command::Settle { queue, settlements, reasons: Vec::new() }),
        ("tick", Command::Tick { queue, limit: 10 }),
        ("purge", Command::Purge { queue, before: Offset(9), limit: 10 }),
        ("transferred", Command::Transferred { queue, through: 6, dropped: None }),
        ("divert", Command::Divert { queue, offsets, target }),
        ("enqueue_shared", Command::Enqueue(Enqueue { origin: shared, ..spans.clone() })),
        ("enqueue_spans", Command::Enqueue(spans)),
        ("dropped", Command::Transferred { queue, through: 6, dropped }),
        ("settle_saying", saying()),
        ("start_redrive", Command::StartRedrive { queue, spec: redrive_spec() }),
        ("step_redrive", Command::StepRedrive { queue, step: redrive_step() }),
        ("cancel_redrive", Command::CancelRedrive { queue, redrive: 1 }),
        ("settle_return", settle_one(Action::Return)),
        ("settle_delete", settle_one(Action::Delete)),
    ]
}

fn settle_one(action: Action) -> Command {
    let settlements = vec![Settlement { offset: Offset(3), lease: 5, action }];
    Command::Settle { queue: QUEUE, settlements, reasons: Vec::new() }
}

fn saying() -> Command {
    let action = Action::Release { delay_ms: None, failed: true };
    let settlements = vec![Settlement { offset: Offset(3), lease: 5, action }];
    let reasons = vec![reason("timeout", "no answer")];
    Command::Settle { queue: QUEUE, settlements, reasons }
}

fn replies() -> Vec<(&'static str, Reply)> {
    let grant =
        Grant { offset: Offset(3), lease: 5, until_ms: 1_700_000_000_000, acquired: 2, failed: 1 };
    let enqueued = Enqueued {
        base_offset: Offset(12),
        append_time_ms: 1_700_000_000_000,
        duplicates: vec![(1, 4)],
    };
    let progress = RedriveProgress { examined: 4, moved: 3, stranded: 2, filter_errors: 1 };
    let settled = vec![Settled::Done, Settled::LeaseEnded, Settled::Extended { until_ms: 9 }];
    vec![
        ("enqueued", Reply::Enqueued(enqueued)),
        ("acquired", Reply::Acquired(vec![vec![grant], vec![]])),
        ("settled", Reply::Settled(settled)),
        ("ticked", Reply::Ticked { done: 3, more: true }),
        ("purged", Reply::Purged { removed: 3, more: false }),
        ("transferred", Reply::Transferred { removed: 2 }),
        ("diverted", Reply::Diverted { messages: 2 }),
        ("redriving", Reply::Redriving { redrive: 1, status: RedriveStatus::Failed, progress }),
    ]
}

#[test]
fn commands_and_replies_keep_their_bytes() {
    let mut text = String::new();
    for (name, command) in commands() {
        let command = shard::Command::from(command);
        let bytes = command.encode();
        assert_eq!(shard::Command::decode(&bytes), Ok(command));
        writeln!(text, "{name} {}", hex(&bytes)).unwrap();
    }
    for (name, reply) in replies() {
        let outcome = Ok(shard::Reply::Queue(reply));
        let bytes = encode_outcome(&outcome);
        assert_eq!(decode_outcome(&bytes), Ok(outcome));
        writeln!(text, "{name} {}", hex(&bytes)).unwrap();
    }
    compare("commands", &text, include_str!("frozen/commands.txt"));
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

/// Rows that were written before there were histories, shares and retention mean the same, and are
/// written as they were.
#[test]
fn older_rows_are_understood() {
    let shard = ShardId(1);
    let mut seen = BTreeSet::new();
    for line in include_str!("frozen/rows.txt").lines() {
        let (key, value) = line.split_once(' ').unwrap();
        let (key, value) = (unhex(key), unhex(value));
        let again = match key[8] {
            16 => {
                let state = PartitionState::decode(shard, &value).unwrap();
                let settings = state.queue.as_ref().unwrap();
                let default = QueueSettings::default();
                assert_eq!(settings.retention_ms, UNLIMITED);
                assert_eq!(settings.priority_order, PriorityOrder::Strict);
                assert_eq!(settings.backoff_classes, default.backoff_classes);
                assert!(!settings.fair_groups);
                state.encode()
            }
            32 => {
                let state = QueueState::decode(shard, &value).unwrap();
                assert_eq!((state.retained_to, state.passed, state.leads.len()), (0, 0, 0));
                assert_eq!(state.paused, 0);
                state.encode()
            }
            33 => {
                let held = Held::decode(shard, &value).unwrap();
                assert!(!held.message.history);
                held.encode()
            }
            34 => Mark::decode(shard, &value).unwrap().encode(),
            43 => Outgoing::decode(shard, &value).unwrap().encode(),
            _ => continue,
        };
        assert_eq!(hex(&again), hex(&value));
        seen.insert(key[8]);
    }
    assert_eq!(seen, BTreeSet::from([16, 32, 33, 34, 43]));
}

/// Rows of classes and times had no mark of their own once: then it is that of the message.
#[test]
fn rows_of_classes_and_times_may_be_empty() {
    for emptied in [false, true] {
        let mut bench = Bench::new(QueueSettings { priority_max: 5, ..QueueSettings::default() });
        let ranked = |priority| Attributes { priority, ..Attributes::default() };
        let delayed = Attributes { delay_ms: Some(1_000), ..Attributes::default() };
        for attributes in [delayed, ranked(1), ranked(3), delayed, ranked(3)] {
            bench.send_with(attributes).unwrap();
        }
        bench.shard.write();
        if emptied {
            bench.shard.rows.empty(|key| key[8] == 35 || key[8] == 37);
        }
        bench.shard.reload();
        assert_eq!(bench.offsets(10), [2, 4, 1]);
        bench.later(1_000);
        bench.tick();
        assert_eq!(bench.offsets(10), [0, 3], "emptied: {emptied}");
    }
}

/// What has become due stays under its time, and the queue's row says how far that goes.
#[test]
fn rows_of_what_is_due_keep_their_bytes() {
    let mut bench = Bench::new(QueueSettings::default());
    for delay in [1_000, 1_000, 2_000] {
        let delayed = Attributes { delay_ms: Some(delay), ..Attributes::default() };
        bench.send_with(delayed).unwrap();
    }
    bench.later(1_000);
    bench.tick();
    bench.shard.write();
    let mut text = String::new();
    for (key, value) in bench.shard.rows.all().iter().filter(|(key, _)| key[8] > 31) {
        writeln!(text, "{} {}", hex(key), hex(value)).unwrap();
    }
    compare("due rows", &text, include_str!("frozen/rows_due.txt"));
}

/// What messages and queues have since then.
#[test]
fn later_rows_keep_their_bytes() {
    let classes = [
        ("last", Retry::Never),
        ("poison", Retry::Reject),
        ("slow", Retry::Backoff(Backoff { base_ms: 100, ..Backoff::default() })),
    ];
    let settings = QueueSettings {
        priority_max: 5,
        retention_ms: 1_000_000,
        priority_order: PriorityOrder::Weighted,
        fair_groups: true,
        backoff_classes: classes.map(|(name, retry)| (name.to_owned(), retry)).into(),
        dead_letter: Some("dead".to_owned()),
        ..QueueSettings::default()
    };
    let mut bench = Bench::new(settings);
    let grouped = |group| Attributes { group: Some(group), ..Attributes::default() };
    bench.later(1_000);
    bench.send(1);
    bench.later(1_000_000);
    bench.tick();
    for group in [1, 1, 2, 1] {
        bench.send_with(grouped(group)).unwrap();
    }
    bench.send_with(Attributes { priority: 5, ..grouped(3) }).unwrap();
    let grants = bench.receive(3);
    bench.fail(&grants[0], "slow", "it was");
    bench.fail(&grants[1], "poison", "");
    let mut text = String::new();
    bench.shard.write();
    // The record batches are as before.
    for (key, value) in bench.shard.rows.all().iter().filter(|(key, _)| key[8] != 17) {
        writeln!(text, "{} {}", hex(key), hex(value)).unwrap();
    }
    compare("later rows", &text, include_str!("frozen/rows_later.txt"));
}

/// One message in every place that there is.
#[test]
fn rows_keep_their_bytes() {
    let settings = QueueSettings {
        priority_max: 5,
        time_to_live_ms: 1_000_000,
        overflow: Overflow::DropHead,
        length_max: 1_000,
        attempts_max: 3,
        backoff: Backoff { base_ms: 100, jitter_milli: 5, ..Backoff::default() },
        dead_letter: Some("dead".to_owned()),
        ..QueueSettings::default()
    };
    let mut bench = Bench::new(settings);
    bench.send(3);
    let own = |own: Attributes| vec![own];
    let at = bench.now() + 500;
    let delayed = Attributes { deliver_at_ms: Some(at), ..Attributes::default() };
    bench.send_to(QUEUE, 1, own(delayed)).unwrap();
    let urgent = Attributes { priority: 5, expires_at_ms: Some(at), ..Attributes::default() };
    bench.send_to(QUEUE, 1, own(urgent)).unwrap();
    let once = Attributes { deduplication: Some([7; 16]), ..Attributes::default() };
    bench.send_to(QUEUE, 2, vec![once, Attributes { number: 1, ..once }]).unwrap();
    let grants = bench.receive(4);
    bench.settle(&grants[1], Action::Reject);
    bench.settle(&grants[2], Action::Release { delay_ms: None, failed: false });
    bench.settle(&grants[3], Action::Acknowledge);
    let mut text = String::new();
    bench.shard.write();
    for (key, value) in bench.shard.rows.all() {
        writeln!(text, "{} {}", hex(&key), hex(&value)).unwrap();
    }
    let mut fifo = Bench::new(QueueSettings { fifo: true, ..QueueSettings::default() });
    let grouped = |group| Attributes { group: Some(group), ..Attributes::default() };
    for group in [1, 1, 2] {
        fifo.send_with(grouped(group)).unwrap();
    }
    let grants = fifo.receive_for(&[1, 1]);
    fifo.settle(&grants[0][0], Action::Acknowledge);
    fifo.shard.write();
    for (key, value) in fifo.shard.rows.all() {
        writeln!(text, "{} {}", hex(&key), hex(&value)).unwrap();
    }
    compare("rows", &text, include_str!("frozen/rows_2.txt"));
}

/// One message that waits in order, and one that waits after a failure.
#[test]
fn rows_of_a_fifo_queue_with_a_delay_keep_their_bytes() {
    let backoff = Backoff { base_ms: 100, ..Backoff::default() };
    let settings = QueueSettings { fifo: true, delay_ms: 50, backoff, ..QueueSettings::default() };
    let mut bench = Bench::new(settings);
    bench.send(1);
    bench.later(50);
    bench.tick();
    bench.send(1);
    let grants = bench.receive(2);
    bench.settle(&grants[0], Action::Release { delay_ms: None, failed: true });
    let mut text = String::new();
    bench.shard.write();
    // The settings and the record batches are as elsewhere.
    for (key, value) in bench.shard.rows.all().iter().filter(|(key, _)| key[8] >= 32) {
        writeln!(text, "{} {}", hex(key), hex(value)).unwrap();
    }
    compare("fifo rows", &text, include_str!("frozen/rows_fifo.txt"));
}

#[test]
fn rows_of_redrives_keep_their_bytes() {
    let mut bench = Bench::new(QueueSettings::default());
    bench.send(3);
    let queue = QUEUE;
    bench.apply(Command::StartRedrive { queue, spec: redrive_spec() }, &[]).unwrap();
    bench.apply(Command::StepRedrive { queue, step: redrive_step() }, &[]).unwrap();
    bench.shard.write();
    let mut text = String::new();
    for (key, value) in bench.shard.rows.all() {
        // The tasks and the outbox.
        if [0x2b, 0x2e].contains(&key[8]) {
            writeln!(text, "{} {}", hex(&key), hex(&value)).unwrap();
        }
    }
    compare("redrives", &text, include_str!("frozen/redrives.txt"));
}

/// As releases wrote it that didn't count failures and releases.
#[test]
fn rows_of_earlier_releases_are_read() {
    let old = "018d0305010101a003040001011905dc880604010000000001";
    let digits = |at: usize| u8::from_str_radix(&old[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..old.len()).step_by(2).map(digits).collect();
    let state = QueueState::decode(kontiki_storage::id::ShardId(1), &bytes).unwrap();
    assert_eq!((state.totals.enqueued, state.totals.acquired), (6, 4));
    assert_eq!((state.totals.failed, state.totals.released), (0, 0));
}
