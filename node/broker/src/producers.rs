//! Ids for idempotent producers, out of ranges that the catalog gives to each node.

use crate::core::Broker;
use crate::error::Error;

/// The range that this node gives ids from.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds {}

impl Broker {
    /// A new producer id with epoch 0, or the next epoch of one.
    ///
    /// # Errors
    /// The catalog can't be asked, or an epoch that can't be.
    pub async fn init_producer(&self, current: Option<(u64, u32)>) -> Result<(u64, u32), Error> {
        let _ = current;
        Err(Error::internal("to be written"))
    }
}
