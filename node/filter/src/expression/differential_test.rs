//! Random expressions, here and in the interpreter of the `cel` crate: the same value, or both an
//! error.

use std::collections::HashMap;
use std::sync::Arc;

use cel::{Context, Program, Value as Cel};
use proptest::prelude::*;
use serde_json::Value as Json;

use super::value::{List, Value};
use super::{Expression, evaluate};
use crate::cost::Budget;
use crate::{EvaluationError, Message, Meta};

const BODY: &str = r#"{
    "n": 7, "d": 2.5, "s": "text", "t": true, "z": null, "l": [1, 2, 3],
    "m": {"a": 1}, "o": [{"a": 1}, {"a": "x"}, {"b": 2}], "e": []
}"#;

fn to_cel(json: &Json) -> Cel {
    match json {
        Json::Null => Cel::Null,
        Json::Bool(value) => Cel::Bool(*value),
        Json::Number(number) => {
            number.as_i64().map_or_else(|| Cel::Float(number.as_f64().unwrap()), Cel::Int)
        }
        Json::String(text) => Cel::String(Arc::new(text.clone())),
        Json::Array(items) => Cel::List(Arc::new(items.iter().map(to_cel).collect())),
        Json::Object(object) => {
            let entries = object.iter().map(|(key, value)| (key.clone(), to_cel(value)));
            entries.collect::<HashMap<String, Cel>>().into()
        }
    }
}

fn show_theirs(value: &Cel) -> String {
    match value {
        Cel::Null => "null".to_owned(),
        Cel::Bool(value) => value.to_string(),
        Cel::Int(value) => value.to_string(),
        Cel::UInt(value) => format!("{value}u"),
        Cel::Float(value) => format!("{value:?}"),
        Cel::String(text) => format!("{text:?}"),
        Cel::Bytes(bytes) => format!("b{bytes:?}"),
        Cel::List(items) => {
            format!("[{}]", items.iter().map(show_theirs).collect::<Vec<_>>().join(","))
        }
        Cel::Map(_) => "true".to_owned(),
        Cel::Function(..) | Cel::Opaque(_) | Cel::Struct(_) => "false".to_owned(),
    }
}

fn show_ours(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => format!("{value}u"),
        Value::Double(value) => format!("{value:?}"),
        Value::Text(text) => format!("{:?}", &**text),
        Value::Bytes(bytes) => format!("b{:?}", &**bytes),
        Value::List(list) => format!("[{}]", show_list(list)),
        Value::Map(_) => "true".to_owned(),
        Value::Type(_) => "false".to_owned(),
    }
}

fn show_list(list: &List<'_>) -> String {
    let items = (0..list.len()).map(|index| show_ours(&list.get(index).unwrap()));
    items.collect::<Vec<_>>().join(",")
}

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "body.n",
        "body.d",
        "body.s",
        "body.t",
        "body.z",
        "body.l",
        "body.m",
        "body.o",
        "body.e",
        "body.m.a",
        "body.none",
        "x",
        "1",
        "-2",
        "0",
        "3u",
        "1.5",
        "'x'",
        "'text'",
        "b'x'",
        "true",
        "false",
        "null",
        "[1, 2]",
        "['x']",
        "{'a': 1}",
        "9223372036854775807",
        "has(body.m.a)",
        "has(body.none)",
        "'12'",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 24, 3, |inner| {
        let operators = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "in", "&&", "||", "&&", "||",
        ]);
        let macros = prop::sample::select(vec!["all", "exists", "exists_one", "map", "filter"]);
        let methods = prop::sample::select(vec!["contains", "startsWith", "endsWith"]);
        let functions = prop::sample::select(vec!["size", "int", "uint", "dyn", "!", "-"]);
        prop_oneof![
            4 => (inner.clone(), operators, inner.clone())
                .prop_map(|(a, o, b)| format!("({a} {o} {b})")),
            2 => (inner.clone(), macros, inner.clone())
                .prop_map(|(a, m, b)| format!("({a}).{m}(x, {b})")),
            1 => (inner.clone(), methods, inner.clone())
                .prop_map(|(a, m, b)| format!("({a}).{m}({b})")),
            1 => (functions, inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a})[{b}]")),
            1 => (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            1 => inner.prop_map(|a| format!("({a}).a")),
        ]
    })
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

proptest! {
    #![proptest_config(cases(4000))]

    #[test]
    fn both_say_the_same(text in expression()) {
        // A name that isn't there is an error of the compiler here.
        let text = format!("[0].map(x, {text})");
        let Ok(expression) = Expression::compile(&text) else { return Ok(()) };
        let message = Message::new(&[("", ""); 0], None, BODY.as_bytes(), Meta::default());
        let mut budget = Budget::new();
        let ours = evaluate::value(&expression, &message, &mut budget);
        let mut context = Context::default();
        context.add_variable_from_value("body", to_cel(&serde_json::from_str(BODY).unwrap()));
        let theirs = Program::compile(&text).unwrap().execute(&context);
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => {
                prop_assert_eq!(show_ours(ours), show_theirs(theirs), "{}", text);
            }
            (Err(_), Err(_)) => {}
            // The specification has no such operator.
            (Err(EvaluationError::Types { operation: "+", types }), _)
                if types == "list and map" => {}
            _ => prop_assert!(false, "{}: {:?}, but {:?}", text, ours, theirs),
        }
    }
}
