//! Policies on the body of a message.

use serde_json::{Map, Value};

use crate::cost::Budget;
use crate::error::EvaluationError;
use crate::message::Message;
use crate::number::Number;

use super::rule::{self, Rule, Seen};
use super::{Clause, Policy};

impl Policy {
    /// Whether the body matches. One that is JSON and not an object doesn't.
    pub(crate) fn matches_body(
        &self,
        message: &Message<'_>,
        budget: &mut Budget,
    ) -> Result<bool, EvaluationError> {
        match message.json()? {
            Value::Object(object) => self.matches_object(Some(object), budget),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Ok(false),
        }
    }

    /// `None` is an object that isn't there: all of its keys are absent.
    fn matches_object(
        &self,
        object: Option<&Map<String, Value>>,
        budget: &mut Budget,
    ) -> Result<bool, EvaluationError> {
        for clause in &self.clauses {
            budget.charge(1)?;
            let matches = match clause {
                Clause::Field { name, rules } => match find(object, name, budget)? {
                    None => rules.iter().any(Rule::accepts_absence),
                    Some(value) => {
                        rules.iter().any(|rule| matches!(rule, Rule::Exists(true)))
                            || any_element(rules, value, budget)?
                    }
                },
                Clause::Nested { name, policy } => {
                    let nested = find(object, name, budget)?;
                    match policy.matches_nested(nested, budget)? {
                        Some(matches) => matches,
                        None => policy.matches_object(None, budget)?,
                    }
                }
                Clause::AnyOf(policies) => {
                    let mut matches = false;
                    for policy in policies {
                        matches = matches || policy.matches_object(object, budget)?;
                    }
                    matches
                }
            };
            if !matches {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// An object, or an array with one that matches; `None` if there is no object at all.
    fn matches_nested(
        &self,
        value: Option<&Value>,
        budget: &mut Budget,
    ) -> Result<Option<bool>, EvaluationError> {
        match value {
            Some(Value::Object(object)) => self.matches_object(Some(object), budget).map(Some),
            Some(Value::Array(items)) => {
                let mut found = None;
                for item in items {
                    budget.charge(1)?;
                    match self.matches_nested(Some(item), budget)? {
                        Some(true) => return Ok(Some(true)),
                        Some(false) => found = Some(false),
                        None => {}
                    }
                }
                Ok(found)
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => {
                Ok(None)
            }
        }
    }
}

/// What is under a key.
fn find<'o>(
    object: Option<&'o Map<String, Value>>,
    name: &str,
    budget: &mut Budget,
) -> Result<Option<&'o Value>, EvaluationError> {
    let Some(object) = object else { return Ok(None) };
    budget.charge_order(1, name.len(), object.len())?;
    Ok(object.get(name))
}

/// Whether a rule accepts the value, or one element of it at any depth.
fn any_element(
    rules: &[Rule],
    value: &Value,
    budget: &mut Budget,
) -> Result<bool, EvaluationError> {
    let seen = match value {
        Value::Array(items) => {
            for item in items {
                budget.charge(1)?;
                if any_element(rules, item, budget)? {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        Value::Null => Seen::Null,
        Value::Bool(value) => Seen::Bool(*value),
        Value::Number(number) => Number::from_json(number).map_or(Seen::Other, Seen::Number),
        Value::String(text) => Seen::Text(text),
        Value::Object(_) => Seen::Other,
    };
    rule::any(rules, seen, budget)
}
