use crate::{Filter, Scope};

#[test]
fn errors_of_expressions_have_their_place() {
    for (text, expected) in [
        ("", "line 1, column 1"),
        ("key ==", "line 1, column 7"),
        ("key == 'a' &&\n  body.", "line 2, column 8"),
        ("key == 'a' key", "line 1, column 12, at `key`"),
        ("kye == 'a'", "line 1, column 1, at `kye == 'a'`: there is no `kye`"),
        ("'ä' == kye", "line 1, column 8, at `kye`: there is no `kye`"),
        ("key == 'a' ||\n 'ü' == foo(1)", "line 2, column 12, at `(1)`: there is no function"),
        ("key == 'a", "line 1, column 8, at `'a`: a string that doesn't end"),
        ("key == '\\q'", "line 1, column 9, at `\\q'`: not an escape"),
        ("key == '\\u12'", "line 1, column 9, at `\\u12'`: an escape with too few digits"),
        ("(key == 'a'", "line 1, column 1, at `(key == 'a'`: never closed: `)` is missing"),
        ("[key == 'a')", "line 1, column 12, at `)`: expected `]`"),
        ("key == 'a')", "line 1, column 11, at `)`: nothing to close"),
        ("key § 1", "line 1, column 5, at `§ 1`: this letter means nothing here"),
        ("body.`a-b` == 1", "line 1, column 6, at ``a-b` == 1`: write"),
        ("key.matches('(')", "line 1, column 13, at `'(')`: regex parse error"),
        ("key.matches(headers.p)", "line 1, column 20, at `.p)`: the pattern of matches must be"),
        ("key.matches('\\\\w{2000}')", "line 1, column 13, at `'\\\\w{2000}')`: Compiled regex"),
        ("timestamp('a') == key", "line 1, column 10, at `('a') == key`: there are no timestamps"),
        ("body.?a == 1", "line 1, column 5"),
        ("Foo{a: 1} == 1", "messages can't be built in a filter"),
        ("contains(key, 'a')", "write `text.contains(...)`"),
        ("has(key)", "invalid argument to has() macro"),
        (
            "[1].all(a, [1].all(b, [1].all(c, true)))",
            "comprehensions (all, exists, map, ...) nest deeper than 2",
        ),
        ("key == 9223372036854775808", "line 1, column 8"),
    ] {
        let error = Filter::cel(text).unwrap_err().to_string();
        assert!(error.starts_with("expression, line "), "{text}: {error}");
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn errors_of_policies_have_their_path() {
    for (text, expected) in [
        ("", "line 1, column 0: not JSON: EOF while parsing a value"),
        ("{\n \"a\": [1,]}", "line 2, column 10: not JSON: trailing comma"),
        ("[]", "$: a policy is an object, not a list"),
        ("{\"a\": 1}", "$.a: expected a list of rules, not a number"),
        ("{\"a\": []}", "$.a: an empty list: expected at least one rule"),
        ("{\"a\": {}}", "$.a: an empty object: expected at least one key"),
        ("{\"a\": {\"b c\": [[]]}}", "$.a[\"b c\"][0]: expected a value, not a list"),
        ("{\"a\": [1, {}]}", "$.a[1]: a rule has one operator, this one has 0"),
        ("{\"a\": [{\"prefix\": \"a\", \"suffix\": \"b\"}]}", "$.a[0]: a rule has one operator"),
        ("{\"a\": [{\"begins\": \"a\"}]}", "$.a[0].begins: `begins` is not an operator"),
        ("{\"a\": [{\"prefix\": 1}]}", "$.a[0].prefix: expected a string, not a number"),
        ("{\"a\": [{\"exists\": 1}]}", "$.a[0].exists: expected a bool, not a number"),
        ("{\"a\": [{\"cidr\": \"10.0.0.0/40\"}]}", "$.a[0].cidr: `10.0.0.0/40` is not a network"),
        ("{\"a\": [{\"wildcard\": \"a**\"}]}", "$.a[0].wildcard: two `*` in a row"),
        ("{\"a\": [{\"numeric\": []}]}", "$.a[0].numeric: expected one or two comparisons"),
        ("{\"a\": [{\"numeric\": [\">\"]}]}", "$.a[0].numeric[0]: a comparison without a number"),
        ("{\"a\": [{\"numeric\": [\"!=\", 1]}]}", "$.a[0].numeric[0]: `!=` is not one of"),
        ("{\"a\": [{\"numeric\": [\">\", \"1\"]}]}", "$.a[0].numeric[1]: expected a number"),
        (
            "{\"a\": [{\"numeric\": [\">\", 1, \">=\", 2]}]}",
            "$.a[0].numeric[2]: a second bound on the same side",
        ),
        ("{\"a\": [{\"numeric\": [\"=\", 1, \"<\", 2]}]}", "$.a[0].numeric[0]: `=` stands alone"),
        ("{\"a\": [{\"numeric\": [\">\", 5, \"<\", 5]}]}", "no number is in this range"),
        ("{\"a\": [{\"anything-but\": []}]}", "$.a[0].anything-but: an empty list"),
        ("{\"a\": [{\"anything-but\": [[1]]}]}", "$.a[0].anything-but[0]: expected a value"),
        (
            "{\"a\": [{\"anything-but\": {\"cidr\": \"10.0.0.0/8\"}}]}",
            "$.a[0].anything-but.cidr: anything-but doesn't take `cidr`",
        ),
        ("{\"$or\": [{\"a\": [1]}]}", "$.$or: `$or` needs at least two policies, it has 1"),
        ("{\"$or\": [{\"a\": [1]}, {}]}", "$.$or[1]: an empty policy matches everything"),
        ("{\"$or\": [{\"a\": [1]}, {\"b\": 1}]}", "$.$or[1].b: expected a list of rules"),
        ("{\"$or\": {\"a\": [1]}}", "$.$or: `$or` is a list of policies, not an object"),
    ] {
        let error = Filter::policy(text, Scope::Body).unwrap_err().to_string();
        assert!(error.starts_with("policy, "), "{text}: {error}");
        assert!(error.contains(expected), "{text}: {error}");
    }
    let error = Filter::policy("{\"a\": {\"b\": [1]}}", Scope::Attributes).unwrap_err();
    assert_eq!(error.to_string(), "policy, $.a: headers don't nest: expected a list of rules");
}
