//! A log: values are appended, and its end is read.

use super::Model;

/// A log; empty at first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Log;

/// What is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogOp {
    /// Appends one value.
    Append {
        /// The offset that it got; `None`: nobody told.
        offset: Option<u64>,
    },
    /// The offset after the last one was read.
    Latest(u64),
}

impl Model for Log {
    /// The offset after the last one.
    type State = u64;
    type Op = LogOp;

    fn initial(&self) -> u64 {
        0
    }

    fn step(&self, end: &u64, op: &LogOp) -> Option<u64> {
        match op {
            LogOp::Append { offset } => (offset.unwrap_or(*end) == *end).then_some(*end + 1),
            LogOp::Latest(read) => (read == end).then_some(*end),
        }
    }

    fn only_looks(&self, op: &LogOp) -> bool {
        matches!(op, LogOp::Latest(_))
    }
}
