//! A publisher with many calls under way: their order, their failures, and what they hold.

use std::time::Duration;

use futures_util::future::join_all;

use super::exchanges::{bind, bodies, bound, copies, exchange, publication, queue};
use super::node::{TestNode, node, node_with};
use crate::exchanges::{ExchangeKind, FilterText, Language, Publication, Publish, Published};
use crate::options::Options;
use crate::{Code, Error, Kind};

fn call(exchange: &str, messages: Vec<Publication>) -> Publish {
    Publish { exchange: exchange.to_owned(), messages, timeout: Duration::from_secs(30) }
}

/// All of them are begun before the first is waited for.
async fn publish_all(
    node: &TestNode,
    calls: Vec<Publish>,
) -> Vec<Result<Vec<Result<Published, Error>>, Error>> {
    let publisher = node.broker.publisher();
    let calls: Vec<_> = calls.into_iter().map(|call| publisher.publish(call)).collect();
    join_all(calls).await
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// A filter that lets others have the thread.
const SLOW: &str = "body.l.all(x, body.l.all(y, x + y > 0))";

fn slow_body() -> String {
    format!("{{\"l\": [{}]}}", vec!["1"; 80].join(","))
}

#[tokio::test]
async fn messages_of_many_calls_keep_their_order_in_each_queue() {
    let node = node().await;
    queue(&node, "a", &[]).await;
    queue(&node, "b", &[]).await;
    for name in ["x", "y"] {
        exchange(&node, name, ExchangeKind::Direct).await;
        bind(&node, name, "a", "both").await;
        bind(&node, name, "b", "both").await;
        bind(&node, name, "a", "one").await;
    }
    // Routing the even ones takes longer.
    let mut slow = bound("x", "b", "both");
    let language = Language::Cel;
    slow.filter = Some(FilterText { language, text: SLOW.to_owned() });
    slow.key = "slow".to_owned();
    node.broker.bind(slow).await.expect("it is bound");
    bind(&node, "x", "a", "slow").await;
    let calls = (0..60).map(|number| {
        let body = number.to_string();
        match number % 3 {
            0 => call("x", vec![publication("slow", &slow_body()), publication("both", &body)]),
            1 => call("y", vec![publication("both", &body)]),
            _ => call("", vec![publication("a", &body)]),
        }
    });
    let results = publish_all(&node, calls.collect()).await;
    assert!(results.iter().flatten().flatten().all(Result::is_ok), "{results:?}");
    let (a, b) = (bodies(&node, "a").await, bodies(&node, "b").await);
    let a: Vec<String> = a.into_iter().filter(|body| *body != slow_body()).collect();
    assert_eq!(a, numbers(0..60));
    let b: Vec<String> = b.into_iter().filter(|body| *body != slow_body()).collect();
    let expected = (0..60).filter(|number| number % 3 < 2).map(|number| number.to_string());
    assert_eq!(b, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn calls_that_fail_hold_up_no_other() {
    let node = node().await;
    queue(&node, "a", &[]).await;
    let calls = (0..9).map(|number| {
        let one = publication("a", &number.to_string());
        match number {
            2 => call("nowhere", vec![one]),
            4 => call("", Vec::new()),
            6 => call("", vec![Publication { mandatory: true, ..publication("none", "6") }]),
            _ => call("", vec![one]),
        }
    });
    let results = publish_all(&node, calls.collect()).await;
    assert_eq!(results[2].as_ref().expect_err("there is none").kind, Kind::NotFound);
    assert_eq!(results[4].as_ref().expect_err("nothing").kind, Kind::Invalid);
    let returned = results[6].as_ref().expect("one answer for each message");
    assert_eq!(returned[0].as_ref().expect_err("nobody has it").code, Code::RETURNED);
    for number in [0, 1, 3, 5, 7, 8] {
        assert_eq!(copies(results[number].as_ref().expect("it is taken")), [1]);
    }
    assert_eq!(bodies(&node, "a").await, ["0", "1", "3", "5", "7", "8"]);
}

#[tokio::test]
async fn a_call_that_is_given_up_lets_the_next_one_begin() {
    let node = node().await;
    queue(&node, "a", &[]).await;
    let publisher = node.broker.publisher();
    let call = |body: &str| publisher.publish(call("", vec![publication("a", body)]));
    let (first, second, third) = (call("1"), call("2"), call("3"));
    drop(second);
    drop(first);
    assert_eq!(copies(&third.await.expect("it is taken")), [1]);
    // None of the others had begun.
    assert_eq!(bodies(&node, "a").await, ["3"]);
}

#[tokio::test]
async fn a_call_whose_turn_does_not_come_in_time_did_nothing() {
    let node = node().await;
    queue(&node, "a", &[]).await;
    let publisher = node.broker.publisher();
    // It has its turn, and is not polled.
    let first = publisher.publish(call("", vec![publication("a", "1")]));
    let late =
        Publish { timeout: Duration::from_millis(100), ..call("", vec![publication("a", "2")]) };
    let late = publisher.publish(late).await.expect_err("late");
    assert!(late.kind == Kind::Unavailable, "{late}");
    let third = publisher.publish(call("", vec![publication("a", "3")]));
    let (first, third) = tokio::join!(first, third);
    assert_eq!(
        (copies(&first.expect("taken")), copies(&third.expect("taken"))),
        (vec![1], vec![1])
    );
    assert_eq!(bodies(&node, "a").await, ["1", "3"]);
}

#[tokio::test]
async fn a_call_waits_for_memory_that_earlier_ones_have() {
    let mut options = Options::default();
    options.produce.in_flight_bytes_max = 1 << 20;
    let node = node_with(options).await;
    queue(&node, "a", &[]).await;
    queue(&node, "b", &[]).await;
    exchange(&node, "all", ExchangeKind::Fanout).await;
    bind(&node, "all", "a", "").await;
    bind(&node, "all", "b", "").await;
    let large = "x".repeat(300 << 10);
    let calls =
        || (0..12).map(|number| call("all", vec![publication("", &format!("{number} {large}"))]));
    let results = publish_all(&node, calls().collect()).await;
    for result in &results {
        assert_eq!(copies(result.as_ref().expect("it is taken")), [2]);
    }
    for queue in ["a", "b"] {
        let bodies = bodies(&node, queue).await;
        let begins: Vec<_> =
            bodies.iter().filter_map(|body| body.split_once(' ')).map(|(begin, _)| begin).collect();
        assert_eq!(begins, numbers(0..bodies.len()));
    }
    // Calls that have no line to wait in are refused.
    let alone = join_all(calls().map(|call| node.broker.publish(call))).await;
    let throttled = alone.iter().filter_map(|result| result.as_ref().err());
    let throttled: Vec<_> = throttled.filter(|error| error.kind == Kind::Throttled).collect();
    assert!(!throttled.is_empty(), "{alone:?}");
}

#[tokio::test]
async fn filters_that_take_too_long_end_with_the_call() {
    let node = node().await;
    exchange(&node, "x", ExchangeKind::Fanout).await;
    queue(&node, "a", &[]).await;
    for number in 0..300 {
        let mut slow = bound("x", "a", &number.to_string());
        slow.filter = Some(FilterText { language: Language::Cel, text: SLOW.to_owned() });
        node.broker.bind(slow).await.expect("it is bound");
    }
    let slow = || vec![publication("", &slow_body())];
    let publish = Publish { timeout: Duration::from_millis(5), ..call("x", slow()) };
    let results = node.broker.publish(publish).await.expect("one answer for each message");
    let error = results[0].as_ref().expect_err("late");
    // It was not sent anywhere.
    assert!(error.detail.starts_with("exchange \"x\""), "{error}");
    assert_eq!(error.kind, Kind::Unavailable);
    let results = node.broker.publish(call("x", slow())).await.expect("it has its time");
    assert_eq!(copies(&results), [1]);
}
