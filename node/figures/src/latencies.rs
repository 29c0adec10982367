//! Latencies and their percentiles.

use std::time::Duration;

/// Latencies, in microseconds up to ten minutes.
#[derive(Debug)]
pub struct Latencies(hdrhistogram::Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = hdrhistogram::Histogram::new_with_bounds(1, 600_000_000, 3);
        Self(histogram.expect("the bounds are constants that fit"))
    }
}

impl Latencies {
    /// Notes one.
    pub fn note(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    /// A quantile, in milliseconds; none where nothing was noted.
    #[must_use]
    pub fn ms(&self, quantile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile) as f64 / 1_000.0)
    }

    /// The longest one, in milliseconds; none where nothing was noted.
    #[must_use]
    pub fn max_ms(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.max() as f64 / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds() {
        let mut latencies = Latencies::default();
        assert_eq!((latencies.ms(0.5), latencies.max_ms()), (None, None));
        (1..=100).for_each(|ms| latencies.note(Duration::from_millis(ms)));
        let is = |found: Option<f64>, ms: f64| (found.expect("some") - ms).abs() < 0.1;
        assert!(is(latencies.ms(0.5), 50.0) && is(latencies.ms(0.99), 99.0), "{latencies:?}");
        assert!(is(latencies.max_ms(), 100.0), "{latencies:?}");
    }
}
