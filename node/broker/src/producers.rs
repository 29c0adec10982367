//! Ids for idempotent producers, out of ranges that the catalog gives to each node.

use std::ops::Range;

use kontiki_domain::catalog::{Command, Reply};
use tokio::sync::Mutex;

use crate::core::{Broker, Core};
use crate::error::Error;
use crate::topics::Repeat;

/// The last epoch of an id: epochs are signed 16-bit numbers in record batches.
const EPOCH_MAX: u32 = 32_767;

/// The range that this node gives ids from. Whoever finds it empty takes another from the catalog,
/// while the others wait.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds(Mutex<Range<u64>>);

impl Broker {
    /// A new producer id with epoch 0, or the next epoch of one. After the last epoch of an id
    /// comes a new id.
    ///
    /// # Errors
    /// The catalog can't be asked, or an id or epoch that can't be.
    pub async fn init_producer(&self, current: Option<(u64, u32)>) -> Result<(u64, u32), Error> {
        let core = &self.0;
        let Some((id, epoch)) = current else {
            return Ok((core.new_producer_id().await?, 0));
        };
        if epoch > EPOCH_MAX {
            let expected = format!("0 to {EPOCH_MAX}");
            return Err(Error::invalid("producer_epoch", epoch, &expected));
        }
        if !core.was_given_out(id) {
            // Another node may have taken a range that this one hasn't heard of.
            core.catalog_here().await;
            if !core.was_given_out(id) {
                return Err(Error::invalid("producer_id", id, "one that InitProducer returned"));
            }
        }
        match next_epoch(epoch) {
            Some(next) => Ok((id, next)),
            None => Ok((core.new_producer_id().await?, 0)),
        }
    }
}

fn next_epoch(epoch: u32) -> Option<u32> {
    (epoch < EPOCH_MAX).then_some(epoch + 1)
}

impl Core {
    fn was_given_out(&self, id: u64) -> bool {
        id > 0 && self.catalog.look(|catalog| id < catalog.next_producer().0)
    }

    async fn new_producer_id(&self) -> Result<u64, Error> {
        let mut left = self.producer_ids.0.lock().await;
        if let Some(id) = left.next() {
            return Ok(id);
        }
        // A range that was given out without this node hearing of it is lost; there are many.
        let count = self.options.topics.producer_ids;
        let command = Command::AllocateProducerIds { count };
        let asked = self.persuade_catalog(command, Repeat::Always, self.default_deadline()).await;
        let Reply::ProducerIds { first, count } = asked.done()? else {
            return Err(Error::internal("the catalog's answer about producer ids is another one"));
        };
        *left = first.0..first.0 + u64::from(count);
        left.next().ok_or_else(|| Error::internal("the catalog gave an empty range"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_followed_by_the_next_up_to_the_last() {
        assert_eq!(next_epoch(0), Some(1));
        assert_eq!(next_epoch(EPOCH_MAX - 1), Some(EPOCH_MAX));
        assert_eq!(next_epoch(EPOCH_MAX), None);
        assert_eq!(EPOCH_MAX, u32::from(i16::MAX.unsigned_abs()));
    }
}
