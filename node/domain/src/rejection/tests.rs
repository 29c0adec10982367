use kontiki_storage::id::{NodeId, PartitionId, ShardId};

use super::*;
use crate::catalog::{FeatureLevel, FeatureRange, NodeState};

fn some() -> Vec<(u16, Rejection)> {
    let partition = PartitionId(7);
    vec![
        (1, Rejection::UnsupportedCommand { version: 9, supported: 1, bytes: 3 }),
        (2, Rejection::WrongShard { shard: ShardId(2) }),
        (3, Rejection::invalid("limit", 0, "at least 1")),
        (100, Rejection::UnknownPartition { partition }),
        (104, Rejection::InvalidRecord { partition, fault: BatchFault::Empty }),
        (111, Rejection::TransactionsUnsupported(partition)),
        (200, Rejection::NotFounded),
        (
            203,
            Rejection::NodeNotReady {
                node: NodeId(1),
                state: NodeState::Draining,
                advice: "choose another".to_owned(),
            },
        ),
        (
            207,
            Rejection::FeatureLevelUnsupported {
                node: NodeId(1),
                level: FeatureLevel(2),
                speaks: FeatureRange::THIS_RELEASE,
            },
        ),
        (244, Rejection::ProducerIdsExhausted { asked: 1, left: 0 }),
        (267, Rejection::SubscriptionExists("all".to_owned())),
        (268, Rejection::UnknownSubscription("all".to_owned())),
        (269, Rejection::SubscriptionsLimit(10_000)),
    ]
}

/// The variant's number in the bytes is the code: neither can change without the other.
#[test]
fn codes_are_the_numbers_of_the_variants() {
    for (code, rejection) in some() {
        assert_eq!(rejection.code(), code);
        let bytes = rejection.encode();
        let mut decoder = minicbor::Decoder::new(&bytes[1..]);
        assert_eq!(decoder.array().unwrap(), Some(2));
        assert_eq!(decoder.u16().unwrap(), code);
        assert_eq!(Rejection::decode(&bytes), Ok(rejection));
    }
}

#[test]
fn a_long_value_is_not_repeated_whole() {
    let rejection = Rejection::invalid("name", "x".repeat(100_000), "something shorter");
    assert!(rejection.encode().len() < 400);
}
