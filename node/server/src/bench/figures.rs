//! What processes have cost, from /proc.

use std::fs;
use std::time::Duration;

/// The kernel counts CPU time in these.
const TICKS_PER_SECOND: f64 = 100.0;

/// What some processes have cost so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// CPU seconds, user and system.
    pub cpu_s: f64,
    /// Bytes that they caused to be written to storage.
    pub written_bytes: u64,
    /// Resident memory at the moment.
    pub rss_bytes: u64,
}

impl Cost {
    /// Of these processes together; those that are gone count nothing.
    pub fn of(pids: &[u32]) -> Self {
        pids.iter().filter_map(|pid| Self::of_one(*pid)).fold(Self::default(), |sum, one| Self {
            cpu_s: sum.cpu_s + one.cpu_s,
            written_bytes: sum.written_bytes + one.written_bytes,
            rss_bytes: sum.rss_bytes + one.rss_bytes,
        })
    }

    /// Of this process.
    pub fn own() -> Self {
        Self::of_one(std::process::id()).unwrap_or_default()
    }

    fn of_one(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in brackets, may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks: u64 =
            fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = rss.and_then(|rss| rss.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Some(Self {
            cpu_s: ticks as f64 / TICKS_PER_SECOND,
            written_bytes: line.and_then(|line| line.parse().ok()).unwrap_or(0),
            rss_bytes: kib.unwrap_or(0) * 1024,
        })
    }

    /// What was spent from `earlier` to this.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            cpu_s: self.cpu_s - earlier.cpu_s,
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
            rss_bytes: self.rss_bytes.max(earlier.rss_bytes),
        }
    }
}

/// Latencies, in microseconds up to ten minutes.
#[derive(Debug)]
pub struct Latencies(hdrhistogram::Histogram<u64>);

impl Latencies {
    /// None yet.
    pub fn new() -> Self {
        let histogram = hdrhistogram::Histogram::new_with_bounds(1, 600_000_000, 3);
        Self(histogram.expect("the bounds are constants that fit"))
    }

    /// Notes one.
    pub fn note(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    /// A quantile, in milliseconds; none where nothing was noted.
    pub fn ms(&self, quantile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile) as f64 / 1_000.0)
    }

    /// The longest one, in milliseconds.
    pub fn max_ms(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.max() as f64 / 1_000.0)
    }
}
