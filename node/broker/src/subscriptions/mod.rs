//! Subscriptions: records of all topics whose names match a pattern, as far as a filter wants them.
//!
//! The node that a client is connected to asks the leaders of all partitions, which evaluate the
//! filter, and merges what they answer. An ephemeral subscription is gone with its client; a
//! durable one is in the catalog, and its positions are in the shards of the partitions.
//!
//! * `open`: opens one; `stream`: one that is open
//! * `parts`: its partitions, and where it is in each; `ready`: what it has read ahead
//! * `start`: where it begins; `commit`: how far it has come
//! * `attach`: one consumer at a time for a durable one; `keep`: that consumer's side of it
//! * `admin`: create, delete, list; `sessions`: what is open on this node
//! * `filters`: filters as they are compiled

mod admin;
mod attach;
mod commit;
mod filters;
mod keep;
mod open;
mod parts;
mod ready;
mod sessions;
mod start;
mod stream;

use std::sync::Arc;

pub use kontiki_domain::catalog::Start;
pub use kontiki_domain::filter::{FilterText, Language, PatternSyntax};
use kontiki_routing::Pattern;

pub use self::admin::{Create, Description, Lag, Listed};
pub(crate) use self::attach::Attachments;
pub(crate) use self::filters::Filters;
pub(crate) use self::sessions::Sessions;
pub use self::sessions::{Counts, Open};
pub use self::stream::Subscribed;
use crate::error::{Code, Error, Kind};

/// Messages that a client may allow at a time.
pub const CREDIT_MAX: u32 = 10_000;
/// Positions that one request may name.
pub const POSITIONS_MAX: usize = 10_000;

/// What a client wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscribe {
    /// Over the names of topics. Of a durable subscription: empty, or what it has.
    pub pattern: String,
    /// How the pattern is written.
    pub syntax: PatternSyntax,
    /// Which records. Of a durable subscription: none, or what it has.
    pub filter: Option<FilterText>,
    /// Where to begin; `None`: at the end. Of a durable subscription: only with `reset`.
    pub start: Option<Start>,
    /// The name of a durable subscription; empty: an ephemeral one.
    pub name: String,
    /// Take a durable subscription over from the consumer that has it.
    pub takeover: bool,
    /// Set the positions of a durable subscription anew, by `start`.
    pub reset: bool,
    /// Where an ephemeral subscription goes on. Partitions that aren't named are new, and begin at
    /// their log start.
    pub positions: Vec<PositionAt>,
}

/// Where a subscription is in a partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PositionAt {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: u32,
    /// The next offset.
    pub offset: u64,
}

/// What a subscription says.
#[derive(Debug, Clone)]
pub enum Output {
    /// Records of one partition that match, with their offsets, in their order.
    Records {
        /// Everything below it has been delivered, or doesn't match.
        position: PositionAt,
        /// The records.
        records: Vec<(u64, kontiki_records::Record)>,
    },
    /// Where it is: at the beginning of all partitions, later of those that have moved on over
    /// records that don't match, or have joined.
    Positions(Vec<PositionAt>),
}

/// Compiles a pattern.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn pattern(text: &str, syntax: PatternSyntax) -> Result<Pattern, Error> {
    if text.is_empty() {
        let expected = "a pattern over the names of topics, such as orders.*";
        return Err(Error::invalid("pattern", "empty", expected));
    }
    let syntax = crate::filters::syntax(syntax);
    let wrong = |error| Error::new(Kind::Invalid, Code::INVALID_FIELD, format!("pattern: {error}"));
    Pattern::compile(text, syntax).map_err(wrong)
}

fn unknown(name: &str) -> Error {
    kontiki_domain::Rejection::UnknownSubscription(name.to_owned()).into()
}
