//! Finds offsets: the earliest, the latest, or by time.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use kontiki_storage::id::{PartitionId, ShardId};

use crate::core::Broker;
use crate::error::Error;
use crate::options::bounds;
use crate::read::wire;
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
    /// No queries, or more than [`bounds::PARTITIONS_MAX`].
    pub async fn list_offsets(
        &self,
        queries: Vec<Query>,
        routing: Routing,
    ) -> Result<Vec<Result<Found, Error>>, Error> {
        let core = &self.0;
        let count = queries.len();
        if count == 0 || count > bounds::PARTITIONS_MAX {
            let expected = format!("1 to {}", bounds::PARTITIONS_MAX);
            return Err(Error::invalid("the number of queries", count, &expected));
        }
        let mut outcomes: Vec<Option<Result<Found, Error>>> = Vec::new();
        outcomes.resize_with(count, || None);
        let mut shards: BTreeMap<ShardId, Vec<(usize, PartitionId)>> = BTreeMap::new();
        for (at, query) in queries.iter().enumerate() {
            match core.catalog.place(&query.topic, query.partition) {
                Ok(place) => shards.entry(place.shard).or_default().push((at, place.partition)),
                Err(error) => outcomes[at] = Some(Err(error)),
            }
        }
        let deadline = core.default_deadline();
        let asked = shards.into_iter().map(|(shard, places)| {
            let asked = places.iter().map(|(at, id)| (*id, queries[*at].at.into())).collect();
            async move { (places, core.read_offsets(shard, asked, deadline, routing).await) }
        });
        for (places, answer) in join_all(asked).await {
            let about = |at: usize, error: Error| {
                error.about(format_args!("{}/{}", queries[at].topic, queries[at].partition))
            };
            match answer {
                Ok(found) => {
                    for ((at, _), found) in places.into_iter().zip(found) {
                        let found = found.map(Found::from);
                        outcomes[at] = Some(found.map_err(|error| about(at, error)));
                    }
                }
                Err(error) => {
                    for (at, _) in places {
                        outcomes[at] = Some(Err(about(at, error.clone())));
                    }
                }
            }
        }
        let outcomes = outcomes.into_iter();
        Ok(outcomes.map(|outcome| outcome.expect("every query was asked or refused")).collect())
    }
}

impl From<At> for wire::At {
    fn from(at: At) -> Self {
        match at {
            At::Earliest => Self::Earliest,
            At::Latest => Self::Latest,
            At::Timestamp(time) => Self::Timestamp(time),
        }
    }
}

impl From<wire::Found> for Found {
    fn from(found: wire::Found) -> Self {
        let offset = found.offset.map(|offset| (offset, found.timestamp_ms));
        Self { offset, leader_epoch: found.leader_epoch }
    }
}
