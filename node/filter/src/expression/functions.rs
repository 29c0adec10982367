//! What the functions do. Each pays for what it looks at.

use crate::cost::Budget;
use crate::error::EvaluationError;

use super::node::Function;
use super::operators::{Outcome, types};
use super::value::{Shared, Value};

/// Calls a function; the receiver is the first argument.
pub(crate) fn call<'a>(
    function: Function,
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    match (function, arguments) {
        (Function::Contains | Function::StartsWith | Function::EndsWith, [text, part]) => {
            let (Value::Text(text), Value::Text(part)) = (text, part) else {
                return Err(types(function.name(), &[text, part]));
            };
            budget.charge_bytes(text.len().saturating_add(part.len()))?;
            Ok(Value::Bool(if function == Function::StartsWith {
                text.starts_with(&**part)
            } else if function == Function::EndsWith {
                text.ends_with(&**part)
            } else {
                text.contains(&**part)
            }))
        }
        (function, [value]) => call_on_one(function, value, budget),
        // The compiler counts arguments.
        (function, arguments) => Err(types(function.name(), &arguments.iter().collect::<Vec<_>>())),
    }
}

fn call_on_one<'a>(function: Function, value: &Value<'a>, budget: &mut Budget) -> Outcome<'a> {
    match (function, value) {
        (Function::Type, value) => Ok(Value::Type(value.type_name())),
        (Function::Size, Value::Text(text)) => {
            budget.charge_bytes(text.len())?;
            Ok(size(text.chars().count()))
        }
        (Function::Size, Value::Bytes(bytes)) => Ok(size(bytes.len())),
        (Function::Size, Value::List(list)) => Ok(size(list.len())),
        (Function::Size, Value::Map(map)) => {
            map.charge_keys(budget)?;
            Ok(size(map.len()))
        }
        (Function::Bool, value) => to_bool(value),
        (Function::Int, value) => {
            charge_number(value, budget)?;
            to_int(value)
        }
        (Function::Uint, value) => {
            charge_number(value, budget)?;
            to_uint(value)
        }
        (Function::Double, value) => {
            charge_number(value, budget)?;
            to_double(value)
        }
        (Function::String, value) => to_text(value, budget),
        (Function::Bytes, Value::Bytes(bytes)) => Ok(Value::Bytes(bytes.clone())),
        (Function::Bytes, Value::Text(text)) => {
            budget.charge_bytes(text.len())?;
            Ok(Value::Bytes(match text {
                Shared::Borrowed(text) => Shared::Borrowed(text.as_bytes()),
                Shared::Built(text) => Shared::Built(text.as_bytes().into()),
            }))
        }
        (function, value) => Err(types(function.name(), &[value])),
    }
}

fn size<'a>(length: usize) -> Value<'a> {
    Value::Int(i64::try_from(length).unwrap_or(i64::MAX))
}

fn cannot(function: Function, value: &Value<'_>) -> EvaluationError {
    EvaluationError::Conversion { function: function.name(), found: value.type_name() }
}

fn to_bool<'a>(value: &Value<'a>) -> Outcome<'a> {
    match value {
        Value::Bool(value) => Ok(Value::Bool(*value)),
        Value::Text(text) => match &**text {
            "1" | "t" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(cannot(Function::Bool, value)),
        },
        Value::Null
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Double(_)
        | Value::Bytes(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Type(_) => Err(types("bool", &[value])),
    }
}

/// Pays for reading a number.
fn charge_number(value: &Value<'_>, budget: &mut Budget) -> Result<(), EvaluationError> {
    if let Value::Text(text) = value { budget.charge_number(text.len()) } else { Ok(()) }
}

#[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
fn to_int<'a>(value: &Value<'a>) -> Outcome<'a> {
    let int = match value {
        Value::Int(int) => Some(*int),
        Value::Uint(uint) => i64::try_from(*uint).ok(),
        // 2^63 is a double; the largest int isn't.
        Value::Double(double) if double.abs() < 9_223_372_036_854_775_808.0 => Some(*double as i64),
        Value::Double(_) => None,
        Value::Text(text) => text.parse().ok(),
        Value::Null
        | Value::Bool(_)
        | Value::Bytes(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Type(_) => return Err(types("int", &[value])),
    };
    int.map(Value::Int).ok_or_else(|| cannot(Function::Int, value))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
fn to_uint<'a>(value: &Value<'a>) -> Outcome<'a> {
    let uint = match value {
        Value::Uint(uint) => Some(*uint),
        Value::Int(int) => u64::try_from(*int).ok(),
        Value::Double(double) if *double >= 0.0 && *double < 18_446_744_073_709_551_616.0 => {
            Some(*double as u64)
        }
        Value::Double(_) => None,
        Value::Text(text) => text.parse().ok(),
        Value::Null
        | Value::Bool(_)
        | Value::Bytes(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Type(_) => return Err(types("uint", &[value])),
    };
    uint.map(Value::Uint).ok_or_else(|| cannot(Function::Uint, value))
}

#[expect(clippy::cast_precision_loss, reason = "that is what the conversion is")]
fn to_double<'a>(value: &Value<'a>) -> Outcome<'a> {
    let double = match value {
        Value::Double(double) => Some(*double),
        Value::Int(int) => Some(*int as f64),
        Value::Uint(uint) => Some(*uint as f64),
        Value::Text(text) => text.parse().ok(),
        Value::Null
        | Value::Bool(_)
        | Value::Bytes(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Type(_) => return Err(types("double", &[value])),
    };
    double.map(Value::Double).ok_or_else(|| cannot(Function::Double, value))
}

fn to_text<'a>(value: &Value<'a>, budget: &mut Budget) -> Outcome<'a> {
    Ok(match value {
        Value::Text(text) => Value::Text(text.clone()),
        Value::Bool(value) => Value::text(if *value { "true" } else { "false" }),
        Value::Int(int) => Value::text(&int.to_string()),
        Value::Uint(uint) => Value::text(&uint.to_string()),
        Value::Double(double) => {
            // It may have 300 digits and more.
            let text = double.to_string();
            budget.charge_letters(text.len())?;
            Value::text(&text)
        }
        Value::Bytes(bytes) => {
            budget.charge_bytes(bytes.len())?;
            match std::str::from_utf8(bytes) {
                Ok(text) => Value::text(text),
                Err(_) => return Err(cannot(Function::String, value)),
            }
        }
        Value::Null | Value::List(_) | Value::Map(_) | Value::Type(_) => {
            return Err(types("string", &[value]));
        }
    })
}
