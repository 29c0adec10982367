//! Many Raft groups (shards) on one log store: openraft behind one wall.
//!
//! Commands and replies are opaque bytes; what they mean is decided by the [`Machine`] that the
//! caller brings. All shards of a node share one committer (one sync serves all of them), one
//! budget for recent entries, and one stream in each direction to every other node. No type of
//! openraft is visible outside of this crate.

mod codec;
mod committer;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod digest;
mod error;
pub mod inspect;
mod link;
mod log;
mod machine;
mod metrics;
#[cfg(feature = "mutants")]
pub mod mutant;
#[cfg(not(feature = "mutants"))]
mod mutant;
mod node;
mod options;
mod probe;
mod replica;
mod shard;
mod snapshot;
mod succession;
mod types;
mod upkeep;

pub use self::committer::{Answers, Committer};
pub use self::error::{ControlError, FatalError, ProposeError, ReadError, StartError};
pub use self::link::RaftService;
pub use self::machine::{Machine, MachineFactory, Stamp};
pub use self::metrics::Metrics;
pub use self::node::{Clock, Dialer, FatalHook, RaftNode, Start};
pub use self::options::{InvalidOption, Options};
pub use self::probe::{AppliedEntry, NoProbe, Probe};
pub use self::replica::ApplyLock;
pub use self::shard::{Applied, Pending, Role, Shard, Status};
