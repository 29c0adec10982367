//! Figures of the process, from the system, when they are asked for.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::process::Resource;
use rustix::time::{ClockId, clock_gettime};

/// Memory, processor time, files and threads of this process.
#[derive(Debug)]
pub struct ProcessCollector;

/// Encodes one figure.
pub fn figure(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> Result<(), std::fmt::Error> {
    let descriptor = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
    metric.encode(descriptor)
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let encoder = &mut encoder;
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        if let Some(kib) = field(&status, "VmRSS:") {
            let help = "Resident memory, in bytes";
            figure(encoder, "process_resident_bytes", help, &ConstGauge::new(kib * 1024))?;
        }
        if let Some(threads) = field(&status, "Threads:") {
            figure(encoder, "process_threads", "Threads", &ConstGauge::new(threads))?;
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            // One of them is the folder that is being read.
            let count = (files.count() as u64).saturating_sub(1);
            figure(encoder, "process_open_files", "Open files", &ConstGauge::new(count))?;
        }
        if let Some(limit) = rustix::process::getrlimit(Resource::Nofile).current {
            let help = "Files that may be open";
            figure(encoder, "process_open_files_limit", help, &ConstGauge::new(limit))?;
        }
        let time = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
        let help = "Processor time of all threads, in seconds";
        figure(encoder, "process_cpu_seconds", help, &ConstCounter::new(seconds))?;
        let help = "Tasks that have panicked: faults of the release";
        figure(encoder, "process_panics", help, &ConstCounter::new(super::panics()))
    }
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
