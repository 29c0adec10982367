//! The codes of the refusals. They are the numbers of the variants, written out a second time so
//! that neither can change alone: a test compares them.

use super::Rejection;

impl Rejection {
    /// The code: stable, append-only.
    pub fn code(&self) -> u16 {
        match self {
            Self::UnsupportedCommand { .. } => 1,
            Self::WrongShard { .. } => 2,
            Self::InvalidArgument { .. } => 3,
            Self::InvalidSetting { .. } => 4,
            Self::UnsupportedSetting { .. } => 5,
            Self::UnknownPartition { .. } => 100,
            Self::PartitionExists { .. } => 101,
            Self::PartitionDeleted { .. } => 102,
            Self::RecordTooLarge { .. } => 103,
            Self::InvalidRecord { .. } => 104,
            Self::ProducerFenced { .. } => 105,
            Self::OutOfOrderSequence { .. } => 106,
            Self::UnknownProducerId { .. } => 107,
            Self::LeaderEpochChanged { .. } => 108,
            Self::PolicyViolation { .. } => 109,
            Self::OffsetOutOfRange { .. } => 110,
            Self::TransactionsUnsupported { .. } => 111,
            Self::NotAQueue(_) => 150,
            Self::IsAQueue(_) => 151,
            Self::QueueFull(_) => 152,
            Self::QueueBytes(_) => 153,
            Self::TransferOverlaps(_) => 154,
            Self::RedriveUnfinished(_) => 155,
            Self::NotFounded => 200,
            Self::AlreadyFounded(_) => 201,
            Self::UnknownNode(_) => 202,
            Self::NodeNotReady { .. } => 203,
            Self::NodeHasReplicas { .. } => 204,
            Self::AddressInUse { .. } => 205,
            Self::NodesLimit { .. } => 206,
            Self::FeatureLevelUnsupported { .. } => 207,
            Self::FeatureLevelFalls { .. } => 208,
            Self::TopicExists { .. } => 220,
            Self::UnknownTopic { .. } => 221,
            Self::InvalidTopicName { .. } => 222,
            Self::TopicNameCollision { .. } => 223,
            Self::TopicsLimit { .. } => 224,
            Self::TopicPartitionsLimit { .. } => 225,
            Self::PartitionsLimit { .. } => 226,
            Self::PartitionsFall { .. } => 227,
            Self::SettingsChanged { .. } => 228,
            Self::TopicNotDeleting(_) => 229,
            Self::TopicNotAQueue(_) => 230,
            Self::UnknownShard { .. } => 240,
            Self::PlacementChanged { .. } => 241,
            Self::ShardNotFounded(_) => 242,
            Self::UnknownReplica { .. } => 243,
            Self::ProducerIdsExhausted { .. } => 244,
            Self::Exchange(refusal) => refusal.code(),
            Self::SubscriptionExists(_) => 267,
            Self::UnknownSubscription(_) => 268,
            Self::SubscriptionsLimit(_) => 269,
        }
    }
}
