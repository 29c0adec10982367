//! Queues: the delivery of a partition's messages, each to one consumer at a time, until it is
//! settled.
//!
//! A queue is a partition (its log of record batches, its dense offsets) and what is known of the
//! delivery of its messages. A message that simply waits for its turn is only a number in the range
//! from the cursor to the log's end; only what differs has a row of its own: a message that is
//! leased,
//! that waits for a time, that has a priority, a group or an expiry, or that was settled before the
//! cursor came to it. In memory are the messages that are leased or that come again after a lease,
//! of which there are at most `in_flight_max`, and nothing that grows with the depth of the queue.
//!
//! A message is in one of these places:
//!
//! | place | rows | in memory |
//! |---|---|---|
//! | in order, nothing special | none (from the cursor on) | - |
//! | in order, with attributes | mark | - |
//! | in order in a FIFO queue, and waits for a time | mark, due | - |
//! | waits for a time, or did, and has no priority | mark, due | - |
//! | waits out of order (priority) | mark, ready | - |
//! | leased, or returned after a lease | held | yes |
//! | on its way to another queue | mark, outbox | - |
//! | settled, and the cursor is not there yet | mark | - |
//!
//! A message of which a delivery failed has a history besides, if the queue has a dead-letter
//! queue. In a queue with fair groups, a message with a group has a mark and a row under its group;
//! groups that the cursor has passed over, for others with fewer in flight, are in memory by their
//! next message (`fair`).
//!
//! An operator's wish to move messages elsewhere is a task with a row of its own: what is to be
//! moved, how far it is, how it ended. Each of its steps moves messages and says so in one command.
//!
//! [`Acquire`](Command::Acquire) takes what was returned first, then what waits out of order, then
//! what the cursor meets; with weighted priorities, the classes have turns (`shares`). A record
//! batch leaves the log when all of its messages are settled, whatever becomes of those before it.

mod apply;
mod batches;
mod begins;
mod breaker;
mod classes;
mod command;
mod fair;
mod held;
mod history;
mod machine;
mod mark;
mod pending;
mod ranked;
pub mod read;
mod ready;
mod redrive;
mod reply;
mod settings;
mod shares;
mod state;

pub use self::breaker::Breaker;
pub use self::classes::{CLASS_BYTES_MAX, CLASSES_MAX, Retry, is_class};
pub use self::command::{
    Acquire, Action, Attributes, Brings, Command, Dropped, Enqueue, Origin, Reason, Settlement,
    Shared, Transfer,
};
pub use self::held::Place;
pub use self::history::{ATTEMPTS_KEPT, Attempt, ERROR_BYTES_MAX, History, How};
pub use self::machine::Queues;
pub use self::mark::Message;
pub use self::redrive::{
    RedriveMove, RedriveProgress, RedriveSpec, RedriveStatus, RedriveStep, RedriveTask,
    limits as redrive_limits,
};
pub use self::reply::{Enqueued, Grant, Reply, Settled};
pub use self::settings::{Backoff, Counter, Deduplication, Overflow, PriorityOrder, QueueSettings};
pub use self::state::{Counts, QueueState, Totals};

#[cfg(test)]
mod tests;
