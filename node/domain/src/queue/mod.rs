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
//! | waits for a time | mark, due | - |
//! | waits out of order (priority, or was due) | mark, ready | - |
//! | leased, or returned after a lease | held | yes |
//! | on its way to another queue | mark, outbox | - |
//! | settled, and the cursor is not there yet | mark | - |
//!
//! [`Acquire`](Command::Acquire) takes what was returned first, then what waits out of order, then
//! what the cursor meets. A record batch leaves the log when all of its messages are settled,
//! whatever becomes of those before it.

mod apply;
mod batches;
mod breaker;
mod command;
mod held;
mod machine;
mod mark;
mod pending;
pub mod read;
mod ready;
mod reply;
mod settings;
mod state;

pub use self::breaker::Breaker;
pub use self::command::{
    Acquire, Action, Attributes, Command, Enqueue, Origin, Settlement, Transfer,
};
pub use self::held::Place;
pub use self::machine::Queues;
pub use self::mark::Message;
pub use self::reply::{Enqueued, Grant, Reply, Settled};
pub use self::settings::{Backoff, Counter, Deduplication, Overflow, QueueSettings};
pub use self::state::{Counts, QueueState, Totals};

#[cfg(test)]
mod tests;
