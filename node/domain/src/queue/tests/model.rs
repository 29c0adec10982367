//! Any commands in any order, beside a model that keeps every message in a list.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kontiki_storage::id::{Offset, PartitionId};
use proptest::prelude::*;

use super::reason;
use super::{Bench, QUEUE};
use crate::Rejection;
use crate::queue::read::{self, Standing};
use crate::queue::{
    Action, Attributes, Backoff, Command, Counts, Grant, Overflow, PriorityOrder, QueueSettings,
    RedriveMove, RedriveProgress, RedriveSpec, RedriveStep, Reply, Retry, Settled,
};
use crate::settings::UNLIMITED;

#[derive(Debug, Clone)]
enum Step {
    Send(Vec<(u8, i64, i64, u64, u8)>),
    Receive(Vec<u32>),
    Settle(usize, Action, Option<&'static str>),
    Alter { dead_letter: bool, fair: bool, weighted: bool },
    Later(i64),
    Purge(u32),
    Divert(Vec<u64>),
    Begin(u64),
    GoOn(u64),
    Cancel,
}

fn action() -> impl Strategy<Value = Action> {
    let delay = prop_oneof![Just(None), (0..300_i64).prop_map(Some)];
    prop_oneof![
        6 => Just(Action::Acknowledge),
        3 => (delay, any::<bool>())
            .prop_map(|(delay_ms, failed)| Action::Release { delay_ms, failed }),
        1 => Just(Action::Reject),
        1 => (1..500_i64).prop_map(|lease_ms| Action::Extend { lease_ms }),
        1 => Just(Action::Return),
        1 => Just(Action::Delete),
    ]
}

fn class() -> impl Strategy<Value = Option<&'static str>> {
    let known = ["slow", "poison", "last", "unknown"].map(Some);
    prop_oneof![3 => Just(None), 2 => prop::sample::select(known.to_vec())]
}

fn step() -> impl Strategy<Value = Step> {
    let message = (0..4_u8, 0..3_i64, 0..4_i64, 0..3_u64, 0..6_u8);
    prop_oneof![
        6 => prop::collection::vec(message, 1..5).prop_map(Step::Send),
        6 => prop::collection::vec(1..4_u32, 1..4).prop_map(Step::Receive),
        8 => (0..8_usize, action(), class())
            .prop_map(|(which, action, class)| Step::Settle(which, action, class)),
        1 => any::<(bool, bool, bool)>().prop_map(|(dead_letter, fair, weighted)| {
            Step::Alter { dead_letter, fair, weighted }
        }),
        4 => (1..250_i64).prop_map(Step::Later),
        1 => (1..5_u32).prop_map(Step::Purge),
        1 => prop::collection::vec(0..30_u64, 1..4).prop_map(Step::Divert),
        1 => (0..4_u64).prop_map(Step::Begin),
        2 => (1..5_u64).prop_map(Step::GoOn),
        1 => Just(Step::Cancel),
    ]
}

fn settings() -> impl Strategy<Value = QueueSettings> {
    let limits =
        (prop_oneof![Just(-1), 3..8_i64], prop_oneof![4 => Just(-1), 1 => Just(350)], 0..3_u8);
    let spans =
        (prop_oneof![Just(-1), 200..600_i64], prop_oneof![2 => Just(-1), 1 => 200..600_i64]);
    let shares = any::<(bool, bool)>();
    (any::<bool>(), 0..4_u8, limits, spans, 0..3_u32, 0..2_i64, shares).prop_map(
        |(
            fifo,
            priority_max,
            (length_max, bytes_max, overflow),
            spans,
            attempts_max,
            delay,
            shares,
        )| {
            let (ttl, retention_ms) = spans;
            let slow = Backoff { base_ms: 100, ..Backoff::default() };
            let classes =
                [("slow", Retry::Backoff(slow)), ("poison", Retry::Reject), ("last", Retry::Never)];
            QueueSettings {
                retention_ms,
                fair_groups: shares.0 && !fifo,
                priority_order: order(shares.1),
                backoff_classes: classes.map(|(name, retry)| (name.to_owned(), retry)).into(),
                fifo,
                priority_max: if fifo { 0 } else { priority_max },
                lease_ms: 400,
                delay_ms: delay * 50,
                length_max,
                bytes_max,
                overflow: match overflow {
                    0 => Overflow::Reject,
                    1 => Overflow::DropHead,
                    _ => Overflow::DeadLetterHead,
                },
                time_to_live_ms: ttl,
                attempts_max: attempts_max * 2,
                deduplication_window_ms: 300,
                backoff: Backoff { base_ms: 20, jitter_milli: 300, ..Backoff::default() },
                dead_letter: Some("dead".to_owned()),
                in_flight_max: 6,
                ..QueueSettings::default()
            }
        },
    )
}

fn order(weighted: bool) -> PriorityOrder {
    if weighted { PriorityOrder::Weighted } else { PriorityOrder::Strict }
}

/// What clients know.
#[derive(Default)]
struct Model {
    /// Not before, and the group, of every message that was stored.
    sent: BTreeMap<Offset, (i64, Option<u64>)>,
    /// When they were stored.
    stored: BTreeMap<Offset, i64>,
    settled: BTreeSet<Offset>,
    /// Valid leases.
    leases: BTreeMap<Offset, Grant>,
    /// All leases that there ever were.
    grants: Vec<Grant>,
    counted: BTreeMap<Offset, u32>,
    /// The newest message of each group that was ever delivered.
    newest: BTreeMap<Option<u64>, Offset>,
    /// The redrive that was begun last, and where it is.
    redrive: Option<(u64, u64)>,
}

impl Model {
    fn granted(&mut self, now_ms: i64, settings: &QueueSettings, grants: &[Grant]) {
        let fifo = settings.fifo;
        for grant in grants {
            let age_ms = now_ms - self.stored[&grant.offset];
            for limit in [settings.retention_ms, settings.time_to_live_ms] {
                assert!(limit < 0 || age_ms < limit, "{grant:?} is {age_ms} old");
            }
            let (not_before, group) = self.sent[&grant.offset];
            assert!(now_ms >= not_before, "{grant:?} came early: {now_ms} and not {not_before}");
            assert!(!self.settled.contains(&grant.offset), "{grant:?} was settled");
            let known = self.leases.get(&grant.offset);
            let free = known.is_none_or(|known| known.until_ms <= now_ms);
            assert!(free, "{grant:?} is leased: {known:?}");
            let count = self.counted.entry(grant.offset).or_default();
            *count += 1;
            assert_eq!(*count, grant.acquired, "attempts are miscounted");
            if fifo {
                let newest = self.newest.entry(group).or_insert(grant.offset);
                // Not one that was returned.
                if self.grants.iter().all(|known| known.offset != grant.offset) {
                    assert!(*newest <= grant.offset, "{grant:?} after {newest} of its group");
                    *newest = grant.offset;
                }
                let earlier = self.leases.iter().find(|(offset, lease)| {
                    **offset < grant.offset
                        && self.sent[*offset].1 == group
                        && lease.until_ms > now_ms
                        && !grants.iter().any(|own| own.offset == **offset)
                });
                assert_eq!(earlier, None, "{grant:?} before an earlier message of its group");
            }
            self.leases.insert(grant.offset, *grant);
            self.grants.push(*grant);
        }
    }
}

fn run(settings: &QueueSettings, steps: &[Step], reload: bool) -> (Vec<Grant>, u64) {
    let mut bench = Bench::new(settings.clone());
    bench.create(PartitionId(8), QueueSettings::default());
    bench.reload = reload;
    let mut model = Model::default();
    for step in steps {
        one(&mut bench, &mut model, settings, step);
        check(&mut bench, &model);
        let state = bench.state();
        let length = i64::try_from(state.unsettled - state.moving()).unwrap();
        let fits = settings.length_max == UNLIMITED || length <= settings.length_max;
        assert!(fits, "there are more than there may be: {state:?}");
    }
    drain(&mut bench, &mut model, settings);
    (model.grants, bench.shard.hash())
}

fn one(bench: &mut Bench, model: &mut Model, settings: &QueueSettings, step: &Step) {
    match step {
        Step::Send(messages) => {
            let now = bench.now();
            let attributes = messages.iter().zip(0..).map(|(message, number)| {
                let (priority, delay, expiry, group, id) = *message;
                let delayed = delay > 0 && !settings.fifo;
                Attributes {
                    number,
                    priority,
                    deliver_at_ms: delayed.then_some(now + delay * 60),
                    expires_at_ms: (expiry > 1).then_some(now + expiry * 150),
                    group: Some(group),
                    deduplication: (id < 2).then_some([id; 16]),
                    ..Attributes::default()
                }
            });
            let attributes: Vec<Attributes> = attributes.collect();
            let count = u32::try_from(messages.len()).unwrap();
            let sent = match bench.send_to(QUEUE, count, attributes.clone()) {
                Ok(sent) => sent,
                Err(refused) => return full(bench, settings, &refused),
            };
            for own in attributes {
                let is_new = sent.duplicates.iter().all(|(number, _)| *number != own.number);
                if is_new {
                    let at = Offset(sent.base_offset.0 + u64::from(own.number));
                    let due = own.deliver_at_ms.unwrap_or(now + settings.delay_ms);
                    model.stored.insert(at, now);
                    let known = model.sent.insert(at, (due, own.group));
                    assert_eq!(known, None, "an offset was given twice");
                }
            }
        }
        Step::Receive(wanted) => {
            let now = bench.now();
            for grants in bench.receive_for(wanted) {
                model.granted(now, settings, &grants);
            }
        }
        Step::Alter { dead_letter, fair, weighted } => {
            let none = settings.overflow != Overflow::DeadLetterHead && !dead_letter;
            bench.alter(QueueSettings {
                dead_letter: (!none).then(|| "dead".to_owned()),
                fair_groups: *fair && !settings.fifo,
                priority_order: order(*weighted),
                ..settings.clone()
            });
            while bench.tick() {}
            let now = bench.now();
            model.leases.retain(|_, grant| grant.until_ms > now);
        }
        Step::Settle(which, action, class) => {
            let newest = model.grants.len().saturating_sub(1 + which);
            let Some(grant) = model.grants.get(newest).copied() else { return };
            let valid = model.leases.get(&grant.offset).is_some_and(|l| l.lease == grant.lease);
            let failed = match action {
                Action::Release { failed, .. } => *failed,
                Action::Reject => true,
                Action::Acknowledge | Action::Extend { .. } | Action::Return | Action::Delete => {
                    false
                }
            };
            let said = class.filter(|_| failed).map(|class| reason(class, "it broke"));
            let before = bench.state().totals.acknowledged;
            let settled = bench.settle_saying(&grant, *action, said.into_iter().collect());
            match settled.unwrap() {
                Settled::Done if *action == Action::Delete && !settings.fifo => {
                    model.leases.remove(&grant.offset);
                    if bench.state().totals.acknowledged > before {
                        assert!(model.settled.insert(grant.offset));
                    }
                }
                Settled::LeaseEnded => {}
                Settled::Extended { until_ms } => {
                    assert!(valid);
                    model.leases.get_mut(&grant.offset).unwrap().until_ms = until_ms;
                }
                Settled::Done => {
                    assert!(valid, "{grant:?} was settled under a lease that had ended");
                    model.leases.remove(&grant.offset);
                    if matches!(action, Action::Acknowledge | Action::Delete) {
                        assert!(model.settled.insert(grant.offset));
                    }
                    if *action == Action::Return {
                        *model.counted.get_mut(&grant.offset).unwrap() -= 1;
                    }
                }
            }
        }
        Step::Later(milliseconds) => {
            bench.later(*milliseconds);
            tick(bench);
            let now = bench.now();
            model.leases.retain(|_, grant| grant.until_ms > now);
        }
        Step::Purge(limit) => {
            let purge = Command::Purge { queue: QUEUE, before: Offset(20), limit: *limit };
            bench.apply(purge, &[]).unwrap();
        }
        Step::Divert(offsets) => {
            let offsets = offsets.iter().copied().map(Offset).collect();
            let target = "other".to_owned();
            bench.apply(Command::Divert { queue: QUEUE, offsets, target }, &[]).unwrap();
        }
        Step::Begin(max) => {
            let spec = RedriveSpec { max: *max, ..RedriveSpec::default() };
            // One is enough at a time.
            let begun = bench.apply(Command::StartRedrive { queue: QUEUE, spec }, &[]);
            if let Ok(Reply::Redriving { redrive, .. }) = begun {
                model.redrive = Some((redrive, 0));
            }
        }
        Step::GoOn(count) => {
            let Some((redrive, from)) = model.redrive else { return };
            let to = from + count;
            let offsets = (from..to).map(Offset).collect();
            let moves = vec![RedriveMove { target: "other".to_owned(), offsets }];
            let counted = RedriveProgress { examined: *count, ..RedriveProgress::default() };
            let (from, failure) = (Offset(from), None);
            let step = RedriveStep { redrive, from, to: Offset(to), counted, moves, failure };
            let before = bench.state().moving();
            let command = Command::StepRedrive { queue: QUEUE, step };
            let reply = bench.apply(command.clone(), &[]).unwrap();
            let after = bench.state().moving();
            assert!(after - before <= *count);
            assert_eq!(bench.apply(command, &[]), Ok(reply), "a step counted twice");
            assert_eq!(bench.state().moving(), after, "a step was done twice");
            model.redrive = Some((redrive, to));
        }
        Step::Cancel => {
            let Some((redrive, _)) = model.redrive else { return };
            bench.apply(Command::CancelRedrive { queue: QUEUE, redrive }, &[]).unwrap();
        }
    }
}

/// A send may be refused now.
fn full(bench: &Bench, settings: &QueueSettings, refused: &Rejection) {
    let state = bench.state();
    let leased = i64::try_from(state.leased).unwrap();
    let all_leased = match refused.code() {
        152 => leased >= settings.length_max,
        153 => state.unsettled == state.leased,
        _ => panic!("{refused}"),
    };
    let expected = settings.overflow == Overflow::Reject || all_leased;
    assert!(expected, "there could have been room: {refused}, {state:?}");
}

/// Does what is due. That has an end.
fn tick(bench: &mut Bench) {
    for _ in 0..1_000 {
        if !bench.tick() {
            return;
        }
    }
    panic!("ticks without end: {:?}", bench.state());
}

fn check(bench: &mut Bench, model: &Model) {
    let state = bench.state();
    let counts = state.counts();
    if bench.reload {
        // Otherwise the rows are to stay unwritten.
        assert_eq!(counts, looked_at(bench), "it isn't as one message after the other says");
    }
    assert_eq!(counts.leased, model.leases.len() as u64, "leases are miscounted");
    let totals = state.totals;
    let gone = totals.acknowledged + totals.dropped + totals.moved + totals.purged;
    assert_eq!(totals.enqueued, state.unsettled + gone, "messages are lost or doubled: {state:?}");
    assert_eq!(totals.acknowledged, model.settled.len() as u64);
    assert_eq!(totals.enqueued, model.sent.len() as u64);
}

/// How many messages are where, by looking at each.
fn looked_at(bench: &mut Bench) -> Counts {
    let (state, space) = (bench.state(), bench.shard.space);
    bench.shard.write();
    let rows = &bench.shard.rows;
    let mut counts = Counts::default();
    for batch in read::batches(rows, space, QUEUE, Offset(0), 1_000).unwrap() {
        for offset in (batch.base_offset.0..batch.next_offset().0).map(Offset) {
            match read::standing(rows, space, QUEUE, &state, offset).unwrap() {
                None => {}
                Some((Standing::Available, _)) => counts.available += 1,
                Some((Standing::Leased(_), _)) => counts.leased += 1,
                Some((Standing::Scheduled(_), _)) => counts.scheduled += 1,
                Some((Standing::Moving, _)) => counts.moving += 1,
            }
        }
    }
    counts
}

/// What is left can be received and settled, and then nothing is left.
fn drain(bench: &mut Bench, model: &mut Model, settings: &QueueSettings) {
    for _ in 0..1_000 {
        bench.later(100_000);
        tick(bench);
        model.leases.clear();
        if settings.time_to_live_ms != UNLIMITED || settings.retention_ms != UNLIMITED {
            let state = bench.state();
            assert_eq!(state.unsettled, state.moving(), "it is too old, and still there");
        }
        let grants = bench.receive(6);
        model.granted(bench.now(), settings, &grants);
        for grant in grants {
            assert_eq!(bench.settle(&grant, Action::Acknowledge), Settled::Done);
            model.settled.insert(grant.offset);
            model.leases.remove(&grant.offset);
        }
        let state = bench.state();
        if state.unsettled == state.moving() {
            break;
        }
    }
    let through = u64::MAX - 1;
    let reply =
        bench.apply(Command::Transferred { queue: QUEUE, through, dropped: None }, &[]).unwrap();
    assert!(matches!(reply, Reply::Transferred { .. }), "{reply:?}");
    // The cursor passes the last settled ones.
    assert_eq!(bench.offsets(1), [0; 0]);
    let state = bench.state();
    assert_eq!((state.unsettled, bench.batches()), (0, 0), "{state:?}");
    assert_eq!((state.leased, state.returned, state.scheduled), (0, 0, 0), "{state:?}");
    assert_eq!(state.paused, 0, "{state:?}");
    assert_eq!((state.marks, state.ready.len()), (0, 0), "{state:?}");
    assert_eq!(state.passed, 0, "{state:?}");
    bench.shard.write();
    let of_kind = |(key, _): &(Bytes, Bytes)| matches!(key[8], 34..=39 | 45);
    let left: Vec<_> = bench.shard.rows.all().into_iter().filter(of_kind).collect();
    assert_eq!(left, [], "rows without a message");
    check(bench, model);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_order_keeps_the_promises(
        settings in settings(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let late = run(&settings, &steps, false);
        let reload = run(&settings, &steps, true);
        prop_assert_eq!(late, reload, "another outcome when loaded after each command");
    }
}
