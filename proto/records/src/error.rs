//! What can be wrong with a batch. Every message names the field, the value and the limit.

use crate::Compression;

/// Why bytes are not a batch, or why records can't become one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes end before the field does.
    #[error("{field}: needs {needed} bytes, {available} are left")]
    Truncated {
        /// The field that was being read.
        field: &'static str,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that there are.
        available: u64,
    },
    /// A field holds a value that it can't have.
    #[error("{field} is {value}, expected {expected}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: i64,
        /// What it may hold, in words.
        expected: &'static str,
    },
    /// A field disagrees with what it describes.
    #[error("{field} is {value}, but the records say {actual}")]
    Mismatch {
        /// The field of the batch header.
        field: &'static str,
        /// What the header holds.
        value: i64,
        /// What was found.
        actual: i64,
    },
    /// More than a limit allows.
    #[error("{field} is {value}, the limit ({limit_name}) is {limit}")]
    TooLarge {
        /// What is too large.
        field: &'static str,
        /// Its size; for something that was not read to its end, what it is at least.
        value: u64,
        /// Which limit it exceeds: a field of [`crate::Limits`], or a limit of the format.
        limit_name: &'static str,
        /// That limit.
        limit: u64,
    },
    /// The checksum does not fit the bytes: they changed on their way, or were never a batch.
    #[error(
        "crc is {stored:#010x}, but the bytes from attributes to the end give {computed:#010x}"
    )]
    Checksum {
        /// CRC32C in the header.
        stored: u32,
        /// CRC32C of the bytes.
        computed: u32,
    },
    /// The codec refused the compressed records, or could not compress them.
    #[error("{compression} records: {detail}")]
    Codec {
        /// Which codec.
        compression: Compression,
        /// What it said.
        detail: String,
    },
    /// Bytes are left after the last thing that should be there.
    #[error("{field}: {bytes} unexpected bytes after its end")]
    Trailing {
        /// What ended too early.
        field: &'static str,
        /// How many bytes follow.
        bytes: u64,
    },
    /// One record of the batch is wrong.
    #[error("record {index} of the batch: {source}")]
    Record {
        /// Its position in the batch, from 0.
        index: u32,
        /// What is wrong with it.
        source: Box<Error>,
    },
}

impl Error {
    /// True if the bytes were damaged (Kafka: `CORRUPT_MESSAGE`); false if they are what was sent,
    /// and what was sent is not allowed (`INVALID_RECORD`, `MESSAGE_TOO_LARGE`).
    #[must_use]
    pub fn is_corruption(&self) -> bool {
        match self {
            Self::Checksum { .. } | Self::Truncated { .. } | Self::Trailing { .. } => true,
            Self::Record { source, .. } => source.is_corruption(),
            Self::Invalid { .. }
            | Self::Mismatch { .. }
            | Self::TooLarge { .. }
            | Self::Codec { .. } => false,
        }
    }

    /// True if a limit was exceeded (Kafka: `MESSAGE_TOO_LARGE`).
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        match self {
            Self::TooLarge { .. } => true,
            Self::Record { source, .. } => source.is_too_large(),
            Self::Checksum { .. }
            | Self::Truncated { .. }
            | Self::Trailing { .. }
            | Self::Invalid { .. }
            | Self::Mismatch { .. }
            | Self::Codec { .. } => false,
        }
    }

    pub(crate) fn in_record(self, index: u32) -> Self {
        Self::Record { index, source: Box::new(self) }
    }
}
