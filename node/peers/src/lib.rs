//! Other brokers beside ours: the same work, on three nodes of each on this machine, in one run and
//! by turns, and what it cost them. It is a measurement and no part of a node.
//!
//! - [`run`] is the whole of it; [`PeersArgs`] is what may be asked for.
//! - `system` starts clusters (ours, RabbitMQ's, NATS's) and is their producers and consumers;
//!   `workload` is what they are given to do: the same code for all of them.
//! - [`figures`] are what a run found, and several of them; [`table`] makes one table of it;
//!   [`memory`] watches how much nodes have.
//! - [`config`] is how the others are configured, [`children`] how processes are started and ended.
//!
//! What needs the clients of others is behind the feature `clients`.

pub mod children;
pub mod config;
pub mod figures;
pub mod memory;
pub mod table;

#[cfg(feature = "clients")]
mod args;
#[cfg(feature = "clients")]
mod run;
#[cfg(feature = "clients")]
mod system;
#[cfg(feature = "clients")]
mod workload;

#[cfg(feature = "clients")]
pub use self::args::{Ground, PeersArgs};
#[cfg(feature = "clients")]
pub use self::run::run;
