//! Creates a topic, or gives it more partitions: in the catalog, then on the shards.

use kontiki_domain::Rejection;
use kontiki_domain::catalog::{
    Command, CreateTopic, PartitionPlacement, Reply, RequestId, Topic, validate_name,
};
use kontiki_domain::partition;
use kontiki_domain::queue::QueueSettings;
use kontiki_domain::settings::Settings;
use kontiki_storage::id::TopicId;
use tokio::time::Instant;

use super::repeat::{Asked, Repeat};
use super::{Create, of_topic, settings};
use crate::core::{Broker, Core};
use crate::error::{Code, Error, Kind};

/// The version that the settings of a new topic have.
const FIRST_SETTINGS: u64 = 1;

/// A topic that is in the catalog, and whose partitions are to be made.
struct Planned {
    topic: TopicId,
    partitions: Vec<PartitionPlacement>,
    settings: Settings,
    settings_version: u64,
    queue: Option<QueueSettings>,
}

impl Planned {
    fn of(topic: &Topic) -> Self {
        Self {
            topic: topic.topic,
            partitions: topic.partitions.clone(),
            settings: topic.settings(),
            settings_version: topic.settings_version,
            queue: topic.queue.as_deref().cloned(),
        }
    }
}

impl Broker {
    /// Creates a topic; when it returns, any node can be asked to write to it. Returns its id (0
    /// where it was only checked) and its number of partitions.
    ///
    /// # Errors
    /// It exists, a name or setting that can't be, a limit, or the catalog can't be asked.
    pub async fn create_topic(&self, create: Create) -> Result<(u64, u32), Error> {
        let core = &self.0;
        validate_name(&create.topic)?;
        let partitions = create.partitions.max(1);
        let deadline = core.default_deadline();
        let request = RequestId((core.random)());
        let command = Command::CreateTopic(CreateTopic {
            name: create.topic.clone(),
            partitions,
            overrides: settings::parse(&create.settings)?,
            request: Some(request),
            validate_only: create.validate_only,
            queue: create.queue.clone(),
        });
        // A second attempt could make it anew after somebody else has deleted it.
        let asked = core.persuade_catalog(command, Repeat::IfNotDone, deadline).await;
        let planned = match asked.done() {
            Ok(Reply::Valid) => return Ok((0, partitions)),
            Ok(Reply::TopicCreated { topic, partitions, settings, existed: _ }) => {
                let queue = create.queue.clone();
                Planned { topic, partitions, settings, settings_version: FIRST_SETTINGS, queue }
            }
            Ok(_) => return Err(unexpected(&create.topic)),
            Err(error) if create.if_not_exists && is_topic_exists(&error) => {
                core.existing(&create.topic, partitions, create.queue.as_ref(), deadline).await?
            }
            Err(error) if error.kind == Kind::Unknown => {
                // It may have been done before the leader was lost.
                let found = core.created_by(request, &create.topic, deadline).await;
                found.ok_or(error)?
            }
            Err(error) => return Err(error),
        };
        let topic = planned.topic.0;
        if !create.validate_only {
            core.make_partitions(&create.topic, planned, deadline).await?;
        }
        Ok((topic, partitions))
    }

    /// Raises the number of partitions; returns how many there are. As many as there are already
    /// is no failure, so that the request can be sent again.
    ///
    /// # Errors
    /// No such topic, a number that can't be, or the catalog can't be asked.
    pub async fn add_partitions(&self, topic: &str, total: u32) -> Result<u32, Error> {
        let core = &self.0;
        let deadline = core.default_deadline();
        let look = |topic: &kontiki_domain::catalog::Topic| {
            (topic.topic, topic.partitions.len(), topic.settings_version)
        };
        let (id, before, settings_version) = core.known_topic(topic, deadline, look).await?;
        if total as usize == before {
            let expected = format!("more than the {before} that topic {topic} has");
            return Err(Error::invalid("partitions", total, &expected));
        }
        let command = Command::AddPartitions { topic: id, total, validate_only: false };
        let asked = core.persuade_catalog(command, Repeat::Always, deadline).await;
        let Asked { outcome, maybe_before } = asked;
        let reply = outcome.map_err(|error| {
            if maybe_before && error.kind == Kind::Invalid {
                // An earlier attempt may have added them, and somebody else more since.
                return Error::outcome_unknown("the catalog");
            }
            of_topic(topic, error)
        })?;
        let Reply::PartitionsAdded { first: _, mut partitions, settings } = reply else {
            return Err(unexpected(topic));
        };
        if partitions.is_empty() && maybe_before {
            // An earlier attempt has added them.
            let all = core.known_topic(topic, deadline, |topic| topic.partitions.clone()).await?;
            partitions = all.into_iter().skip(before).collect();
        }
        let queue = None;
        let planned = Planned { topic: id, partitions, settings, settings_version, queue };
        core.make_partitions(topic, planned, deadline).await?;
        Ok(total)
    }
}

impl Core {
    /// The topic that a request has made, if it is there.
    async fn created_by(
        &self,
        request: RequestId,
        name: &str,
        deadline: Instant,
    ) -> Option<Planned> {
        let ours = |topic: &Topic| (topic.request == Some(request)).then(|| Planned::of(topic));
        self.known_topic(name, deadline, ours).await.ok().flatten()
    }

    /// A topic that was there before, if it has as many partitions.
    async fn existing(
        &self,
        name: &str,
        partitions: u32,
        queue: Option<&QueueSettings>,
        deadline: Instant,
    ) -> Result<Planned, Error> {
        let planned = self.known_topic(name, deadline, Planned::of);
        let planned = planned.await?;
        let count = planned.partitions.len();
        let same = planned.queue.as_ref() == queue;
        if count == partitions as usize && same {
            return Ok(planned);
        }
        let exists = Rejection::TopicExists { name: name.to_owned(), topic: planned.topic };
        let mut error = Error::from(exists);
        if !same {
            let what =
                if planned.queue.is_some() { "a queue with other settings" } else { "a log" };
            error.detail =
                format!("{name} exists, and is {what}: choose another name, or alter it");
            return Err(error);
        }
        error.detail = format!(
            "topic {name} exists with {count} partitions, not {partitions}: ask for {count}, or \
             add partitions to it"
        );
        Err(error)
    }

    /// Makes partitions that the catalog has given out, while the other nodes hear of them.
    async fn make_partitions(
        &self,
        name: &str,
        planned: Planned,
        deadline: Instant,
    ) -> Result<(), Error> {
        let Planned { topic, partitions, settings, settings_version, queue } = planned;
        let command = |at: PartitionPlacement| partition::Command::CreatePartition {
            partition: at.partition,
            topic,
            settings: settings.clone(),
            settings_version,
            queue: queue.clone(),
        };
        let made = self.tell_partitions(name, partitions, deadline, command);
        let (made, ()) = tokio::join!(made, self.catalog_everywhere());
        made.map_err(|error| {
            let detail = format!(
                "topic {name} is in the catalog, but not all of its partitions are made yet; they \
                 are made in the background: {}",
                error.detail
            );
            // What was asked for is in the catalog: it is not "surely not done".
            Error::new(Kind::Unknown, Code::OUTCOME_UNKNOWN, detail)
        })
    }
}

fn is_topic_exists(error: &Error) -> bool {
    let exists = Rejection::TopicExists { name: String::new(), topic: TopicId(0) };
    error.code == Code(exists.code().into())
}

/// The catalog has said something that is no answer to what it was asked.
pub(crate) fn unexpected(topic: &str) -> Error {
    Error::internal(format!("topic {topic}: the catalog's answer is that to another question"))
}
