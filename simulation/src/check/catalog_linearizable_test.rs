//! Histories of one topic, good and bad.

use std::collections::BTreeMap;

use super::*;
use crate::history::{ClientId, OpId, Recorder, Refusal};

/// Times, call, and outcome.
type Line = (u64, u64, Call, Option<Outcome>);

fn find(lines: Vec<Line>) -> Result<(), Vec<u64>> {
    let recorder = Recorder::default();
    let mut ends: Vec<(u64, OpId, Outcome)> = Vec::new();
    for (invoked, returned, call, outcome) in lines {
        let op = recorder.invoke(invoked, ClientId(1), call);
        ends.extend(outcome.map(|outcome| (returned, op, outcome)));
    }
    for (at, op, outcome) in ends {
        recorder.complete(at, op, outcome);
    }
    let evidence = Evidence { history: recorder.history(), ..Evidence::default() };
    run(&evidence).map_err(|violation| violation.ops.iter().map(|op| op.0).collect())
}

fn map(settings: &[(&str, &str)]) -> BTreeMap<String, String> {
    settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn named(topic: &str) -> String {
    topic.to_owned()
}

fn create(partitions: u32) -> Call {
    Call::CreateTopic { topic: named("t"), partitions, settings: map(&[]) }
}

fn delete() -> Call {
    Call::DeleteTopic { topic: named("t") }
}

fn look() -> Call {
    Call::DescribeTopic { topic: named("t") }
}

fn alter(value: &str) -> Call {
    Call::AlterTopic { topic: named("t"), settings: map(&[("k", value)]) }
}

fn topic(id: u64, partitions: u32, settings: &[(&str, &str)]) -> Option<Outcome> {
    Some(Outcome::Ok(Answer::Topic { id, partitions, settings: map(settings) }))
}

fn done() -> Option<Outcome> {
    Some(Outcome::Ok(Answer::Done))
}

fn unknown() -> Option<Outcome> {
    Some(Outcome::Unknown("connection lost".to_owned()))
}

fn refused(kind: &str) -> Option<Outcome> {
    Some(Outcome::Refused(Refusal { kind: kind.to_owned(), text: String::new() }))
}

#[test]
fn a_life_of_a_topic() {
    let more = Call::AddPartitions { topic: named("t"), partitions: 3 };
    let all = Some(Outcome::Ok(Answer::Settings(map(&[("k", "b"), ("l", "0")]))));
    let lines = vec![
        (0, 1, look(), refused("NOT_FOUND")),
        (2, 3, create(2), topic(5, 2, &[])),
        (2, 9, create(2), refused("EXISTS")),
        (4, 5, look(), topic(5, 2, &[("k", "default"), ("l", "0")])),
        (6, 7, more, Some(Outcome::Ok(Answer::Partitions(3)))),
        (8, 9, alter("b"), all),
        (10, 11, look(), topic(5, 3, &[("k", "b"), ("l", "0")])),
        (12, 13, alter("c"), refused("INVALID")),
        (14, 15, delete(), done()),
        (16, 17, alter("c"), refused("NOT_FOUND")),
        (18, 19, create(1), topic(6, 1, &[("k", "default")])),
    ];
    assert_eq!(find(lines), Ok(()));
}

#[test]
fn old_copies_of_the_catalog_are_found() {
    let begin = || vec![(0, 1, create(1), topic(5, 1, &[]))];
    for stale in [
        vec![(2, 3, look(), refused("NOT_FOUND"))],
        vec![(2, 3, delete(), done()), (4, 5, look(), topic(5, 1, &[]))],
        vec![(2, 3, delete(), done()), (4, 5, create(1), refused("EXISTS"))],
        vec![
            (2, 3, alter("b"), unknown()),
            (4, 5, look(), topic(5, 1, &[("k", "b")])),
            (6, 7, look(), topic(5, 1, &[("k", "a")])),
        ],
        vec![(2, 3, look(), topic(5, 2, &[]))],
        vec![(2, 3, look(), topic(6, 1, &[]))],
        vec![(2, 3, delete(), done()), (4, 5, delete(), done())],
    ] {
        let mut lines = begin();
        let last = (lines.len() + stale.len() - 1) as u64;
        lines.extend(stale);
        let found = find(lines.clone()).expect_err(&format!("{lines:?}"));
        assert!(found.contains(&last), "{found:?} of {lines:?}");
    }
}

#[test]
fn what_is_unknown_may_happen_late_or_never() {
    let begin = || vec![(0, 1, create(1), topic(5, 1, &[])), (2, 3, delete(), unknown())];
    for end in [
        vec![(4, 5, look(), topic(5, 1, &[])), (6, 7, look(), refused("NOT_FOUND"))],
        vec![(4, 5, look(), topic(5, 1, &[])), (6, 7, delete(), done())],
        vec![(4, 5, create(1), None), (6, 7, look(), topic(9, 1, &[]))],
        vec![(4, 5, delete(), done()), (6, 7, look(), refused("NOT_FOUND"))],
    ] {
        let mut lines = begin();
        lines.extend(end);
        assert_eq!(find(lines.clone()), Ok(()), "{lines:?}");
    }
    let mut twice = begin();
    twice.extend([(4, 5, create(1), topic(6, 1, &[])), (6, 7, look(), refused("NOT_FOUND"))]);
    assert!(find(twice).is_err());
}

#[test]
fn deletions_at_the_same_time_may_both_be_done() {
    let begin = (0, 1, create(1), topic(5, 1, &[]));
    let lines = vec![begin.clone(), (2, 6, delete(), done()), (3, 5, delete(), done())];
    assert_eq!(find(lines), Ok(()));
    let lines = vec![
        begin,
        (2, 6, delete(), done()),
        (3, 5, delete(), done()),
        (7, 8, look(), topic(5, 1, &[])),
    ];
    assert!(find(lines).is_err());
}

#[test]
fn ids_are_not_used_again() {
    let again = vec![
        (0, 1, create(1), topic(5, 1, &[])),
        (2, 3, delete(), done()),
        (4, 5, create(1), topic(5, 1, &[])),
    ];
    assert!(find(again).is_err());
    let other = Call::CreateTopic { topic: named("u"), partitions: 1, settings: map(&[]) };
    let two = vec![(0, 1, create(1), topic(5, 1, &[])), (2, 3, other, topic(5, 1, &[]))];
    assert_eq!(find(two), Err(vec![0, 1]));
}
