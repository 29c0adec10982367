//! The house rules of this repository, each as a function from its files to the places that break
//! it. `tests/house.rs` runs all of them on the repository itself; the unit tests beside each rule
//! show that it can fail.
//!
//! | module | what it holds |
//! |---|---|
//! | [`repository`] | the files, found and read once |
//! | [`source`] | one Rust file with its comments and strings told apart from its code, and its tests from the rest |
//! | [`form`] | lengths, headers, forbidden words |
//! | [`code`] | what may not be written: placeholders, `unwrap`, unbounded queues, clocks |
//! | [`options`] | every limit is documented |
//! | [`errors`] | every number of an error is in the README |
//! | [`contract`] | the public gRPC contract only grows |
//! | [`arrows`] | which crate may know which |
//!
//! It is no second compiler and no second clippy: what they can check is not checked here.

pub mod arrows;
pub mod code;
pub mod contract;
pub mod errors;
pub mod form;
pub mod options;
pub mod repository;
pub mod source;

use std::fmt;
use std::path::PathBuf;

/// A place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, from the root of the repository.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there, and what to do.
    pub message: String,
}

impl Finding {
    /// A finding at a line of a file.
    pub fn new(path: impl Into<PathBuf>, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.into(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.message)
    }
}

/// Fails with all findings, one per line, sorted by place.
///
/// # Panics
/// Where there is a finding.
pub fn report(mut findings: Vec<Finding>) {
    findings.sort();
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(lines.is_empty(), "{} broken house rules:\n{}", lines.len(), lines.join("\n"));
}
