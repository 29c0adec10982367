//! One value that is written and read.

use super::Model;

/// The register; it begins with this value.
#[derive(Debug, Clone, Copy, Default)]
pub struct Register(pub u64);

/// What is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterOp {
    /// Sets it.
    Write(u64),
    /// This was read.
    Read(u64),
}

impl Model for Register {
    type State = u64;
    type Op = RegisterOp;

    fn initial(&self) -> u64 {
        self.0
    }

    fn step(&self, state: &u64, op: &RegisterOp) -> Option<u64> {
        match op {
            RegisterOp::Write(value) => Some(*value),
            RegisterOp::Read(value) => (value == state).then_some(*state),
        }
    }

    fn only_looks(&self, op: &RegisterOp) -> bool {
        matches!(op, RegisterOp::Read(_))
    }
}
