//! How long selecting has the thread.

use super::*;
use crate::filters::counting_yields;

/// A batch of so many records with this value.
fn batch(count: usize, value: &str) -> kontiki_records::Batch {
    let mut builder = BatchBuilder::new(ANY);
    for _ in 0..count {
        let none = std::iter::empty();
        builder.push_with(0, None, Some(value.as_bytes()), none).expect("there is room");
    }
    builder.finish(kontiki_records::Compression::None, None).expect("a batch")
}

/// Records that matched, that didn't and that could not be told; and how often others had the
/// thread.
async fn choose(filter: &str, count: usize, value: &str) -> ([u64; 3], u64) {
    let filter = Filter::cel(filter).expect("it compiles");
    let mut budget = Budget {
        records: 10_000,
        bytes: 64 << 20,
        chosen: false,
        until: Instant::now() + Duration::from_secs(3_600),
        turn: Turn::default(),
        decompressor: Decompressor::default(),
        decompressed_bytes_max: 64 << 20,
    };
    let batch = batch(count, value);
    let mut selected = Selected::default();
    let choosing = budget.choose(&batch, Some(&filter), Meta::default(), &mut selected);
    let (chosen, yields) = counting_yields(choosing).await;
    let matched = chosen.expect("a sound batch").map_or(0, |(_, offsets)| offsets.len() as u64);
    assert_eq!(selected.next_offset, count as u64, "all were looked at");
    ([matched, selected.unmatched, selected.failed], yields)
}

#[tokio::test]
async fn others_have_their_turn_by_what_filters_cost() {
    let body = |count: usize| format!("{{\"l\": [{}]}}", vec!["1"; count].join(","));
    let costly = "body.l.all(x, body.l.all(y, x + y > 0))";
    assert_eq!(choose("key == null", 60, "").await, ([60, 0, 0], 0));
    assert_eq!(choose("key == null", 640, "").await, ([640, 0, 0], 10));
    assert_eq!(choose(costly, 30, &body(80)).await, ([30, 0, 0], 30));
    assert_eq!(choose(costly, 3, &body(800)).await, ([0, 0, 3], 3), "it costs too much");
}

#[tokio::test]
async fn a_request_ends_soon_after_its_time_however_costly_its_filter_is() {
    let filter = Filter::cel("body.l.all(x, body.l.all(y, x + y > 0))").expect("it compiles");
    let body = format!("{{\"l\": [{}]}}", vec!["1"; 80].join(","));
    let mut budget = Budget {
        records: 10_000,
        bytes: 64 << 20,
        chosen: false,
        until: Instant::now(),
        turn: Turn::default(),
        decompressor: Decompressor::default(),
        decompressed_bytes_max: 64 << 20,
    };
    let mut selected = Selected::default();
    let batch = batch(60, &body);
    let chosen = budget.choose(&batch, Some(&filter), Meta::default(), &mut selected).await;
    let (_, offsets) = chosen.expect("a sound batch").expect("the first was looked at");
    assert_eq!((offsets, selected.next_offset), (vec![0], 1));
    assert!(budget.is_spent());
}
