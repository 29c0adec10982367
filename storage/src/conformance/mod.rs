//! What every engine and every payload store must do, as suites for their tests.
//!
//! A suite is given something that makes empty places, and a place something that opens the store
//! that is there. Opening is called again after everything that was opened before has been
//! dropped; a place that can lose what was not synced should do so then.

mod engine;
mod payloads;

use std::sync::Arc;

pub use self::engine::engine;
pub use self::payloads::payloads;
use crate::engine::Engine;
use crate::payload::Payloads;

/// Opens the engine of a place.
pub type OpenEngine = Box<dyn Fn() -> Arc<dyn Engine>>;

/// Opens the payloads of a place. Segments must be of 8 KiB or less.
pub type OpenPayloads = Box<dyn Fn() -> Arc<dyn Payloads>>;

/// Numbers without a pattern, the same in each run.
struct Numbers(u64);

impl Numbers {
    /// The next one, less than a bound.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

#[cfg(test)]
#[path = "conformance_test.rs"]
mod tests;
