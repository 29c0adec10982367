//! How large a batch may be, on the wire and when it is unpacked.

use serde::{Deserialize, Serialize};

use crate::{Error, HEADER_BYTES};

/// Limits on one batch. What exceeds them is refused before memory is spent on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Encoded batch with its header, in bytes. 61 ..= 1 GiB; default 1,048,588 (1 MiB of records
    /// and a little, as in Kafka).
    pub batch_bytes_max: u32,
    /// Records of one batch after decompression, in bytes. 1 ..= 2 GiB - 1; default 64 MiB. Bounds
    /// what a small batch that was made to expand ("decompression bomb") can cost.
    pub decompressed_bytes_max: u32,
    /// Records in one batch. 1 ..= 2^31 - 1; default 1,000,000.
    pub records_max: u32,
    /// Headers on one record. 0 ..= 2^31 - 1; default 1,024.
    pub headers_max: u32,
    /// Window that a zstd stream of unknown size may ask for, as a power of two. 10 ..= 27;
    /// default 27 (128 MiB, what the highest level of Kafka's clients asks for). The window is
    /// reserved, but only touched as far as the stream expands.
    pub zstd_window_log_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_bytes_max: 1_048_588,
            decompressed_bytes_max: 64 << 20,
            records_max: 1_000_000,
            headers_max: 1_024,
            zstd_window_log_max: 27,
        }
    }
}

impl Limits {
    /// Checks each limit against its documented range.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first limit that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let max = i64::from(i32::MAX);
        let rows: [(&'static str, u32, i64, i64, &'static str); 5] = [
            (
                "batch_bytes_max",
                self.batch_bytes_max,
                HEADER_BYTES as i64,
                1 << 30,
                "61 bytes to 1 GiB",
            ),
            ("decompressed_bytes_max", self.decompressed_bytes_max, 1, max, "1 byte to 2 GiB - 1"),
            ("records_max", self.records_max, 1, max, "1 to 2147483647"),
            ("headers_max", self.headers_max, 0, max, "0 to 2147483647"),
            ("zstd_window_log_max", self.zstd_window_log_max, 10, 27, "10 to 27"),
        ];
        for (field, value, low, high, expected) in rows {
            let value = i64::from(value);
            if value < low || value > high {
                return Err(Error::Invalid { field, value, expected });
            }
        }
        Ok(())
    }
}

/// Refuses `value` if it is larger than `limit`.
pub(crate) fn at_most(
    field: &'static str,
    value: u64,
    limit_name: &'static str,
    limit: u64,
) -> Result<(), Error> {
    if value > limit {
        return Err(Error::TooLarge { field, value, limit_name, limit });
    }
    Ok(())
}
