//! One node with everything but a network: founds a cluster in memory, writes, reads, forgets.

mod background;
mod between_exchanges;
mod consumers;
mod exchanges;
mod failures;
mod further_keys;
mod moves;
mod node;
mod pooled;
mod publishing;
mod reading;
mod receiving;
mod redrives;
mod requests;
mod subscribing;
