//! From JSON to a policy, or to the path of what is wrong.

use serde_json::{Map, Value};

use crate::error::FilterError;
use crate::filter::Scope;
use crate::limits::{POLICY_BYTES_MAX, POLICY_DEPTH_MAX};
use crate::number::Number;

use super::cidr::Cidr;
use super::rule::{Bound, Range, Rule};
use super::wildcard::Wildcard;
use super::{Clause, Policy};

impl Policy {
    /// Reads a policy.
    pub(crate) fn parse(text: &str, scope: Scope) -> Result<Self, FilterError> {
        let bytes = text.len();
        if bytes > POLICY_BYTES_MAX {
            return Err(FilterError::TooLong { what: "policy", bytes, max: POLICY_BYTES_MAX });
        }
        let json: Value = serde_json::from_str(text).map_err(|error| FilterError::Json {
            line: error.line(),
            column: error.column(),
            // Its own text ends with the place.
            problem: error.to_string().split(" at line ").next().unwrap_or_default().to_owned(),
        })?;
        policy(object(&json, "$")?, scope, 1, "$")
    }
}

fn policy(
    object: &Map<String, Value>,
    scope: Scope,
    depth: usize,
    path: &str,
) -> Result<Policy, FilterError> {
    if depth > POLICY_DEPTH_MAX {
        return Err(wrong(path, format!("nested deeper than {POLICY_DEPTH_MAX}")));
    }
    let deeper = depth.saturating_add(1);
    let mut clauses = Vec::with_capacity(object.len());
    for (name, value) in object {
        let path = step(path, name);
        clauses.push(match value {
            Value::Array(items) if name == "$or" => any_of(items, scope, deeper, &path)?,
            Value::Object(_) if name == "$or" => {
                let problem = "`$or` is a list of policies, not an object";
                return Err(wrong(&path, problem.to_owned()));
            }
            Value::Array(items) => {
                Clause::Field { name: name.as_str().into(), rules: rules(items, &path)? }
            }
            Value::Object(_) if scope == Scope::Attributes => {
                return Err(wrong(
                    &path,
                    "headers don't nest: expected a list of rules".to_owned(),
                ));
            }
            Value::Object(nested) if nested.is_empty() => {
                return Err(wrong(&path, "an empty object: expected at least one key".to_owned()));
            }
            Value::Object(nested) => Clause::Nested {
                name: name.as_str().into(),
                policy: policy(nested, scope, deeper, &path)?,
            },
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                let problem = format!("expected a list of rules, not {}", kind(other));
                return Err(wrong(&path, problem));
            }
        });
    }
    Ok(Policy { clauses })
}

fn any_of(items: &[Value], scope: Scope, depth: usize, path: &str) -> Result<Clause, FilterError> {
    if items.len() < 2 {
        let problem = format!("`$or` needs at least two policies, it has {}", items.len());
        return Err(wrong(path, problem));
    }
    let mut policies = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let object = object(item, &path)?;
        if object.is_empty() {
            let problem = "an empty policy matches everything, and so would this `$or`";
            return Err(wrong(&path, problem.to_owned()));
        }
        policies.push(policy(object, scope, depth, &path)?);
    }
    Ok(Clause::AnyOf(policies))
}

fn rules(items: &[Value], path: &str) -> Result<Vec<Rule>, FilterError> {
    if items.is_empty() {
        return Err(wrong(path, "an empty list: expected at least one rule".to_owned()));
    }
    let indexed = items.iter().enumerate();
    indexed.map(|(index, item)| rule(item, &format!("{path}[{index}]"))).collect()
}

fn rule(item: &Value, path: &str) -> Result<Rule, FilterError> {
    let Value::Object(object) = item else { return literal(item, path) };
    let mut entries = object.iter();
    let (Some((operator, operand)), None) = (entries.next(), entries.next()) else {
        let problem = format!("a rule has one operator, this one has {}", object.len());
        return Err(wrong(path, problem));
    };
    let path = step(path, operator);
    Ok(match operator.as_str() {
        "exists" => Rule::Exists(
            operand
                .as_bool()
                .ok_or_else(|| wrong(&path, format!("expected a bool, not {}", kind(operand))))?,
        ),
        "numeric" => Rule::Numeric(range(operand, &path)?),
        "cidr" => {
            let network = string(operand, &path)?;
            Rule::Cidr(Cidr::parse(network).ok_or_else(|| {
                let problem = format!("`{network}` is not a network such as 10.0.0.0/8");
                wrong(&path, problem)
            })?)
        }
        "anything-but" => Rule::AnythingBut(anything_but(operand, &path)?),
        name => match on_text(name, operand, &path)? {
            Some(rule) => rule,
            None => {
                let problem = format!(
                    "`{name}` is not an operator: expected prefix, suffix, equals-ignore-case, \
                     wildcard, anything-but, numeric, cidr or exists"
                );
                return Err(wrong(&path, problem));
            }
        },
    })
}

/// The rules that `anything-but` may turn around.
fn on_text(operator: &str, operand: &Value, path: &str) -> Result<Option<Rule>, FilterError> {
    Ok(Some(match operator {
        "prefix" => Rule::Prefix(string(operand, path)?.into()),
        "suffix" => Rule::Suffix(string(operand, path)?.into()),
        "equals-ignore-case" => {
            let lower: String =
                string(operand, path)?.chars().flat_map(char::to_lowercase).collect();
            Rule::EqualsIgnoreCase(lower.into())
        }
        "wildcard" => {
            let pattern = string(operand, path)?;
            Rule::Wildcard(Wildcard::parse(pattern).map_err(|p| wrong(path, p.to_owned()))?)
        }
        _ => return Ok(None),
    }))
}

fn anything_but(operand: &Value, path: &str) -> Result<Vec<Rule>, FilterError> {
    match operand {
        Value::Array(items) if items.is_empty() => {
            Err(wrong(path, "an empty list: expected at least one value".to_owned()))
        }
        Value::Array(items) => {
            let indexed = items.iter().enumerate();
            indexed.map(|(index, item)| literal(item, &format!("{path}[{index}]"))).collect()
        }
        Value::Object(object) => {
            let mut entries = object.iter();
            let (Some((operator, operand)), None) = (entries.next(), entries.next()) else {
                let problem = format!("expected one operator, not {}", object.len());
                return Err(wrong(path, problem));
            };
            let path = step(path, operator);
            // `{"prefix": ["a", "b"]}` is short for two of them.
            let operands = operand.as_array().map_or(std::slice::from_ref(operand), Vec::as_slice);
            if operands.is_empty() {
                return Err(wrong(&path, "an empty list: expected at least one value".to_owned()));
            }
            let rules = operands.iter().map(|operand| {
                on_text(operator, operand, &path)?.ok_or_else(|| {
                    let problem = format!(
                        "anything-but doesn't take `{operator}`: expected a value, a list, \
                         prefix, suffix, equals-ignore-case or wildcard"
                    );
                    wrong(&path, problem)
                })
            });
            rules.collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Ok(vec![literal(operand, path)?])
        }
    }
}

fn literal(item: &Value, path: &str) -> Result<Rule, FilterError> {
    match item {
        Value::String(text) => Ok(Rule::Text(text.as_str().into())),
        Value::Number(_) => Ok(Rule::Number(number(item, path)?)),
        Value::Bool(value) => Ok(Rule::Bool(*value)),
        Value::Null => Ok(Rule::Null),
        other @ (Value::Array(_) | Value::Object(_)) => {
            Err(wrong(path, format!("expected a value, not {}", kind(other))))
        }
    }
}

/// `["=", 5]`, `[">", 0]` or `[">=", 0, "<", 10]`.
fn range(operand: &Value, path: &str) -> Result<Range, FilterError> {
    let Value::Array(items) = operand else {
        return Err(wrong(path, format!("expected a list, not {}", kind(operand))));
    };
    if items.is_empty() || items.len() > 4 {
        let problem = "expected one or two comparisons, as in [\">\", 0, \"<=\", 5]";
        return Err(wrong(path, problem.to_owned()));
    }
    let mut range = Range::default();
    for (index, pair) in items.chunks(2).enumerate() {
        let first = index.saturating_mul(2);
        let path_of = |offset: usize| format!("{path}[{}]", first.saturating_add(offset));
        let [operator, operand] = pair else {
            return Err(wrong(&path_of(0), "a comparison without a number".to_owned()));
        };
        let at = number(operand, &path_of(1))?;
        let operator = string(operator, &path_of(0))?;
        let bound = Some(Bound { at, is_inclusive: operator.contains('=') });
        let side = match operator {
            "=" if items.len() == 2 => {
                range.low = bound;
                &mut range.high
            }
            "=" => return Err(wrong(&path_of(0), "`=` stands alone".to_owned())),
            ">" | ">=" => &mut range.low,
            "<" | "<=" => &mut range.high,
            other => {
                let problem = format!("`{other}` is not one of =, <, <=, >, >=");
                return Err(wrong(&path_of(0), problem));
            }
        };
        if side.is_some() {
            return Err(wrong(&path_of(0), "a second bound on the same side".to_owned()));
        }
        *side = bound;
    }
    check_order(&range, path)?;
    Ok(range)
}

/// A range that nothing is in is a mistake.
fn check_order(range: &Range, path: &str) -> Result<(), FilterError> {
    let (Some(low), Some(high)) = (range.low, range.high) else { return Ok(()) };
    let is_empty = match low.at.compare(high.at) {
        Some(std::cmp::Ordering::Less) => false,
        Some(std::cmp::Ordering::Equal) => !(low.is_inclusive && high.is_inclusive),
        Some(std::cmp::Ordering::Greater) | None => true,
    };
    if is_empty { Err(wrong(path, "no number is in this range".to_owned())) } else { Ok(()) }
}

fn object<'a>(value: &'a Value, path: &str) -> Result<&'a Map<String, Value>, FilterError> {
    let problem = || wrong(path, format!("a policy is an object, not {}", kind(value)));
    value.as_object().ok_or_else(problem)
}

fn string<'a>(value: &'a Value, path: &str) -> Result<&'a str, FilterError> {
    value.as_str().ok_or_else(|| wrong(path, format!("expected a string, not {}", kind(value))))
}

fn number(value: &Value, path: &str) -> Result<Number, FilterError> {
    let number = match value {
        Value::Number(number) => Number::from_json(number),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    };
    number.ok_or_else(|| wrong(path, format!("expected a number, not {}", kind(value))))
}

fn wrong(path: &str, problem: String) -> FilterError {
    FilterError::Policy { path: path.to_owned(), problem }
}

/// One step of a path: `.name`, or `["odd name"]`.
fn step(path: &str, name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-$".contains(c);
    if !name.is_empty() && name.chars().all(is_plain) {
        format!("{path}.{name}")
    } else {
        format!("{path}[{name:?}]")
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a bool",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
