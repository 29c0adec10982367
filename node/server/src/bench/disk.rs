//! The disk alone: what every write that is synced has to wait for.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use kontiki_figures::Latencies;

use super::report::Report;

/// Bytes of one append.
const SIZES: [usize; 4] = [4 << 10, 16 << 10, 256 << 10, 1 << 20];
/// The size whose rate others are divided by.
const REFERENCE: usize = 256 << 10;

/// One writer, one file: append, fdatasync, again.
pub fn run(dir: &Path, short: bool) -> anyhow::Result<Vec<Report>> {
    let time = Duration::from_millis(if short { 1_000 } else { 5_000 });
    SIZES.iter().map(|size| one(dir, *size, time)).collect()
}

/// What the others are compared with.
pub fn reference_mb_per_s(reports: &[Report]) -> Option<f64> {
    let found = reports.iter().find(|report| report.record_bytes == REFERENCE);
    found.and_then(|report| report.mb_per_s)
}

fn one(dir: &Path, size: usize, time: Duration) -> anyhow::Result<Report> {
    let path = dir.join(format!(".kontiki-bench-disk-{}", std::process::id()));
    let opened = OpenOptions::new().create_new(true).write(true).open(&path);
    let mut file = opened.with_context(|| format!("creating {}", path.display()))?;
    let block = vec![0x5a_u8; size];
    let mut latencies = Latencies::default();
    let mut written = 0_u64;
    let begun = Instant::now();
    let result = loop {
        let started = Instant::now();
        if let Err(error) = file.write_all(&block).and_then(|()| file.sync_data()) {
            break Err(error);
        }
        latencies.note(started.elapsed());
        written += 1;
        if begun.elapsed() >= time {
            break Ok(());
        }
    };
    let elapsed = begun.elapsed().as_secs_f64();
    drop(file);
    fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    result.with_context(|| format!("writing {}", path.display()))?;
    let mut report = Report {
        workload: format!("disk, {} KiB", size >> 10),
        durability: "fsync",
        record_bytes: size,
        in_flight: Some(1),
        ..Report::default()
    };
    report.rate(written, elapsed);
    report.latencies(&latencies);
    Ok(report)
}
