//! What the operators do. Each pays for what it looks at.

use std::cmp::Ordering;
use std::rc::Rc;

use crate::cost::Budget;
use crate::error::EvaluationError;

use super::node::Operator;
use super::value::{Dictionary, List, Shared, Value};

pub(crate) type Outcome<'a> = Result<Value<'a>, EvaluationError>;

/// An operator or function got types that it doesn't take.
pub(crate) fn types(operation: &'static str, values: &[&Value<'_>]) -> EvaluationError {
    let names: Vec<&str> = values.iter().map(|value| value.type_name()).collect();
    EvaluationError::Types { operation, types: names.join(" and ") }
}

pub(crate) fn binary<'a>(
    operator: Operator,
    left: &Value<'a>,
    right: &Value<'a>,
    budget: &mut Budget,
) -> Outcome<'a> {
    let ordered = |accepted: [Ordering; 2], budget: &mut Budget| {
        let order = compare(operator, left, right, budget)?;
        Ok(Value::Bool(order.is_some_and(|order| accepted.contains(&order))))
    };
    match operator {
        Operator::Equal => equal(left, right, budget).map(Value::Bool),
        Operator::NotEqual => equal(left, right, budget).map(|equal| Value::Bool(!equal)),
        Operator::Less => ordered([Ordering::Less; 2], budget),
        Operator::LessEqual => ordered([Ordering::Less, Ordering::Equal], budget),
        Operator::Greater => ordered([Ordering::Greater; 2], budget),
        Operator::GreaterEqual => ordered([Ordering::Greater, Ordering::Equal], budget),
        Operator::In => contains(right, left, budget).map(Value::Bool),
        Operator::Add => add(left, right, budget),
        Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => {
            arithmetic(operator, left, right)
        }
    }
}

fn add<'a>(left: &Value<'a>, right: &Value<'a>, budget: &mut Budget) -> Outcome<'a> {
    match (left, right) {
        (Value::Text(a), Value::Text(b)) => {
            budget.charge_bytes(a.len().saturating_add(b.len()))?;
            Ok(Value::text(&[&**a, &**b].concat()))
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            budget.charge_bytes(a.len().saturating_add(b.len()))?;
            Ok(Value::Bytes(Shared::Built([&**a, &**b].concat().into())))
        }
        (Value::List(a), Value::List(b)) => {
            let length = a.len().saturating_add(b.len());
            budget.charge(length)?;
            let items = |list: &List<'a>| {
                let list = list.clone();
                (0..list.len()).filter_map(move |index| list.get(index))
            };
            Ok(Value::list(items(a).chain(items(b)).collect()))
        }
        (a, b) => arithmetic(Operator::Add, a, b),
    }
}

fn arithmetic<'a>(operator: Operator, left: &Value<'a>, right: &Value<'a>) -> Outcome<'a> {
    let operation = operator.name();
    let result = match (operator, left, right) {
        (Operator::Add, Value::Int(a), Value::Int(b)) => a.checked_add(*b).map(Value::Int),
        (Operator::Subtract, Value::Int(a), Value::Int(b)) => a.checked_sub(*b).map(Value::Int),
        (Operator::Multiply, Value::Int(a), Value::Int(b)) => a.checked_mul(*b).map(Value::Int),
        (Operator::Divide | Operator::Remainder, Value::Int(_), Value::Int(0))
        | (Operator::Divide | Operator::Remainder, Value::Uint(_), Value::Uint(0)) => {
            return Err(EvaluationError::Arithmetic { operation, problem: "division by zero" });
        }
        (Operator::Divide, Value::Int(a), Value::Int(b)) => a.checked_div(*b).map(Value::Int),
        (Operator::Remainder, Value::Int(a), Value::Int(b)) => a.checked_rem(*b).map(Value::Int),
        (Operator::Add, Value::Uint(a), Value::Uint(b)) => a.checked_add(*b).map(Value::Uint),
        (Operator::Subtract, Value::Uint(a), Value::Uint(b)) => a.checked_sub(*b).map(Value::Uint),
        (Operator::Multiply, Value::Uint(a), Value::Uint(b)) => a.checked_mul(*b).map(Value::Uint),
        (Operator::Divide, Value::Uint(a), Value::Uint(b)) => a.checked_div(*b).map(Value::Uint),
        (Operator::Remainder, Value::Uint(a), Value::Uint(b)) => a.checked_rem(*b).map(Value::Uint),
        (Operator::Add, Value::Double(a), Value::Double(b)) => Some(Value::Double(a + b)),
        (Operator::Subtract, Value::Double(a), Value::Double(b)) => Some(Value::Double(a - b)),
        (Operator::Multiply, Value::Double(a), Value::Double(b)) => Some(Value::Double(a * b)),
        (Operator::Divide, Value::Double(a), Value::Double(b)) => Some(Value::Double(a / b)),
        _ => return Err(types(operation, &[left, right])),
    };
    result.ok_or(EvaluationError::Arithmetic { operation, problem: "the result is out of range" })
}

pub(crate) fn negate<'a>(value: &Value<'a>) -> Outcome<'a> {
    let out_of_range =
        EvaluationError::Arithmetic { operation: "-", problem: "the result is out of range" };
    if let Value::Int(int) = value {
        return int.checked_neg().map(Value::Int).ok_or(out_of_range);
    }
    let Value::Double(double) = value else { return Err(types("-", &[value])) };
    Ok(Value::Double(-double))
}

/// A number of any type.
#[derive(Clone, Copy)]
enum Number {
    Whole(i128),
    Real(f64),
}

impl Number {
    fn of(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Int(int) => Some(Self::Whole((*int).into())),
            Value::Uint(uint) => Some(Self::Whole((*uint).into())),
            Value::Double(double) => Some(Self::Real(*double)),
            Value::Null
            | Value::Bool(_)
            | Value::Text(_)
            | Value::Bytes(_)
            | Value::List(_)
            | Value::Map(_)
            | Value::Type(_) => None,
        }
    }

    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => Some(a.cmp(&b)),
            (Self::Real(a), Self::Real(b)) => a.partial_cmp(&b),
            (Self::Whole(a), Self::Real(b)) => whole_to_real(a, b),
            (Self::Real(a), Self::Whole(b)) => whole_to_real(b, a).map(Ordering::reverse),
        }
    }
}

/// Exactly: a large int is not rounded to a double.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, beyond 64 bits")]
fn whole_to_real(whole: i128, real: f64) -> Option<Ordering> {
    if real.is_nan() {
        return None;
    }
    match whole.cmp(&(real.trunc() as i128)) {
        Ordering::Equal => 0.0.partial_cmp(&real.fract()),
        order @ (Ordering::Less | Ordering::Greater) => Some(order),
    }
}

/// `None` where nothing is less or greater: one of them is not a number.
fn compare(
    operator: Operator,
    left: &Value<'_>,
    right: &Value<'_>,
    budget: &mut Budget,
) -> Result<Option<Ordering>, EvaluationError> {
    match (left, right) {
        (Value::Text(a), Value::Text(b)) => {
            budget.charge_bytes(a.len().min(b.len()))?;
            Ok(Some((**a).cmp(&**b)))
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            budget.charge_bytes(a.len().min(b.len()))?;
            Ok(Some((**a).cmp(&**b)))
        }
        (Value::Bool(a), Value::Bool(b)) => Ok(Some(a.cmp(b))),
        (a, b) => match (Number::of(a), Number::of(b)) {
            (Some(a), Some(b)) => Ok(a.compare(b)),
            (None, _) | (_, None) => Err(types(operator.name(), &[a, b])),
        },
    }
}

/// Values of different types are not equal, except for numbers.
pub(crate) fn equal(
    left: &Value<'_>,
    right: &Value<'_>,
    budget: &mut Budget,
) -> Result<bool, EvaluationError> {
    budget.charge(1)?;
    Ok(match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Text(a), Value::Text(b)) => {
            budget.charge_bytes(a.len().min(b.len()))?;
            **a == **b
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            budget.charge_bytes(a.len().min(b.len()))?;
            **a == **b
        }
        (Value::Type(a), Value::Type(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for index in 0..a.len() {
                let (Some(a), Some(b)) = (a.get(index), b.get(index)) else { return Ok(false) };
                if !equal(&a, &b, budget)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Map(a), Value::Map(b)) => {
            a.charge_keys(budget)?;
            b.charge_keys(budget)?;
            let keys = a.keys();
            if keys.len() != b.len() {
                return Ok(false);
            }
            for key in keys {
                let (Some(a), Some(b)) = (lookup(a, &key, budget)?, lookup(b, &key, budget)?)
                else {
                    return Ok(false);
                };
                if !equal(&a, &b, budget)? {
                    return Ok(false);
                }
            }
            true
        }
        (a, b) => match (Number::of(a), Number::of(b)) {
            (Some(a), Some(b)) => a.compare(b) == Some(Ordering::Equal),
            (None, _) | (_, None) => false,
        },
    })
}

/// Whether a map may have it for a key.
pub(crate) fn is_key(value: &Value<'_>) -> bool {
    matches!(value, Value::Text(_) | Value::Bool(_) | Value::Int(_) | Value::Uint(_))
}

/// Whether it may be looked for in a map: a double is equal to the key that is the same number.
fn may_be_looked_up(value: &Value<'_>) -> bool {
    is_key(value) || matches!(value, Value::Double(_))
}

/// What is under a key.
pub(crate) fn lookup<'a>(
    map: &Dictionary<'a>,
    key: &Value<'_>,
    budget: &mut Budget,
) -> Result<Option<Value<'a>>, EvaluationError> {
    if let Dictionary::Built(entries) = map {
        for (each, value) in entries.iter() {
            if equal(each, key, budget)? {
                return Ok(Some(value.clone()));
            }
        }
        return Ok(None);
    }
    if let Value::Text(name) = key { field(map, name, budget) } else { Ok(None) }
}

/// What is under a name.
pub(crate) fn field<'a>(
    map: &Dictionary<'a>,
    name: &str,
    budget: &mut Budget,
) -> Result<Option<Value<'a>>, EvaluationError> {
    map.charge_search(name, budget)?;
    let found = map.get(name);
    if let Dictionary::Headers(_) = map {
        // It was checked to be UTF-8.
        if let Some(Value::Text(text)) = &found {
            budget.charge_bytes(text.len())?;
        } else if let Some(Value::Bytes(bytes)) = &found {
            budget.charge_bytes(bytes.len())?;
        }
    }
    Ok(found)
}

/// `value in container`.
fn contains(
    container: &Value<'_>,
    value: &Value<'_>,
    budget: &mut Budget,
) -> Result<bool, EvaluationError> {
    if let Value::List(list) = container {
        for index in 0..list.len() {
            if let Some(item) = list.get(index)
                && equal(&item, value, budget)?
            {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    if let Value::Map(map) = container
        && may_be_looked_up(value)
    {
        return Ok(lookup(map, value, budget)?.is_some());
    }
    Err(types("in", &[value, container]))
}

/// `value[index]`.
pub(crate) fn index<'a>(value: &Value<'a>, index: &Value<'a>, budget: &mut Budget) -> Outcome<'a> {
    match (value, index) {
        (Value::List(list), Value::Int(at)) => {
            let item = usize::try_from(*at).ok().and_then(|at| list.get(at));
            item.ok_or(EvaluationError::Index { index: *at, length: list.len() })
        }
        (Value::List(list), Value::Uint(at)) => {
            let item = usize::try_from(*at).ok().and_then(|at| list.get(at));
            let index = i64::try_from(*at).unwrap_or(i64::MAX);
            item.ok_or(EvaluationError::Index { index, length: list.len() })
        }
        #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
        (Value::List(list), Value::Double(at)) if at.fract() == 0.0 => {
            let index = *at as i64;
            let item = usize::try_from(index).ok().and_then(|at| list.get(at));
            item.ok_or(EvaluationError::Index { index, length: list.len() })
        }
        (Value::Map(map), key) if may_be_looked_up(key) => {
            lookup(map, key, budget)?.ok_or_else(|| EvaluationError::NoSuchKey { key: show(key) })
        }
        (value, index) => Err(types("[]", &[value, index])),
    }
}

fn show(key: &Value<'_>) -> String {
    match key {
        Value::Text(text) => text.chars().take(64).collect(),
        Value::Int(int) => int.to_string(),
        Value::Uint(uint) => format!("{uint}u"),
        Value::Bool(value) => value.to_string(),
        Value::Null
        | Value::Double(_)
        | Value::Bytes(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Type(_) => key.type_name().to_owned(),
    }
}

/// Adds one value to a list that nobody else holds, or to a copy of it.
pub(crate) fn append<'a>(list: Value<'a>, item: Value<'a>, budget: &mut Budget) -> Outcome<'a> {
    let Value::List(List::Built(mut items)) = list else {
        return add(&list, &Value::list(vec![item]), budget);
    };
    match Rc::get_mut(&mut items) {
        Some(unshared) => unshared.push(item),
        None => {
            budget.charge(items.len())?;
            Rc::make_mut(&mut items).push(item);
        }
    }
    Ok(Value::List(List::Built(items)))
}
