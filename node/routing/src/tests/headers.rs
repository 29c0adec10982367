//! Headers exchanges: known cases. Random ones are with the model.

use super::{bind, route, table};
use crate::{Binding, Kind, QueueId, Table};

type Arguments<'a> = &'a [(&'a str, Option<&'a [u8]>)];

fn bound(all: &[Arguments<'_>]) -> Table {
    let mut table = table("h", Kind::Headers);
    for (queue, arguments) in (1..).zip(all) {
        table.bind(&Binding::to_queue("h", QueueId(queue), "").with(arguments)).unwrap();
    }
    table
}

#[test]
fn all_needs_every_pair_and_any_needs_one() {
    let table = bound(&[
        &[("format", Some(b"pdf")), ("type", Some(b"report")), ("x-match", Some(b"all"))],
        &[("format", Some(b"pdf")), ("type", Some(b"log")), ("x-match", Some(b"any"))],
        &[("format", Some(b"zip")), ("type", Some(b"report")), ("x-match", Some(b"all"))],
        &[("format", Some(b"pdf")), ("type", Some(b"report"))],
    ]);
    assert_eq!(route(&table, "h", "", &[("format", "pdf"), ("type", "report")]), [1, 2, 4]);
    assert_eq!(route(&table, "h", "", &[("format", "pdf")]), [2]);
    assert_eq!(route(&table, "h", "", &[("format", "zip"), ("type", "log")]), [2]);
    assert_eq!(route(&table, "h", "", &[("type", "report"), ("format", "zip")]), [3]);
    assert_eq!(route(&table, "h", "any key", &[("format", "xml")]), []);
    assert_eq!(route(&table, "h", "", &()), []);
}

#[test]
fn no_value_asks_only_for_presence_and_an_empty_one_for_an_empty_one() {
    let table = bound(&[
        &[("a", None)],
        &[("a", Some(b""))],
        &[("a", None), ("b", Some(b"1"))],
        &[("a", None), ("b", None), ("x-match", Some(b"any"))],
    ]);
    assert_eq!(route(&table, "h", "", &[("a", "x")]), [1, 4]);
    assert_eq!(route(&table, "h", "", &[("a", "")]), [1, 2, 4]);
    assert_eq!(route(&table, "h", "", &[("b", "1"), ("a", "x")]), [1, 3, 4]);
    assert_eq!(route(&table, "h", "", &[("b", "1")]), [4]);
}

#[test]
fn names_with_x_count_only_if_the_mode_says_so() {
    let pair: (&str, Option<&[u8]>) = ("x-a", Some(b"1"));
    let table = bound(&[
        &[pair, ("x-match", Some(b"all"))],
        &[pair, ("x-match", Some(b"any"))],
        &[pair, ("x-match", Some(b"all-with-x"))],
        &[pair, ("x-match", Some(b"any-with-x"))],
        &[pair, ("b", Some(b"1")), ("x-match", Some(b"all"))],
        &[pair, ("b", Some(b"1")), ("x-match", Some(b"all-with-x"))],
    ]);
    assert_eq!(route(&table, "h", "", &[("x-a", "1")]), [1, 3, 4]);
    assert_eq!(route(&table, "h", "", &[("b", "1")]), [1, 5]);
    assert_eq!(route(&table, "h", "", &[("b", "1"), ("x-a", "2")]), [1, 5]);
    assert_eq!(route(&table, "h", "", &[("b", "1"), ("x-a", "1")]), [1, 3, 4, 5, 6]);
}

#[test]
fn nothing_asked_is_all_there_and_not_any() {
    let table = bound(&[&[], &[("x-match", Some(b"any"))], &[("x-match", Some(b"all-with-x"))]]);
    assert_eq!(route(&table, "h", "", &()), [1, 3]);
    assert_eq!(route(&table, "h", "", &[("a", "1")]), [1, 3]);
}

#[test]
fn a_header_that_comes_twice_has_both_values() {
    let table = bound(&[&[("a", Some(b"1"))], &[("a", Some(b"2"))], &[("a", Some(b"3"))]]);
    assert_eq!(route(&table, "h", "", &[("a", "1"), ("a", "2"), ("a", "1")]), [1, 2]);
}

#[test]
fn other_arguments_make_another_binding_also_where_they_mean_nothing() {
    let mut table = table("d", Kind::Direct);
    bind(&mut table, "d", 1, "key");
    let plain = Binding::to_queue("d", QueueId(1), "key");
    let first: Arguments<'_> = &[("a", Some(b"1")), ("b", None)];
    let turned: Arguments<'_> = &[("b", None), ("a", Some(b"1"))];
    assert!(table.bind(&plain.with(first)).unwrap());
    assert!(!table.bind(&plain.with(turned)).unwrap(), "the order of arguments is nothing");
    assert_eq!(route(&table, "d", "key", &()), [1]);
    assert!(table.unbind(&plain));
    assert_eq!(route(&table, "d", "key", &()), [1]);
    assert!(table.unbind(&plain.with(turned)));
    assert_eq!(route(&table, "d", "key", &()), []);
}
