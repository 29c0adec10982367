//! What is in the log stays readable: the bytes of commands, replies and rows do not change.

mod frozen;

use bytes::Bytes;
use kontiki_storage::id::{PartitionId, ShardId};

use super::{Command, Reply, decode_outcome};
use crate::rejection::Rejection;
use crate::tests::Shard;
use crate::{catalog, partition};

#[test]
fn a_command_that_nobody_understands_is_refused_on_every_replica() {
    for shard in [0, 1] {
        let mut shard = Shard::new(shard);
        for bytes in [&b""[..], b"\x02rest", b"\x01", b"\x01\xff\xff"] {
            let outcome = decode_outcome(&shard.apply_bytes(bytes, &[])).unwrap();
            assert!(
                matches!(outcome, Err(Rejection::UnsupportedCommand { supported: 1, .. })),
                "{outcome:?}"
            );
        }
        assert!(shard.batch.is_empty(), "a refused command left a trace");
    }
}

#[test]
fn bytes_after_a_command_are_not_ignored() {
    let command = Command::from(partition::Command::Expire { limit: 1 });
    let mut longer = command.encode().to_vec();
    longer.push(0);
    assert_eq!(Command::decode(&command.encode()), Ok(command));
    assert!(Command::decode(&longer).is_err());
}

#[test]
fn damaged_commands_never_panic() {
    let command = frozen::commands().remove(0).1.encode();
    for at in 0..command.len() {
        for bit in 0..8 {
            let mut damaged = command.to_vec();
            damaged[at] ^= 1 << bit;
            let _ = Command::decode(&damaged);
        }
        let _ = Command::decode(&command[..at]);
    }
    // A list that claims to be huge.
    let _ = Command::decode(&Bytes::from_static(b"\x01\x82\x01\x81\x82\x0b\x82\x01\x9b\x7f\xff"));
}

#[test]
fn each_shard_takes_the_commands_of_its_kind() {
    let outcome = Shard::new(0).apply(partition::Command::Expire { limit: 1 }, &[]);
    assert_eq!(outcome, Err(Rejection::WrongShard { shard: ShardId(0) }));
    let outcome = Shard::new(1).apply(catalog::Command::AllocateProducerIds { count: 1 }, &[]);
    assert_eq!(outcome, Err(Rejection::WrongShard { shard: ShardId(1) }));
    let delete = partition::Command::DeletePartition { partition: PartitionId(1), limit: 1 };
    let outcome = Shard::new(1).apply(delete, &[]);
    let deleted = partition::Reply::PartitionDeleted { remaining: 0 };
    assert_eq!(outcome, Ok(Reply::Partition(deleted)));
}
