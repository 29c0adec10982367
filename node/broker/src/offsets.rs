//! Finds offsets: the earliest, the latest, or by time.

use crate::core::Broker;
use crate::error::Error;
use crate::route::Routing;

/// Which offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The log start.
    Earliest,
    /// The high watermark.
    Latest,
    /// The first record with this timestamp or a later one, milliseconds since 1970.
    Timestamp(i64),
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: u32,
    /// Which offset.
    pub at: At,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The offset and, of a record found by time, its timestamp. `None`: no record is that new.
    pub offset: Option<(u64, Option<i64>)>,
    /// Raft term of the shard.
    pub leader_epoch: u64,
}

impl Broker {
    /// Answers each query, in order.
    ///
    /// # Errors
    /// No queries, or more than [`crate::options::bounds::PARTITIONS_MAX`].
    pub async fn list_offsets(
        &self,
        queries: Vec<Query>,
        routing: Routing,
    ) -> Result<Vec<Result<Found, Error>>, Error> {
        let _ = (queries, routing);
        Err(Error::internal("to be written"))
    }
}
