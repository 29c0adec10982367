//! Every limit and time of the broker, by what it belongs to.
//!
//! A limit that is part of the public contract (how many partitions one request may name, how long
//! a client may wait) is in [`bounds`] and can't be configured; what depends on the machine is
//! here.

use serde::{Deserialize, Serialize};

pub mod bounds;
mod subscribe;

pub use self::subscribe::SubscribeOptions;

/// Settings of the broker. Milliseconds and bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Writing.
    pub produce: ProduceOptions,
    /// Reading.
    pub fetch: FetchOptions,
    /// Finding leaders, and asking other nodes.
    pub route: RouteOptions,
    /// What leaders do in the background.
    pub timers: TimerOptions,
    /// Changes of topics.
    pub topics: TopicOptions,
    /// Subscriptions.
    pub subscribe: SubscribeOptions,
    /// Requests that wait for replies.
    pub requests: RequestOptions,
    /// Queues.
    pub queues: QueueOptions,
}

/// Queues: what shares a command, and what is shown of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueOptions {
    /// Queues that `/metrics` shows one by one: the longest of those that this node leads.
    /// 0 ..= 10,000; default 100.
    pub gauges_max: usize,
    /// Messages of several calls are sent to a queue in one batch, while an earlier one is under
    /// way, up to this many bytes, and no more than the queue's `message_bytes_max`; 0: each call
    /// by itself. Default 512 KiB.
    pub gather_bytes_max: usize,
    /// Messages that wait to be sent to queues, and as many that wait to be settled, while earlier
    /// ones are under way; over it, calls are refused as throttled. 1 up; default 200,000.
    pub waiting_max: usize,
    /// Messages that one command stores or settles for several calls. 1 ..= 100,000; default 4,096.
    pub gather_messages_max: usize,
    /// Bytes of messages in one answer to a receive or a peek, but at least one message; what was
    /// leased beyond it is given back at once, and that is no attempt. The answer is some percent
    /// larger than that: the default fits into the 4 MiB that gRPC clients take if they are not
    /// told otherwise. 4 KiB ..= 32 MiB; default 3 MiB.
    pub receive_bytes_max: usize,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            gauges_max: 100,
            gather_bytes_max: 512 << 10,
            waiting_max: 200_000,
            gather_messages_max: 4_096,
            receive_bytes_max: 3 << 20,
        }
    }
}

/// Limits on writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProduceOptions {
    /// Bytes of records that this node has taken from clients and not answered yet; over it,
    /// requests are refused as throttled. At least one request of any size is taken. 1 MiB up;
    /// default 128 MiB.
    pub in_flight_bytes_max: usize,
    /// When a client whose request was throttled is asked to try again. 1 ..= 60,000; default 100.
    pub retry_after_ms: u32,
    /// What the records of one batch may be after decompression: ten times the topic's
    /// `message_bytes_max`, at least 10 MiB, at most this. 10 MiB ..= 2 GiB - 1; default 128 MiB.
    pub decompressed_bytes_max: u32,
    /// Records in one batch. 1 up; default 1,000,000.
    pub records_max: u32,
    /// Headers on one record. Default 1,024.
    pub headers_max: u32,
    /// Plain records of several requests are gathered into one batch, while an earlier batch of
    /// the partition is under way, up to this many bytes; 0 turns it off. Default 64 KiB.
    pub gather_bytes_max: usize,
    /// Requests gathered into one batch. 1 up; default 1,024.
    pub gather_requests_max: usize,
}

impl Default for ProduceOptions {
    fn default() -> Self {
        Self {
            in_flight_bytes_max: 128 << 20,
            retry_after_ms: 100,
            decompressed_bytes_max: 128 << 20,
            records_max: 1_000_000,
            headers_max: 1_024,
            gather_bytes_max: 64 << 10,
            gather_requests_max: 1_024,
        }
    }
}

/// Limits on reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FetchOptions {
    /// Fetches that wait for records of shards that this node leads; over it, a fetch that would
    /// have to wait is refused as throttled. 1 up; default 10,000.
    pub waiting_max: usize,
    /// Bytes of records read for clients and not sent yet; over it, fetches are refused as
    /// throttled. At least one answer of any size is given. 1 MiB up; default 256 MiB.
    pub response_bytes_max: usize,
    /// When a client whose request was throttled is asked to try again. 1 ..= 60,000; default 100.
    pub retry_after_ms: u32,
    /// Partitions that one fetch stream may have open. 1 up; default 1,024.
    pub stream_partitions_max: usize,
    /// Bytes of records in one message of a fetch stream (at least one batch). 4 KiB up; default
    /// 1 MiB.
    pub stream_message_bytes: u32,
    /// How often a fetch or a fetch stream that receives nothing makes sure that it still hears of
    /// new records. 100 up; default 5,000.
    pub stream_check_ms: u64,
    /// Batches of one partition that are read at a time. 16 up; default 1,024.
    pub rows_max: usize,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            waiting_max: 10_000,
            response_bytes_max: 256 << 20,
            retry_after_ms: 100,
            stream_partitions_max: 1_024,
            stream_message_bytes: 1 << 20,
            stream_check_ms: 5_000,
            rows_max: 1_024,
        }
    }
}

/// How leaders are found and other nodes asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteOptions {
    /// Proposals that wait for a shard to get a leader; over it, they are refused as throttled.
    /// 1 up; default 4,096.
    pub waiting_max: usize,
    /// When leadership has moved, proposals wait this long for the answers to those that went to
    /// the former leader, so that what it refused can be sent again in its order. Default 250.
    pub settle_ms: u64,
    /// How long to wait before asking again when it is not known who leads. 1 up; default 50.
    pub retry_ms: u64,
    /// Proposals sent to one node and not answered; over it, they are refused as throttled.
    /// 1 up; default 8,192.
    pub forward_requests_max: usize,
    /// Bytes of proposals sent to one node and not answered. 1 MiB up; default 64 MiB.
    pub forward_bytes_max: usize,
    /// The largest message between nodes. At least 64 MiB + 64 KiB; default 80 MiB.
    pub message_bytes_max: usize,
    /// The longest that a call which has no deadline of its own waits. 100 up; default 30,000.
    pub timeout_ms: u64,
    /// How long opening the stream of proposals to another node may take. 50 up; default 2,000.
    pub open_timeout_ms: u64,
}

impl Default for RouteOptions {
    fn default() -> Self {
        Self {
            waiting_max: 4_096,
            settle_ms: 250,
            retry_ms: 50,
            forward_requests_max: 8_192,
            forward_bytes_max: 64 << 20,
            message_bytes_max: 80 << 20,
            timeout_ms: 30_000,
            open_timeout_ms: 2_000,
        }
    }
}

/// What a shard's leader does from time to time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimerOptions {
    /// How often some partitions are looked at for records to remove; all of them are within a
    /// minute. 10 up; default 5,000.
    pub retention_check_ms: u64,
    /// Batches removed by one command. 1 ..= 100,000; default 1,000.
    pub retention_batches: u32,
    /// How often shards are looked at for producers to forget. 10 up; default 60,000.
    pub expiry_check_ms: u64,
    /// Producers forgotten by one command. 1 ..= 100,000; default 1,000.
    pub expiry_producers: u32,
    /// How often the catalog is compared with what its partitions are. 10 up; default 2,000.
    pub topics_check_ms: u64,
    /// Rows of a deleted partition removed by one command. 1 ..= 100,000; default 1,000.
    pub purge_rows: u32,
    /// Partitions looked at before others get their turn. 1 up; default 256.
    pub partitions_at_once: usize,
}

impl Default for TimerOptions {
    fn default() -> Self {
        Self {
            retention_check_ms: 5_000,
            retention_batches: 1_000,
            expiry_check_ms: 60_000,
            expiry_producers: 1_000,
            topics_check_ms: 2_000,
            purge_rows: 1_000,
            partitions_at_once: 256,
        }
    }
}

/// How changes of topics reach their partitions and all nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopicOptions {
    /// Partitions that one request creates or changes at a time. 1 ..= 4,096; default 64.
    pub partitions_at_once: usize,
    /// How long a request that has changed the catalog waits for the copies on other nodes, so
    /// that its caller finds the change on any of them. Nodes that can't be reached are not waited
    /// for. 0 ..= 60,000; default 1,000.
    pub visible_ms: u64,
    /// Producer ids that a node takes from the catalog at a time; those that are left when it
    /// stops are not used. 1 ..= 1,000,000; default 1,000.
    pub producer_ids: u32,
}

impl Default for TopicOptions {
    fn default() -> Self {
        Self { partitions_at_once: 64, visible_ms: 1_000, producer_ids: 1_000 }
    }
}

/// Requests that wait for replies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequestOptions {
    /// Requests that wait for a reply on this node; over it, further ones are refused as throttled.
    /// Each takes some 200 bytes. 1 up; default 10,000.
    pub waiting_max: usize,
    /// When a client whose request was throttled is asked to try again. 1 ..= 60,000; default 100.
    pub retry_after_ms: u32,
}

impl Default for RequestOptions {
    fn default() -> Self {
        Self { waiting_max: 10_000, retry_after_ms: 100 }
    }
}

/// A setting that can't work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("broker.{field} = {value}: must be {low} to {high}")]
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
        const ANY: u64 = u64::MAX;
        const MIB: u64 = 1 << 20;
        let Self { produce, fetch, route, timers, topics, subscribe, requests, queues } = self;
        let rows: &[(&'static str, u64, u64, u64)] = &[
            ("produce.in_flight_bytes_max", produce.in_flight_bytes_max as u64, MIB, ANY),
            ("produce.retry_after_ms", produce.retry_after_ms.into(), 1, 60_000),
            (
                "produce.decompressed_bytes_max",
                produce.decompressed_bytes_max.into(),
                10 * MIB,
                (1 << 31) - 1,
            ),
            ("produce.records_max", produce.records_max.into(), 1, (1 << 31) - 1),
            ("produce.headers_max", produce.headers_max.into(), 0, (1 << 31) - 1),
            ("produce.gather_bytes_max", produce.gather_bytes_max as u64, 0, 64 * MIB),
            ("produce.gather_requests_max", produce.gather_requests_max as u64, 1, ANY),
            ("fetch.waiting_max", fetch.waiting_max as u64, 1, ANY),
            ("fetch.response_bytes_max", fetch.response_bytes_max as u64, MIB, ANY),
            ("fetch.retry_after_ms", fetch.retry_after_ms.into(), 1, 60_000),
            ("fetch.stream_partitions_max", fetch.stream_partitions_max as u64, 1, ANY),
            ("fetch.stream_message_bytes", fetch.stream_message_bytes.into(), 4096, 64 * MIB),
            ("fetch.stream_check_ms", fetch.stream_check_ms, 100, ANY),
            ("fetch.rows_max", fetch.rows_max as u64, 16, ANY),
            ("route.waiting_max", route.waiting_max as u64, 1, ANY),
            ("route.settle_ms", route.settle_ms, 0, 60_000),
            ("route.retry_ms", route.retry_ms, 1, 60_000),
            ("route.forward_requests_max", route.forward_requests_max as u64, 1, 1 << 20),
            ("route.forward_bytes_max", route.forward_bytes_max as u64, MIB, ANY),
            (
                "route.message_bytes_max",
                route.message_bytes_max as u64,
                64 * MIB + 65_536,
                (1 << 31) - 1,
            ),
            ("route.timeout_ms", route.timeout_ms, 100, 300_000),
            ("route.open_timeout_ms", route.open_timeout_ms, 50, 60_000),
            ("timers.retention_check_ms", timers.retention_check_ms, 10, ANY),
            ("timers.retention_batches", timers.retention_batches.into(), 1, 100_000),
            ("timers.expiry_check_ms", timers.expiry_check_ms, 10, ANY),
            ("timers.expiry_producers", timers.expiry_producers.into(), 1, 100_000),
            ("timers.topics_check_ms", timers.topics_check_ms, 10, ANY),
            ("timers.purge_rows", timers.purge_rows.into(), 1, 100_000),
            ("timers.partitions_at_once", timers.partitions_at_once as u64, 1, ANY),
            ("topics.partitions_at_once", topics.partitions_at_once as u64, 1, 4_096),
            ("topics.visible_ms", topics.visible_ms, 0, 60_000),
            ("topics.producer_ids", topics.producer_ids.into(), 1, 1_000_000),
            ("requests.waiting_max", requests.waiting_max as u64, 1, ANY),
            ("requests.retry_after_ms", requests.retry_after_ms.into(), 1, 60_000),
            ("queues.gauges_max", queues.gauges_max as u64, 0, 10_000),
            ("queues.gather_bytes_max", queues.gather_bytes_max as u64, 0, 64 * MIB),
            ("queues.waiting_max", queues.waiting_max as u64, 1, ANY),
            ("queues.gather_messages_max", queues.gather_messages_max as u64, 1, 100_000),
            ("queues.receive_bytes_max", queues.receive_bytes_max as u64, 4096, 32 * MIB),
        ];
        for (field, value, low, high) in rows.iter().copied().chain(subscribe.ranges()) {
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
    fn a_value_out_of_range_is_named_with_its_range() {
        let mut options = Options::default();
        options.fetch.rows_max = 3;
        let error = options.validate().expect_err("3 is below the range");
        let text = error.to_string();
        assert!(text.starts_with("broker.fetch.rows_max = 3: must be 16 to "), "{text}");
    }
}
