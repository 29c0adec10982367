//! Every limit and time of the gRPC listener.

use serde::{Deserialize, Serialize};

/// Settings of the clients' gRPC listener. Milliseconds and bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The largest request to read or write records; over it, the call fails with
    /// `OUT_OF_RANGE`. Has to hold the largest batch that a topic permits (64 MiB) and a little.
    /// Decoding a request of many tiny records can take some 60 times its size in memory. 1 MiB
    /// ..= 1 GiB; default 68 MiB.
    pub message_bytes_max: usize,
    /// The largest request about topics or the cluster. 64 KiB ..= 64 MiB; default 4 MiB.
    pub admin_message_bytes_max: usize,
    /// Requests of one produce, send or publish stream that may be unanswered; with that many, the
    /// node stops reading the stream. 1 ..= 1,024; default 1,024.
    pub stream_unanswered_max: usize,
    /// Partitions named by the unanswered requests of one produce stream, at which the node stops
    /// reading it too; one request is always read. 1 up; default 16,384.
    pub stream_unanswered_partitions_max: usize,
    /// Messages of the unanswered requests of one send or publish stream, at which the node stops
    /// reading it too; one request is always read. 1 up; default 65,536.
    pub stream_unanswered_messages_max: usize,
    /// Bytes of the unanswered requests of one publish stream, at which the node stops reading it
    /// too; one request is always read. 64 KiB ..= 1 GiB; default 16 MiB.
    pub stream_unanswered_bytes_max: usize,
    /// Calls under way on one connection; further ones wait in the client. 1 up; default 256.
    pub streams_max: u32,
    /// Decoded records in one answer to a fetch, in bytes; what is over it is left for the next
    /// fetch (`next_offset` says where that begins). At least one batch is always returned. Only
    /// compressed batches can exceed what the client asked for. 1 MiB ..= 1 GiB; default 64 MiB.
    pub decoded_bytes_max: usize,
    /// A connection on which nothing is heard for this long is pinged. 1,000 up; default 20,000.
    pub keepalive_interval_ms: u64,
    /// A connection whose ping isn't answered for this long is closed. 1,000 up; default 10,000.
    pub keepalive_timeout_ms: u64,
    /// What a client may send on one stream before the node has read it. 65,535 ..= 64 MiB;
    /// default 1 MiB.
    pub stream_window_bytes: u32,
    /// The same for all streams of one connection together. 65,535 ..= 256 MiB; default 4 MiB.
    pub connection_window_bytes: u32,
    /// All headers of one call. 4 KiB ..= 1 MiB; default 16 KiB.
    pub header_bytes_max: u32,
    /// How often a watched health status is looked at. 100 ..= 60,000; default 1,000.
    pub health_watch_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            message_bytes_max: 68 << 20,
            admin_message_bytes_max: 4 << 20,
            stream_unanswered_max: 1_024,
            stream_unanswered_partitions_max: 16_384,
            stream_unanswered_messages_max: 65_536,
            stream_unanswered_bytes_max: 16 << 20,
            streams_max: 256,
            decoded_bytes_max: 64 << 20,
            keepalive_interval_ms: 20_000,
            keepalive_timeout_ms: 10_000,
            stream_window_bytes: 1 << 20,
            connection_window_bytes: 4 << 20,
            header_bytes_max: 16 << 10,
            health_watch_ms: 1_000,
        }
    }
}

/// A setting that can't work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("grpc.{field} = {value}: must be {low} to {high}")]
pub struct InvalidOption {
    /// Name of the setting.
    pub field: &'static str,
    /// What it is set to.
    pub value: u64,
    /// The smallest value.
    pub low: u64,
    /// The largest value.
    pub high: u64,
}

impl Options {
    /// Checks every setting against its documented range.
    ///
    /// # Errors
    /// The first one that is out of it.
    pub fn validate(&self) -> Result<(), InvalidOption> {
        const KIB: u64 = 1 << 10;
        const MIB: u64 = 1 << 20;
        const HOUR_MS: u64 = 3_600_000;
        let rows: [(&'static str, u64, u64, u64); 14] = [
            ("message_bytes_max", self.message_bytes_max as u64, MIB, 1 << 30),
            ("admin_message_bytes_max", self.admin_message_bytes_max as u64, 64 * KIB, 64 * MIB),
            ("stream_unanswered_max", self.stream_unanswered_max as u64, 1, 1_024),
            (
                "stream_unanswered_partitions_max",
                self.stream_unanswered_partitions_max as u64,
                1,
                1 << 20,
            ),
            (
                "stream_unanswered_messages_max",
                self.stream_unanswered_messages_max as u64,
                1,
                1 << 20,
            ),
            (
                "stream_unanswered_bytes_max",
                self.stream_unanswered_bytes_max as u64,
                64 * KIB,
                1 << 30,
            ),
            ("streams_max", self.streams_max.into(), 1, u64::from(u32::MAX >> 1)),
            ("decoded_bytes_max", self.decoded_bytes_max as u64, MIB, 1 << 30),
            ("keepalive_interval_ms", self.keepalive_interval_ms, 1_000, HOUR_MS),
            ("keepalive_timeout_ms", self.keepalive_timeout_ms, 1_000, HOUR_MS),
            ("stream_window_bytes", self.stream_window_bytes.into(), 65_535, 64 * MIB),
            ("connection_window_bytes", self.connection_window_bytes.into(), 65_535, 256 * MIB),
            ("header_bytes_max", self.header_bytes_max.into(), 4 * KIB, MIB),
            ("health_watch_ms", self.health_watch_ms, 100, 60_000),
        ];
        for (field, value, low, high) in rows {
            if value < low || value > high {
                return Err(InvalidOption { field, value, low, high });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Options::default().validate(), Ok(()));
    }

    #[test]
    fn a_setting_out_of_range_is_named() {
        let options = Options { stream_unanswered_max: 1_025, ..Options::default() };
        let error = options.validate().expect_err("the contract says 1,024");
        assert_eq!(error.to_string(), "grpc.stream_unanswered_max = 1025: must be 1 to 1024");
        let options = Options { stream_window_bytes: 1_000, ..Options::default() };
        assert_eq!(options.validate().expect_err("too small").field, "stream_window_bytes");
    }
}
