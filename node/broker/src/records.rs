//! Deletes records from the head of a partition.

use crate::core::Broker;
use crate::error::Error;

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
    /// No targets, or more than [`crate::options::bounds::PARTITIONS_MAX`].
    pub async fn delete_records(
        &self,
        targets: Vec<Target>,
    ) -> Result<Vec<Result<u64, Error>>, Error> {
        let _ = targets;
        Err(Error::internal("to be written"))
    }
}
