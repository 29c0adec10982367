//! What may be set of a consumer, with its limits.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::options::in_range;

/// Where to begin to read a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// With the oldest record that is there.
    Earliest,
    /// With the next record that is written.
    Latest,
    /// With this offset.
    Offset(u64),
    /// With the first record whose time is this or later, in milliseconds since 1970; if there is
    /// none, with the next record that is written.
    Timestamp(i64),
}

/// What to do when a partition no longer has, or does not have yet, the offset that is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutOfRange {
    /// [`crate::Consumer::next`] returns NOT_FOUND, and the partition is no longer assigned.
    #[default]
    Error,
    /// Go on with the oldest record that is there.
    Earliest,
    /// Go on with the next record that is written.
    Latest,
}

/// How a consumer prefetches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsumerOptions {
    /// Records that each node may send ahead, in bytes as they are stored. 1 KiB ..= 64 MiB;
    /// default 8 MiB.
    pub credit_bytes: u32,
    /// Records of one partition that come at once, in bytes as they are stored; at least one batch
    /// comes always. 1 KiB ..= 64 MiB; default 1 MiB.
    pub partition_bytes_max: u32,
    /// Groups of records that wait for [`crate::Consumer::next`]. 1 ..= 100,000; default 64.
    pub queue_max: usize,
    /// What one batch may expand to when it is decompressed, in bytes. 1 KiB ..= 2 GiB - 1;
    /// default 64 MiB.
    pub decompressed_bytes_max: u32,
    /// What to do when an offset is not there. Default `error`.
    pub on_out_of_range: OutOfRange,
    /// Partitions that may be assigned at once. 1 ..= 1,000,000; default 20,000.
    pub partitions_max: usize,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            credit_bytes: 8 << 20,
            partition_bytes_max: 1 << 20,
            queue_max: 64,
            decompressed_bytes_max: 64 << 20,
            on_out_of_range: OutOfRange::Error,
            partitions_max: 20_000,
        }
    }
}

impl ConsumerOptions {
    /// Checks every field against its range.
    ///
    /// # Errors
    /// INVALID, naming the first field that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        in_range("credit_bytes", self.credit_bytes.into(), 1_024, 64 << 20)?;
        in_range("partition_bytes_max", self.partition_bytes_max.into(), 1_024, 64 << 20)?;
        in_range("queue_max", self.queue_max as u64, 1, 100_000)?;
        let expanded = u64::from(self.decompressed_bytes_max);
        in_range("decompressed_bytes_max", expanded, 1_024, i32::MAX as u64)?;
        in_range("partitions_max", self.partitions_max as u64, 1, 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_the_contracts_limit_is_held() {
        assert!(ConsumerOptions::default().validate().is_ok());
        let greedy = ConsumerOptions { credit_bytes: 65 << 20, ..ConsumerOptions::default() };
        let message = greedy.validate().expect_err("more than a stream may have").message;
        assert_eq!(message, "credit_bytes is 68157440, expected 1024 to 67108864");
    }
}
