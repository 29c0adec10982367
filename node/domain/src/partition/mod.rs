//! The partitions of a data shard: logs of record batches with dense offsets.
//!
//! [`Partitions`] is the state machine. It keeps the rows of all partitions in memory, but neither
//! batches nor (beyond a bounded number) the sequences of producers. Whoever reads records uses
//! [`read`], which works on rows alone and never waits for the machine.

mod apply;
mod command;
mod header;
mod machine;
mod overlay;
mod position;
mod producers;
pub mod read;
mod reply;
mod retention;
mod sequence;
mod state;

pub(crate) use self::apply::append::{self, Checked, Giver};
pub(crate) use self::apply::{Context, Stop};
pub use self::command::{Append, Command, CommitPosition, POSITIONS_MAX, PositionOf};
pub use self::header::{Attributes, BatchHeader, ProducerEpoch, ProducerStamp, Sequence};
pub use self::machine::{DELETED_KEPT_MS, Partitions};
pub use self::position::Position;
pub use self::reply::{Appended, Reply, Trimmed};
pub(crate) use self::retention::decode as decode_batch;
pub use self::sequence::{ProducerState, Remembered, WINDOW_BATCHES};
pub use self::state::{EPOCHS_KEPT, EpochEnd, EpochStart, PartitionState, Phase};

#[cfg(test)]
mod tests;
