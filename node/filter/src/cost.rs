//! What one evaluation may spend, and what it has spent.

use crate::error::EvaluationError;
use crate::limits::COST_MAX;

/// Bytes that are looked at for the price of one step.
const BYTES_PER_STEP: usize = 32;
/// Names that are compared for the price of one step.
const ENTRIES_PER_STEP: usize = 4;
/// Letters that are read one by one (turned to lower case, or as JSON) for the price of one step.
const LETTERS_PER_STEP: usize = 4;
/// Digits that are read for the price of one step.
const DIGITS_PER_STEP: usize = 8;
/// Numbers with more digits than that may have to be read twice, the second time slowly.
const DIGITS_EASY: usize = 19;
/// What the second time costs.
const HARD_NUMBER: usize = 64;

/// Steps that are left to an evaluation.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u64,
}

impl Budget {
    /// All of [`COST_MAX`].
    pub(crate) fn new() -> Self {
        Self { left: COST_MAX }
    }

    /// Steps that were taken away; all of them where there were not enough.
    pub(crate) fn spent(&self) -> u64 {
        COST_MAX.saturating_sub(self.left)
    }

    /// Takes `steps` away.
    pub(crate) fn charge(&mut self, steps: usize) -> Result<(), EvaluationError> {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        // What is spent stays spent: an error that an operator swallows must not refill it.
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(EvaluationError::TooCostly { max: COST_MAX })
            }
        }
    }

    /// Takes away what it costs to compare a name of so many bytes with that of each entry.
    pub(crate) fn charge_search(
        &mut self,
        entries: usize,
        name_bytes: usize,
    ) -> Result<(), EvaluationError> {
        let long = entries.saturating_mul(name_bytes / BYTES_PER_STEP);
        self.charge((entries / ENTRIES_PER_STEP).saturating_add(long))
    }

    /// Takes away what it costs to put so many names, of so many bytes in all, in order, or to
    /// find one of them in their order.
    pub(crate) fn charge_order(
        &mut self,
        names: usize,
        bytes: usize,
        entries: usize,
    ) -> Result<(), EvaluationError> {
        let depth = depth(entries);
        let long = (bytes / BYTES_PER_STEP).saturating_mul(depth);
        self.charge((names.saturating_mul(depth) / 2).saturating_add(long))
    }

    /// Takes away what it costs to look at so many bytes.
    pub(crate) fn charge_bytes(&mut self, bytes: usize) -> Result<(), EvaluationError> {
        self.charge(bytes / BYTES_PER_STEP)
    }

    /// Takes away what it costs to read a text letter by letter.
    pub(crate) fn charge_letters(&mut self, bytes: usize) -> Result<(), EvaluationError> {
        self.charge(bytes / LETTERS_PER_STEP)
    }

    /// Takes away what it costs to read a text as a number.
    pub(crate) fn charge_number(&mut self, bytes: usize) -> Result<(), EvaluationError> {
        let hard = if bytes > DIGITS_EASY { HARD_NUMBER } else { 0 };
        self.charge((bytes / DIGITS_PER_STEP).saturating_add(hard))
    }
}

/// How often so many entries can be halved.
fn depth(entries: usize) -> usize {
    let halvings = entries.checked_ilog2().unwrap_or(0);
    usize::try_from(halvings).unwrap_or(usize::MAX)
}
