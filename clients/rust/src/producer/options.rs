//! What may be set of a producer, with its limits.

use kontiki_proto::v1;
use kontiki_records::Compression;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::options::in_range;

/// When a write counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acks {
    /// At once; failures are not reported, offsets are not known.
    None,
    /// When the leader has it in its log, not yet durably; offsets are not known.
    Leader,
    /// When a quorum has it on disk.
    #[default]
    Quorum,
}

impl Acks {
    pub(crate) fn wire(self) -> v1::Acks {
        match self {
            Self::None => v1::Acks::None,
            Self::Leader => v1::Acks::Leader,
            Self::Quorum => v1::Acks::Quorum,
        }
    }
}

/// How a producer gathers, sends and repeats. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProducerOptions {
    /// When a write counts as done. Default `quorum`.
    pub acks: Acks,
    /// Whether every record is stored once and in order, whatever is repeated on the way. Needs
    /// `acks = quorum`. Default true. Without it, only what was surely not stored is sent again,
    /// and may then come after what was sent later; `in_flight_max = 1` prevents that.
    pub idempotent: bool,
    /// How long the first record of a batch waits for others while an earlier batch of the
    /// partition is under way. When none is, it doesn't wait, but after an answer for up to 1 ms
    /// until as many have come as were answered, as long as they do come. 0: it never waits.
    /// 0 ..= 60,000; default 5.
    pub linger_ms: u64,
    /// A batch that is as large as this, before compression, is sent at once; a larger record has a
    /// batch to itself. In bytes, 1,024 ..= 64 MiB; default 256 KiB.
    pub batch_bytes: usize,
    /// How batches are compressed. Default `none`.
    pub compression: Compression,
    /// Records that are not yet stored, in bytes: `send` waits for room. A record that is larger is
    /// refused. 64 KiB ..= 1 GiB; default 64 MiB.
    pub buffer_bytes_max: usize,
    /// Batches of one partition that are under way at once. 1 ..= 5, because nodes recognize a
    /// repeated batch among a producer's last five; default 5.
    pub in_flight_max: usize,
    /// After how long a record that could not be stored is given up: as UNAVAILABLE, where it was
    /// surely not stored, else as UNKNOWN. 100 ..= 3,600,000; default 120,000.
    pub delivery_timeout_ms: u64,
    /// Partitions that one producer writes to. 1 ..= 1,000,000; default 20,000.
    pub partitions_max: usize,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            acks: Acks::Quorum,
            idempotent: true,
            linger_ms: 5,
            batch_bytes: 256 << 10,
            compression: Compression::None,
            buffer_bytes_max: 64 << 20,
            in_flight_max: 5,
            delivery_timeout_ms: 120_000,
            partitions_max: 20_000,
        }
    }
}

impl ProducerOptions {
    /// Checks every field against its range.
    ///
    /// # Errors
    /// INVALID, naming the first field that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        if self.idempotent && self.acks != Acks::Quorum {
            return Err(Error::invalid(
                "an idempotent producer needs acks = quorum: what isn't known to be stored can't \
                 be told from what has to be repeated; set idempotent to false",
            ));
        }
        in_range("linger_ms", self.linger_ms, 0, 60_000)?;
        in_range("batch_bytes", self.batch_bytes as u64, 1_024, 64 << 20)?;
        in_range("buffer_bytes_max", self.buffer_bytes_max as u64, 64 << 10, 1 << 30)?;
        in_range("in_flight_max", self.in_flight_max as u64, 1, 5)?;
        in_range("delivery_timeout_ms", self.delivery_timeout_ms, 100, 3_600_000)?;
        in_range("partitions_max", self.partitions_max as u64, 1, 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_weak_acks_are_not_idempotent() {
        assert!(ProducerOptions::default().validate().is_ok());
        let weak = ProducerOptions { acks: Acks::Leader, ..ProducerOptions::default() };
        assert!(weak.validate().expect_err("is refused").message.contains("idempotent"));
        assert!(ProducerOptions { idempotent: false, ..weak }.validate().is_ok());
        let wide = ProducerOptions { in_flight_max: 6, ..ProducerOptions::default() };
        let message = wide.validate().expect_err("the nodes remember five").message;
        assert_eq!(message, "in_flight_max is 6, expected 1 to 5");
    }
}
