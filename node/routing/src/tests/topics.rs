//! Topic patterns: known cases, the naive definition, and patterns that are expensive elsewhere.

use proptest::prelude::*;

use super::model::matches_naively;
use super::{bind, route, table};
use crate::limits::PATTERN_WORDS_MAX;
use crate::{Binding, Kind, Pattern, QueueId, Syntax};

/// The patterns of RabbitMQ's own suite; the first is bound to queue 1.
const PATTERNS: [&str; 26] = [
    "a.b.c",
    "a.*.c",
    "a.#.b",
    "a.b.b.c",
    "#",
    "#.#",
    "#.b",
    "*.*",
    "a.*",
    "*.b.c",
    "a.#",
    "a.#.#",
    "b.b.c",
    "a.b.b",
    "a.b",
    "b.c",
    "",
    "*.*.*",
    "vodka.martini",
    "a.b.c",
    "*.#",
    "#.*.#",
    "*.#.#",
    "#.#.#",
    "*",
    "#.b.#",
];

/// What that suite expects: a key, and the queues that get it.
const EXPECTED: [(&str, &[u64]); 11] = [
    ("a.b.c", &[1, 2, 5, 6, 10, 11, 12, 18, 20, 21, 22, 23, 24, 26]),
    ("a.b", &[3, 5, 6, 7, 8, 9, 11, 12, 15, 21, 22, 23, 24, 26]),
    ("a.b.b", &[3, 5, 6, 7, 11, 12, 14, 18, 21, 22, 23, 24, 26]),
    ("", &[5, 6, 17, 24]),
    ("b.c.c", &[5, 6, 18, 21, 22, 23, 24, 26]),
    ("a.a.a.a.a", &[5, 6, 11, 12, 21, 22, 23, 24]),
    ("vodka.gin", &[5, 6, 8, 21, 22, 23, 24]),
    ("vodka.martini", &[5, 6, 8, 19, 21, 22, 23, 24]),
    ("b.b.c", &[5, 6, 10, 13, 18, 21, 22, 23, 24, 26]),
    ("nothing.here.at.all", &[5, 6, 21, 22, 23, 24]),
    ("oneword", &[5, 6, 21, 22, 23, 24, 25]),
];

#[test]
fn the_cases_of_rabbitmq_also_after_some_bindings_are_gone() {
    let mut table = table("t", Kind::Topic);
    for (queue, pattern) in (1..).zip(PATTERNS) {
        bind(&mut table, "t", queue, pattern);
    }
    for (key, queues) in EXPECTED {
        assert_eq!(route(&table, "t", key, &()), queues, "{key:?}");
    }
    let gone = [1, 5, 11, 19, 21];
    for queue in gone {
        assert_eq!(table.remove_queue(QueueId(queue)), 1);
    }
    for (key, queues) in EXPECTED {
        let left: Vec<u64> = queues.iter().copied().filter(|q| !gone.contains(q)).collect();
        assert_eq!(route(&table, "t", key, &()), left, "{key:?}");
    }
}

#[test]
fn patterns_alone_agree_with_the_cases_of_rabbitmq() {
    for (key, queues) in EXPECTED {
        for (queue, pattern) in (1..).zip(PATTERNS) {
            let matches = Pattern::compile(pattern, Syntax::Amqp).unwrap().matches(key);
            assert_eq!(matches, queues.contains(&queue), "{pattern:?} {key:?}");
        }
    }
}

#[test]
fn the_cases_of_nats() {
    let cases = [
        ("foo.bar", "foo.bar", true),
        ("foo.*", "foo.bar", true),
        ("foo.*", "foo", false),
        ("foo.*", "foo.bar.baz", false),
        ("*.*.baz", "foo.bar.baz", true),
        ("foo.>", "foo.bar", true),
        ("foo.>", "foo.bar.baz", true),
        ("foo.>", "foo", false),
        (">", "foo", true),
        (">", "foo.bar", true),
        (">", "", false),
        ("*.>", "foo.bar", true),
        ("*.>", "foo", false),
        // What is special to the others is a word here.
        ("foo.#", "foo.#", true),
        ("foo.#", "foo.bar", false),
        ("foo.a>", "foo.a>", true),
        ("foo.a*", "foo.ab", false),
    ];
    for (pattern, key, expected) in cases {
        let alone = Pattern::compile(pattern, Syntax::Nats).unwrap();
        assert_eq!(alone.matches(key), expected, "{pattern:?} {key:?}");
        let mut table = table("t", Kind::Topic);
        let binding = Binding::to_queue("t", QueueId(1), pattern).in_syntax(Syntax::Nats);
        table.bind(&binding).unwrap();
        assert_eq!(!route(&table, "t", key, &()).is_empty(), expected, "{pattern:?} {key:?}");
    }
}

#[test]
fn one_trie_holds_both_syntaxes_and_tells_their_bindings_apart() {
    let mut table = table("t", Kind::Topic);
    let amqp = Binding::to_queue("t", QueueId(1), "a.*");
    let nats = amqp.in_syntax(Syntax::Nats);
    assert!(table.bind(&amqp).unwrap());
    assert!(table.bind(&nats).unwrap());
    assert!(!table.bind(&nats).unwrap());
    assert!(table.unbind(&amqp));
    assert!(!table.unbind(&amqp));
    assert_eq!(route(&table, "t", "a.b", &()), [1]);
    assert!(table.unbind(&nats));
    assert_eq!(route(&table, "t", "a.b", &()), []);
}

#[test]
fn empty_words_are_words() {
    let mut table = table("t", Kind::Topic);
    for (queue, pattern) in (1..).zip(["*.*", ".", "a.", "*.a", "#.a"]) {
        bind(&mut table, "t", queue, pattern);
    }
    assert_eq!(route(&table, "t", ".", &()), [1, 2]);
    assert_eq!(route(&table, "t", "a.", &()), [1, 3]);
    assert_eq!(route(&table, "t", ".a", &()), [1, 4, 5]);
    assert_eq!(route(&table, "t", "", &()), []);
}

#[test]
fn many_hashes_against_long_keys_take_no_time() {
    // Each of these takes ages where every `#` is tried at every word.
    let mut table = table("t", Kind::Topic);
    let mut patterns = Vec::new();
    for letters in ["ab", "ba", "aa", "aab", "abb"] {
        let middle: Vec<String> = letters.chars().cycle().take(60).map(String::from).collect();
        patterns.push(format!("#.{}.#.c", middle.join(".#.")));
        patterns.push(format!("#.{}.#", middle.join(".#.")));
    }
    patterns.push(["#"; PATTERN_WORDS_MAX].join("."));
    for (queue, pattern) in (1..).zip(&patterns) {
        bind(&mut table, "t", queue, pattern);
    }
    let keys = [["a"; 128].join("."), ["a", "b"].repeat(64).join("."), ".".repeat(255)];
    for key in &keys {
        let alone = (1..)
            .zip(&patterns)
            .filter(|(_, pattern)| Pattern::compile(pattern, Syntax::Amqp).unwrap().matches(key));
        let alone: Vec<u64> = alone.map(|(queue, _)| queue).collect();
        assert_eq!(route(&table, "t", key, &()), alone, "{key}");
        assert!(alone.contains(&11));
    }
}

/// Words of which many are equal, and some are special.
fn text(special: &'static [&'static str]) -> impl Strategy<Value = String> {
    let word = prop_oneof![
        6 => prop::sample::select(vec!["a", "b"]),
        3 => prop::sample::select(special),
        1 => prop::sample::select(vec!["", "cc"]),
    ];
    prop::collection::vec(word, 0..8).prop_map(|words| words.join("."))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn tries_and_patterns_match_what_the_definition_says(
        patterns in prop::collection::vec(text(&["*", "#", "#", ">"]), 1..12),
        nats in prop::collection::vec(text(&["*", "#", ">"]), 0..6),
        keys in prop::collection::vec(text(&["*", "#", ">"]), 1..12),
    ) {
        let mut table = table("t", Kind::Topic);
        let amqp = patterns.iter().map(|pattern| (pattern, Syntax::Amqp));
        let both = amqp.chain(nats.iter().map(|pattern| (pattern, Syntax::Nats)));
        let mut all = Vec::new();
        for (queue, (pattern, syntax)) in (1..).zip(both) {
            let binding = Binding::to_queue("t", QueueId(queue), pattern).in_syntax(syntax);
            match table.bind(&binding) {
                Ok(is_new) => prop_assert!(is_new),
                Err(_) => continue,
            }
            all.push((queue, pattern, syntax));
        }
        for key in &keys {
            let mut expected = Vec::new();
            for (queue, pattern, syntax) in &all {
                let is_match = matches_naively(pattern, *syntax, key);
                let compiled = Pattern::compile(pattern, *syntax).unwrap();
                prop_assert_eq!(compiled.matches(key), is_match, "{} {}", pattern, key);
                expected.extend(is_match.then_some(*queue));
            }
            prop_assert_eq!(route(&table, "t", key, &()), expected, "{}", key);
        }
    }
}
