//! Deletes a topic: its name is free at once, its rows leave in the background.

use std::time::Duration;

use futures_util::stream::{StreamExt as _, iter};
use kontiki_domain::catalog::{Command, PartitionPlacement, Reply};
use kontiki_domain::{Rejection, partition};
use kontiki_storage::id::TopicId;
use tokio::time::Instant;

use super::create::unexpected;
use super::of_topic;
use super::repeat::{Asked, Repeat};
use crate::core::{Broker, Core};
use crate::error::{Code, Error};

impl Broker {
    /// Deletes a topic; when it returns, its name is free.
    ///
    /// # Errors
    /// No such topic, or the catalog can't be asked.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), Error> {
        let core = &self.0;
        let deadline = core.default_deadline();
        let id = core.known_topic(topic, deadline, |topic| topic.topic).await?;
        core.delete_of(id, topic, deadline).await
    }
}

impl Core {
    /// Deletes the topic of an id, which has or had that name.
    ///
    /// # Errors
    /// There is none of that id, or the catalog can't be asked.
    pub(crate) async fn delete_of(
        &self,
        id: TopicId,
        topic: &str,
        deadline: Instant,
    ) -> Result<(), Error> {
        let command = Command::DeleteTopic { topic: id };
        let Asked { outcome, maybe_before } =
            self.persuade_catalog(command, Repeat::Always, deadline).await;
        let forgotten = Code(Rejection::UnknownTopic { topic: id }.code().into());
        let partitions = match outcome {
            Ok(Reply::TopicDeleted { partitions }) => partitions,
            Ok(_) => return Err(unexpected(topic)),
            // An earlier attempt has deleted it, and nothing of it is left.
            Err(error) if maybe_before && error.code == forgotten => Vec::new(),
            Err(error) => return Err(of_topic(topic, error)),
        };
        tokio::join!(self.close_partitions(partitions), self.catalog_everywhere());
        Ok(())
    }

    /// Makes partitions of a deleted topic disappear for clients that still hold on to them. One
    /// attempt, no failures: the background work removes the rows, and comes to those that this
    /// didn't reach.
    async fn close_partitions(&self, partitions: Vec<PartitionPlacement>) {
        let deadline = Instant::now() + Duration::from_millis(self.options.topics.visible_ms);
        let limit = self.options.timers.purge_rows;
        let closed = partitions.into_iter().map(|at| async move {
            let PartitionPlacement { partition, shard } = at;
            let command = partition::Command::DeletePartition { partition, limit };
            if let Err(error) = self.ask_partitions(shard, command, deadline).await {
                tracing::debug!(%partition, %error, "a deleted partition is still there for now");
            }
        });
        let mut closed = iter(closed).buffer_unordered(self.options.topics.partitions_at_once);
        while closed.next().await.is_some() {}
    }
}
