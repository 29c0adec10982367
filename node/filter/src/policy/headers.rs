//! Policies on the headers of a message. Nothing is allocated, unless an array in a header holds
//! strings with escapes, or isn't one after all.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};

use crate::cost::Budget;
use crate::error::EvaluationError;
use crate::message::Message;
use crate::number::Number;

use super::rule::{self, Rule, Seen};
use super::{Clause, Policy};

impl Policy {
    /// Whether the headers match.
    pub(crate) fn matches_headers(
        &self,
        message: &Message<'_>,
        budget: &mut Budget,
    ) -> Result<bool, EvaluationError> {
        for clause in &self.clauses {
            budget.charge(1)?;
            let matches = match clause {
                Clause::Field { name, rules } => {
                    budget.charge_search(message.header_names().0, name.len())?;
                    matches_header(rules, message.header(name), budget)?
                }
                // The parser refuses them in this scope.
                Clause::Nested { .. } => false,
                Clause::AnyOf(policies) => {
                    let mut matches = false;
                    for policy in policies {
                        matches = matches || policy.matches_headers(message, budget)?;
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
}

fn matches_header(
    rules: &[Rule],
    value: Option<&[u8]>,
    budget: &mut Budget,
) -> Result<bool, EvaluationError> {
    let Some(value) = value else { return Ok(rules.iter().any(Rule::accepts_absence)) };
    if rules.iter().any(|rule| matches!(rule, Rule::Exists(true))) {
        return Ok(true);
    }
    budget.charge_bytes(value.len())?;
    let Ok(text) = std::str::from_utf8(value) else { return Ok(false) };
    if text.starts_with('[')
        && let Some(matches) = matches_array(rules, text, budget)?
    {
        return Ok(matches);
    }
    rule::any(rules, Seen::Untyped(text), budget)
}

/// Whether a rule accepts an element; `None` if the text is no JSON array of plain values.
fn matches_array(
    rules: &[Rule],
    text: &str,
    budget: &mut Budget,
) -> Result<Option<bool>, EvaluationError> {
    budget.charge_letters(text.len())?;
    let mut check = Check { rules, budget, answer: Ok(false) };
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed = Elements(&mut check).deserialize(&mut json).and_then(|()| json.end());
    match check.answer {
        Err(error) => Err(error),
        Ok(answer) => Ok(parsed.is_ok().then_some(answer)),
    }
}

struct Check<'c> {
    rules: &'c [Rule],
    budget: &'c mut Budget,
    answer: Result<bool, EvaluationError>,
}

impl Check<'_> {
    fn see(&mut self, seen: Seen<'_>) {
        if self.answer == Ok(false) {
            self.answer = rule::any(self.rules, seen, self.budget);
        }
    }
}

/// The array.
struct Elements<'e, 'c>(&'e mut Check<'c>);

impl<'de> DeserializeSeed<'de> for Elements<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while self.0.answer == Ok(false) {
            if elements.next_element_seed(Element(self.0))?.is_none() {
                return Ok(());
            }
        }
        // The answer is known, and still only counts if the rest is JSON.
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// One of its elements.
struct Element<'e, 'c>(&'e mut Check<'c>);

impl<'de> DeserializeSeed<'de> for Element<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Element<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a number, a bool or null")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.see(Seen::Text(text));
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.0.see(Seen::Bool(value));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.see(Seen::Null);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.0.see(Seen::Number(Number::Whole(value)));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.0.see(Seen::Number(Number::from_u64(value)));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.0.see(Seen::Number(Number::Real(value)));
        Ok(())
    }
}
