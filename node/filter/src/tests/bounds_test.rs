use crate::limits::{
    BODY_BYTES_MAX, COST_MAX, EXPRESSION_BYTES_MAX, POLICY_BYTES_MAX, POLICY_DEPTH_MAX,
};
use crate::{EvaluationError, Filter, FilterError, Message, Scope};

fn on_body(text: &str, body: &str) -> Result<bool, EvaluationError> {
    let message = Message::new(&[("", ""); 0], None, body.as_bytes(), super::META);
    Filter::cel(text).unwrap().evaluate(&message)
}

const TOO_COSTLY: Result<bool, EvaluationError> = Err(EvaluationError::TooCostly { max: COST_MAX });

#[test]
fn what_takes_too_many_steps_is_stopped() {
    let numbers = (0..20_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let body = format!("{{\"l\":[{numbers}],\"m\":[{numbers}]}}");
    assert_eq!(on_body("body.l.exists(x, x == 19999)", &body), Ok(true));
    for text in [
        "body.l.all(x, body.m.exists(y, x == y))",
        "body.l.all(x, x in body.m)",
        "body.l.all(x, body.l == body.m)",
        "body.l.map(x, body.l + body.m).size() > 0",
        // No operator may swallow it.
        "body.l.all(x, x in body.m) || true",
        "!(body.l.all(x, x in body.m) && false)",
        "body.l.exists(x, body.l == body.m && false)",
    ] {
        assert_eq!(on_body(text, &body), TOO_COSTLY, "{text}");
    }
}

#[test]
fn many_headers_are_paid_for() {
    let headers: Vec<(String, &str)> = (0..4_000).map(|n| (format!("h{n}"), "x")).collect();
    let message = Message::new(&headers, None, b"{}", super::META);
    let filter = Filter::cel("headers.all(name, headers[name] == 'x')").unwrap();
    assert_eq!(filter.evaluate(&message), TOO_COSTLY);
    let filter = Filter::cel("headers.h3999 == 'x' && size(headers) == 4000").unwrap();
    assert_eq!(filter.evaluate(&message), Ok(true));
}

#[test]
fn patterns_are_paid_for() {
    let letters = std::iter::successors(Some(1_u32), |n| {
        Some(n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223))
    });
    let text: String =
        letters.take(20_000).map(|n| if n >> 16 & 1 == 1 { 'a' } else { 'b' }).collect();
    let body = serde_json::json!({ "s": text }).to_string();
    assert_eq!(on_body("body.s.matches('[ab]*a[ab]{900}c')", &body), TOO_COSTLY);
    assert_eq!(on_body("body.s.matches('ab+a')", &body), Ok(true));
}

#[test]
fn what_doubles_is_stopped() {
    let doubled = |start: &str| format!("{start}{}.size() > 0", ".map(x, x + x)".repeat(22));
    for start in ["['0123456789abcdef']", "[[1, 2, 3, 4]]", "[b'0123456789abcdef']"] {
        let text = doubled(start);
        assert_eq!(on_body(&text, "{}"), TOO_COSTLY, "{start}");
    }
}

#[test]
fn a_large_body_is_not_parsed() {
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat(BODY_BYTES_MAX));
    let too_large = EvaluationError::BodyTooLarge { bytes: body.len(), max: BODY_BYTES_MAX };
    assert_eq!(on_body("body.a == 'x'", &body), Err(too_large.clone()));
    let message = Message::new(&[("", ""); 0], None, body.as_bytes(), super::META);
    let policy = Filter::policy("{\"a\":[\"x\"]}", Scope::Body).unwrap();
    assert_eq!(policy.evaluate(&message), Err(too_large));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(on_body("body == []", &deep), Err(EvaluationError::BodyNotJson { .. })));
}

#[test]
fn a_policy_on_a_large_array_is_stopped() {
    let rules = (0..5_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let body = format!("{{\"a\":[{}]}}", vec!["-1"; 50_000].join(","));
    let policy = Filter::policy(&format!("{{\"a\":[{rules}]}}"), Scope::Body).unwrap();
    let message = Message::new(&[("", ""); 0], None, body.as_bytes(), super::META);
    assert_eq!(policy.evaluate(&message), TOO_COSTLY);
    let headers = [("a", format!("[{}]", vec!["-1"; 50_000].join(",")))];
    let message = Message::new(&headers, None, b"", super::META);
    let policy = Filter::policy(&format!("{{\"a\":[{rules}]}}"), Scope::Attributes).unwrap();
    assert_eq!(policy.evaluate(&message), TOO_COSTLY);
}

#[test]
fn texts_are_bounded() {
    let text = format!("key == '{}'", "x".repeat(EXPRESSION_BYTES_MAX));
    let error = Filter::cel(&text).unwrap_err();
    let expected =
        FilterError::TooLong { what: "expression", bytes: text.len(), max: EXPRESSION_BYTES_MAX };
    assert_eq!(error, expected);
    let text = format!("{{\"a\":[\"{}\"]}}", "x".repeat(POLICY_BYTES_MAX));
    let error = Filter::policy(&text, Scope::Body).unwrap_err();
    assert!(error.to_string().starts_with("the policy has 65546 bytes"), "{error}");
    let nested = |depth| format!("{}[1]{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert!(Filter::policy(&nested(POLICY_DEPTH_MAX), Scope::Body).is_ok());
    let error = Filter::policy(&nested(POLICY_DEPTH_MAX + 1), Scope::Body).unwrap_err();
    assert!(error.to_string().ends_with("a: nested deeper than 16"), "{error}");
}

/// Half of what a thread of the server has.
fn on_a_small_stack(run: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(1 << 20);
        thread.spawn_scoped(scope, run).unwrap().join().unwrap();
    });
}

#[test]
fn nothing_nests_deeper_than_the_stack() {
    on_a_small_stack(|| {
        let n = EXPRESSION_BYTES_MAX / 2 - 64;
        for text in [
            format!("{}1{}", "(".repeat(n), ")".repeat(n)),
            format!("{}1{}", "[".repeat(n), "]".repeat(n)),
            "(".repeat(2 * n),
            "[".repeat(2 * n),
            "{1:".repeat(n / 2),
            format!("{}true", "!".repeat(n)),
            format!("{}1", "-".repeat(n)),
            format!("1{}", "+1".repeat(n)),
            format!("1{}", "<1".repeat(n)),
            format!("key{}", ".a".repeat(n)),
            format!("key{}", "[0]".repeat(n / 2)),
            format!("key{}", ".a()".repeat(n / 2)),
            format!("true{}true", "?1:".repeat(n / 2)),
            format!("{}1", "1?2:".repeat(n / 2)),
            format!("'\\q{}", "+1".repeat(n)),
            format!("1{}", ",1".repeat(n)),
            format!("[1{}", "+1".repeat(n)),
            format!("1{}", " in 1".repeat(n / 3)),
        ] {
            assert!(Filter::cel(&text).is_err(), "{}", &text[..40]);
        }
        // These are long and not deep.
        let equal = " && key == 'a'".repeat(500);
        assert!(Filter::cel(&format!("true{equal}")).is_ok());
        let either = " || key == 'a'".repeat(500);
        assert!(Filter::cel(&format!("true{either}")).is_ok());
        let list = "1,".repeat(2000);
        assert!(Filter::cel(&format!("1 in [{list}1]")).is_ok());
    });
}

#[test]
fn the_deepest_expression_is_evaluated_on_a_small_stack() {
    on_a_small_stack(|| {
        // A call counts twice: for itself, and for its argument's brackets.
        let depth = crate::limits::EXPRESSION_DEPTH_MAX - 2;
        for (open, close) in [("!(", ")"), ("size([", "])"), ("[", "][0]"), ("{'a':", "}.a")] {
            let cost = open.len().min(2) + usize::from(close.len() > 2);
            let times = depth / cost.max(1);
            let text = format!("{}key{}", open.repeat(times), close.repeat(times));
            if let Ok(filter) = Filter::cel(&text) {
                let message = Message::new(&[("", ""); 0], None, b"{}", super::META);
                let _ = filter.evaluate(&message);
            }
        }
        let text = format!("{}true{}", "!(".repeat(depth / 2), ")".repeat(depth / 2));
        let message = Message::new(&[("", ""); 0], None, b"{}", super::META);
        assert!(Filter::cel(&text).unwrap().evaluate(&message).is_ok());
    });
}
