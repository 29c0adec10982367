//! Kafka's record batch, format v2 (magic 2): the bytes in which records are produced, replicated,
//! stored and fetched.
//!
//! | module | what it holds |
//! |---|---|
//! | [`header`](BatchHeader) | the 61 bytes in front of every batch, and their checks |
//! | [`batch`](Batch) | one checked batch; patching of what lies outside of its checksum |
//! | [`builder`](BatchBuilder) | records in, one batch out |
//! | [`record`](Record) | records out of a batch, lazily and without copies |
//! | [`validate`](validate_records) | the deep check of a batch from a stranger |
//! | [`compression`](Compression) | the four codecs, each with a bound on what it may expand to |
//! | [`control`](ControlMarker) | transaction markers |
//! | [`partitioner`](partition_for_key) | which partition a key belongs to |
//!
//! Sans-io: there is no socket, no clock and no task here, and nothing of a server's state. No
//! input can make it panic or allocate more than its [`Limits`] say.
//!
//! Format: <https://kafka.apache.org/documentation/#recordbatch>.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod batch;
mod builder;
mod compression;
mod control;
mod error;
mod header;
mod limits;
mod partitioner;
mod record;
mod validate;
mod varint;
mod wire;

#[cfg(test)]
mod tests;

pub use batch::{Batch, Batches};
pub use builder::BatchBuilder;
pub use compression::{Compression, Decompressor};
pub use control::ControlMarker;
pub use error::Error;
pub use header::{BatchHeader, HEADER_BYTES, PREFIX_BYTES, Producer, TimestampType};
pub use limits::Limits;
pub use partitioner::{murmur2, partition_for_key};
pub use record::{Header, HeaderRefs, Headers, Record, RecordIter, RecordRef, RecordRefs};
pub use validate::validate_records;
