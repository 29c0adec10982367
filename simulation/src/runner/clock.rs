//! Real time, for limits and for speeds.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::trace::Fnv;

/// Measures real time.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Twelve digits are enough never to run the same seeds again, and can be read aloud.
const FRESH_SEED_MAX: u64 = 1_000_000_000_000;

/// A first seed that most likely nobody has begun with before.
#[must_use]
pub fn fresh_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut hash = Fnv::default();
    hash.add(&since.as_nanos().to_be_bytes());
    hash.add(&std::process::id().to_be_bytes());
    hash.0 % FRESH_SEED_MAX
}
