//! The engine's limits.

use serde::{Deserialize, Serialize};

const MIB: usize = 1 << 20;

/// Limits of memory, files and work. Sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Cached blocks of sorted files, with their indexes and filters.
    pub block_cache_bytes: usize,
    /// Rows of the log in memory before they become a sorted file.
    pub log_write_buffer_bytes: usize,
    /// Rows of the state in memory before they become a sorted file.
    pub state_write_buffer_bytes: usize,
    /// All rows in memory: above it the fullest buffer is flushed early.
    pub write_buffers_bytes: usize,
    /// Threads that flush and compact.
    pub max_background_jobs: u32,
    /// The write-ahead log: above it the rows that hold its oldest file are flushed.
    pub wal_bytes_max: u64,
    /// Must stay free on the disk: a write that adds rows is refused below it.
    pub free_bytes_min: u64,
    /// Flushes and compactions hand this much to the disk at a time; 0 leaves it to the system.
    pub bytes_per_sync: u64,
    /// Files that are open at a time.
    pub open_files_max: u32,
    /// Keys and values of one write.
    pub batch_bytes_max: usize,
    /// Milliseconds between updates of the mark of what is durable, while there are syncs.
    pub mark_interval_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            block_cache_bytes: 64 * MIB,
            log_write_buffer_bytes: 32 * MIB,
            state_write_buffer_bytes: 32 * MIB,
            write_buffers_bytes: 64 * MIB,
            max_background_jobs: 2,
            wal_bytes_max: 256 << 20,
            free_bytes_min: 128 << 20,
            bytes_per_sync: 1 << 20,
            open_files_max: 512,
            batch_bytes_max: 64 * MIB,
            mark_interval_ms: 1000,
        }
    }
}

/// A value that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}; it must be {rule}")]
pub struct InvalidOption {
    /// The option.
    pub field: &'static str,
    /// What it was set to.
    pub value: u64,
    /// What it may be.
    pub rule: &'static str,
}

impl Options {
    /// Checks all values.
    ///
    /// # Errors
    /// Names the first field that can't be used.
    pub fn validate(&self) -> Result<(), InvalidOption> {
        let buffers = self.write_buffers_bytes as u64;
        at_least("block_cache_bytes", self.block_cache_bytes as u64, 1 << 20, "1 MiB or more")?;
        let log = self.log_write_buffer_bytes as u64;
        at_least("log_write_buffer_bytes", log, 1 << 16, "64 KiB or more")?;
        let state = self.state_write_buffer_bytes as u64;
        at_least("state_write_buffer_bytes", state, 1 << 16, "64 KiB or more")?;
        let rule = "as much as the larger write buffer, or more";
        at_least("write_buffers_bytes", buffers, log.max(state), rule)?;
        at_least("max_background_jobs", self.max_background_jobs.into(), 1, "1 to 64")?;
        at_most("max_background_jobs", self.max_background_jobs.into(), 64, "1 to 64")?;
        at_least("wal_bytes_max", self.wal_bytes_max, 1 << 20, "1 MiB or more")?;
        at_least("open_files_max", self.open_files_max.into(), 32, "32 to 1048576")?;
        at_most("open_files_max", self.open_files_max.into(), 1 << 20, "32 to 1048576")?;
        let batch = self.batch_bytes_max as u64;
        at_least("batch_bytes_max", batch, 1 << 16, "64 KiB to 1 GiB")?;
        at_most("batch_bytes_max", batch, 1 << 30, "64 KiB to 1 GiB")
    }
}

fn at_least(
    f: &'static str,
    value: u64,
    min: u64,
    rule: &'static str,
) -> Result<(), InvalidOption> {
    if value < min { Err(InvalidOption { field: f, value, rule }) } else { Ok(()) }
}

fn at_most(f: &'static str, value: u64, max: u64, rule: &'static str) -> Result<(), InvalidOption> {
    if value > max { Err(InvalidOption { field: f, value, rule }) } else { Ok(()) }
}
