//! The regular expression of a `matches`, with its price.

use regex::{Regex, RegexBuilder};

use crate::cost::Budget;
use crate::error::EvaluationError;
use crate::limits::PATTERN_BYTES_MAX;

/// Compiled, in the smallest of the sizes that fit.
#[derive(Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    /// The time is linear in the text, with a factor that grows with the pattern: 60 ns a byte
    /// for the worst of 1 KiB, 5 µs for the worst of 256 KiB.
    steps_per_byte: usize,
}

impl Pattern {
    pub(crate) fn compile(text: &str) -> Result<Self, regex::Error> {
        let build = |bytes: usize| {
            let mut builder = RegexBuilder::new(text);
            builder.size_limit(bytes).dfa_size_limit(PATTERN_BYTES_MAX).build()
        };
        let sizes = (10_u32..).map_while(|bits| 1_usize.checked_shl(bits));
        for bytes in sizes.take_while(|bytes| *bytes < PATTERN_BYTES_MAX) {
            match build(bytes) {
                Ok(regex) => return Ok(Self::of_size(regex, bytes)),
                Err(regex::Error::CompiledTooBig(_)) => {}
                Err(error) => return Err(error),
            }
        }
        build(PATTERN_BYTES_MAX).map(|regex| Self::of_size(regex, PATTERN_BYTES_MAX))
    }

    fn of_size(regex: Regex, bytes: usize) -> Self {
        Self { regex, steps_per_byte: (bytes / 2048).saturating_add(1) }
    }

    pub(crate) fn matches(&self, text: &str, budget: &mut Budget) -> Result<bool, EvaluationError> {
        budget.charge(text.len().saturating_mul(self.steps_per_byte))?;
        Ok(self.regex.is_match(text))
    }
}
