//! Limits of the public contract: the same on every node and in every release.

/// Partitions, queries or targets that one request may name.
pub const PARTITIONS_MAX: usize = 1_024;
/// Topic names in one metadata request.
pub const TOPICS_MAX: usize = 10_000;
/// The longest time that a client may give a write.
pub const TIMEOUT_MS_MAX: u32 = 300_000;
/// The time that a write has when the client doesn't say.
pub const TIMEOUT_MS_DEFAULT: u32 = 30_000;
/// The longest that a fetch may wait for records.
pub const WAIT_MS_MAX: u32 = 60_000;
/// Records in one fetch response, in bytes as stored.
pub const FETCH_BYTES_MAX: u32 = 64 << 20;
/// Records in one fetch response when the client doesn't say.
pub const FETCH_BYTES_DEFAULT: u32 = 8 << 20;
/// Records of one partition in one fetch response when the client doesn't say.
pub const PARTITION_BYTES_DEFAULT: u32 = 1 << 20;
/// What a client may allow a fetch stream to send before it allows more.
pub const CREDIT_BYTES_MAX: u64 = 64 << 20;
/// The largest record batch of any topic.
pub const BATCH_BYTES_MAX: u32 = 64 << 20;
/// The longest name of a record's header.
pub const HEADER_NAME_BYTES_MAX: usize = 32_767;
/// Header names that begin like this are the nodes' own.
pub const RESERVED_PREFIX: &str = "kontiki.";
/// Names in one page of a list of topics.
pub const LIST_MAX: u32 = 10_000;
/// Names in one page when the client doesn't say.
pub const LIST_DEFAULT: u32 = 1_000;
/// Settings that one request may name.
pub const SETTINGS_MAX: usize = 64;
/// Routing keys that a published message may have besides its own.
pub const FURTHER_KEYS_MAX: usize = 64;
/// A reply's body and headers, in bytes.
pub const REPLY_BYTES_MAX: usize = 16 << 20;
/// The longest reason of a reply that says what went wrong, in bytes.
pub const REPLY_ERROR_BYTES_MAX: usize = 1_024;
/// The longest correlation id of a reply, in bytes.
pub const CORRELATION_ID_BYTES_MAX: usize = 256;
