//! Topics: a name, settings and partitions, each of which lives on a shard.

use std::sync::Arc;

use kontiki_storage::id::{PartitionId, ShardId, TopicId};
use minicbor::{Decode, Encode};

use crate::queue::QueueSettings;
use crate::rejection::{Rejection, TopicNameFault};
use crate::settings::{Overrides, Settings};

/// Chosen (at random) by whoever asks for a topic, so that asking again after an unknown outcome
/// finds the topic that was made instead of a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct RequestId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

/// Where a partition lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct PartitionPlacement {
    /// The cluster-wide id, never used again.
    #[cbor(n(0), with = "crate::codec::id")]
    pub partition: PartitionId,
    /// The shard that hosts it.
    #[cbor(n(1), with = "crate::codec::id")]
    pub shard: ShardId,
}

/// Whether a topic can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum TopicState {
    /// It can.
    #[n(0)]
    Active,
    /// It is deleted: its name is free, its partitions are being purged.
    #[n(1)]
    Deleting {
        /// When it was deleted, in milliseconds since 1970.
        #[n(0)]
        since_ms: i64,
    },
}

/// The row of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Topic {
    /// Its id, never used again.
    #[cbor(n(0), with = "crate::codec::id")]
    pub topic: TopicId,
    /// Its name. Once it is deleting, another topic may bear the same.
    #[n(1)]
    pub name: String,
    /// The partitions, in the order of their numbers in the topic. While the topic is deleting:
    /// those that are not purged yet.
    #[n(2)]
    pub partitions: Vec<PartitionPlacement>,
    /// What somebody chose; see [`Topic::settings`].
    #[n(3)]
    pub overrides: Overrides,
    /// How often the settings were changed, from 1.
    #[n(4)]
    pub settings_version: u64,
    /// Whether it can be used.
    #[n(5)]
    pub state: TopicState,
    /// When it was created, in milliseconds since 1970.
    #[n(6)]
    pub created_ms: i64,
    /// Which request created it.
    #[n(7)]
    pub request: Option<RequestId>,
    /// Set where it is a queue: then it has one partition.
    #[cbor(n(8), with = "crate::codec::shared", has_nil)]
    pub queue: Option<Arc<QueueSettings>>,
}

impl Topic {
    /// The settings in force.
    pub fn settings(&self) -> Settings {
        self.overrides.effective()
    }

    /// Whether clients may use it.
    pub fn is_active(&self) -> bool {
        match self.state {
            TopicState::Active => true,
            TopicState::Deleting { .. } => false,
        }
    }
}

/// Longest topic name, in characters (each of which is one byte).
pub const NAME_LENGTH_MAX: usize = 249;

/// Checks the form of a topic name: 1 to 249 of `[a-zA-Z0-9._-]`, but neither `.` nor `..`.
///
/// # Errors
/// [`Rejection::InvalidTopicName`] says what is wrong with it.
pub fn validate_name(name: &str) -> Result<(), Rejection> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fault = if name.is_empty() {
        TopicNameFault::Empty
    } else if name.len() > NAME_LENGTH_MAX {
        TopicNameFault::TooLong
    } else if name == "." || name == ".." {
        TopicNameFault::Dots
    } else if !name.bytes().all(allowed) {
        TopicNameFault::Character
    } else {
        return Ok(());
    };
    // A name that is too long is not repeated as a whole: the refusal is a committed row.
    let shown: String = name.chars().take(NAME_LENGTH_MAX).collect();
    Err(Rejection::InvalidTopicName { name: shown, fault })
}

/// The form under which `.` and `_` are the same. Metric systems cannot tell them apart, so two
/// names that differ only there are refused, as Kafka does.
pub fn collision_key(name: &str) -> String {
    name.replace('.', "_")
}
