//! One node with everything but a network: founds a cluster in memory, writes, reads, forgets.

mod background;
mod node;
mod queues;
mod reading;
