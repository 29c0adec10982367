//! When delivery from a queue pauses because most of it fails. What has failed lately is known to
//! the leader only; here are the bounds.

use minicbor::{Decode, Encode};

use super::settings::{SPAN_MS_MAX, within};
use crate::rejection::Rejection;

/// Longest window: an hour.
const WINDOW_MS_MAX: i64 = 3_600_000;
/// Messages let through at a time to see whether it goes again.
const PROBES_MAX: u32 = 10_000;
/// Most attempts that a window may need.
const ATTEMPTS_MAX: u32 = 1_000_000;

/// A circuit breaker: delivery pauses when too large a share of the attempts has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Breaker {
    /// Attempts that ended longer ago don't count; milliseconds, 1 to an hour.
    #[n(0)]
    pub window_ms: i64,
    /// It opens when at least this share of them failed; in thousandths, up to 1,000; 0 = never.
    #[n(1)]
    pub failure_milli: u16,
    /// With fewer attempts in the window it doesn't open; 1 to 1,000,000.
    #[n(2)]
    pub min_attempts: u32,
    /// How long nothing is delivered then; milliseconds, 1 to 7 days.
    #[n(3)]
    pub open_ms: i64,
    /// After that, so many messages are let through; when as many have succeeded it closes, and at
    /// the first failure it opens again; 1 to 10,000.
    #[n(4)]
    pub half_open_probes: u32,
}

impl Default for Breaker {
    /// It never opens.
    fn default() -> Self {
        Self {
            window_ms: 60_000,
            failure_milli: 0,
            min_attempts: 20,
            open_ms: 30_000,
            half_open_probes: 5,
        }
    }
}

impl Breaker {
    pub(super) fn validate(&self) -> Result<(), Rejection> {
        let Self { window_ms, failure_milli, min_attempts, open_ms, half_open_probes } = *self;
        within("breaker.window_ms", window_ms, 1, WINDOW_MS_MAX)?;
        within("breaker.failure_rate (in thousandths)", failure_milli.into(), 0, 1_000)?;
        within("breaker.min_attempts", min_attempts.into(), 1, ATTEMPTS_MAX.into())?;
        within("breaker.open_ms", open_ms, 1, SPAN_MS_MAX)?;
        within("breaker.half_open_probes", half_open_probes.into(), 1, PROBES_MAX.into())
    }
}
