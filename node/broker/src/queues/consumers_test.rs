//! Tests of who is served, whose a queue is, and when it goes.

use kontiki_domain::queue::Totals;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn attached(settings: QueueSettings) -> (Attached, Instant) {
    let now = Instant::now();
    let mut attached = Attached::new(1, now);
    attached.set(&QueueSettings { consumer_timeout_ms: Some(1_000), ..settings });
    (attached, now)
}

fn id(text: &str) -> Arc<str> {
    Arc::from(text)
}

fn grant(offset: u64) -> Grant {
    Grant { offset: Offset(offset), lease: offset + 100, until_ms: 0, acquired: 1, failed: 0 }
}

const DEAD: IsLive<'static> = &|_, _| false;
const LIVE: IsLive<'static> = &|_, _| true;

fn only(
    attached: &mut Attached,
    now: Instant,
    first: (&str, i32),
    is_live: IsLive<'_>,
) -> Option<String> {
    let who = id(first.0);
    let plan = attached.plan(now, &Totals::default(), Some((&who, first.1)), is_live);
    plan.only.map(|id| id.to_string())
}

fn single() -> QueueSettings {
    QueueSettings { single_active_consumer: true, ..QueueSettings::default() }
}

#[test]
fn one_is_active_until_it_goes() {
    let (mut attached, now) = attached(single());
    for who in ["a", "b"] {
        attached.attend(now, &id(who), 0, true).unwrap();
    }
    let active = |attached: &mut Attached, now, is_live| only(attached, now, ("b", 0), is_live);
    assert_eq!(only(&mut attached, now, ("a", 0), DEAD), Some("a".to_owned()));
    attached.answered(now, "a", &[grant(1)]);
    // Its time, then its lease.
    assert_eq!(active(&mut attached, now + SECOND / 2, DEAD), Some("a".to_owned()));
    let (mut leased, later) = (attached, now + SECOND);
    leased.answered(now, "a", &[grant(2)]);
    assert_eq!(active(&mut leased, later, LIVE), Some("a".to_owned()));
    assert_eq!(active(&mut leased, later, DEAD), Some("b".to_owned()));
    assert_eq!(leased.show(later).active.as_deref(), Some("b"));
    // One that says so goes at once.
    leased.detach(later, "b");
    leased.attend(later, &id("a"), 0, true).unwrap();
    assert_eq!(only(&mut leased, later, ("a", 0), DEAD), Some("a".to_owned()));
    assert_eq!(leased.take_gone(), [id("b")]);
}

#[test]
fn the_next_look_is_when_the_active_one_may_have_gone() {
    let (mut attached, now) = attached(single());
    attached.attend(now, &id("a"), 0, true).unwrap();
    only(&mut attached, now, ("a", 0), DEAD);
    attached.answered(now, "a", &[grant(1)]);
    attached.attend(now, &id("b"), 0, true).unwrap();
    let mut again = |at| {
        attached.plan(at, &Totals::default(), Some((&id("b"), 0)), LIVE).again.map(|at| at - now)
    };
    assert_eq!(again(now), Some(SECOND));
    assert_eq!(again(now + SECOND), Some(SECOND + SECOND / 4));
}

#[test]
fn a_higher_priority_takes_over_when_nothing_is_leased() {
    let (mut attached, now) = attached(single());
    attached.attend(now, &id("low"), 0, true).unwrap();
    assert_eq!(only(&mut attached, now, ("low", 0), DEAD), Some("low".to_owned()));
    attached.answered(now, "low", &[grant(1)]);
    attached.attend(now, &id("low"), 0, true).unwrap();
    attached.attend(now, &id("high"), 5, true).unwrap();
    assert_eq!(only(&mut attached, now, ("high", 5), LIVE), Some("low".to_owned()));
    assert_eq!(only(&mut attached, now, ("high", 5), DEAD), Some("high".to_owned()));
    // An equal one waits.
    attached.attend(now, &id("other"), 5, true).unwrap();
    assert_eq!(only(&mut attached, now, ("other", 5), DEAD), Some("high".to_owned()));
}

#[test]
fn an_exclusive_queue_names_its_holder_and_goes_with_it() {
    let exclusive = QueueSettings { exclusive: true, ..QueueSettings::default() };
    let (mut attached, now) = attached(exclusive);
    assert_eq!(attached.sweep(now + 9 * SECOND, false, DEAD), None, "nobody has come yet");
    attached.attend(now, &id("mine"), 0, true).unwrap();
    let error = attached.attend(now, &id("yours"), 0, true).unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Conflict, Code::QUEUE_EXCLUSIVE));
    assert!(error.detail.contains("\"mine\""), "{error}");
    attached.answered(now, "mine", &[]);
    attached.detach(now, "mine");
    // It may come back.
    assert_eq!(attached.sweep(now + SECOND / 2, false, DEAD), None);
    attached.attend(now + SECOND / 2, &id("mine"), 0, false).unwrap();
    assert_eq!(attached.sweep(now + SECOND, false, DEAD), None);
    assert_eq!(attached.sweep(now + 2 * SECOND, false, DEAD), Some(Why::HolderGone));
    let error = attached.attend(now + 2 * SECOND, &id("mine"), 0, true).unwrap_err();
    assert_eq!(error.code, Code::UNKNOWN_QUEUE);
    attached.stays();
    attached.attend(now + 2 * SECOND, &id("mine"), 0, true).unwrap();
}

#[test]
fn it_goes_with_its_last_consumer_and_not_before_the_first() {
    let auto = QueueSettings { auto_delete: true, ..QueueSettings::default() };
    let (mut attached, now) = attached(auto.clone());
    assert_eq!(attached.sweep(now + 99 * SECOND, false, DEAD), None);
    attached.attend(now, &id("a"), 0, true).unwrap();
    attached.attend(now, &id("b"), 0, true).unwrap();
    attached.detach(now, "a");
    assert_eq!(attached.sweep(now, false, DEAD), None);
    attached.detach(now, "b");
    // Another one comes before anybody has looked.
    attached.attend(now, &id("c"), 0, true).unwrap();
    assert_eq!(attached.sweep(now, false, DEAD), None);
    attached.detach(now, "c");
    assert_eq!(attached.sweep(now, false, DEAD), Some(Why::LastConsumerGone));
    // It is decided once.
    assert_eq!(attached.sweep(now, false, DEAD), None);
    // A new leader waits for those that were there before.
    let (mut attached, now) = self::attached(auto);
    assert!(attached.asks_whether_acquired());
    assert_eq!(attached.sweep(now + 9 * SECOND, true, DEAD), None);
    assert_eq!(attached.sweep(now + RETURN, true, DEAD), Some(Why::LastConsumerGone));
}

#[test]
fn it_expires_when_nobody_has_used_it() {
    let expires = QueueSettings { expires_ms: Some(10_000), ..QueueSettings::default() };
    let (mut attached, now) = attached(expires);
    let at = |seconds| now + SECOND * seconds;
    assert_eq!(attached.sweep(at(9), false, DEAD), None);
    attached.declared(at(9));
    assert_eq!(attached.sweep(at(18), false, DEAD), None);
    attached.attend(at(18), &id(""), 0, true).unwrap();
    assert_eq!(attached.sweep(at(99), false, DEAD), None, "somebody waits");
    attached.answered(at(99), "", &[]);
    assert_eq!(attached.sweep(at(100), false, DEAD), None);
    assert_eq!(attached.sweep(at(109), false, DEAD), None);
    assert_eq!(attached.sweep(at(110), false, DEAD), Some(Why::Unused));
}

#[test]
fn another_term_knows_of_nobody() {
    let consumers = Consumers::default();
    let queue = PartitionId(7);
    let known = consumers.of(queue, ShardId(1), 1);
    known.set(&mut known.of_term(1), &single());
    known.of_term(1).attend(Instant::now(), &id("a"), 0, true).unwrap();
    assert_eq!(known.of_term(1).show(Instant::now()).consumers, 1);
    assert_eq!(known.of_term(2).show(Instant::now()).consumers, 0);
    // Somebody who is late changes nothing.
    known.of_term(2).attend(Instant::now(), &id("b"), 0, true).unwrap();
    assert_eq!(known.of_term(1).show(Instant::now()).consumers, 1);
    // A queue that has to be looked after stays while it is led here.
    drop(known);
    consumers.tidy(|_| true);
    assert_eq!(consumers.watched().len(), 1);
    consumers.tidy(|_| false);
    assert!(consumers.known(queue).is_none());
}

#[test]
fn consumers_are_bounded() {
    let (mut attached, now) = attached(single());
    for number in 0..CONSUMERS_MAX {
        attached.attend(now, &id(&number.to_string()), 0, true).unwrap();
    }
    let error = attached.attend(now, &id("more"), 0, true).unwrap_err();
    assert_eq!(error.kind, Kind::Throttled);
    let grants: Vec<Grant> = (0..2_000).map(grant).collect();
    attached.answered(now, "0", &grants);
    assert_eq!(attached.consumers["0"].leases.len(), LEASES_MAX);
}
