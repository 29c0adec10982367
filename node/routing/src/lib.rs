//! Routing: which queues a message goes to, by the exchange that it was published to, its routing
//! key and its headers.
//!
//! | module | what it holds |
//! |---|---|
//! | [`table`](Table) | exchanges and bindings by name, and the way of a message through them |
//! | [`exchange`](Declaration) | what an exchange is, and its index: a hash table, a trie, a ring |
//! | [`binding`](Binding) | what leads from an exchange to a queue or to another exchange |
//! | [`pattern`](Pattern) | one topic pattern, in the syntax of AMQP or of NATS |
//! | `trie`, `words` | all patterns of an exchange, matched at once |
//! | [`headers`](Headers), `arguments` | what bindings ask of headers, and who asks for what |
//! | `ring`, `hash` | consistent hashing; the hash function is frozen |
//! | [`routed`](Routed) | the queues of one message, and memory that is used again |
//! | [`limits`] | how large things may be |
//! | `slab`, `sinks`, `marks` | small numbers instead of names |
//!
//! A table is compiled on every node from what is committed elsewhere, and is changed as that
//! changes. Sans-io: there is no clock, no task and no randomness here, nothing is stored, and
//! whether a queue exists is not known. The default exchange `""` is not in a table; see [`Table`].
//!
//! Semantics: AMQP 0-9-1 with RabbitMQ's extensions (exchange-to-exchange bindings, alternate
//! exchanges, `x-match` with `-with-x`, consistent-hash exchanges), with one difference: a binding
//! that would make a loop of exchanges is refused.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod arguments;
mod binding;
mod error;
mod exchange;
mod hash;
mod headers;
pub mod limits;
mod marks;
mod pattern;
mod ring;
mod routed;
mod sinks;
mod slab;
mod table;
mod trie;
mod words;

#[cfg(test)]
mod tests;

pub use binding::{Binding, Candidate, Destination, GateId, QueueId, Verdict};
pub use error::Error;
pub use exchange::{Declaration, Kind};
pub use headers::Headers;
pub use pattern::{Pattern, Syntax};
pub use routed::Routed;
pub use table::Table;
