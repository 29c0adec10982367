//! Filter policies in the JSON of Amazon SNS.
//!
//! | module | what it holds |
//! |---|---|
//! | [`parse`] | JSON in, policy out, or the path to what is wrong |
//! | [`rule`] | one rule on one value |
//! | [`wildcard`], [`cidr`] | the two rules that need an algorithm |
//! | [`headers`], [`body`] | policies on the two scopes |

mod body;
mod cidr;
mod headers;
mod parse;
mod rule;
mod wildcard;

use rule::Rule;

/// Clauses that must all match.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    clauses: Vec<Clause>,
}

#[derive(Debug)]
enum Clause {
    /// One of the rules must match what is under this key.
    Field { name: Box<str>, rules: Vec<Rule> },
    /// The policy must match the object under this key. Only in policies on a body.
    Nested { name: Box<str>, policy: Policy },
    /// One of the policies must match.
    AnyOf(Vec<Policy>),
}
