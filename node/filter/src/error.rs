//! Why a text is not a filter, and why a filter has no answer for a message.

use std::fmt;

/// A place in the text of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// Bytes in front of it.
    pub offset: usize,
}

impl Position {
    /// The place `offset` bytes into `text`; an offset within a character or past the end is
    /// moved back.
    pub(crate) fn at_offset(text: &str, offset: usize) -> Self {
        let offset = text.floor_char_boundary(offset);
        let before = text.get(..offset).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |at| at.saturating_add(1));
        let column = before.get(start..).unwrap_or("").chars().count().saturating_add(1);
        let line = before.matches('\n').count().saturating_add(1);
        Self { line, column, offset }
    }

    /// The place at a line and a column, both from 1.
    pub(crate) fn at_column(text: &str, line: usize, column: usize) -> Self {
        let mut start = 0_usize;
        for (index, content) in text.split_inclusive('\n').enumerate() {
            if index.saturating_add(1) == line {
                let skipped = content.chars().take(column.saturating_sub(1));
                let bytes = skipped.map(char::len_utf8).fold(0, usize::saturating_add);
                return Self::at_offset(text, start.saturating_add(bytes));
            }
            start = start.saturating_add(content.len());
        }
        Self::at_offset(text, text.len())
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a text is not a filter. The person who wrote it reads this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// The text is longer than its limit.
    #[error("the {what} has {bytes} bytes, at most {max} are allowed")]
    TooLong {
        /// `expression` or `policy`.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// A CEL expression can't be compiled.
    #[error("expression, {position}, at `{near}`: {problem}")]
    Expression {
        /// Where.
        position: Position,
        /// The text from there to the end of the line, cut to 40 characters; empty at the end.
        near: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A policy is not JSON.
    #[error("policy, line {line}, column {column}: not JSON: {problem}")]
    Json {
        /// The line, from 1.
        line: usize,
        /// The column in bytes, from 1; 0 in front of the line's first byte.
        column: usize,
        /// What the parser says.
        problem: String,
    },
    /// A policy is JSON, and not a policy.
    #[error("policy, {path}: {problem}")]
    Policy {
        /// The way to the value, from `$`: `$.store[0].prefix`.
        path: String,
        /// What is wrong, and what is expected.
        problem: String,
    },
}

impl FilterError {
    /// An error of an expression; the text around is taken from `text`.
    pub(crate) fn expression(text: &str, position: Position, problem: String) -> Self {
        let rest = text.get(position.offset..).unwrap_or("");
        let near = rest.lines().next().unwrap_or("").chars().take(40).collect();
        Self::Expression { position, near, problem }
    }
}

/// Why a filter has no answer for a message. Take it for "no match", and count it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// A map has no such key. `has(a.b)` asks first.
    #[error("there is no `{key}`")]
    NoSuchKey {
        /// The key.
        key: String,
    },
    /// An operator or function doesn't take values of these types.
    #[error("`{operation}` doesn't take {types}")]
    Types {
        /// The operator or function.
        operation: &'static str,
        /// The types it was given: `string and int`.
        types: String,
    },
    /// An operation on numbers has no result.
    #[error("`{operation}`: {problem}")]
    Arithmetic {
        /// The operator or function.
        operation: &'static str,
        /// What happened: an overflow, a division by zero.
        problem: &'static str,
    },
    /// A list is shorter than that.
    #[error("there is no element {index} in a list of {length}")]
    Index {
        /// The index, from 0.
        index: i64,
        /// Elements of the list.
        length: usize,
    },
    /// A conversion function can't convert this value.
    #[error("{function}(): this {found} can't be converted")]
    Conversion {
        /// The function.
        function: &'static str,
        /// The type of the value.
        found: &'static str,
    },
    /// A map literal names a key twice.
    #[error("a map names a key twice")]
    DuplicateKey,
    /// The expression has a value, and it is neither true nor false.
    #[error("the expression is a {found}, not a bool")]
    NotBool {
        /// The type of the value.
        found: &'static str,
    },
    /// The filter looks into the body, which is not JSON.
    #[error("the body is not JSON: {problem}")]
    BodyNotJson {
        /// What the parser says, with line and column.
        problem: String,
    },
    /// The filter looks into the body, which is larger than what is parsed.
    #[error("the body has {bytes} bytes, at most {max} are parsed for a filter")]
    BodyTooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The evaluation was stopped after this many steps.
    #[error("stopped after {max} steps")]
    TooCostly {
        /// The limit: [`crate::limits::COST_MAX`].
        max: u64,
    },
}

impl EvaluationError {
    /// True if no operator may swallow it: `||` turns other errors of one side into true.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::TooCostly { .. })
    }
}
