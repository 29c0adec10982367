//! A committed refusal, as the kind that it is for a caller.

use kontiki_domain::Rejection;
use kontiki_domain::rejection::ExchangeRefusal;

use super::{Code, Error, Kind};

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        let code = Code(rejection.code().into());
        Self::new(kind(&rejection), code, rejection.to_string())
    }
}

fn kind(rejection: &Rejection) -> Kind {
    match rejection {
        Rejection::Exchange(refusal) => match refusal {
            ExchangeRefusal::Unknown { .. } => Kind::NotFound,
            ExchangeRefusal::Exists { .. } | ExchangeRefusal::OtherFilter { .. } => Kind::Exists,
            ExchangeRefusal::Reserved { .. } => Kind::Denied,
            ExchangeRefusal::InUse { .. } => Kind::Conflict,
            ExchangeRefusal::Loop { .. } => Kind::Invalid,
            ExchangeRefusal::Limit { .. } => Kind::Throttled,
        },
        Rejection::InvalidArgument { .. }
        | Rejection::InvalidSetting { .. }
        | Rejection::UnsupportedSetting { .. }
        | Rejection::RecordTooLarge { .. }
        | Rejection::InvalidRecord { .. }
        | Rejection::PolicyViolation { .. }
        | Rejection::TransactionsUnsupported { .. }
        | Rejection::InvalidTopicName { .. }
        | Rejection::NotAQueue(_)
        | Rejection::IsAQueue(_)
        | Rejection::TopicNotAQueue(_)
        | Rejection::TopicPartitionsLimit { .. }
        | Rejection::PartitionsFall { .. } => Kind::Invalid,
        Rejection::UnknownPartition { .. }
        | Rejection::PartitionDeleted { .. }
        | Rejection::OffsetOutOfRange { .. }
        | Rejection::UnknownNode(_)
        | Rejection::UnknownTopic { .. }
        | Rejection::UnknownShard { .. }
        | Rejection::UnknownReplica { .. }
        | Rejection::UnknownSubscription(_) => Kind::NotFound,
        Rejection::TopicExists { .. }
        | Rejection::TopicNameCollision { .. }
        | Rejection::AlreadyFounded(_)
        | Rejection::AddressInUse { .. }
        | Rejection::SubscriptionExists(_) => Kind::Exists,
        Rejection::ProducerFenced { .. } => Kind::Fenced,
        Rejection::OutOfOrderSequence { .. }
        | Rejection::UnknownProducerId { .. }
        | Rejection::LeaderEpochChanged { .. }
        | Rejection::NodeNotReady { .. }
        | Rejection::NodeHasReplicas { .. }
        | Rejection::FeatureLevelUnsupported { .. }
        | Rejection::FeatureLevelFalls { .. }
        | Rejection::SettingsChanged { .. }
        | Rejection::TopicNotDeleting(_)
        | Rejection::PlacementChanged { .. }
        | Rejection::TransferOverlaps(_)
        | Rejection::RedriveUnfinished(_)
        | Rejection::ShardNotFounded { .. } => Kind::Conflict,
        Rejection::NodesLimit { .. }
        | Rejection::QueueFull(_)
        | Rejection::QueueBytes(_)
        | Rejection::TopicsLimit { .. }
        | Rejection::PartitionsLimit { .. }
        | Rejection::ProducerIdsExhausted { .. }
        | Rejection::SubscriptionsLimit(_) => Kind::Throttled,
        Rejection::NotFounded => Kind::Unavailable,
        Rejection::UnsupportedCommand { .. }
        | Rejection::WrongShard { .. }
        | Rejection::PartitionExists { .. } => Kind::Internal,
    }
}
