//! What one evaluation may spend.

use crate::error::EvaluationError;
use crate::limits::COST_MAX;

/// Bytes that are looked at for the price of one step.
const BYTES_PER_STEP: usize = 32;
/// Names that are compared for the price of one step.
const ENTRIES_PER_STEP: usize = 4;

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

    /// Takes away what it costs to find one of so many entries, one after the other.
    pub(crate) fn charge_search(&mut self, entries: usize) -> Result<(), EvaluationError> {
        self.charge(entries / ENTRIES_PER_STEP)
    }

    /// Takes away what it costs to look at so many bytes.
    pub(crate) fn charge_bytes(&mut self, bytes: usize) -> Result<(), EvaluationError> {
        self.charge(bytes / BYTES_PER_STEP)
    }
}
