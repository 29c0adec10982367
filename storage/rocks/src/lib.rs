//! The storage engine on RocksDB.
//!
//! # What survives a crash
//! Every write goes to RocksDB's write-ahead log, whose buffer is handed to the system by
//! [`sync`](kontiki_storage::Engine::sync) and not by each write. Recovery replays that log up to
//! the first record that is damaged or missing (`PointInTime`), because a power cut may leave the
//! pages of an unfinished sync in any order: stricter modes would refuse such a store, on all
//! nodes at once where they share the power. That alone would also drop damaged writes that had
//! been synced, so a [mark](mark) beside the log says up to which sequence all was durable: a
//! store that comes back with less is reported as corrupt. The mark is at most
//! [`mark_interval_ms`](Options::mark_interval_ms) of syncs behind: damage to writes that were
//! synced after it can't be told from a torn tail, and is not noticed.

pub mod mark;

mod engine;
mod options;
mod space;
mod tuning;
mod view;

pub use engine::RocksEngine;
pub use options::{InvalidOption, Options};

#[cfg(test)]
mod engine_test;
