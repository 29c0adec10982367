//! What a subscriber would notice.

mod bounds_test;
mod cel_test;
mod cost_test;
mod errors_test;
mod policy_test;
mod random_test;
mod speed_test;

use crate::{Filter, Message, Meta, Scope};

/// Headers of a message.
type Headers = Vec<(&'static str, &'static str)>;

const META: Meta<'static> = Meta {
    topic: "orders",
    partition: 3,
    offset: 42,
    timestamp_ms: 1_700_000_000_000,
    priority: 7,
    attempts: 1,
};

fn order_headers() -> Headers {
    vec![("kind", "order.placed"), ("shop", "west"), ("shop", "north"), ("price", "210.75")]
}

const ORDER: &str = r#"{
    "id": 7, "total": 19.5, "paid": true, "note": null, "big": 18446744073709551615,
    "customer": {"name": "Ada", "tags": ["vip", "eu"], "zip": "01067"},
    "lines": [
        {"sku": "tea", "count": 2, "price": 3.5},
        {"sku": "cup", "count": 1, "price": 12.5}
    ]
}"#;

/// What an expression says of the order.
fn cel(text: &str) -> Result<bool, crate::EvaluationError> {
    let headers = order_headers();
    let message = Message::new(&headers, Some(b"k-1"), ORDER.as_bytes(), META);
    Filter::cel(text).unwrap().evaluate(&message)
}

fn on_headers(policy: &str, headers: &Headers) -> bool {
    let message = Message::new(headers, None, b"not json", META);
    Filter::policy(policy, Scope::Attributes).unwrap().evaluate(&message).unwrap()
}

fn on_body(policy: &str, body: &str) -> bool {
    let message = Message::new(&[("", ""); 0], None, body.as_bytes(), META);
    Filter::policy(policy, Scope::Body).unwrap().evaluate(&message).unwrap()
}

#[test]
fn a_filter_is_shared_and_shows_its_text() {
    fn is_shared<T: Send + Sync + Clone>(_: &T) {}
    let filter = Filter::cel("key == 'a'").unwrap();
    is_shared(&filter);
    assert_eq!(filter.to_string(), "key == 'a'");
    assert_eq!(filter.kind(), crate::Kind::Cel);
    assert_eq!(filter.clone(), filter);
    let policy = Filter::policy("{}", Scope::Body).unwrap();
    assert_eq!(policy.kind(), crate::Kind::Policy(Scope::Body));
    assert_ne!(policy, Filter::policy("{}", Scope::Attributes).unwrap());
}

#[test]
fn headers_may_come_from_an_iterator() {
    let raw = [("a", b"1".as_slice()), ("b", b"2".as_slice())];
    let each = crate::Each::new(raw.iter().copied());
    let message = Message::new(&each, None, b"", META);
    assert_eq!(Filter::cel("headers.b == '2'").unwrap().evaluate(&message), Ok(true));
}
