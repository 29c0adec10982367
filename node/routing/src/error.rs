//! What can be refused. Every message names the thing, the limit and what to do.

use crate::limits::WEIGHT_MAX;

/// Why a table did not change, or why a message could not be routed. Whatever is refused has
/// changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No exchange has this name (AMQP: 404).
    #[error("no exchange {name:?}: declare it first")]
    UnknownExchange {
        /// The name that was asked for.
        name: String,
    },
    /// The default exchange is not in a table (AMQP: 403).
    #[error(
        "the default exchange \"\" leads to every queue by the queue's name and can't be declared, \
         deleted, bound, routed through or an alternate here: use an exchange with a name"
    )]
    DefaultExchange,
    /// The exchange is there, and is another one (AMQP: 406).
    #[error(
        "exchange {name:?} has {field} {current}, not {wanted}: declare it as it is, or delete it \
         first"
    )]
    Inequivalent {
        /// Its name.
        name: String,
        /// What differs.
        field: &'static str,
        /// What the exchange has.
        current: String,
        /// What was declared.
        wanted: String,
    },
    /// A name, a key or a value with too many bytes.
    #[error("{what} {start:?}... has {bytes} bytes, at most {limit} are allowed: shorten it")]
    TooLong {
        /// What it is.
        what: &'static str,
        /// How it begins.
        start: String,
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A pattern with too many words.
    #[error(
        "pattern {pattern:?} has {words} words, at most {limit} are allowed: let one # stand for \
         many"
    )]
    TooManyWords {
        /// The pattern.
        pattern: String,
        /// How many words it has.
        words: usize,
        /// The limit.
        limit: usize,
    },
    /// A pattern that its syntax doesn't know.
    #[error("pattern {pattern:?}: {problem}")]
    BadPattern {
        /// The pattern.
        pattern: String,
        /// What is wrong, and what would be right.
        problem: &'static str,
    },
    /// An argument of a binding that can't be.
    #[error("binding of exchange {exchange:?}, argument {argument:?}: {problem}")]
    BadArgument {
        /// The source of the binding.
        exchange: String,
        /// The argument.
        argument: String,
        /// What is wrong, and what would be right.
        problem: &'static str,
    },
    /// The key of a binding of a consistent-hash exchange is no weight.
    #[error(
        "binding of consistent-hash exchange {exchange:?}: its routing key is the weight, a whole \
         number from 1 to {WEIGHT_MAX}, and not {key:?}"
    )]
    BadWeight {
        /// The source of the binding.
        exchange: String,
        /// The routing key.
        key: String,
    },
    /// A binding between exchanges that would lead messages in a circle.
    #[error(
        "binding exchange {:?} to {:?} would make a loop, {}: unbind one of these first",
        .path.first().map_or("", String::as_str),
        .path.get(1).map_or("", String::as_str),
        .path.join(" -> ")
    )]
    Loop {
        /// The exchanges of the circle, from the source of the refused binding through its
        /// destination back to the source.
        path: Vec<String>,
    },
    /// The table, or a binding, is full.
    #[error("{what}: at most {limit} are allowed: {advice}")]
    TooMany {
        /// Of what, and where.
        what: String,
        /// The limit.
        limit: usize,
        /// What to do.
        advice: &'static str,
    },
}

/// How a text begins, for an error about its length.
const START_LETTERS: usize = 24;

impl Error {
    /// Refuses what is longer than its limit.
    pub(crate) fn check_length(what: &'static str, text: &str, limit: usize) -> Result<(), Self> {
        if text.len() <= limit {
            return Ok(());
        }
        let start = text.chars().take(START_LETTERS).collect();
        Err(Self::TooLong { what, start, bytes: text.len(), limit })
    }
}
