//! One rule on one value.

use std::cmp::Ordering;

use crate::cost::Budget;
use crate::error::EvaluationError;
use crate::number::Number;

use super::cidr::Cidr;
use super::wildcard::Wildcard;

/// One of the things in the list under a key.
#[derive(Debug)]
pub(crate) enum Rule {
    Text(Box<str>),
    Number(Number),
    Bool(bool),
    Null,
    Prefix(Box<str>),
    Suffix(Box<str>),
    /// In lower case.
    EqualsIgnoreCase(Box<str>),
    Wildcard(Wildcard),
    Numeric(Range),
    Cidr(Cidr),
    /// None of these may match.
    AnythingBut(Vec<Rule>),
    /// Whether the key must be there.
    Exists(bool),
}

/// The bounds of a `numeric` rule; `=` is both of them.
#[derive(Debug, Default)]
pub(crate) struct Range {
    pub(crate) low: Option<Bound>,
    pub(crate) high: Option<Bound>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) at: Number,
    pub(crate) is_inclusive: bool,
}

/// A value of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seen<'a> {
    /// The text of a header: what it reads as is up to the rule.
    Untyped(&'a str),
    Text(&'a str),
    Number(Number),
    Bool(bool),
    Null,
    /// An object: it is there, and that is all that a rule may say about it.
    Other,
}

impl<'a> Seen<'a> {
    fn text(self) -> Option<&'a str> {
        match self {
            Self::Untyped(text) | Self::Text(text) => Some(text),
            Self::Number(_) | Self::Bool(_) | Self::Null | Self::Other => None,
        }
    }

    fn number(self) -> Option<Number> {
        match self {
            Self::Untyped(text) => Number::parse(text),
            Self::Number(number) => Some(number),
            Self::Text(_) | Self::Bool(_) | Self::Null | Self::Other => None,
        }
    }

    /// Pays for it.
    fn charge_number(self, budget: &mut Budget) -> Result<(), EvaluationError> {
        match self {
            Self::Untyped(text) => budget.charge_number(text.len()),
            Self::Number(_) | Self::Text(_) | Self::Bool(_) | Self::Null | Self::Other => Ok(()),
        }
    }

    fn is_bool(self, expected: bool) -> bool {
        match self {
            Self::Untyped(text) => text == if expected { "true" } else { "false" },
            Self::Bool(value) => value == expected,
            Self::Text(_) | Self::Number(_) | Self::Null | Self::Other => false,
        }
    }

    fn is_null(self) -> bool {
        match self {
            Self::Untyped(text) => text == "null",
            Self::Null => true,
            Self::Text(_) | Self::Number(_) | Self::Bool(_) | Self::Other => false,
        }
    }

    /// Only `exists` speaks of what is neither text, number, bool nor null.
    fn is_other(self) -> bool {
        match self {
            Self::Other => true,
            Self::Untyped(_) | Self::Text(_) | Self::Number(_) | Self::Bool(_) | Self::Null => {
                false
            }
        }
    }
}

impl Range {
    fn contains(&self, number: Number) -> bool {
        let holds = |bound: Option<Bound>, side: Ordering| {
            bound.is_none_or(|bound| match number.compare(bound.at) {
                Some(Ordering::Equal) => bound.is_inclusive,
                order => order == Some(side),
            })
        };
        holds(self.low, Ordering::Greater) && holds(self.high, Ordering::Less)
    }
}

impl Rule {
    /// Whether the rule accepts that a key is absent.
    pub(crate) fn accepts_absence(&self) -> bool {
        matches!(self, Self::Exists(false))
    }

    /// Whether the rule accepts this value.
    pub(crate) fn matches(
        &self,
        seen: Seen<'_>,
        budget: &mut Budget,
    ) -> Result<bool, EvaluationError> {
        budget.charge(1)?;
        let text = seen.text();
        budget.charge_bytes(text.map_or(0, str::len))?;
        let holds = |test: &dyn Fn(&str) -> bool| text.is_some_and(test);
        Ok(match self {
            Self::Text(expected) => text == Some(&**expected),
            Self::Number(expected) => {
                seen.charge_number(budget)?;
                let order = seen.number().and_then(|number| number.compare(*expected));
                order == Some(Ordering::Equal)
            }
            Self::Bool(expected) => seen.is_bool(*expected),
            Self::Null => seen.is_null(),
            Self::Prefix(prefix) => holds(&|text| text.starts_with(&**prefix)),
            Self::Suffix(suffix) => holds(&|text| text.ends_with(&**suffix)),
            Self::EqualsIgnoreCase(lower) => {
                budget.charge_letters(text.map_or(0, str::len))?;
                holds(&|text| text.chars().flat_map(char::to_lowercase).eq(lower.chars()))
            }
            Self::Wildcard(wildcard) => {
                // A part may be tried at each letter, and each part costs some more.
                let letters = text.map_or(0, str::len);
                budget.charge(letters.saturating_add(wildcard.parts_within(letters)))?;
                holds(&|text| wildcard.matches(text))
            }
            Self::Numeric(range) => {
                seen.charge_number(budget)?;
                seen.number().is_some_and(|number| range.contains(number))
            }
            Self::Cidr(cidr) => holds(&|text| cidr.contains(text)),
            Self::AnythingBut(rules) => {
                for rule in rules {
                    if rule.matches(seen, budget)? {
                        return Ok(false);
                    }
                }
                !seen.is_other()
            }
            Self::Exists(expected) => *expected,
        })
    }
}

/// Whether one of the rules accepts this value.
pub(crate) fn any(
    rules: &[Rule],
    seen: Seen<'_>,
    budget: &mut Budget,
) -> Result<bool, EvaluationError> {
    for rule in rules {
        if rule.matches(seen, budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}
