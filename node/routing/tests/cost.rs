//! What routing costs. That nothing is allocated in the long run is asserted; time and memory are
//! printed, for whoever asks:
//!
//! `cargo test --release -p kontiki-routing --test cost -- --ignored --nocapture`

#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::time::Instant;

use kontiki_routing::{Binding, Declaration, Headers, Kind, QueueId, Routed, Table};

const BINDINGS: u64 = 100_000;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread asks of it.
struct Counting;

fn count(calls: u64, bytes: isize) {
    CALLS.set(CALLS.get() + calls);
    BYTES.set(BYTES.get() + bytes);
}

fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).expect("no layout is larger than isize::MAX")
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it is; counting does not allocate, as the
// counters are const and have no destructor.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller keeps the contract of GlobalAlloc, which is that of System.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the caller keeps the contract of GlobalAlloc, which is that of System.
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(0, -signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    // SAFETY: the caller keeps the contract of GlobalAlloc, which is that of System.
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(1, signed(bytes) - signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, bytes) }
    }
}

/// A table with one exchange, `x`.
fn table(kind: Kind) -> Table {
    let mut table = Table::new(3);
    table.declare_exchange("x", Declaration::new(kind)).unwrap();
    table
}

fn topic(pattern: impl Fn(u64) -> String) -> Table {
    let mut table = table(Kind::Topic);
    for index in 0..BINDINGS {
        table.bind(&Binding::to_queue("x", QueueId(index), &pattern(index))).unwrap();
    }
    table
}

fn direct() -> Table {
    let mut table = table(Kind::Direct);
    for index in 0..BINDINGS {
        table.bind(&Binding::to_queue("x", QueueId(index), &key(index))).unwrap();
    }
    table
}

/// One pair that all share, one that a hundred share, and one that is their own.
fn headers(mode: &str) -> Table {
    let mut table = table(Kind::Headers);
    for index in 0..BINDINGS {
        let (group, own) = (format!("g{}", index % 1000), format!("o{index}"));
        let mut arguments = vec![
            ("x-match", Some(mode.as_bytes())),
            ("group", Some(group.as_bytes())),
            ("own", Some(own.as_bytes())),
        ];
        if mode == "all" {
            arguments.push(("kind", Some(b"order")));
        }
        let binding = Binding::to_queue("x", QueueId(index), "");
        table.bind(&binding.with(&arguments)).unwrap();
    }
    table
}

fn key(index: u64) -> String {
    format!("region{}.device{}.reading{}", index % 10, index / 10 % 1000, index / 10_000)
}

type Message = (String, Vec<(&'static str, String)>);

fn messages() -> Vec<Message> {
    // In no order that a cache could foresee.
    let indexes = (0..10_000u64).map(|n| n * 7_919 % BINDINGS);
    let message = |index: u64| {
        let headers = vec![
            ("kind", "order".to_owned()),
            ("group", format!("g{}", index % 1000)),
            ("own", format!("o{index}")),
            ("trace", format!("t{index}")),
        ];
        (key(index), headers)
    };
    indexes.map(message).collect()
}

fn ring(queues: u64, weight: &str) -> Table {
    let mut table = table(Kind::ConsistentHash { header: None });
    for queue in 0..queues {
        table.bind(&Binding::to_queue("x", QueueId(queue), weight)).unwrap();
    }
    table
}

fn fanout(queues: u64) -> Table {
    let mut table = table(Kind::Fanout);
    for queue in 0..queues {
        table.bind(&Binding::to_queue("x", QueueId(queue), "")).unwrap();
    }
    table
}

fn mixed_pattern(index: u64) -> String {
    let (region, device) = (index % 10, index / 10);
    match index % 4 {
        0 => format!("*.device{device}.*"),
        1 => format!("region{region}.device{device}.#"),
        2 => format!("#.reading{index}"),
        _ => format!("region{region}.#.x{index}.*"),
    }
}

/// 86 words of one letter.
fn letters() -> Vec<String> {
    let letters = ('!'..='~').filter(|letter| !".*#>".contains(*letter));
    letters.take(86).map(String::from).collect()
}

/// All that have three words in order, each after a `#`, and then one that doesn't come: every node
/// of the trie is reached, and nothing is found.
fn almost() -> Table {
    let mut table = table(Kind::Topic);
    let words = letters();
    let mut queues = 0..BINDINGS;
    for (at, a) in words.iter().enumerate() {
        for (at, b) in words.iter().enumerate().skip(at + 1) {
            for (c, queue) in words.iter().skip(at + 1).zip(&mut queues) {
                let pattern = format!("#.{a}.#.{b}.#.{c}.#.never");
                table.bind(&Binding::to_queue("x", QueueId(queue), &pattern)).unwrap();
            }
        }
    }
    table
}

fn route_all(table: &Table, messages: &[Message], routed: &mut Routed) -> usize {
    let mut queues = 0;
    for (key, headers) in messages {
        table.route("x", key, &headers[..], routed).unwrap();
        queues += black_box(routed.queues()).len();
    }
    queues
}

#[test]
fn nothing_is_allocated_in_the_long_run() {
    let messages = messages();
    let tables = [
        topic(key),
        topic(mixed_pattern),
        direct(),
        headers("all"),
        headers("any"),
        ring(10, "10"),
        fanout(100),
    ];
    let mut routed = Routed::new();
    for table in &tables {
        route_all(table, &messages, &mut routed);
    }
    let before = CALLS.get();
    for table in &tables {
        assert!(route_all(table, &messages, &mut routed) >= messages.len() / 4);
    }
    assert_eq!(CALLS.get() - before, 0, "allocations while routing");
}

#[test]
#[ignore = "it measures, and asserts nothing"]
fn print_what_routing_costs() {
    println!(
        "{:42} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "100,000 bindings", "ns/route", "queues", "B/bind", "ns/bind", "ns/unbind"
    );
    let usual = messages();
    measure("topic, distinct literal patterns", &usual, || topic(key));
    measure("topic, distinct with wildcards", &usual, || topic(mixed_pattern));
    measure("topic, all of them between #", &usual, || topic(|i| format!("#.device{i}.#")));
    let long = (0..1000).map(|first| {
        let words: Vec<String> = (first..first + 49).map(|n| format!("n{}", n % 100)).collect();
        (format!("{}.k{}", words.join("."), first % 10), Vec::new())
    });
    measure("topic, 50 # that match, key of 50 words", &long.collect::<Vec<_>>(), || {
        topic(|i| format!("#.n{}.#.n{}.k{}", i % 100, i / 100 % 100, i / 10_000))
    });
    let worst = [(letters().join("."), Vec::new())];
    measure("topic, the worst we know: almost matching", &worst, almost);
    measure("direct, distinct keys", &usual, direct);
    measure("headers, all of 3 pairs", &usual, || headers("all"));
    measure("headers, any of 2 pairs", &usual, || headers("any"));
    println!("fewer bindings");
    measure("consistent hash, 100 of weight 10", &usual, || ring(100, "10"));
    measure("consistent hash, 10 of weight 1000", &usual, || ring(10, "1000"));
    measure("fanout, 100 queues", &usual, || fanout(100));
    measure("fanout, 10,000 queues", &usual, || fanout(10_000));
}

fn measure(name: &str, messages: &[Message], build: impl FnOnce() -> Table) {
    let bytes = BYTES.get();
    let start = Instant::now();
    let mut table = build();
    let bind = start.elapsed();
    let bytes = BYTES.get() - bytes;
    let mut routed = Routed::new();
    let queues = route_all(&table, messages, &mut routed);
    let rounds = if queues > 1_000_000 { 1 } else { 20 };
    let start = Instant::now();
    for _ in 0..rounds {
        route_all(&table, messages, &mut routed);
    }
    let route = start.elapsed();
    let bindings = table.bindings_len();
    let start = Instant::now();
    for queue in 0..u64::try_from(bindings).unwrap() {
        table.remove_queue(QueueId(queue));
    }
    let unbind = start.elapsed();
    assert_eq!(table.bindings_len(), 0);
    println!(
        "{name:42} {:>9} {:>9.2} {:>9} {:>9} {:>9}",
        route.as_nanos() / u128::try_from(rounds * messages.len()).unwrap(),
        queues as f64 / messages.len() as f64,
        bytes.unsigned_abs() / bindings,
        bind.as_nanos() / u128::try_from(bindings).unwrap(),
        unbind.as_nanos() / u128::try_from(bindings).unwrap(),
    );
}

/// Headers of both shapes are taken: what this file compiles with is what a caller has.
#[test]
fn headers_are_taken_in_every_shape() {
    fn count<H: Headers + ?Sized>(headers: &H) -> usize {
        let mut count = 0;
        headers.each(&mut |_, _| count += 1);
        count
    }
    assert_eq!(count(&()), 0);
    assert_eq!(count(&[("a", b"1"), ("b", b"2")]), 2);
    assert_eq!(count(&[("a".to_owned(), b"1".to_vec())][..]), 1);
}
