//! What consumers say besides asking for messages: that they are still there, or that they go.

use std::sync::Arc;
use std::time::Duration;

use kontiki_domain::queue::QueueSettings;
use kontiki_storage::id::PartitionId;
use tokio::time::Instant;

use super::breaker::millis;
use super::{CONSUMER_BYTES_MAX, of_queue};
use crate::catalog::Place;
use crate::core::{Broker, Core};
use crate::error::Error;
use crate::read::wire::{Consumer, Request, Says};

/// How often a consumer that doesn't ask for messages says that it is there, at least.
const EVERY: Duration = Duration::from_secs(5);

impl Broker {
    /// An id for a consumer that says none.
    #[must_use]
    pub fn consumer_id(&self) -> String {
        format!("kontiki.consumer-{}", self.0.random_name())
    }

    /// How often a consumer that doesn't ask for messages has to [`attend`](Self::attend), not to
    /// be taken for one that has gone: 5 s at most. It changes with the settings of the queue.
    #[must_use]
    pub fn attend_every(&self, queue: &str) -> Duration {
        let Ok((_, settings)) = self.0.queue(queue) else { return EVERY };
        EVERY.min(millis(settings.consumer_timeout_ms()) / 3)
    }

    /// A consumer that doesn't ask for messages now is still there. Nothing is said where the
    /// queue's settings don't ask for it.
    ///
    /// # Errors
    /// No such queue, it is another consumer's, or no leader in time.
    pub async fn attend(&self, queue: &str, consumer: &str) -> Result<(), Error> {
        let (place, settings) = self.0.queue(queue)?;
        if !settings.single_active_consumer && !settings.is_transient() {
            return Ok(());
        }
        let said = self.0.say(place, consumer.to_owned(), Says::There);
        said.await.map_err(|error| of_queue(queue, error))
    }

    /// A consumer goes: others may take its place at once. Messages that it has are its own to give
    /// back. It need not be said: a consumer that is silent has gone after a time.
    ///
    /// # Errors
    /// No such queue, or no leader in time.
    pub async fn detach(&self, queue: &str, consumer: &str) -> Result<(), Error> {
        let (place, _) = self.0.queue(queue)?;
        let said = self.0.say(place, consumer.to_owned(), Says::Gone);
        said.await.map_err(|error| of_queue(queue, error))
    }
}

impl Core {
    /// 32 characters that nobody else has.
    pub(super) fn random_name(&self) -> String {
        format!("{:032x}", u128::from_be_bytes((self.random)()))
    }

    /// The queue was declared by somebody who found it there: it doesn't expire now.
    pub(super) async fn declared(self: &Arc<Self>, name: &str) {
        let Ok((place, settings)) = self.queue(name) else { return };
        if settings.expires_ms.is_none() {
            return;
        }
        if let Err(error) = self.say(place, String::new(), Says::Declared).await {
            tracing::debug!(queue = name, %error, "a declaration is not noted");
        }
    }

    async fn say(
        self: &Arc<Self>,
        place: Place,
        consumer: String,
        says: Says,
    ) -> Result<(), Error> {
        let queue = place.partition.0;
        let request = Request::Consumer(Consumer { queue, consumer, says });
        let deadline: Instant = self.default_deadline();
        self.read_shard(place.shard, &request, deadline).await.map(|_| ())
    }

    /// What a queue is set to, as this node's catalog knows.
    pub(crate) fn queue_settings(&self, queue: PartitionId) -> Option<Arc<QueueSettings>> {
        self.catalog.look(|catalog| {
            let found = catalog.partition(queue)?;
            catalog.topic(found.topic)?.queue.clone()
        })
    }
}

/// Whether it can be the id of a consumer; none is needed where the queue doesn't ask for it.
pub(super) fn check(consumer: &str, settings: &QueueSettings) -> Result<(), Error> {
    if consumer.len() > CONSUMER_BYTES_MAX {
        let expected = format!("at most {CONSUMER_BYTES_MAX} bytes");
        let value = format!("{} bytes long", consumer.len());
        return Err(Error::invalid("consumer", value, &expected));
    }
    let which = if settings.exclusive {
        "exclusive"
    } else if settings.single_active_consumer {
        "single_active_consumer"
    } else {
        return Ok(());
    };
    if consumer.is_empty() {
        let expected = format!("the id of a consumer: the queue is set to {which}");
        return Err(Error::invalid("consumer", "empty", &expected));
    }
    Ok(())
}
