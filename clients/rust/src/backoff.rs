//! The pauses between attempts: they double, up to a limit, and are spread by chance so that many
//! clients don't come back at the same moment.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use crate::Options;

/// Counts failures, and says how long to wait after each.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    ms_min: u64,
    ms_max: u64,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(options: &Options) -> Self {
        let (ms_min, ms_max) = (options.retry_backoff_ms_min, options.retry_backoff_ms_max);
        Self { ms_min, ms_max, failures: 0 }
    }

    /// It worked: the next pause is a short one again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next pause, at least `least_ms`.
    pub(crate) fn next(&mut self, least_ms: u32) -> Duration {
        let doubled = self.ms_min.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let ms = doubled.min(self.ms_max);
        // From half of it to all of it. A fresh hasher has fresh keys: chance enough for this.
        let spread = RandomState::new().build_hasher().finish() % (ms / 2 + 1);
        Duration::from_millis((ms - spread).max(u64::from(least_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_limit_and_begin_anew() {
        let mut backoff = Backoff::new(&Options::default());
        let pauses: Vec<u128> = (0..10).map(|_| backoff.next(0).as_millis()).collect();
        assert!((10..=20).contains(&pauses[0]), "{pauses:?}");
        assert!((500..=1000).contains(&pauses[9]), "{pauses:?}");
        backoff.reset();
        assert!(backoff.next(0).as_millis() <= 20);
        assert_eq!(backoff.next(700).as_millis(), 700);
    }
}
