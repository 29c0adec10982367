//! What the integration tests stand on: clusters of real `kontiki` processes on loopback, and a
//! ledger that knows what was sent, acknowledged and read.
//!
//! | module | what it holds |
//! |---|---|
//! | [`process`] | one node: its process, its files, its signals |
//! | [`cluster`] | several nodes, their leaders, their health |
//! | [`api`] | calls of `kontiki.v1` to any node that answers |
//! | [`files`] | the files of a node, to be damaged |
//! | [`ledger`] | sent, acknowledged, read; what must hold between them |
//! | [`payload`] | record values that say whose they are and that can be checked byte for byte |
//! | [`writer`] | an idempotent producer that never gives up |
//! | [`reader`] | a partition from its first record to its last |
//! | [`wait`] | conditions instead of sleeps |
//!
//! The binary is only started, never linked: RocksDB is not compiled for these tests. It is
//! found at `KONTIKI_BIN`, else beside the test's own executable in the target folder.

pub mod api;
pub mod cluster;
pub mod files;
pub mod http;
pub mod ledger;
pub mod payload;
pub mod ports;
pub mod process;
pub mod reader;
pub mod scratch;
pub mod wait;
pub mod writer;

pub use api::{Api, CallError};
pub use cluster::{Cluster, Launch};
pub use ledger::{Counts, Ledger};
pub use reader::read_all;
pub use writer::{Writer, WriterOptions};
