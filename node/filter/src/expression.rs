//! CEL expressions.
//!
//! | module | what it holds |
//! |---|---|
//! | [`scan`] | the bounds that a text must keep before a parser sees it |
//! | [`compile`] | the parser's tree to ours, or the place of what is wrong |
//! | [`node`] | our tree: names resolved, patterns compiled |
//! | [`value`] | values, borrowed from the message or from the tree |
//! | [`evaluate`] | the tree on one message, counting each step |
//! | [`operators`], [`functions`], [`pattern`] | what operators and functions do |
//!
//! Only the parser comes from the `cel` crate (0.15). Its interpreter has no bound on what one
//! evaluation costs: it copies a whole list or map wherever a variable is put into another, and
//! `a.map(x, x + x)` in a row doubles a string as often as the text has room for. Here each step,
//! each comparison and each copy is paid for, and the body is read where it lies.

mod compile;
mod evaluate;
mod functions;
mod node;
mod operators;
mod pattern;
mod scan;
mod value;

#[cfg(test)]
mod differential_test;

use crate::cost::Budget;
use crate::error::{EvaluationError, FilterError};
use crate::message::Message;

use node::Node;

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Expression {
    root: Node,
    /// How many variables of comprehensions are alive at most.
    slots: usize,
}

impl Expression {
    /// Compiles a text.
    pub(crate) fn compile(text: &str) -> Result<Self, FilterError> {
        scan::check(text)?;
        compile::compile(text)
    }

    /// Whether a message matches.
    pub(crate) fn evaluate(
        &self,
        message: &Message<'_>,
        budget: &mut Budget,
    ) -> Result<bool, EvaluationError> {
        evaluate::run(self, message, budget)
    }
}
