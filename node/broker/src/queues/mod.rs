//! Queues: send, receive, settle.
//!
//! A queue is a topic with one partition and settings of its own. What its state machine decides
//! (which message comes next, who has it) is in `kontiki_domain::queue`; here are the ways to it.
//!
//! * `send`: messages become a record batch and what they ask for beside it
//! * `pool`: sends, and settlements, of several calls share commands
//! * `receive`, `settle`: leases, by receipts; `peek`: without
//! * `leased`: what a receive doesn't hand on is given back
//! * `admin`: create, change, look at, purge; `settings`, `classes`: settings as texts
//! * `desk`: receivers of one queue share commands; `prepared`: the one that they wait with
//! * `consumers`: who they are, whose turn it is, and whether a queue goes by itself; `breaker`:
//!   whether it delivers; `attend`: what consumers say besides asking for messages
//! * `dues`: when which queue has something to do; `timers::queues` does it
//! * `redrive`: messages go to another queue, or back, because an operator wants so; `sift`: which
//! * `envelope`: what a message is told when it moves; `path`: where it has been
//! * `gauges`: figures of the longest queues
//! * `receipt`: what names a lease

mod admin;
mod attend;
mod breaker;
mod classes;
mod consumers;
mod desk;
mod dues;
mod envelope;
mod gauges;
mod leased;
mod path;
mod peek;
mod pool;
mod prepared;
mod receipt;
mod receive;
mod redrive;
pub(crate) mod send;
mod settings;
mod settle;
mod sift;

use std::sync::Arc;

use kontiki_domain::catalog::Catalog;
use kontiki_domain::queue::{QueueSettings, Reply};

pub use self::admin::{Create, Description, Listed, Totals};
pub use self::breaker::BreakerState;
pub(crate) use self::consumers::{Consumers, OfQueue, Shown, Why};
pub(crate) use self::desk::{Desks, Wish};
pub(crate) use self::dues::{Due, Dues};
pub(crate) use self::envelope::{bare, envelope, unchanged};
pub(crate) use self::gauges::Gauges;
pub(crate) use self::leased::Leased;
pub(crate) use self::path::Path;
pub use self::peek::{Peeked, Standing};
pub(crate) use self::pool::Pools;
pub(crate) use self::prepared::Prepared;
pub(crate) use self::receive::records_of;
pub use self::receive::{Message, Receive};
pub use self::redrive::{Language, Progress, Redrive, Redriving, Status, Task};
pub use self::send::{Outgoing, Send, Sent};
pub(crate) use self::settle::Wishes;
pub use self::settle::{Action, Said, Settle, Settled};
pub(crate) use self::sift::go_on;
use crate::catalog::Place;
use crate::core::Core;
use crate::error::{Code, Error, Kind};

/// Messages that one call may send, receive or settle.
pub const MESSAGES_MAX: usize = 1_000;
/// The longest that a receive may wait for messages.
pub const WAIT_MS_MAX: u32 = 60_000;
/// Longest name of a FIFO group or deduplication id, in bytes.
pub const ID_BYTES_MAX: usize = 128;
/// Longest id of a consumer, in bytes.
pub const CONSUMER_BYTES_MAX: usize = 128;

impl Core {
    /// Where a queue is, and what it is set to.
    pub(crate) fn queue(&self, name: &str) -> Result<(Place, Arc<QueueSettings>), Error> {
        self.catalog.look(|catalog| find(catalog, name))
    }
}

pub(crate) fn find(catalog: &Catalog, name: &str) -> Result<(Place, Arc<QueueSettings>), Error> {
    if catalog.cluster().is_none() {
        return Err(Error::not_ready());
    }
    let topic = catalog.topic_named(name).ok_or_else(|| unknown(name))?;
    let settings = topic.queue.clone().ok_or_else(|| {
        let detail =
            format!("{name} is a topic and not a queue: name a queue, or produce and fetch");
        Error::new(Kind::Invalid, Code::NOT_A_QUEUE, detail)
    })?;
    let at = topic.partitions.first().ok_or_else(|| unknown(name))?;
    Ok((Place { topic: topic.topic, partition: at.partition, shard: at.shard }, settings))
}

pub(crate) fn unknown(name: &str) -> Error {
    let detail = format!("queue {name} does not exist: create it, or correct the name");
    Error::new(Kind::NotFound, Code::UNKNOWN_QUEUE, detail)
}

/// A failure in words of the caller, who knows queues by name.
pub(crate) fn of_queue(name: &str, error: Error) -> Error {
    if error.kind == Kind::NotFound {
        return unknown(name);
    }
    error.about(format_args!("queue {name}"))
}

/// A queue has said something that is no answer to what it was asked.
pub(crate) fn misunderstood(reply: &Reply) -> Error {
    Error::internal(format!("a queue was asked for something else than {reply:?}"))
}

pub(crate) fn within(field: &str, count: usize) -> Result<(), Error> {
    if (1..=MESSAGES_MAX).contains(&count) {
        return Ok(());
    }
    Err(Error::invalid(&format!("the number of {field}"), count, &format!("1 to {MESSAGES_MAX}")))
}
