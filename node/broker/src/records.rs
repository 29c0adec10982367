//! Deletes records from the head of a partition.

use futures_util::future::join_all;
use kontiki_domain::partition;
use kontiki_storage::id::Offset;
use tokio::time::Instant;

use crate::core::{Broker, Core};
use crate::error::{Code, Error, Kind};
use crate::options::bounds;

/// The state machine's refusal of an offset above the high watermark.
const OUT_OF_RANGE: u32 = 110;

/// What to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: u32,
    /// Everything below it; `None` is everything there is.
    pub before: Option<u64>,
}

impl Broker {
    /// Deletes records; answers with the new log start of each target, in order.
    ///
    /// # Errors
    /// No targets, or more than [`bounds::PARTITIONS_MAX`].
    pub async fn delete_records(
        &self,
        targets: Vec<Target>,
    ) -> Result<Vec<Result<u64, Error>>, Error> {
        let count = targets.len();
        if count == 0 || count > bounds::PARTITIONS_MAX {
            let expected = format!("1 to {}", bounds::PARTITIONS_MAX);
            return Err(Error::invalid("the number of targets", count, &expected));
        }
        let deadline = self.0.default_deadline();
        let deleted = targets.iter().map(|target| self.0.delete_below(target, deadline));
        Ok(join_all(deleted).await)
    }
}

impl Core {
    async fn delete_below(&self, target: &Target, deadline: Instant) -> Result<u64, Error> {
        let Target { topic, partition, before } = target;
        let place = self.catalog.place(topic, *partition)?;
        // The rest of the batches leaves with retention.
        let command = partition::Command::DeleteRecords {
            partition: place.partition,
            before: before.map(Offset),
            limit: self.options.timers.retention_batches,
        };
        let about = |error: Error| {
            // The log has no such offset, but it is the request that is wrong.
            let invalid = error.code == Code(OUT_OF_RANGE);
            let kind = if invalid { Kind::Invalid } else { error.kind };
            Error { kind, ..error }.about(format_args!("{topic}/{partition}"))
        };
        let reply = self.ask_partitions(place.shard, command, deadline).await.map_err(about)?;
        if let partition::Reply::RecordsDeleted(trimmed) = reply {
            return Ok(trimmed.log_start_offset.0);
        }
        Err(Error::internal(format!("a deletion was answered with {reply:?}")))
    }
}
