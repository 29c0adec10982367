//! The replicated state machines of Kontiki: what every replica of a shard does with the commands
//! of its Raft log, and nothing else.
//!
//! Two machines: the [`catalog`] (shard 0) knows nodes, topics and where shards are; the
//! [`partition`]s of a data shard keep record batches, producers' sequences and retention, and
//! those
//! that are [`queue`]s what became of each message. Both are pure: the same commands with the same
//! [`Stamp`]s give the same rows and replies on every
//! node. There is no clock, no randomness, no thread and no I/O here beyond reading rows through a
//! [`View`](kontiki_storage::View); changes leave through a
//! [`WriteBatch`](kontiki_storage::WriteBatch).
//!
//! * [`shard`]: commands and replies as bytes, and the machine that the Raft layer drives
//! * [`catalog`], [`partition`]: the machines, and [`partition::read`] for concurrent readers
//! * [`queue`]: leases, delays, priorities, groups, and what becomes of messages in the end
//! * [`settings`]: what can be chosen for a topic
//! * [`filter`]: content filters and patterns, as texts
//! * [`rejection`]: committed refusals with stable codes
//! * [`codec`]: how all of it becomes bytes
//! * [`mutant`]: deliberate bugs, for the simulation
//! * [`hash`]: one number for a whole state, to compare replicas

pub mod catalog;
pub mod codec;
pub mod effect;
pub mod filter;
pub mod hash;
pub mod mutant;
pub mod partition;
pub mod queue;
pub mod rejection;
pub mod settings;
pub mod shard;
pub mod stamp;

pub use effect::Effect;
pub use rejection::Rejection;
pub use stamp::Stamp;

#[cfg(test)]
mod tests;
