//! The use cases of a Kontiki node: what a gateway asks for, whatever protocol it speaks.
//!
//! The broker checks limits, finds the shard, proposes on its leader (here or on another node),
//! waits, and answers. It decides no offset and no duplicate (the state machines do), and knows no
//! wire format of a client.
//!
//! * [`produce`], [`fetch`], [`offsets`], [`records`]: the data path
//! * [`queues`]: messages that are leased and settled; [`exchanges`]: what leads them there
//! * [`subscriptions`]: records of topics that match a pattern and a filter
//! * [`requests`]: messages that are answered
//! * [`topics`], [`metadata`], [`producers`]: what belongs to the catalog
//! * [`cluster`]: membership of nodes, and where shards are
//! * `route`: to the leader of a shard, in order, through its changes
//! * `peer`: what other nodes ask of this one
//! * `machine`, `catalog`, `hub`: the replicas' state machines, and who hears of what they did
//! * `timers`: what leaders do in the background

mod catalog;
pub mod cluster;
mod core;
pub mod error;
pub mod exchanges;
pub mod fetch;
mod filters;
mod hub;
mod machine;
pub mod metadata;
mod metrics;
pub mod offsets;
pub mod options;
mod peer;
pub mod produce;
pub mod producers;
pub mod queues;
mod read;
pub mod records;
pub mod requests;
mod route;
pub mod subscriptions;
mod timers;
pub mod topics;

#[cfg(test)]
mod tests;

pub use self::core::{Broker, Open, Start, StartError};
pub use self::error::{Code, Error, Kind};
pub use self::options::{InvalidOption, Options};
pub use self::peer::PeerService;
pub use self::route::Routing;
