//! The regular expression of a `matches`, with its price.

use regex::{Regex, RegexBuilder, bytes};

use crate::cost::Budget;
use crate::error::EvaluationError;
use crate::limits::PATTERN_BYTES_MAX;

/// The largest size with which a byte of text costs [`SMALL_STEPS`].
const SMALL: usize = 1024;
const SMALL_STEPS: usize = 2;
/// What a byte costs with any larger one, and the size that makes it a step more: the worst
/// patterns of 2 KiB take some 700 ns a byte, those of 64 KiB some 6 µs.
const LARGE_STEPS: usize = 16;
const SIZE_PER_STEP: usize = 512;

/// Compiled.
#[derive(Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    /// The time is linear in the text, with a factor that grows with the places in the pattern
    /// where a match may be at the same time.
    steps_per_byte: usize,
}

impl Pattern {
    pub(crate) fn compile(text: &str) -> Result<Self, regex::Error> {
        let mut builder = RegexBuilder::new(text);
        let builder = builder.size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
        let regex = builder.build()?;
        let size = size(text);
        let large = (size / SIZE_PER_STEP).saturating_add(LARGE_STEPS);
        let steps_per_byte = if size <= SMALL { SMALL_STEPS } else { large };
        Ok(Self { regex, steps_per_byte })
    }

    pub(crate) fn matches(&self, text: &str, budget: &mut Budget) -> Result<bool, EvaluationError> {
        budget.charge(text.len().saturating_mul(self.steps_per_byte))?;
        Ok(self.regex.is_match(text))
    }
}

/// How large a pattern is: the smallest power of two that it fits into, in bytes, with letters
/// taken for single bytes. What Unicode adds to classes of letters makes a pattern larger, and
/// hardly slower. One that needs Unicode to be understood is as large as it is.
fn size(text: &str) -> usize {
    let powers = || (10_u32..).map_while(|bits| 1_usize.checked_shl(bits));
    let sizes = || powers().take_while(|bytes| *bytes < PATTERN_BYTES_MAX);
    let plain = |limit: &usize| {
        bytes::RegexBuilder::new(text).unicode(false).size_limit(*limit).build().is_ok()
    };
    let unicode = |limit: &usize| RegexBuilder::new(text).size_limit(*limit).build().is_ok();
    sizes().find(plain).or_else(|| sizes().find(unicode)).unwrap_or(PATTERN_BYTES_MAX)
}
