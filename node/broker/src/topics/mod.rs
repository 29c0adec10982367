//! Topics: create, change, look at, delete.

use std::collections::BTreeMap;

use crate::core::Broker;
use crate::error::Error;
use crate::metadata::PartitionInfo;

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// Its name.
    pub topic: String,
    /// How many partitions; 0 is 1.
    pub partitions: u32,
    /// Settings by name.
    pub settings: BTreeMap<String, String>,
    /// Only check.
    pub validate_only: bool,
    /// Succeed where it exists with as many partitions.
    pub if_not_exists: bool,
}

/// A partition and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Where it is.
    pub info: PartitionInfo,
    /// Offsets and size, where its leader answers.
    pub known: Option<PartitionSize>,
}

/// What is in a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartitionSize {
    /// The oldest offset.
    pub log_start_offset: u64,
    /// The offset after the newest record.
    pub high_watermark: u64,
    /// Bytes of the stored batches.
    pub bytes: u64,
}

/// A topic, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its id.
    pub topic_id: u64,
    /// All settings by name.
    pub settings: BTreeMap<String, String>,
    /// Its partitions.
    pub partitions: Vec<PartitionDescription>,
}

/// A name in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub topic: String,
    /// Its id.
    pub topic_id: u64,
    /// How many partitions it has.
    pub partitions: u32,
}

impl Broker {
    /// Creates a topic; when it returns, any node can be asked to write to it. Returns its id and
    /// its number of partitions.
    ///
    /// # Errors
    /// It exists, a name or setting that can't be, a limit, or the catalog can't be asked.
    pub async fn create_topic(&self, create: Create) -> Result<(u64, u32), Error> {
        let _ = create;
        Err(Error::internal("to be written"))
    }

    /// Changes settings; returns all of them.
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
        let _ = (topic, set, reset, validate_only);
        Err(Error::internal("to be written"))
    }

    /// Settings, partitions, sizes.
    ///
    /// # Errors
    /// No such topic.
    pub async fn describe_topic(&self, topic: &str) -> Result<Description, Error> {
        let _ = topic;
        Err(Error::internal("to be written"))
    }

    /// Names with a prefix, after a name, at most `limit` (0 is the default); and whether more
    /// follow.
    ///
    /// # Errors
    /// A limit out of bounds, or no catalog yet.
    pub fn list_topics(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<(Vec<Listed>, bool), Error> {
        let _ = (prefix, after, limit);
        Err(Error::internal("to be written"))
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// No such topic, or the catalog can't be asked.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), Error> {
        let _ = topic;
        Err(Error::internal("to be written"))
    }

    /// Raises the number of partitions; returns how many there are.
    ///
    /// # Errors
    /// No such topic, a number that can't be, or the catalog can't be asked.
    pub async fn add_partitions(&self, topic: &str, total: u32) -> Result<u32, Error> {
        let _ = (topic, total);
        Err(Error::internal("to be written"))
    }
}
