use super::{on_body, on_headers};
use crate::{EvaluationError, Filter, Message, Scope};

#[test]
fn policies_on_headers() {
    let headers = vec![
        ("shop", "tea_and_more"),
        ("event", "order_placed"),
        ("price", "210.75"),
        ("count", "3"),
        ("hobbies", "[\"chess\", \"rugby\", 5, true, null]"),
        ("ip", "10.0.3.7"),
        ("express", "true"),
        ("note", "null"),
        ("odd", "[chess"),
        ("empty", ""),
    ];
    for (policy, expected) in [
        ("{}", true),
        (r#"{"shop": ["tea_and_more"]}"#, true),
        (r#"{"shop": ["tea"]}"#, false),
        (r#"{"shop": ["tea", "tea_and_more"]}"#, true),
        (r#"{"shop": ["tea_and_more"], "event": ["order_cancelled"]}"#, false),
        (r#"{"shop": [{"prefix": "tea"}], "event": [{"suffix": "_placed"}]}"#, true),
        (r#"{"shop": [{"prefix": "more"}]}"#, false),
        (r#"{"event": [{"equals-ignore-case": "Order_PLACED"}]}"#, true),
        (r#"{"event": [{"wildcard": "order_*ed"}]}"#, true),
        (r#"{"event": [{"wildcard": "order_*x"}]}"#, false),
        (r#"{"event": [{"anything-but": "order_cancelled"}]}"#, true),
        (r#"{"event": [{"anything-but": ["order_placed", "x"]}]}"#, false),
        (r#"{"event": [{"anything-but": {"prefix": "order"}}]}"#, false),
        (r#"{"event": [{"anything-but": {"prefix": ["stock", "mail"]}}]}"#, true),
        (r#"{"event": [{"anything-but": {"suffix": "_placed"}}]}"#, false),
        (r#"{"event": [{"anything-but": {"wildcard": "order*"}}]}"#, false),
        (r#"{"event": [{"anything-but": {"equals-ignore-case": "ORDER_PLACED"}}]}"#, false),
        (r#"{"none": [{"anything-but": "x"}]}"#, false),
        // Numbers, as the text of a header.
        (r#"{"price": [{"numeric": ["=", 210.75]}]}"#, true),
        (r#"{"price": [{"numeric": [">", 0, "<=", 210.75]}]}"#, true),
        (r#"{"price": [{"numeric": [">", 0, "<", 210.75]}]}"#, false),
        (r#"{"price": [{"numeric": [">=", 210.75]}]}"#, true),
        (r#"{"price": [{"numeric": ["<", 0]}]}"#, false),
        (r#"{"price": [210.750]}"#, true),
        (r#"{"count": [3]}"#, true),
        (r#"{"count": ["3"]}"#, true),
        (r#"{"count": [3.0]}"#, true),
        (r#"{"count": [{"anything-but": [3, 4]}]}"#, false),
        (r#"{"count": [{"anything-but": [4]}]}"#, true),
        (r#"{"shop": [{"numeric": [">", 0]}]}"#, false),
        // Of an array, one element is enough.
        (r#"{"hobbies": ["rugby"]}"#, true),
        (r#"{"hobbies": ["golf", "chess"]}"#, true),
        (r#"{"hobbies": ["golf"]}"#, false),
        (r#"{"hobbies": [5]}"#, true),
        (r#"{"hobbies": ["5"]}"#, false),
        (r#"{"hobbies": [true]}"#, true),
        (r#"{"hobbies": [null]}"#, true),
        (r#"{"hobbies": [false]}"#, false),
        (r#"{"hobbies": [{"prefix": "rug"}]}"#, true),
        (r#"{"hobbies": [{"anything-but": ["rugby"]}]}"#, true),
        (r#"{"hobbies": [{"anything-but": ["rugby", "chess", 5, true, null]}]}"#, false),
        (r#"{"odd": ["[chess"]}"#, true),
        // Whether it is there.
        (r#"{"shop": [{"exists": true}]}"#, true),
        (r#"{"empty": [{"exists": true}]}"#, true),
        (r#"{"shop": [{"exists": false}]}"#, false),
        (r#"{"none": [{"exists": false}]}"#, true),
        (r#"{"none": [{"exists": true}]}"#, false),
        (r#"{"none": ["x", {"exists": false}]}"#, true),
        // Addresses, bools, null.
        (r#"{"ip": [{"cidr": "10.0.0.0/16"}]}"#, true),
        (r#"{"ip": [{"cidr": "10.1.0.0/16"}]}"#, false),
        (r#"{"express": [true]}"#, true),
        (r#"{"express": ["true"]}"#, true),
        (r#"{"express": [false]}"#, false),
        (r#"{"note": [null]}"#, true),
        // Either, and both.
        (r#"{"$or": [{"shop": ["x"]}, {"count": [3]}]}"#, true),
        (r#"{"$or": [{"shop": ["x"]}, {"count": [4]}]}"#, false),
        (r#"{"event": ["order_placed"], "$or": [{"shop": ["x"]}, {"count": [3]}]}"#, true),
        (r#"{"event": ["x"], "$or": [{"shop": ["x"]}, {"count": [3]}]}"#, false),
        (
            r#"{"$or": [{"a": [1]}, {"$or": [{"b": [1]}, {"count": [3], "ip": ["10.0.3.7"]}]}]}"#,
            true,
        ),
    ] {
        assert_eq!(on_headers(policy, &headers), expected, "{policy}");
    }
}

#[test]
fn policies_on_bodies() {
    let body = r#"{
        "shop": "tea_and_more", "count": 3, "price": 210.75, "express": true, "note": null,
        "text": "3", "tags": ["a", "b", ["c"]], "nothing": [],
        "customer": {"name": "Ada", "age": 36, "address": {"ip": "2001:db8::1"}},
        "lines": [{"sku": "tea", "count": 2}, {"sku": "cup", "count": 1}, 7]
    }"#;
    for (policy, expected) in [
        ("{}", true),
        (r#"{"shop": ["tea_and_more"], "count": [3]}"#, true),
        (r#"{"count": ["3"]}"#, false),
        (r#"{"text": [3]}"#, false),
        (r#"{"text": [{"numeric": [">", 0]}]}"#, false),
        (r#"{"count": [3.0]}"#, true),
        (r#"{"express": [true]}"#, true),
        (r#"{"express": ["true"]}"#, false),
        (r#"{"note": [null]}"#, true),
        (r#"{"note": [{"exists": true}]}"#, true),
        (r#"{"note": [{"exists": false}]}"#, false),
        (r#"{"price": [{"numeric": [">", 200, "<", 300]}]}"#, true),
        (r#"{"customer": {"name": ["Ada", "Bob"], "age": [{"numeric": [">=", 18]}]}}"#, true),
        (r#"{"customer": {"name": ["Bob"]}}"#, false),
        (r#"{"customer": {"address": {"ip": [{"cidr": "2001:db8::/32"}]}}}"#, true),
        (r#"{"customer": {"address": {"zip": [{"exists": false}]}}}"#, true),
        (r#"{"customer": {"phone": {"mobile": [{"exists": false}]}}}"#, true),
        (r#"{"customer": {"phone": {"mobile": [{"exists": true}]}}}"#, false),
        (r#"{"shop": {"name": ["x"]}}"#, false),
        (r#"{"customer": ["Ada"]}"#, false),
        (r#"{"customer": [{"exists": true}]}"#, true),
        (r#"{"customer": [{"anything-but": "x"}]}"#, false),
        // Arrays: one element, at any depth; of objects, one that matches alone.
        (r#"{"tags": ["b"]}"#, true),
        (r#"{"tags": ["c"]}"#, true),
        (r#"{"tags": ["d"]}"#, false),
        (r#"{"tags": [{"anything-but": ["a", "b"]}]}"#, true),
        (r#"{"tags": [{"anything-but": ["a", "b", "c"]}]}"#, false),
        (r#"{"nothing": [{"anything-but": ["a"]}]}"#, false),
        (r#"{"lines": {"sku": ["cup"]}}"#, true),
        (r#"{"lines": {"sku": ["cup"], "count": [1]}}"#, true),
        (r#"{"lines": {"sku": ["cup"], "count": [2]}}"#, false),
        (r#"{"lines": [7]}"#, true),
        (r#"{"$or": [{"customer": {"age": [1]}}, {"lines": {"sku": ["tea"]}}]}"#, true),
        (r#"{"customer": {"$or": [{"age": [1]}, {"name": ["Ada"]}]}}"#, true),
        (r#"{"customer": {"$or": [{"age": [1]}, {"name": ["Bob"]}]}}"#, false),
    ] {
        assert_eq!(on_body(policy, body), expected, "{policy}");
    }
    for body in ["[]", "1", "\"x\"", "null"] {
        assert!(!on_body("{}", body), "{body}");
    }
}

#[test]
fn large_whole_numbers_are_compared_exactly() {
    let body = r#"{"id": 9007199254740993}"#;
    assert!(on_body(r#"{"id": [9007199254740993]}"#, body));
    assert!(!on_body(r#"{"id": [9007199254740992]}"#, body));
    assert!(on_body(r#"{"id": [{"numeric": [">", 9007199254740992]}]}"#, body));
}

#[test]
fn the_last_header_of_a_name_counts() {
    let headers = vec![("a", "1"), ("a", "2")];
    assert!(on_headers(r#"{"a": ["2"]}"#, &headers));
    assert!(!on_headers(r#"{"a": ["1"]}"#, &headers));
}

#[test]
fn binary_headers_exist_and_nothing_else() {
    let headers = [("raw", b"\xff".as_slice())];
    let message = Message::new(&headers, None, b"", super::META);
    let evaluate = |text| Filter::policy(text, Scope::Attributes).unwrap().evaluate(&message);
    assert_eq!(evaluate(r#"{"raw": [{"exists": true}]}"#), Ok(true));
    assert_eq!(evaluate(r#"{"raw": [{"exists": false}]}"#), Ok(false));
    assert_eq!(evaluate(r#"{"raw": [{"anything-but": "x"}]}"#), Ok(false));
}

#[test]
fn a_body_that_is_no_json_is_an_error() {
    let message = Message::new(&[("", ""); 0], None, b"<xml/>", super::META);
    let policy = Filter::policy(r#"{"a": [{"exists": false}]}"#, Scope::Body).unwrap();
    assert!(matches!(policy.evaluate(&message), Err(EvaluationError::BodyNotJson { .. })));
}
