//! Tests of sequences and of the order of retries: by cases, and against a partition that behaves
//! as a node's does while chance decides about every answer.

use std::time::Duration;

use super::*;

fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn idempotent() -> Pipeline<Stamp> {
    Pipeline::new(5, Some((7, 0)))
}

fn admit(pipeline: &mut Pipeline<Stamp>, records: u32) {
    let stamp = pipeline.stamp().unwrap();
    pipeline.admit(records, later(), stamp);
}

/// Sends everything that may be sent: keys and sequences.
fn send_all(pipeline: &mut Pipeline<Stamp>) -> Vec<(u64, u32)> {
    let mut sent = Vec::new();
    while let Some((key, stamp)) = pipeline.send_next() {
        sent.push((key, stamp.sequence));
    }
    sent
}

fn three() -> Pipeline<Stamp> {
    let mut pipeline = idempotent();
    (0..3).for_each(|_| admit(&mut pipeline, 10));
    assert_eq!(send_all(&mut pipeline), [(0, 0), (1, 10), (2, 20)]);
    pipeline
}

fn stored(pipeline: &mut Pipeline<Stamp>, key: u64) {
    assert_eq!(pipeline.answer(key, Answer::Stored).unwrap().ending, Ending::Stored);
}

#[tokio::test]
async fn after_a_failure_everything_left_is_sent_again_in_order() {
    let mut pipeline = three();
    assert!(pipeline.answer(0, Answer::NotDone).is_none());
    admit_is_refused(&pipeline);
    assert_eq!(pipeline.step(), Step::Drain);
    assert!(pipeline.answer(2, Answer::Gap).is_none());
    assert_eq!(pipeline.step(), Step::Drain);
    assert!(pipeline.answer(1, Answer::Unknown).is_none());
    assert_eq!(pipeline.step(), Step::Resume);
    assert_eq!(send_all(&mut pipeline), []);
    pipeline.resume();
    assert_eq!(send_all(&mut pipeline), [(0, 0), (1, 10), (2, 20)]);
    (0..3).for_each(|key| stored(&mut pipeline, key));
    assert!(pipeline.is_empty() && pipeline.step() == Step::Send);
}

fn admit_is_refused(pipeline: &Pipeline<Stamp>) {
    assert!(!pipeline.has_room());
}

#[tokio::test]
async fn what_was_stored_is_not_sent_again() {
    let mut pipeline = three();
    stored(&mut pipeline, 1);
    assert!(pipeline.answer(0, Answer::Unknown).is_none());
    stored(&mut pipeline, 2);
    pipeline.resume();
    assert_eq!(send_all(&mut pipeline), [(0, 0)]);
    stored(&mut pipeline, 0);
    assert!(pipeline.is_empty());
}

#[tokio::test]
async fn the_window_reaches_from_the_oldest_without_an_outcome() {
    let mut pipeline = idempotent();
    (0..5).for_each(|_| admit(&mut pipeline, 1));
    send_all(&mut pipeline);
    (1..5).for_each(|key| stored(&mut pipeline, key));
    assert!(!pipeline.has_room(), "a node would no longer recognize the first one");
    stored(&mut pipeline, 0);
    assert!(pipeline.has_room());
}

#[tokio::test]
async fn a_refused_batch_begins_a_new_epoch_for_those_after_it() {
    let mut pipeline = three();
    stored(&mut pipeline, 0);
    let refused = pipeline.answer(1, Answer::Refused).unwrap();
    assert_eq!((refused.payload.sequence, refused.ending), (10, Ending::Failed));
    assert_eq!(pipeline.step(), Step::Drain);
    assert!(pipeline.answer(2, Answer::Gap).is_none());
    assert_eq!(pipeline.step(), Step::NewEpoch);
    let ended = pipeline.restart((7, 1), |payload, stamp| *payload = stamp);
    assert_eq!(ended, []);
    assert_eq!(send_all(&mut pipeline), [(2, 0)]);
    let stamp = Stamp { producer_id: 7, epoch: 1, sequence: 10 };
    assert_eq!(pipeline.stamp(), Some(stamp));
}

#[tokio::test]
async fn what_may_be_stored_is_never_numbered_anew() {
    let mut pipeline = three();
    (0..3).for_each(|key| assert!(pipeline.answer(key, Answer::Unknown).is_none()));
    pipeline.resume();
    send_all(&mut pipeline);
    assert_eq!(pipeline.answer(0, Answer::Refused).unwrap().ending, Ending::Unknown);
    assert!(pipeline.answer(1, Answer::Gap).is_some_and(|e| e.ending == Ending::Unknown));
    assert!(pipeline.answer(2, Answer::Gap).is_some_and(|e| e.ending == Ending::Unknown));
    assert_eq!(pipeline.step(), Step::NewEpoch);
}

#[tokio::test]
async fn a_gap_in_front_begins_a_new_epoch() {
    let mut pipeline = idempotent();
    admit(&mut pipeline, 3);
    send_all(&mut pipeline);
    stored(&mut pipeline, 0);
    admit(&mut pipeline, 3);
    assert_eq!(send_all(&mut pipeline), [(1, 3)]);
    assert!(pipeline.answer(1, Answer::Gap).is_none(), "the partition forgot this producer");
    assert_eq!(pipeline.step(), Step::NewEpoch);
    assert_eq!(pipeline.restart((7, 1), |payload, stamp| *payload = stamp), []);
    assert_eq!(send_all(&mut pipeline), [(1, 0)]);
}

#[tokio::test]
async fn overdue_batches_end_and_what_follows_is_numbered_anew() {
    let mut pipeline = idempotent();
    let now = Instant::now();
    for millis in [1_u64, 2, 3_000] {
        let stamp = pipeline.stamp().unwrap();
        pipeline.admit(1, now + Duration::from_millis(millis), stamp);
    }
    send_all(&mut pipeline);
    assert!(pipeline.expire(now + Duration::from_millis(10)).is_empty(), "all are under way");
    assert!(pipeline.answer(0, Answer::Unknown).is_none());
    assert!(pipeline.answer(1, Answer::NotDone).is_none());
    assert!(pipeline.answer(2, Answer::NotDone).is_none());
    assert_eq!(pipeline.next_deadline(), Some(now + Duration::from_millis(1)));
    let ended = pipeline.expire(now + Duration::from_millis(10));
    let endings: Vec<Ending> = ended.iter().map(|ended| ended.ending).collect();
    assert_eq!(endings, [Ending::Unknown, Ending::Failed]);
    assert_eq!(pipeline.step(), Step::NewEpoch);
    assert_eq!(pipeline.restart((7, 1), |payload, stamp| *payload = stamp), []);
    assert_eq!(send_all(&mut pipeline), [(2, 0)]);
}

#[tokio::test]
async fn a_fenced_producer_stops() {
    let mut pipeline = three();
    assert_eq!(pipeline.answer(0, Answer::Fenced).unwrap().ending, Ending::Failed);
    assert_eq!(pipeline.step(), Step::Stop);
    assert_eq!(pipeline.answer(1, Answer::Unknown), None);
    assert_eq!(pipeline.answer(2, Answer::NotDone), None);
    let endings: Vec<Ending> = pipeline.stop().iter().map(|ended| ended.ending).collect();
    assert_eq!(endings, [Ending::Unknown, Ending::Failed]);
}

#[tokio::test]
async fn without_sequences_only_what_was_not_done_is_sent_again() {
    let mut pipeline: Pipeline<u32> = Pipeline::new(5, None);
    (0..3).for_each(|number| pipeline.admit(1, later(), number));
    while pipeline.send_next().is_some() {}
    assert_eq!(pipeline.answer(0, Answer::Unknown).unwrap().ending, Ending::Unknown);
    assert!(pipeline.answer(1, Answer::NotDone).is_none());
    assert_eq!(pipeline.answer(2, Answer::Refused).unwrap().ending, Ending::Failed);
    assert_eq!(pipeline.step(), Step::Resume);
    pipeline.resume();
    assert_eq!(pipeline.send_next(), Some((1, &1)));
}

#[tokio::test]
async fn sequences_go_on_at_zero() {
    let stamp = Stamp { producer_id: 1, epoch: 0, sequence: SEQUENCE_MASK };
    assert_eq!(stamp.after(1).sequence, 0);
    assert_eq!(stamp.after(6).sequence, 5);
}

/// What a node remembers of a producer in a partition, and what it has stored.
#[derive(Default)]
struct Partition {
    known: Option<(u32, Vec<(u32, u32)>)>,
    log: Vec<u32>,
}

impl Partition {
    fn append(&mut self, stamp: Stamp, number: u32) -> Answer {
        let got = stamp.sequence;
        let (epoch, window) = match &mut self.known {
            Some((epoch, window)) if *epoch == stamp.epoch => (epoch, window),
            Some((epoch, _)) if *epoch > stamp.epoch => return Answer::Fenced,
            _ if got != 0 => return Answer::Gap,
            known => {
                let (epoch, window) = known.insert((stamp.epoch, Vec::new()));
                (epoch, window)
            }
        };
        assert_eq!(*epoch, stamp.epoch);
        if window.contains(&(got, 1)) {
            return Answer::Stored;
        }
        if window.last().is_some_and(|(last, records)| last + records != got) {
            return Answer::Gap;
        }
        window.push((got, 1));
        if window.len() > 5 {
            window.remove(0);
        }
        self.log.push(number);
        Answer::Stored
    }
}

/// Chance with a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// One run: batches 0, 1, 2 and so on; returns what was stored and how each ended.
fn run(seed: u64, batches: u32) -> (Vec<u32>, Vec<(u32, Ending)>) {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut pipeline: Pipeline<(u32, Option<Stamp>)> = Pipeline::new(5, Some((1, 0)));
    let (mut partition, mut epoch, mut next) = (Partition::default(), 0, 0);
    let mut under_way: VecDeque<(u64, u32, Stamp)> = VecDeque::new();
    let mut ended = Vec::new();
    while ended.len() < batches as usize {
        match pipeline.step() {
            Step::Send => {
                while pipeline.has_room() && next < batches && chance.below(4) > 0 {
                    let stamp = pipeline.stamp();
                    pipeline.admit(1, later(), (next, stamp));
                    next += 1;
                }
                while let Some((key, (number, stamp))) = pipeline.send_next() {
                    under_way.push_back((key, *number, stamp.unwrap()));
                }
            }
            Step::Resume => pipeline.resume(),
            Step::NewEpoch => {
                epoch += 1;
                let restamp = |payload: &mut (u32, Option<Stamp>), stamp| payload.1 = Some(stamp);
                let given_up = pipeline.restart((1, epoch), restamp);
                ended.extend(given_up.into_iter().map(|e| (e.payload.0, e.ending)));
            }
            Step::Drain => {}
            Step::Stop => panic!("nobody else writes (seed {seed})"),
        }
        // They arrive in order; each is lost, or refused, or its answer is lost.
        let Some((key, number, stamp)) = under_way.pop_front() else { continue };
        let answer = match chance.below(12) {
            0 => Answer::NotDone,
            1 => Answer::Unknown,
            2 => {
                partition.append(stamp, number);
                Answer::Unknown
            }
            3 if chance.below(8) == 0 => Answer::Refused,
            _ => partition.append(stamp, number),
        };
        ended.extend(pipeline.answer(key, answer).map(|e| (e.payload.0, e.ending)));
    }
    (partition.log, ended)
}

#[tokio::test]
async fn whatever_happens_each_batch_is_stored_once_and_in_order() {
    for seed in 0..2_000 {
        let (log, ended) = run(seed, 40);
        assert!(log.is_sorted_by(|a, b| a < b), "seed {seed}: {log:?}");
        assert_eq!(ended.len(), 40, "seed {seed}");
        for (number, ending) in ended {
            let is_there = log.contains(&number);
            match ending {
                Ending::Stored => assert!(is_there, "seed {seed}: {number} is lost"),
                Ending::Failed => assert!(!is_there, "seed {seed}: {number} is there after all"),
                Ending::Unknown => {}
            }
        }
    }
}
