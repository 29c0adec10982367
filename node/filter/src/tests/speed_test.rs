//! How long an evaluation takes; run it with `--ignored --nocapture`. It asserts nothing: speed
//! is for people to read.

use std::hint::black_box;
use std::time::Instant;

use crate::{Filter, Message, Scope};

fn body_of_1_kib() -> String {
    let line = |n: u32| format!("{{\"sku\":\"item-{n:04}\",\"count\":{n},\"price\":{n}.25}}");
    let lines: Vec<_> = (0..21).map(line).collect();
    let lines = lines.join(",");
    format!("{{\"id\":7,\"customer\":{{\"name\":\"Ada\",\"zip\":\"01067\"}},\"lines\":[{lines}]}}")
}

fn measure(name: &str, filter: &Filter, body: &str, is_parsed_before: bool) {
    const TIMES: u32 = 200_000;
    let headers = super::order_headers();
    let shared = Message::new(&headers, Some(b"k-1"), body.as_bytes(), super::META);
    let mut matches = 0_u32;
    let start = Instant::now();
    for _ in 0..TIMES {
        let outcome = if is_parsed_before {
            black_box(filter).evaluate(black_box(&shared))
        } else {
            let each = Message::new(&headers, Some(b"k-1"), body.as_bytes(), super::META);
            black_box(filter).evaluate(black_box(&each))
        };
        matches += u32::from(outcome == Ok(true));
    }
    let ns = start.elapsed().as_nanos() / u128::from(TIMES);
    println!("{name}: {ns} ns each, {matches} of {TIMES} match");
}

#[test]
#[ignore = "it measures"]
fn nanoseconds_of_an_evaluation() {
    let body = body_of_1_kib();
    println!("the body has {} bytes", body.len());
    for text in [
        "headers.kind == 'order.placed'",
        "headers.kind.startsWith('order.') && meta.priority > 3 && 'shop' in headers",
        "headers.kind.matches('^order[.](placed|paid)$')",
        "headers.none == 'x'",
    ] {
        measure(text, &Filter::cel(text).unwrap(), &body, false);
    }
    for text in [
        "body.customer.name == 'Ada'",
        "body.lines.exists(l, l.sku == 'item-0020' && l.price > 3.0)",
    ] {
        let filter = Filter::cel(text).unwrap();
        measure(&format!("{text}, parsing"), &filter, &body, false);
        measure(&format!("{text}, parsed before"), &filter, &body, true);
    }
    for text in [
        r#"{"kind": ["order.placed"]}"#,
        r#"{"kind": [{"prefix": "order."}], "shop": ["north"], "price": [{"numeric": [">", 9]}]}"#,
    ] {
        let filter = Filter::policy(text, Scope::Attributes).unwrap();
        measure(text, &filter, &body, false);
    }
    let text = r#"{"customer": {"name": ["Ada"]}, "lines": {"sku": ["item-0020"]}}"#;
    let filter = Filter::policy(text, Scope::Body).unwrap();
    measure(&format!("{text}, parsing"), &filter, &body, false);
    measure(&format!("{text}, parsed before"), &filter, &body, true);
    let numbers = (0..40_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let body = format!("{{\"l\":[{numbers}],\"s\":\"{}\"}}", "aaab".repeat(5_000));
    for text in [
        "body.l.all(x, x in body.l)",
        "body.l.exists(x, body.l.exists(y, x + y < 0))",
        "body.l.all(x, body.s.contains('aaac') || true)",
        "body.l.all(x, body.s.matches('(a+)+(a|b)*c$') || true)",
        "body.l.all(x, body.s.matches('[ab]*a[ab]{300}$') || true)",
        "body.l.all(x, body.s.matches('[ab]*a[ab]{1500}c') || true)",
        "body.l.all(x, body.s.matches('(\\\\w*a){30}c') || true)",
        "body.l.all(x, body.s.matches('(.*a){60}[^ab]') || true)",
    ] {
        let Ok(filter) = Filter::cel(text) else {
            println!("{text} is refused");
            continue;
        };
        let message = Message::new(&[("", ""); 0], None, body.as_bytes(), super::META);
        let _ = Filter::cel("body == 1").unwrap().evaluate(&message);
        let start = Instant::now();
        let outcome = filter.evaluate(&message);
        println!("{text}: {:?} after {:?}", outcome, start.elapsed());
    }
    for (name, text) in [
        ("short", "headers.kind == 'order.placed' && body.total > 3.0".to_owned()),
        ("500 conditions", format!("true{}", " && key == 'a'".repeat(500))),
        ("2000 elements", format!("1 in [{}1]", "1,".repeat(2000))),
        ("46 brackets", format!("{}1{}", "(".repeat(46), ")".repeat(46))),
        ("44 nots", format!("{}true", "!".repeat(44))),
        ("many brackets", vec![format!("{}1{}", "(".repeat(46), ")".repeat(46)); 80].join("||")),
        ("many conditions", vec!["(key=='a'?true:false)"; 340].join("||")),
        ("many maps", vec!["{'a':[1,{'b':2}]}.a[0]==1"; 280].join("||")),
        ("many macros", vec!["[1].all(x,[1].all(y,x==y))"; 280].join("&&")),
        ("many errors", "1 1 a a + + [ ] ".repeat(500)),
        ("many half errors", "(1 2) || a b || ".repeat(500)),
        ("23 lists", format!("{}1{}", "[".repeat(46), "]".repeat(46))),
    ] {
        let start = Instant::now();
        let outcome = Filter::cel(&text).map(|_| ());
        let taken = start.elapsed();
        let outcome = if outcome.is_ok() { "compiled" } else { "refused" };
        println!("{name}: {outcome} after {taken:?}");
    }
}

#[test]
#[ignore = "it measures"]
fn nanoseconds_of_patterns() {
    // No two stretches of it are alike, so that no automaton can remember it.
    let letters = std::iter::successors(Some(1_u32), |n| {
        Some(n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223))
    });
    let text: String =
        letters.take(20_000).map(|n| if n >> 16 & 1 == 1 { 'a' } else { 'b' }).collect();
    let counted = [5, 20, 60, 100, 300, 600].map(|n| format!("[ab]*a[ab]{{{n}}}c"));
    let others = [
        "^order[.](placed|paid)$",
        "\\w+@\\w+",
        "^\\d{4}-\\d{2}$",
        "\\w*a\\w{9}c",
        "(?i)größe|weight",
        "(\\w*a){3}c",
        "(a|aa|aaa|b|ab|ba)*c",
        "(.*a.*b){9}c",
    ];
    for pattern in counted.iter().map(String::as_str).chain(others) {
        let built = |bytes: usize| {
            let mut builder = regex::RegexBuilder::new(pattern);
            builder.size_limit(bytes).dfa_size_limit(bytes).build()
        };
        let Some(bytes) = (10..20).map(|n| 1 << n).find(|bytes| built(*bytes).is_ok()) else {
            continue;
        };
        for dfa in [bytes, 1 << 18] {
            let mut builder = regex::RegexBuilder::new(pattern);
            let regex = builder.size_limit(bytes).dfa_size_limit(dfa).build().unwrap();
            let start = Instant::now();
            let matches = regex.is_match(&text);
            let taken = start.elapsed().as_nanos() as f64 / text.len() as f64;
            println!("{pattern}: {bytes} bytes, dfa {dfa}, {taken:.1} ns a byte, {matches}");
        }
    }
}
