//! Where bytes are kept: ordered rows in an [`Engine`](engine::Engine), large payloads in
//! [segments](payload), and the ids and keys that name them.
//!
//! This crate has the vocabulary, the in-memory implementations that can lose and damage data like
//! a disk does, and the segment files. The engine for production is a crate of its own. Nothing
//! here knows what a row means.

pub mod accounting;
pub mod batch;
pub mod compaction;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod engine;
pub mod error;
pub mod files;
pub mod id;
pub mod key;
pub mod memory;
pub mod payload;
mod pins;
pub mod row;

pub use accounting::Accounting;
pub use batch::WriteBatch;
pub use engine::{Engine, Family, View};
pub use error::Error;
