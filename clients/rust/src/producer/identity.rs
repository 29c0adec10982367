//! The producer's id and its newest epoch. Partitions take a new epoch one by one, when they need
//! one: a node compares epochs within a partition only.

use kontiki_proto::v1;
use tokio::sync::Mutex;

use crate::{Client, Error};

/// See the module.
#[derive(Debug)]
pub(crate) struct Identity {
    newest: Mutex<(u64, u32)>,
}

impl Identity {
    /// A new id, with epoch 0.
    pub(crate) async fn new(client: &Client) -> Result<Self, Error> {
        let request = v1::InitProducerRequest { current: None };
        let answer = client.admin().init_producer(request).await?;
        Ok(Self { newest: Mutex::new((answer.producer_id, answer.producer_epoch)) })
    }

    /// The newest id and epoch.
    pub(crate) async fn newest(&self) -> (u64, u32) {
        *self.newest.lock().await
    }

    /// An id and epoch that are newer than `used`: those of another partition, or new ones.
    pub(crate) async fn newer_than(
        &self,
        used: (u64, u32),
        client: &Client,
    ) -> Result<(u64, u32), Error> {
        let mut newest = self.newest.lock().await;
        let (producer_id, producer_epoch) = *newest;
        if producer_id != used.0 || producer_epoch > used.1 {
            return Ok(*newest);
        }
        let current = v1::ProducerSequence { producer_id, producer_epoch, base_sequence: 0 };
        let request = v1::InitProducerRequest { current: Some(current) };
        let answer = client.admin().init_producer(request).await?;
        *newest = (answer.producer_id, answer.producer_epoch);
        Ok(*newest)
    }
}
