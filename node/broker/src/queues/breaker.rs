//! The circuit breaker of a queue, on its leader: delivery pauses when too much of it fails.
//!
//! It looks at the queue's totals and not at messages: how many deliveries succeeded and failed
//! since it looked last. Nothing of it is in the log; a new leader begins with a closed one.
//!
//! Memory: at most [`SAMPLES`] samples of 32 bytes.

use std::collections::VecDeque;
use std::time::Duration;

use kontiki_domain::queue::{self, Totals};
use tokio::time::Instant;

/// Parts of a window: an attempt counts for a window, and at most one part more.
const SAMPLES: usize = 16;

/// How a breaker stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// The queue has none.
    #[default]
    Off,
    /// Messages are delivered.
    Closed,
    /// Nothing is delivered.
    Open,
    /// Some messages are let through, to see whether it goes again.
    HalfOpen,
}

impl BreakerState {
    /// Its number between nodes and in metrics.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Off => 0,
            Self::Closed => 1,
            Self::Open => 2,
            Self::HalfOpen => 3,
        }
    }

    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Closed,
            2 => Self::Open,
            3 => Self::HalfOpen,
            _ => Self::Off,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { since: Totals },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Breaker {
    settings: queue::Breaker,
    phase: Phase,
    /// Acknowledged and failed deliveries at moments of the window, oldest first.
    samples: VecDeque<(Instant, u64, u64)>,
}

impl Breaker {
    pub(super) fn new(settings: queue::Breaker) -> Self {
        Self { settings, phase: Phase::Closed, samples: VecDeque::new() }
    }

    pub(super) fn settings(&self) -> queue::Breaker {
        self.settings
    }

    pub(super) fn state(&self, now: Instant) -> BreakerState {
        match self.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { until } if until > now => BreakerState::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Looks at the totals. Returns how many messages may be delivered (`None`: any number), and
    /// until when nothing changes by itself.
    pub(super) fn look(&mut self, now: Instant, totals: &Totals) -> (Option<u32>, Option<Instant>) {
        if let Phase::Open { until } = self.phase
            && until <= now
        {
            self.phase = Phase::HalfOpen { since: *totals };
        }
        match self.phase {
            Phase::Open { until } => (Some(0), Some(until)),
            Phase::HalfOpen { since } => self.look_half_open(now, since, totals),
            Phase::Closed => {
                if self.fails(now, totals) {
                    self.open(now)
                } else {
                    (None, None)
                }
            }
        }
    }

    fn look_half_open(
        &mut self,
        now: Instant,
        since: Totals,
        totals: &Totals,
    ) -> (Option<u32>, Option<Instant>) {
        let probes = u64::from(self.settings.half_open_probes);
        let grown = |count: fn(&Totals) -> u64| count(totals).saturating_sub(count(&since));
        let succeeded = grown(|totals| totals.acknowledged);
        if grown(|totals| totals.failed) > 0 {
            return self.open(now);
        }
        if succeeded >= probes {
            self.phase = Phase::Closed;
            self.samples.clear();
            self.fails(now, totals);
            return (None, None);
        }
        let ended = succeeded + grown(|totals| totals.released);
        let under_way = grown(|totals| totals.acquired).saturating_sub(ended);
        let left = probes.saturating_sub(succeeded + under_way);
        (Some(u32::try_from(left).unwrap_or(u32::MAX)), None)
    }

    fn open(&mut self, now: Instant) -> (Option<u32>, Option<Instant>) {
        let until = now + millis(self.settings.open_ms);
        self.phase = Phase::Open { until };
        self.samples.clear();
        (Some(0), Some(until))
    }

    /// Whether too many of the attempts in the window have failed.
    fn fails(&mut self, now: Instant, totals: &Totals) -> bool {
        let queue::Breaker { window_ms, failure_milli, min_attempts, .. } = self.settings;
        let window = millis(window_ms);
        let part = window / u32::try_from(SAMPLES).expect("a small number");
        // The last one that is older than the window is where the window begins.
        while self.samples.get(1).is_some_and(|(at, ..)| now.duration_since(*at) >= window) {
            self.samples.pop_front();
        }
        let fresh = self.samples.back().is_some_and(|(at, ..)| now.duration_since(*at) < part);
        if !fresh {
            self.samples.push_back((now, totals.acknowledged, totals.failed));
        }
        let Some((_, acknowledged, failed)) = self.samples.front() else { return false };
        let failed = totals.failed.saturating_sub(*failed);
        let attempts = totals.acknowledged.saturating_sub(*acknowledged) + failed;
        attempts >= min_attempts.into() && failed * 1_000 >= attempts * u64::from(failure_milli)
    }
}

pub(super) fn millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(acknowledged: u64, failed: u64, under_way: u64) -> Totals {
        let acquired = acknowledged + failed + under_way;
        Totals { acknowledged, failed, acquired, ..Totals::default() }
    }

    fn breaker() -> Breaker {
        Breaker::new(queue::Breaker {
            window_ms: 1_600,
            failure_milli: 500,
            min_attempts: 4,
            open_ms: 1_000,
            half_open_probes: 2,
        })
    }

    #[test]
    fn it_opens_at_its_share_lets_some_through_and_closes() {
        let mut breaker = breaker();
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        assert_eq!(breaker.look(at(0), &totals(100, 50, 0)), (None, None));
        // Too few attempts, then too few failures.
        assert_eq!(breaker.look(at(1), &totals(100, 53, 0)), (None, None));
        assert_eq!(breaker.look(at(2), &totals(104, 53, 0)), (None, None));
        assert_eq!(breaker.look(at(3), &totals(104, 54, 0)).0, Some(0));
        assert_eq!(breaker.state(at(3)), BreakerState::Open);
        assert_eq!(breaker.look(at(900), &totals(104, 54, 0)), (Some(0), Some(at(1_003))));
        assert_eq!(breaker.state(at(1_003)), BreakerState::HalfOpen);
        assert_eq!(breaker.look(at(1_003), &totals(104, 54, 0)).0, Some(2));
        assert_eq!(breaker.look(at(1_004), &totals(104, 54, 2)).0, Some(0));
        assert_eq!(breaker.look(at(1_005), &totals(105, 54, 1)).0, Some(0));
        // One that was given back without having failed says nothing: another one may go.
        let released = Totals { released: 1, ..totals(105, 54, 1) };
        assert_eq!(breaker.look(at(1_006), &released).0, Some(1));
        assert_eq!(breaker.look(at(1_007), &totals(106, 54, 0)), (None, None));
        assert_eq!(breaker.state(at(1_007)), BreakerState::Closed);
        // What was before doesn't count any more.
        assert_eq!(breaker.look(at(1_008), &totals(106, 57, 0)).0, None);
    }

    #[test]
    fn a_failed_probe_opens_it_again() {
        let mut breaker = breaker();
        let begin = Instant::now();
        breaker.look(begin, &totals(0, 0, 4));
        assert_eq!(breaker.look(begin, &totals(0, 4, 0)).0, Some(0));
        let later = begin + Duration::from_secs(1);
        assert_eq!(breaker.look(later, &totals(0, 4, 0)).0, Some(2));
        let again = later + Duration::from_secs(1);
        assert_eq!(breaker.look(later, &totals(1, 5, 0)), (Some(0), Some(again)));
        assert_eq!(breaker.state(later), BreakerState::Open);
    }

    #[test]
    fn what_failed_before_the_window_does_not_count() {
        let mut breaker = breaker();
        let mut now = Instant::now();
        for failed in 0..100 {
            assert_eq!(breaker.look(now, &totals(0, failed, 0)).0, None, "{failed}");
            assert!(breaker.samples.len() <= SAMPLES + 2);
            // Three in a window: never enough.
            now += Duration::from_millis(800);
        }
    }
}
