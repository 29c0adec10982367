//! The segments' limits.

use serde::{Deserialize, Serialize};

/// Limits of the segment files. Sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// A segment that is about to grow beyond this is sealed, and the next one begun; a payload
    /// that is larger gets a segment of its own. Large segments are removed late, small ones are
    /// many files.
    pub segment_bytes: u64,
    /// Must stay free on the disk: no new segment is begun below it.
    pub free_bytes_min: u64,
    /// Segments get their space from the disk when they are begun. Syncs are about twice as fast
    /// then.
    pub preallocate: bool,
    /// Segment files that are open for reads at a time.
    pub open_files_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            free_bytes_min: 128 << 20,
            preallocate: true,
            open_files_max: 256,
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
        if !(4 << 10..=1 << 30).contains(&self.segment_bytes) {
            let rule = "4 KiB to 1 GiB";
            return Err(InvalidOption { field: "segment_bytes", value: self.segment_bytes, rule });
        }
        if !(1..=1 << 20).contains(&self.open_files_max) {
            let value = self.open_files_max as u64;
            return Err(InvalidOption { field: "open_files_max", value, rule: "1 to 1048576" });
        }
        Ok(())
    }
}
