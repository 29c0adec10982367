use super::cel;
use crate::{EvaluationError, Filter, Message};

#[test]
fn expressions_that_are_true() {
    for text in [
        // What a message is.
        "headers.kind == 'order.placed'",
        "headers['kind'].startsWith('order.')",
        "headers.shop == 'north'",
        "'kind' in headers && !('none' in headers)",
        "has(headers.kind) && !has(headers.none)",
        "size(headers) == 3",
        "headers.all(name, size(headers[name]) > 0)",
        "double(headers.price) > 200.0",
        "key == 'k-1'",
        "meta.topic == 'orders' && meta.partition == 3 && meta.offset == 42",
        "meta.timestamp_ms > 1600000000000 && meta.priority >= 7 && meta.attempts < 2",
        "size(meta) == 6",
        // The body.
        "body.id == 7 && body.id == 7.0 && body.id == 7u",
        "body.id + 1 == 8 && body.id / 2 == 3 && body.id % 4 == 3",
        "body.total * 2.0 == 39.0",
        "body.paid && body.note == null",
        "body.big == 18446744073709551615u && body.big > 1",
        "body.customer.name in ['Ada', 'Bob']",
        "'vip' in body.customer.tags",
        "body.customer.tags[1u] == 'eu' && body.customer.tags[1.0] == 'eu'",
        "1.0 in {1: 2} && !(1.5 in {1: 2}) && {1: 2}[1.0] == 2",
        "body.customer.tags[0] == 'vip' && size(body.customer.tags) == 2",
        "body.lines.exists(line, line.sku == 'tea' && line.count > 1)",
        "body.lines.all(line, line.price < 20.0)",
        "body.lines.exists_one(line, line.count == 1)",
        "body.lines.filter(l, l.count > 1).map(l, l.sku) == ['tea']",
        "body.lines.map(l, l.count > 1, l.sku) == ['tea']",
        "body.lines.map(l, l.count) == [2, 1]",
        "body.lines.exists(l, body.customer.tags.exists(t, t != l.sku))",
        "body['customer']['zip'].matches('^[0-9]{5}$')",
        "has(body.customer) && !has(body.customer.age)",
        "body.customer == {'name': 'Ada', 'tags': ['vip', 'eu'], 'zip': '01067'}",
        // Values.
        "'a' + 'b' == \"ab\" && b'a' + b'b' == b'ab' && [1] + [2] == [1, 2]",
        "size('größe') == 5 && size(b'abc') == 3",
        "'abc'.contains('b') && 'abc'.endsWith('c') && !'abc'.startsWith('b')",
        "matches('abc', 'b+') && !'abc'.matches('^b')",
        "1 < 1.5 && 2u > 1 && -1 < 0u && 1 == 1.0",
        "9007199254740993 > 9007199254740992.0",
        "'a' < 'b' && b'a' < b'b' && false < true",
        "1 != 'a' && null != 0 && [1] != [2] && {'a': 1} != {'a': 2}",
        "int('12') == 12 && int(2.9) == 2 && uint(3) == 3u && double('1.5') == 1.5",
        "string(12) == '12' && string(true) == 'true' && string(b'a') == 'a' && bool('t')",
        "bytes('a') == b'a' && dyn(1) == 1",
        "type(key) == string && type(body) == map && type(body.note) == null_type",
        "{1: 'one', true: 'yes'}[true] == 'yes' && 1 in {1: 2} && 1u in {1: 2}",
        "-(1) == -1 && -1.5 < 0.0 && 7 - 2 * 3 == 1 && (7 - 2) * 3 == 15",
        "body.id == 7 ? true : body.missing",
        "1.0 / 0.0 > 1.0 && !(0.0 / 0.0 == 0.0 / 0.0)",
        "1.0 / 0.0 > 9223372036854775807 && -1.0 / 0.0 < -9223372036854775807",
        // One side that decides is enough.
        "body.missing == 1 || true",
        "!(body.missing == 1 && false)",
        "body.lines.exists(l, l.missing == 1 || l.sku == 'cup')",
        "['a', 1, 'b'].exists(x, x > 0)",
        "!['a', -1].all(x, x > 0)",
        // Names of comprehensions hide others, and the inner one the outer.
        "[1].exists(key, key == 1) && [1].all(x, [2].all(x, x == 2))",
        "r'\\d' == '\\\\d' && '''it's''' == \"it's\" && '\\u00e9' == 'é'",
        "1 == 1 // and so on",
    ] {
        assert_eq!(cel(text), Ok(true), "{text}");
    }
}

#[test]
fn expressions_that_have_no_answer() {
    use EvaluationError as E;
    let types = |operation, types: &str| E::Types { operation, types: types.to_owned() };
    let range = |operation| E::Arithmetic { operation, problem: "the result is out of range" };
    let zero = |operation| E::Arithmetic { operation, problem: "division by zero" };
    let no_key = |key: &str| E::NoSuchKey { key: key.to_owned() };
    for (text, expected) in [
        ("headers.none == 'a'", no_key("none")),
        ("body.customer.age > 3", no_key("age")),
        ("meta.size == 1", no_key("size")),
        ("{1: 2}[3] == 2", no_key("3")),
        ("body.id", E::NotBool { found: "int" }),
        ("body", E::NotBool { found: "map" }),
        ("headers.kind + 1 == 2", types("+", "string and int")),
        ("body.total + 1 == 20", types("+", "double and int")),
        ("'a' < 1", types("<", "string and int")),
        ("key.name == 'a'", types(".", "string")),
        ("body.lines[0.5].count == 1", types("[]", "list and double")),
        ("body.lines[1e30].count == 1", E::Index { index: i64::MAX, length: 2 }),
        ("{1: 2}[null] == 2", types("[]", "map and null_type")),
        ("[1] in {1: 2}", types("in", "list and map")),
        ("key[0] == 'a'", types("[]", "string and int")),
        ("1 in key", types("in", "int and string")),
        ("!key", types("!", "string")),
        ("key && false || key", types("||", "string")),
        ("-key == 1", types("-", "string")),
        ("key.all(x, true)", types("comprehension", "string")),
        ("size(1) == 1", types("size", "int")),
        ("body.id.matches('a')", types("matches", "int")),
        ("body.id.contains('a')", types("contains", "int and string")),
        ("9223372036854775807 + 1 > 0", range("+")),
        ("-9223372036854775808 - 1 > 0", range("-")),
        ("-(-9223372036854775808) > 0", range("-")),
        ("-9223372036854775808 / -1 > 0", range("/")),
        ("0u - 1u > 0u", range("-")),
        ("1 / 0 == 0", zero("/")),
        ("1 % 0 == 0", zero("%")),
        ("1u / 0u == 0u", zero("/")),
        ("body.lines[2].count == 1", E::Index { index: 2, length: 2 }),
        ("body.lines[-1].count == 1", E::Index { index: -1, length: 2 }),
        ("int('x') == 0", E::Conversion { function: "int", found: "string" }),
        ("uint(-1) == 0u", E::Conversion { function: "uint", found: "int" }),
        ("int(1e19) == 0", E::Conversion { function: "int", found: "double" }),
        ("string(b'\\xff') == ''", E::Conversion { function: "string", found: "bytes" }),
        ("{'a': 1, 'a': 2}.a == 1", E::DuplicateKey),
        ("body.lines.all(l, l.missing == 1)", no_key("missing")),
        ("['a', -1].exists(x, x > 0)", types(">", "string and int")),
    ] {
        assert_eq!(cel(text), Err(expected), "{text}");
    }
}

#[test]
fn only_filters_that_name_the_body_need_one() {
    let headers = [("a", b"1".as_slice()), ("raw", b"\xff\xfe")];
    let message = Message::new(&headers, Some(b"\xff"), b"{nonsense", super::META);
    let evaluate = |text| Filter::cel(text).unwrap().evaluate(&message);
    assert_eq!(evaluate("headers.a == '1'"), Ok(true));
    assert_eq!(evaluate("headers.raw == b'\\xff\\xfe' && key == b'\\xff'"), Ok(true));
    assert_eq!(evaluate("headers.a == '1' || body.x == 1"), Ok(true));
    let error = evaluate("body.x == 1").unwrap_err();
    assert_eq!(error.to_string(), "the body is not JSON: key must be a string at line 1 column 2");
    let keyless = Message::new(&headers, None, b"", super::META);
    assert_eq!(Filter::cel("key == null").unwrap().evaluate(&keyless), Ok(true));
}
