//! Records: as they are handed to the producer, and as they come out of the consumer.

use std::sync::Arc;

use bytes::Bytes;
pub use kontiki_records::Header;

/// A record to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// The topic, which has to exist.
    pub topic: Arc<str>,
    /// The partition. Where it is not given, the key decides (murmur2, as Kafka's clients do it);
    /// records without a key go to one partition after the other, batch by batch.
    pub partition: Option<u32>,
    /// None is null, which differs from empty.
    pub key: Option<Bytes>,
    /// None is null.
    pub value: Option<Bytes>,
    /// In this order; names may repeat.
    pub headers: Vec<Header>,
    /// Milliseconds since 1970. None: when it is handed to the producer.
    pub timestamp_ms: Option<i64>,
}

impl NewRecord {
    /// A record without key and headers.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, value: impl Into<Bytes>) -> Self {
        let value = Some(value.into());
        Self { value, ..Self::tombstone(topic) }
    }

    /// A record without a value.
    #[must_use]
    pub fn tombstone(topic: impl Into<Arc<str>>) -> Self {
        Self {
            topic: topic.into(),
            partition: None,
            key: None,
            value: None,
            headers: Vec::new(),
            timestamp_ms: None,
        }
    }

    /// With a key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// To this partition.
    #[must_use]
    pub fn partition(mut self, partition: u32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        let name = Bytes::from(name.into());
        self.headers.push(Header { name, value: Some(value.into()) });
        self
    }

    /// With this time, in milliseconds since 1970.
    #[must_use]
    pub fn timestamp_ms(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }
}

/// A record that was read. Its parts share the memory of its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumedRecord {
    /// Its place in the partition.
    pub offset: u64,
    /// Milliseconds since 1970: of its creation or of its append, as the topic has it.
    pub timestamp_ms: i64,
    /// None is null.
    pub key: Option<Bytes>,
    /// None is null.
    pub value: Option<Bytes>,
    /// In the order in which they were written.
    pub headers: Vec<Header>,
}
