//! Hints that a command leaves for the broker. Losing all of them costs latency, never
//! correctness: whatever must happen is found again in the rows.

use kontiki_storage::id::{Offset, PartitionId};

use crate::catalog::{CatalogVersion, RoutingChange};

/// Something that a broker may want to act on once the rows of the command are in the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Records were appended: long polls below `next_offset` may be answered.
    Appended {
        /// The partition that grew.
        partition: PartitionId,
        /// Its log end offset (and, as applied means committed, its high watermark).
        next_offset: Offset,
    },
    /// Records were removed from the head of the log.
    LogStartMoved {
        /// The partition that shrank.
        partition: PartitionId,
        /// The oldest offset that can still be read.
        log_start_offset: Offset,
    },
    /// The partition exists since this command.
    PartitionCreated {
        /// The new partition.
        partition: PartitionId,
    },
    /// The partition is gone for clients: parked requests on it are to be refused.
    PartitionDeleted {
        /// The deleted partition.
        partition: PartitionId,
    },
    /// Messages of a queue came, went, or changed their places.
    QueueChanged {
        /// The queue.
        queue: PartitionId,
    },
    /// The catalog changed: watchers of an older version may look again.
    CatalogChanged {
        /// The version after the change.
        version: CatalogVersion,
    },
    /// An exchange or a binding came or went. No hint: whoever compiles them hears of every one, or
    /// compiles all of them anew.
    RoutingChanged(RoutingChange),
}
