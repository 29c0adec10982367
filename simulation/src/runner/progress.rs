//! How far a batch is: a line that is replaced, or a line now and then where none can be.

use std::time::Duration;

use super::clock::Stopwatch;
use super::terminal;
use crate::report::Totals;

/// How often a line is replaced.
const REPLACE_EVERY: Duration = Duration::from_millis(250);
/// How often there is a new line where none can be replaced.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How many seeds there are.
#[derive(Debug, Clone, Copy)]
pub enum Amount {
    /// So many.
    Seeds(u64),
    /// As many as fit into this time.
    Time(Duration),
}

/// Shows how far a batch is.
#[derive(Debug)]
pub struct Progress {
    amount: Amount,
    watch: Stopwatch,
    shown: Duration,
    replaces: bool,
}

impl Progress {
    /// Nothing is done yet.
    #[must_use]
    pub fn new(amount: Amount) -> Self {
        let replaces = terminal::is_terminal();
        Self { amount, watch: Stopwatch::start(), shown: Duration::ZERO, replaces }
    }

    /// Time since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.watch.elapsed()
    }

    /// Shows it, if it is time for that.
    pub fn show(&mut self, totals: &Totals) {
        let now = self.elapsed();
        let every = if self.replaces { REPLACE_EVERY } else { LINE_EVERY };
        if now < self.shown + every {
            return;
        }
        self.shown = now;
        let line = line(self.amount, totals, now);
        if self.replaces {
            terminal::in_place(&line);
        } else {
            terminal::aside(&line);
        }
    }

    /// Nothing more is shown.
    pub fn end(&self) {
        if self.replaces {
            terminal::in_place("");
        }
    }
}

fn line(amount: Amount, totals: &Totals, elapsed: Duration) -> String {
    let done = totals.seeds;
    let seconds = elapsed.as_secs();
    let far = match amount {
        Amount::Seeds(all) => format!("{done}/{all} seeds in {seconds} s"),
        Amount::Time(limit) => format!("{done} seeds in {seconds} of {} s", limit.as_secs()),
    };
    let failed = totals.failed;
    format!("{far}, {failed} failed, {}", totals.speed(elapsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_and_how_fast() {
        let totals = Totals { seeds: 30, failed: 1, simulated_ms: 1_200_000, ..Totals::default() };
        assert_eq!(
            line(Amount::Seeds(100), &totals, Duration::from_secs(60)),
            "30/100 seeds in 60 s, 1 failed, 30.0 seeds per minute, 20.0 simulated s per s"
        );
        let of_time = line(Amount::Time(Duration::from_secs(600)), &totals, Duration::ZERO);
        assert!(of_time.starts_with("30 seeds in 0 of 600 s, 1 failed, "), "{of_time}");
    }
}
