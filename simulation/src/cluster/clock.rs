//! The clock of one node: the simulated time, wrong by as much as a fault says.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::entropy::EPOCH_S;
use crate::trace::Trace;

/// A node's clock. Clones are the same clock.
#[derive(Clone)]
pub struct NodeClock {
    trace: Trace,
    off_ms: Arc<AtomicI64>,
    /// How much faster it runs than time, in millionths.
    drift_ppm: Arc<AtomicI64>,
}

impl NodeClock {
    /// A clock that is right.
    pub fn new(trace: Trace) -> Self {
        Self { trace, off_ms: Arc::default(), drift_ppm: Arc::default() }
    }

    /// It jumps, forward or back.
    pub fn jump(&self, ms: i64) {
        self.off_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// It runs faster, or slower, than it should from now on.
    pub fn drift(&self, ppm: i64) {
        let now = i64::try_from(self.trace.now()).expect("a run is short");
        let before = self.drift_ppm.swap(ppm, Ordering::Relaxed);
        // What it has run ahead so far stays.
        self.off_ms.fetch_add(now * (before - ppm) / 1_000_000, Ordering::Relaxed);
    }

    /// It is set right.
    pub fn correct(&self) {
        self.off_ms.store(0, Ordering::Relaxed);
        self.drift_ppm.store(0, Ordering::Relaxed);
    }

    /// Milliseconds since 1970, as the node believes.
    pub fn now_ms(&self) -> i64 {
        let now = i64::try_from(self.trace.now()).expect("a run is short");
        let drift = now * self.drift_ppm.load(Ordering::Relaxed) / 1_000_000;
        let epoch = i64::try_from(EPOCH_S * 1_000).expect("it is small");
        epoch + now + drift + self.off_ms.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_jumps_drifts_and_is_corrected() {
        let trace = Trace::default();
        let clock = NodeClock::new(trace.clone());
        let epoch = clock.now_ms();
        trace.set_now(10_000);
        clock.jump(-3_000);
        clock.drift(100_000);
        assert_eq!(clock.now_ms() - epoch, 7_000);
        trace.set_now(20_000);
        assert_eq!(clock.now_ms() - epoch, 18_000);
        clock.drift(0);
        assert_eq!(clock.now_ms() - epoch, 18_000);
        clock.correct();
        assert_eq!(clock.now_ms() - epoch, 20_000);
    }
}
