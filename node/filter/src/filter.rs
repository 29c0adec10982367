//! A filter as a subscription holds it.

use std::fmt;
use std::sync::Arc;

use crate::cost::Budget;
use crate::error::{EvaluationError, FilterError};
use crate::expression::Expression;
use crate::message::Message;
use crate::policy::Policy;

/// What a policy looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The headers of the message (SNS: `MessageAttributes`).
    ///
    /// A header has no type here. Its text is a string, and for a rule on numbers, booleans or
    /// null what the text reads as; text that is a JSON array counts as its elements (SNS:
    /// `String.Array`). A header that isn't UTF-8 only exists.
    Attributes,
    /// The body, a JSON object (SNS: `MessageBody`).
    Body,
}

/// What a filter is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A CEL expression.
    Cel,
    /// A filter policy on this scope.
    Policy(Scope),
}

/// One content filter, compiled. Cheap to clone, and shared between threads.
#[derive(Clone)]
pub struct Filter {
    compiled: Arc<Compiled>,
}

/// What a filter says of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// See [`Filter::evaluate`].
    pub matches: Result<bool, EvaluationError>,
    /// The steps that it took, at most [`COST_MAX`](crate::limits::COST_MAX), and those of parsing
    /// the body, if this was the first filter that asked for it: at most 40 ns of a thread each.
    pub steps: u64,
}

struct Compiled {
    text: String,
    program: Program,
}

enum Program {
    Cel(Expression),
    Policy(Policy, Scope),
}

impl Filter {
    /// Compiles a CEL expression (<https://cel.dev>).
    ///
    /// Its variables:
    ///
    /// | name | what it is |
    /// |---|---|
    /// | `headers` | map of string to string, or to bytes where a value isn't UTF-8 |
    /// | `key` | string, or bytes where it isn't UTF-8, or null |
    /// | `body` | the body as JSON, parsed only if the expression names it |
    /// | `meta` | `topic` (string), `partition`, `offset`, `timestamp_ms`, `priority`, `attempts` (ints) |
    ///
    /// It offers the operators, `has`, `all`, `exists`, `exists_one`, `map`, `filter`, `size`,
    /// `contains`, `startsWith`, `endsWith`, `matches`, `type`, `dyn` and the conversions `bool`,
    /// `bytes`, `double`, `int`, `string`, `uint`. It offers no timestamps and durations (there is
    /// no clock, and `meta.timestamp_ms` is an int), no messages of protocol buffers, and no
    /// optional values. The pattern of `matches` must be a literal; it is compiled here.
    ///
    /// Whole numbers of the body are ints, other numbers are doubles.
    ///
    /// # Errors
    ///
    /// With the place in the text, if it is no expression, names something that isn't there, or
    /// exceeds one of the [`limits`](crate::limits).
    pub fn cel(text: &str) -> Result<Self, FilterError> {
        let program = Program::Cel(Expression::compile(text)?);
        Ok(Self { compiled: Arc::new(Compiled { text: text.to_owned(), program }) })
    }

    /// Compiles a filter policy (<https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html>).
    ///
    /// All keys of a policy must match; of the rules of one key, one must. `{}` matches every
    /// message. Of an array in the message, one element must match, also for `anything-but`.
    ///
    /// The rules: a string, a number, `true`, `false`, `null`; `prefix`, `suffix`,
    /// `equals-ignore-case`, `wildcard` (`*`, and `\*` for the character); `numeric`; `cidr`;
    /// `exists`; `anything-but` with a value, a list of them, or one of `prefix`, `suffix`,
    /// `equals-ignore-case`, `wildcard`. `$or` holds a list of at least two policies.
    ///
    /// # Errors
    ///
    /// With line and column if it is no JSON, with the path into the JSON if it is no policy, or
    /// if it exceeds one of the [`limits`](crate::limits).
    pub fn policy(text: &str, scope: Scope) -> Result<Self, FilterError> {
        let program = Program::Policy(Policy::parse(text, scope)?, scope);
        Ok(Self { compiled: Arc::new(Compiled { text: text.to_owned(), program }) })
    }

    /// Whether the message matches.
    ///
    /// # Errors
    ///
    /// If there is no answer: see [`EvaluationError`]. A filter that fails for one message may
    /// well have an answer for the next.
    pub fn evaluate(&self, message: &Message<'_>) -> Result<bool, EvaluationError> {
        self.evaluate_counted(message).matches
    }

    /// Whether the message matches, and what it took to say so.
    #[must_use]
    pub fn evaluate_counted(&self, message: &Message<'_>) -> Evaluation {
        let mut budget = Budget::new();
        let parsed_before = message.parse_steps();
        let matches = match &self.compiled.program {
            Program::Cel(expression) => expression.evaluate(message, &mut budget),
            Program::Policy(policy, Scope::Attributes) => {
                policy.matches_headers(message, &mut budget)
            }
            Program::Policy(policy, Scope::Body) => policy.matches_body(message, &mut budget),
        };
        let parsed = message.parse_steps().saturating_sub(parsed_before);
        Evaluation { matches, steps: budget.spent().saturating_add(parsed) }
    }

    /// The text it was compiled from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.compiled.text
    }

    /// What the text is written in.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.compiled.program {
            Program::Cel(_) => Kind::Cel,
            Program::Policy(_, scope) => Kind::Policy(*scope),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").field("kind", &self.kind()).field("text", &self.text()).finish()
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.text() == other.text()
    }
}

impl Eq for Filter {}
