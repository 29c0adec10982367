use proptest::prelude::*;
use serde_json::Value;

use crate::{Filter, Message, Scope};

fn json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just("a".to_owned()),
        Just("prefix".to_owned()),
        Just("numeric".to_owned()),
        Just("anything-but".to_owned()),
        Just("exists".to_owned()),
        Just("$or".to_owned()),
        Just("wildcard".to_owned()),
        Just("cidr".to_owned()),
        Just(">".to_owned()),
        Just("10.0.0.0/8".to_owned()),
        ".{0,6}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((text.clone(), inner), 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// Pieces that often make an expression.
fn expression() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "headers", "key", "body", "meta", ".a", ".size()", "['a']", "[0]", "(", ")", "[", "]",
            "{", "}", ",", ":", "?", "!", "-", "+", "*", "/", "%", "&&", "||", "==", "<", " in ",
            "1", "2u", "1.5", "'a'", "b'a'", "r'", "'''", "\"", "\\", "null", "true", "false",
            "has(", ".all(x, x", ".exists(x, x", ".map(x, x)", ".filter(x, x == x)", "x", "size(",
            ".matches('a')", ".contains(", "int(", "string(", "type(", "//", "\n", "a.b", "`", "Z{",
        ]).prop_map(str::to_owned),
        1 => ".{0,3}",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn evaluate(filter: &Filter, header: &[u8], body: &[u8]) {
    let headers = [("a", header), ("b", b"1".as_slice())];
    let message = Message::new(&headers, Some(header), body, super::META);
    let _ = filter.evaluate(&message);
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn no_bytes_panic(
        text in ".{0,64}",
        header in prop::collection::vec(any::<u8>(), 0..32),
        body in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        for filter in [
            Filter::cel(&text),
            Filter::policy(&text, Scope::Attributes),
            Filter::policy(&text, Scope::Body),
            Filter::cel("body.a == 1 || headers.a == key || key in headers"),
            Filter::policy("{\"a\": [{\"anything-but\": [1, \"x\"]}]}", Scope::Attributes),
            Filter::policy("{\"a\": [1]}", Scope::Body),
        ].into_iter().flatten() {
            evaluate(&filter, &header, &body);
        }
    }

    #[test]
    fn no_expression_panics(text in expression(), body in json()) {
        if let Ok(filter) = Filter::cel(&text) {
            evaluate(&filter, b"[1]", body.to_string().as_bytes());
        }
    }

    #[test]
    fn no_policy_panics(policy in json(), body in json()) {
        let body = body.to_string();
        for scope in [Scope::Attributes, Scope::Body] {
            if let Ok(filter) = Filter::policy(&policy.to_string(), scope) {
                evaluate(&filter, body.as_bytes(), body.as_bytes());
            }
        }
    }

    #[test]
    fn an_exact_rule_matches_its_own_value(text in ".{0,12}", number in any::<i32>()) {
        let policy = serde_json::json!({ "a": [text], "b": [number] }).to_string();
        let body = serde_json::json!({ "a": text, "b": number }).to_string();
        prop_assert!(super::on_body(&policy, &body));
        let other = serde_json::json!({ "a": format!("{text}!"), "b": number }).to_string();
        prop_assert!(!super::on_body(&policy, &other));
    }

    #[test]
    fn anything_but_is_the_opposite(text in "[a-c*]{0,4}", rule in "[a-c]{0,3}") {
        let body = serde_json::json!({ "a": text }).to_string();
        for operator in ["prefix", "suffix", "equals-ignore-case", "wildcard"] {
            let rule = serde_json::json!({ operator: rule });
            let plain = serde_json::json!({ "a": [rule] }).to_string();
            let opposite = serde_json::json!({ "a": [{ "anything-but": rule }] }).to_string();
            prop_assert_ne!(super::on_body(&plain, &body), super::on_body(&opposite, &body));
        }
    }
}
