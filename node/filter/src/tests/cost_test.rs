//! What evaluations cost, and that nothing expensive is cheap.

use crate::limits::COST_MAX;
use crate::{EvaluationError, Filter, Message, Scope};

const NO_HEADERS: [(&str, &str); 0] = [];
const TOO_COSTLY: Result<bool, EvaluationError> = Err(EvaluationError::TooCostly { max: COST_MAX });

fn cel_on_body(text: &str, body: &str) -> Result<bool, EvaluationError> {
    let message = Message::new(&NO_HEADERS, None, body.as_bytes(), super::META);
    Filter::cel(text).unwrap().evaluate(&message)
}

/// A list of so many ones, and a text.
fn ones_and(count: usize, text: &str) -> String {
    format!("{{\"l\":[{}],\"s\":\"{text}\"}}", vec!["1"; count].join(","))
}

#[test]
fn an_evaluation_says_what_it_took() {
    let headers = super::order_headers();
    let message = Message::new(&headers, None, super::ORDER.as_bytes(), super::META);
    let steps = |text: &str| Filter::cel(text).unwrap().evaluate_counted(&message).steps;
    let short = steps("headers.kind == 'order.placed'");
    assert!((3..10).contains(&short), "{short}");
    assert!(steps("headers.kind == 'x' || headers.kind == 'order.placed'") > short);
    assert!(steps("headers.shop.startsWith('n') && [1, 2, 3].all(x, x > 0)") > 3 * short);
    let failed = Filter::cel("headers.none == 'x'").unwrap().evaluate_counted(&message);
    assert!(failed.matches.is_err() && failed.steps > 0, "{failed:?}");
}

#[test]
fn a_policy_says_what_it_took() {
    let headers = super::order_headers();
    let message = Message::new(&headers, None, b"", super::META);
    let steps = |rules: &str| {
        let policy = format!("{{\"shop\": [{rules}]}}");
        Filter::policy(&policy, Scope::Attributes).unwrap().evaluate_counted(&message).steps
    };
    let one = steps("\"a\"");
    assert_eq!(steps("\"a\", \"b\", \"c\""), one + 2);
}

#[test]
fn a_body_is_parsed_and_paid_for_once() {
    let body = ones_and(10_000, "");
    let message = Message::new(&NO_HEADERS, None, body.as_bytes(), super::META);
    let other = Filter::cel("key == null").unwrap().evaluate_counted(&message);
    assert!(other.steps < 10, "{other:?}");
    assert_eq!(message.parse_steps(), 0, "nobody has asked for it");
    let filter = Filter::cel("body.s == ''").unwrap();
    let first = filter.evaluate_counted(&message);
    assert!(message.parse_steps() >= 10_000, "each element is at least a step");
    let second = filter.evaluate_counted(&message);
    assert_eq!(first.matches, Ok(true));
    assert_eq!(first.steps, second.steps + message.parse_steps());
    assert!(second.steps < 10, "{second:?}");
}

#[test]
fn what_is_no_json_is_paid_for_too() {
    let body = format!("[{}x", "1,".repeat(10_000));
    let message = Message::new(&NO_HEADERS, None, body.as_bytes(), super::META);
    let failed = Filter::cel("body == 1").unwrap().evaluate_counted(&message);
    assert!(matches!(failed.matches, Err(EvaluationError::BodyNotJson { .. })));
    assert!(failed.steps >= 10_000, "{failed:?}");
}

#[test]
fn long_numbers_are_paid_for() {
    let body = ones_and(20_000, &"0".repeat(60_000));
    for function in ["int", "uint", "double"] {
        let text = format!("body.l.all(x, {function}(body.s) == 0)");
        assert_eq!(cel_on_body(&text, &body), TOO_COSTLY, "{text}");
    }
    assert_eq!(cel_on_body("int(body.s) == 0 && uint(body.s) == 0u", &body), Ok(true));
    // Policies read the text of a header as a number for each rule.
    let rules = vec!["-1"; 1_000].join(",");
    let policy = Filter::policy(&format!("{{\"a\":[{rules}]}}"), Scope::Attributes).unwrap();
    let headers = [("a", "0".repeat(4_000))];
    let message = Message::new(&headers, None, b"", super::META);
    assert_eq!(policy.evaluate(&message), TOO_COSTLY);
}

#[test]
fn headers_that_repeat_are_paid_for() {
    let headers = vec![("a", "x"); 4_000];
    let message = Message::new(&headers, None, b"{}", super::META);
    let numbers = vec!["1"; 100].join(",");
    for text in ["size(headers) > 0", "headers.all(n, true)", "headers == headers"] {
        let filter = Filter::cel(text).unwrap().evaluate_counted(&message);
        assert_eq!(filter.matches, Ok(true), "{text}");
        assert!(filter.steps >= 4_000, "{text}: {filter:?}");
        let text = format!("[{numbers}].all(i, {text})");
        assert_eq!(Filter::cel(&text).unwrap().evaluate(&message), TOO_COSTLY, "{text}");
    }
}

#[test]
fn long_names_are_paid_for() {
    let name = "n".repeat(4_000);
    let headers: Vec<(String, &str)> = (0..60).map(|n| (format!("{name}{n:03}"), "x")).collect();
    let keys: Vec<String> = headers.iter().map(|(name, _)| format!("\"{name}\":1")).collect();
    let body = format!("{{\"o\":{{{}}},\"l\":[{}]}}", keys.join(","), vec!["1"; 5_000].join(","));
    let message = Message::new(&headers, None, body.as_bytes(), super::META);
    for map in ["headers", "body.o"] {
        let text = format!("body.l.all(i, '{name}xxx' in {map} || true)");
        assert_eq!(Filter::cel(&text).unwrap().evaluate(&message), TOO_COSTLY, "{map}");
    }
    let clauses = vec![format!("{{\"{name}xxx\":[1]}}"); 10].join(",");
    let policy = format!("{{\"$or\":[{clauses}]}}");
    for (scope, at_least) in [(Scope::Attributes, 70_000), (Scope::Body, 6_000)] {
        let policy = Filter::policy(&policy, scope).unwrap();
        let object = format!("{{{}}}", keys.join(","));
        let message = Message::new(&headers, None, object.as_bytes(), super::META);
        let evaluation = policy.evaluate_counted(&message);
        let steps = evaluation.steps - message.parse_steps();
        assert!(steps >= at_least, "{scope:?}: {evaluation:?}");
    }
}

#[test]
fn letters_that_are_read_one_by_one_are_paid_for() {
    let text = "A".repeat(4_000);
    let headers = [("a", text), ("l", format!("[{}0]", "1,".repeat(20_000)))];
    let message = Message::new(&headers, None, b"", super::META);
    let rule = format!("{{\"equals-ignore-case\": \"{}\"}}", "b".repeat(20));
    let or =
        |clause: &str, times: usize| format!("{{\"$or\":[{}]}}", vec![clause; times].join(","));
    for (what, policy) in [
        ("an ignored case", or(&format!("{{\"a\":[{rule}]}}"), 300)),
        ("an array in a header", or("{\"l\":[7]}", 30)),
    ] {
        let policy = Filter::policy(&policy, Scope::Attributes).unwrap();
        assert_eq!(policy.evaluate(&message), TOO_COSTLY, "{what}");
    }
    let doubles = format!("[{}].all(x, string(x) != '')", vec!["1e300"; 1_000].join(","));
    let evaluation = Filter::cel(&doubles).unwrap().evaluate_counted(&message);
    assert!(evaluation.steps > 70_000, "300 digits each: {evaluation:?}");
}
