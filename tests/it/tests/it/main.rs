//! Clusters of real processes under real faults. One binary, because each would have to be linked.
//!
//! | module | what it does to a cluster |
//! |---|---|
//! | `records` | nothing at all: what well-behaved clients see |
//! | `queues` | nothing, and then kills its nodes while workers work |
//! | `exchanges` | kills a node while messages are published |
//! | `subscriptions` | kills its nodes while subscribers read |
//! | `redrives` | kills the nodes that move messages |
//! | `requests` | nothing: who asks and who replies are on different nodes |
//! | `survive` | kills, stops and restarts its nodes while it is written to |
//! | `disk` | loses, fills and damages the disks of its nodes |
//! | `membership` | adds and removes nodes under load |
//! | `strangers` | sends what a client must not send |
//! | `command_line` | a file through it with the binary's own commands |
//! | `crowd` | holds ten thousand connections, and reads nothing |
//!
//! Every one that writes counts the records that it sent, got acknowledged and read, and compares
//! them one by one.

// Every function of this crate is part of a test.
#![allow(clippy::unwrap_used)]

mod command_line;
mod crowd;
mod disk;
mod exchanges;
mod membership;
mod queues;
mod records;
mod redrives;
mod requests;
mod scene;
mod strangers;
mod subscriptions;
mod survive;
