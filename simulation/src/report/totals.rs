//! Many runs together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::outcome::Finished;

/// Sums over runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Runs.
    pub seeds: u64,
    /// Those that broke a promise or died.
    pub failed: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Events in their traces.
    pub events: u64,
    /// Operations of clients: by kind and end.
    pub operations: BTreeMap<String, u64>,
    /// What happened how often.
    pub seen: BTreeMap<String, u64>,
}

/// How an operation can end, in the order of columns.
const ENDS: [&str; 4] = ["ok", "refused", "unknown", "unfinished"];

impl Totals {
    /// Takes a run in.
    pub fn add(&mut self, finished: &Finished) {
        self.seeds += 1;
        self.failed += u64::from(finished.failure().is_some());
        self.simulated_ms += finished.simulated_ms;
        self.events += finished.events;
        for (to, from) in
            [(&mut self.operations, &finished.operations), (&mut self.seen, &finished.seen)]
        {
            for (name, count) in from {
                *to.entry(name.clone()).or_default() += count;
            }
        }
    }

    /// How fast that was.
    #[must_use]
    pub fn speed(&self, wall: Duration) -> String {
        let (per_minute, ratio) = self.rates(wall);
        format!("{per_minute:.1} seeds per minute, {ratio:.1} simulated s per s")
    }

    /// Seeds per minute, simulated seconds per second.
    fn rates(&self, wall: Duration) -> (f64, f64) {
        let seconds = wall.as_secs_f64().max(0.001);
        let simulated = Duration::from_millis(self.simulated_ms).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "nobody runs 2^53 seeds")]
        let seeds = self.seeds as f64;
        (seeds * 60.0 / seconds, simulated / seconds)
    }

    /// All of it, for people.
    #[must_use]
    pub fn summary(&self, wall: Duration) -> String {
        let mut text = String::new();
        self.operations_table(&mut text);
        self.seen_table(&mut text);
        let (failed, passed) = (self.failed, self.seeds - self.failed);
        let hours = Duration::from_millis(self.simulated_ms).as_secs_f64() / 3_600.0;
        let _ = write!(
            text,
            "{} seeds: {passed} passed, {failed} failed\n{hours:.2} simulated hours in {:.1} s; {}",
            self.seeds,
            wall.as_secs_f64(),
            self.speed(wall)
        );
        text
    }

    fn operations_table(&self, text: &mut String) {
        let split = |name: &'_ str| name.rsplit_once(' ').map(|(kind, _)| kind.to_owned());
        let kinds: BTreeSet<String> = self.operations.keys().filter_map(|key| split(key)).collect();
        let width = kinds.iter().map(String::len).max().unwrap_or_default().max(10);
        if kinds.is_empty() {
            return;
        }
        let _ = write!(text, "{:width$}", "operations");
        for end in ENDS {
            let _ = write!(text, " {end:>11}");
        }
        for kind in kinds {
            let _ = write!(text, "\n{kind:width$}");
            for end in ENDS {
                let count = self.operations.get(&format!("{kind} {end}")).copied();
                let _ = write!(text, " {:>11}", count.unwrap_or_default());
            }
        }
        text.push_str("\n\n");
    }

    fn seen_table(&self, text: &mut String) {
        if self.seen.is_empty() {
            return;
        }
        let width = self.seen.keys().map(String::len).max().unwrap_or_default();
        text.push_str("seen\n");
        for (name, count) in &self.seen {
            let _ = writeln!(text, "{name:width$} {count:>9}");
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_add_up() {
        let count = |name: &str, count| BTreeMap::from([(name.to_owned(), count)]);
        let one = Finished {
            simulated_ms: 1_800_000,
            operations: count("create topic ok", 5),
            seen: count("crash", 2),
            ..Finished::default()
        };
        let other = Finished {
            operations: count("create topic unknown", 1),
            seen: count("crash", 1),
            died: Some("so".to_owned()),
            ..one.clone()
        };
        let mut totals = Totals::default();
        totals.add(&one);
        totals.add(&other);
        let expected = "\
operations            ok     refused     unknown  unfinished
create topic           5           0           1           0

seen
crash         3

2 seeds: 1 passed, 1 failed
1.00 simulated hours in 60.0 s; 2.0 seeds per minute, 60.0 simulated s per s";
        assert_eq!(totals.summary(Duration::from_secs(60)), expected);
    }
}
