//! Tests of gathering.

use kontiki_records::Compression;

use super::*;

const LINGER: Duration = Duration::from_millis(5);

fn accumulator(batch_bytes: usize) -> Accumulator {
    let buffer = Arc::new(Semaphore::new(0));
    Accumulator::new(0, Limits::default(), batch_bytes, LINGER, buffer)
}

fn value(bytes: &[u8]) -> Parts<'_> {
    Parts { timestamp_ms: 0, key: None, value: Some(bytes), headers: &[] }
}

fn records(gathered: &mut Gathered) -> Vec<Vec<u8>> {
    let batch = gathered.builder.finish(Compression::None, None).unwrap();
    let records = batch.records(&Limits::default()).unwrap();
    records.map(|record| record.unwrap().value.unwrap().to_vec()).collect()
}

#[tokio::test]
async fn a_batch_is_due_when_it_has_lingered() {
    let mut accumulator = accumulator(10_000);
    let now = Instant::now();
    assert!(accumulator.push(now, value(b"a")).unwrap().wake, "the timer has to be set");
    assert!(!accumulator.push(now + LINGER / 2, value(b"b")).unwrap().wake);
    assert!(accumulator.take(now + LINGER / 2, false).is_none());
    assert_eq!(accumulator.due_at(false), Some(now + LINGER));
    let mut batch = accumulator.take(now + LINGER, false).unwrap();
    assert_eq!(records(&mut batch), [b"a", b"b"]);
    assert!(accumulator.is_empty());
}

#[tokio::test]
async fn with_nothing_under_way_a_record_goes_at_once() {
    let mut accumulator = accumulator(10_000);
    let now = Instant::now();
    let _ = accumulator.push(now, value(b"a")).unwrap();
    assert_eq!(accumulator.due_at(true), Some(now));
    assert!(accumulator.take(now, false).is_none(), "something is under way: it lingers");
    assert!(accumulator.take(now, true).is_some());
}

#[tokio::test]
async fn a_full_batch_is_due_at_once_and_order_is_kept() {
    let mut accumulator = accumulator(300);
    let now = Instant::now();
    let mut woken = 0;
    for byte in 0..4 {
        woken += usize::from(accumulator.push(now, value(&[byte; 100])).unwrap().wake);
    }
    assert_eq!(woken, 4, "each batch holds one of these, with its overhead, and begins another");
    let mut all = Vec::new();
    while let Some(mut batch) = accumulator.take(now, false) {
        all.extend(records(&mut batch).into_iter().map(|value| value[0]));
    }
    assert_eq!(all, [0, 1, 2], "the last one lingers");
    assert!(accumulator.seal() && !accumulator.seal());
    assert_eq!(records(&mut accumulator.take(now, false).unwrap())[0][0], 3);
}

#[tokio::test]
async fn a_record_larger_than_a_batch_has_one_to_itself() {
    let mut accumulator = accumulator(300);
    let now = Instant::now();
    let _ = accumulator.push(now, value(b"small")).unwrap();
    let _ = accumulator.push(now, value(&[7; 5_000])).unwrap();
    let _ = accumulator.push(now, value(b"after")).unwrap();
    assert_eq!(records(&mut accumulator.take(now, false).unwrap()), [b"small"]);
    assert_eq!(records(&mut accumulator.take(now, false).unwrap())[0].len(), 5_000);
    assert!(accumulator.take(now, false).is_none());
}

#[tokio::test]
async fn a_refused_record_leaves_the_others_alone() {
    let mut accumulator = accumulator(10_000);
    let now = Instant::now();
    let too_many = vec![Header::new("name", "value"); 2_000];
    let parts = Parts { headers: &too_many, ..value(b"bad") };
    let error = accumulator.push(now, parts).expect_err("more headers than a record may have");
    assert!(error.message.contains("headers_max"), "{error}");
    assert!(accumulator.is_empty(), "no empty batch is left behind");
    let _ = accumulator.push(now, value(b"good")).unwrap();
    assert!(accumulator.push(now, parts).is_err());
    assert_eq!(records(&mut accumulator.take(now + LINGER, false).unwrap()), [b"good"]);
}

#[tokio::test]
async fn what_was_not_settled_is_listed_and_a_closed_one_refuses() {
    let mut accumulator = accumulator(300);
    let now = Instant::now();
    for _ in 0..3 {
        let _ = accumulator.push(now, value(&[1; 250])).unwrap();
    }
    assert_eq!(accumulator.unsettled().len(), 3);
    drop(accumulator.take(now, false));
    assert_eq!(accumulator.unsettled().len(), 2);
    assert!(accumulator.take_older(now - LINGER).is_none());
    assert!(accumulator.take_older(now).is_some());
    accumulator.close(Error::closed());
    assert_eq!(accumulator.push(now, value(b"x")).expect_err("closed"), Error::closed());
}

#[tokio::test]
async fn after_an_answer_those_that_come_at_once_share_a_batch() {
    let mut accumulator = accumulator(10_000);
    let now = Instant::now();
    accumulator.answered(now, 3);
    assert!(accumulator.push(now, value(b"a")).unwrap().wake, "the timer has to be set");
    assert!(accumulator.take(now, true).is_none());
    assert!(!accumulator.push(now, value(b"b")).unwrap().wake);
    assert!(accumulator.push(now, value(b"c")).unwrap().wake, "all have come");
    let mut batch = accumulator.take(now, true).unwrap();
    assert_eq!(records(&mut batch), [b"a", b"b", b"c"]);
    // Of the next ones, one doesn't come.
    accumulator.answered(now, 3);
    let _ = accumulator.push(now, value(b"d")).unwrap();
    let _ = accumulator.push(now, value(b"e")).unwrap();
    let due = accumulator.due_at(true).unwrap();
    assert!(due > now && due < now + LINGER);
    assert!(accumulator.take(due - Duration::from_micros(1), true).is_none());
    assert_eq!(records(&mut accumulator.take(due, true).unwrap()), [b"d", b"e"]);
    // So the next answer is not followed by a wait.
    accumulator.answered(due, 2);
    let _ = accumulator.push(due, value(b"f")).unwrap();
    assert!(accumulator.take(due, true).is_some());
}

#[tokio::test]
async fn nothing_is_expected_of_those_who_don_t_linger() {
    let buffer = Arc::new(Semaphore::new(0));
    let mut accumulator = Accumulator::new(0, Limits::default(), 10_000, Duration::ZERO, buffer);
    let now = Instant::now();
    accumulator.answered(now, 3);
    let _ = accumulator.push(now, value(b"a")).unwrap();
    assert!(accumulator.take(now, true).is_some());
}
