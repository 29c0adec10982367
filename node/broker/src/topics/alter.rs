//! Changes settings: in the catalog, then on every partition.

use std::collections::BTreeMap;

use kontiki_domain::catalog::{AlterTopic, Command, Reply};
use kontiki_domain::partition;

use super::create::unexpected;
use super::repeat::Repeat;
use super::{of_topic, settings};
use crate::core::Broker;
use crate::error::{Code, Error, Kind};

impl Broker {
    /// Changes settings; returns all of them, as they are in force then (or would be, where it is
    /// only checked). A setting that is both reset and set is set.
    ///
    /// # Errors
    /// No such topic, a setting that can't be, or the catalog can't be asked.
    pub async fn alter_topic(
        &self,
        topic: &str,
        set: BTreeMap<String, String>,
        reset: Vec<String>,
        validate_only: bool,
    ) -> Result<BTreeMap<String, String>, Error> {
        let core = &self.0;
        let deadline = core.default_deadline();
        let set = settings::parse(&set)?;
        let reset = settings::parse_names(&reset)?;
        let look = |topic: &kontiki_domain::catalog::Topic| (topic.topic, topic.overrides.clone());
        let (id, mut overrides) = core.known_topic(topic, deadline, look).await?;
        for name in &reset {
            overrides.reset(*name);
        }
        overrides.set(&set);
        let settings_version = None;
        let queue = None;
        let command = AlterTopic { topic: id, set, reset, settings_version, validate_only, queue };
        let asked =
            core.persuade_catalog(Command::AlterTopic(command), Repeat::IfNotDone, deadline).await;
        let reply = asked.done().map_err(|error| of_topic(topic, error))?;
        if reply == Reply::Valid {
            return Ok(settings::show(&overrides.effective()));
        }
        let Reply::TopicAltered { settings_version, settings, partitions } = reply else {
            return Err(unexpected(topic));
        };
        let told = core.tell_partitions(topic, partitions, deadline, |at| {
            let (partition, settings) = (at.partition, settings.clone());
            let queue = None;
            partition::Command::UpdateSettings { partition, settings, settings_version, queue }
        });
        let (told, ()) = tokio::join!(told, core.catalog_everywhere());
        told.map_err(|error| {
            let detail = format!(
                "topic {topic} is changed in the catalog, but not all of its partitions know yet; \
                 they are told in the background: {}",
                error.detail
            );
            // What was asked for is in the catalog: it is not "surely not done".
            Error::new(Kind::Unknown, Code::OUTCOME_UNKNOWN, detail)
        })?;
        Ok(settings::show(&settings))
    }
}
