//! The refusals themselves: number, fields and message of each.

use kontiki_storage::id::{NodeId, Offset, PartitionId, ProducerId, ReplicaId, ShardId, TopicId};
use minicbor::{Decode, Encode};

use super::exchanges::ExchangeRefusal;
use super::queues::{QueueBytes, QueueFull, RedriveUnfinished, TransferOverlap};
use super::reasons::{BatchFault, Policy, TopicNameFault};
use crate::catalog::{FeatureLevel, FeatureRange, NodeState, PlacementVersion};
use crate::partition::{ProducerEpoch, Sequence};
use crate::settings::SettingName;

/// A committed refusal. Codes 1 to 99: any machine; 100 to 199: partitions; 200 up: catalog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum Rejection {
    /// The command's bytes were not understood.
    #[error(
        "a command of {bytes} bytes in version {version} is not understood (this release \
         understands version {supported}): run the same release on every node, and raise the \
         feature level only when all of them are upgraded"
    )]
    #[n(1)]
    UnsupportedCommand {
        /// The version byte found; 0 when there was none.
        #[n(0)]
        version: u8,
        /// The newest version that this release understands.
        #[n(1)]
        supported: u8,
        /// How many bytes the command has.
        #[n(2)]
        bytes: u32,
    },
    /// The command belongs to the other kind of shard.
    #[error(
        "shard {shard} does not take this command: send it to the shard that the catalog names"
    )]
    #[n(2)]
    WrongShard {
        /// The shard that was asked.
        #[cbor(n(0), with = "crate::codec::id")]
        shard: ShardId,
    },
    /// A field of the command is out of bounds.
    #[error("{field} is {value}, expected {expected}: correct it and ask again")]
    #[n(3)]
    InvalidArgument {
        /// The field.
        #[n(0)]
        field: String,
        /// What it was, shortened where it is long.
        #[n(1)]
        value: String,
        /// What it may be.
        #[n(2)]
        expected: String,
    },
    /// A setting is out of bounds.
    #[error("setting {name} is {value}, expected {min} to {max}: choose a value in this range")]
    #[n(4)]
    InvalidSetting {
        /// The setting.
        #[n(0)]
        name: SettingName,
        /// What it was.
        #[n(1)]
        value: i64,
        /// The smallest value.
        #[n(2)]
        min: i64,
        /// The largest value.
        #[n(3)]
        max: i64,
    },
    /// A setting has a value that is known but not offered.
    #[error("setting {name}={value} is not offered by this release: use {offered}")]
    #[n(5)]
    UnsupportedSetting {
        /// The setting.
        #[n(0)]
        name: SettingName,
        /// What it was.
        #[n(1)]
        value: String,
        /// What it may be.
        #[n(2)]
        offered: String,
    },

    /// There is no such partition on this shard.
    #[error(
        "partition {partition} is not on this shard: it was deleted or not created yet; refresh \
         the metadata and ask again"
    )]
    #[n(100)]
    UnknownPartition {
        /// The partition.
        #[cbor(n(0), with = "crate::codec::id")]
        partition: PartitionId,
    },
    /// The partition belongs to another topic.
    #[error(
        "partition {partition} belongs to topic {topic}, not to topic {asked}: partition ids are \
         given out once, so one of the two requests is wrong"
    )]
    #[n(101)]
    PartitionExists {
        /// The partition.
        #[cbor(n(0), with = "crate::codec::id")]
        partition: PartitionId,
        /// The topic that it belongs to.
        #[cbor(n(1), with = "crate::codec::id")]
        topic: TopicId,
        /// The topic that the command named.
        #[cbor(n(2), with = "crate::codec::id")]
        asked: TopicId,
    },
    /// The partition was deleted; its id is not used again.
    #[error("partition {partition} was deleted and cannot come back: create a new one")]
    #[n(102)]
    PartitionDeleted {
        /// The partition.
        #[cbor(n(0), with = "crate::codec::id")]
        partition: PartitionId,
    },
    /// The batch is larger than the topic permits.
    #[error(
        "a batch of {bytes} bytes for partition {partition} is larger than message_bytes_max \
         {bytes_max}: send smaller batches, or raise the topic's message_bytes_max"
    )]
    #[n(103)]
    RecordTooLarge {
        /// The partition.
        #[cbor(n(0), with = "crate::codec::id")]
        partition: PartitionId,
        /// Length of the batch.
        #[n(1)]
        bytes: u32,
        /// The setting in force.
        #[n(2)]
        bytes_max: u32,
    },
    /// The batch contradicts itself.
    #[error("a batch for partition {partition} is invalid: {fault}")]
    #[n(104)]
    InvalidRecord {
        /// The partition.
        #[cbor(n(0), with = "crate::codec::id")]
        partition: PartitionId,
        /// What is wrong.
        #[n(1)]
        fault: BatchFault,
    },
    /// A newer epoch of the producer has written already.
    #[error(
        "producer {producer} epoch {epoch} is fenced on partition {partition}: epoch {current} \
         has written there; stop this producer, another instance took over"
    )]
    #[n(105)]
    ProducerFenced {
        /// The partition.
        #[cbor(n(0), with = "crate::codec::id")]
        partition: PartitionId,
        /// The producer.
        #[cbor(n(1), with = "crate::codec::id")]
        producer: ProducerId,
        /// The epoch that asked.
        #[n(2)]
        epoch: ProducerEpoch,
        /// The epoch that is in force.
        #[n(3)]
        current: ProducerEpoch,
    },
    /// The sequence is neither the next one nor one of the last batches'.
    #[error(
        "producer {producer} epoch {epoch} sent sequence {got} to partition {partition}, expected \
         {expected}: resend the batches that are missing before it in order, or take a new epoch"
    )]
    #[n(106)]
    OutOfOrderSequence {
        /// The partition.
        #[cbor(n(0), with = "crate::codec::id")]
        partition: PartitionId,
        /// The producer.
        #[cbor(n(1), with = "crate::codec::id")]
        producer: ProducerId,
        /// Its epoch.
        #[n(2)]
        epoch: ProducerEpoch,
        /// The sequence that comes next.
        #[n(3)]
        expected: Sequence,
        /// The sequence that came.
        #[n(4)]
        got: Sequence,
    },
    /// Nothing is known of the producer, yet it doesn't begin at 0.
    #[error(
        "producer {producer} is not known on partition {partition} and sent sequence {got} \
         instead of 0: its state expired (producer_expiry_ms, producers_max) or an earlier batch \
         is missing; take a new epoch and begin at 0"
    )]
    #[n(107)]
    UnknownProducerId {
        /// The partition.
        #[cbor(n(0), with = "crate::codec::id")]
        partition: PartitionId,
        /// The producer.
        #[cbor(n(1), with = "crate::codec::id")]
        producer: ProducerId,
        /// The sequence that came.
        #[n(2)]
        got: Sequence,
    },
    /// The leader changed between the request and its commit.
    #[error(
        "an append to partition {partition} was meant for leader epoch {expected} but committed \
         in {current}: refresh the metadata and send it again"
    )]
    #[n(108)]
    LeaderEpochChanged {
        /// The partition.
        #[cbor(n(0), with = "crate::codec::id")]
        partition: PartitionId,
        /// The term that the command asked for.
        #[n(1)]
        expected: u64,
        /// The term of its entry.
        #[n(2)]
        current: u64,
    },
    /// The batch is well-formed but the topic does not want it.
    #[error("a batch for partition {partition} violates a setting of its topic: {policy}")]
    #[n(109)]
    PolicyViolation {
        /// The partition.
        #[cbor(n(0), with = "crate::codec::id")]
        partition: PartitionId,
        /// Which setting, and how.
        #[n(1)]
        policy: Policy,
    },
    /// The offset is not in the log.
    #[error(
        "offset {offset} of partition {partition} is outside of its log, which is {start} to \
         {end}: choose an offset in this range"
    )]
    #[n(110)]
    OffsetOutOfRange {
        /// The partition.
        #[cbor(n(0), with = "crate::codec::id")]
        partition: PartitionId,
        /// The offset that was asked for.
        #[cbor(n(1), with = "crate::codec::id")]
        offset: Offset,
        /// The log start offset.
        #[cbor(n(2), with = "crate::codec::id")]
        start: Offset,
        /// The log end offset.
        #[cbor(n(3), with = "crate::codec::id")]
        end: Offset,
    },
    /// The batch belongs to a transaction.
    #[error(
        "a batch for partition {0} belongs to a transaction: transactions are not offered \
         by this release; use an idempotent producer"
    )]
    #[n(111)]
    TransactionsUnsupported(#[cbor(n(0), with = "crate::codec::id")] PartitionId),

    /// The partition is a log.
    #[error("partition {0} is not a queue: name a queue, or use it as a topic")]
    #[n(150)]
    NotAQueue(#[cbor(n(0), with = "crate::codec::id")] PartitionId),
    /// The partition is a queue.
    #[error("partition {0} is a queue: send, receive and settle its messages, or name a topic")]
    #[n(151)]
    IsAQueue(#[cbor(n(0), with = "crate::codec::id")] PartitionId),
    /// The queue has as many messages as it may have.
    #[error("{0}")]
    #[n(152)]
    QueueFull(#[n(0)] QueueFull),
    /// The queue has as many bytes as it may have.
    #[error("{0}")]
    #[n(153)]
    QueueBytes(#[n(0)] QueueBytes),
    /// Some of what another queue hands over is here already.
    #[error("{0}")]
    #[n(154)]
    TransferOverlaps(#[n(0)] TransferOverlap),
    /// The queue moves messages to other queues already.
    #[error("{0}")]
    #[n(155)]
    RedriveUnfinished(#[n(0)] RedriveUnfinished),
    /// There is no cluster yet.
    #[error("the cluster has not been founded: run the init command on one of its nodes first")]
    #[n(200)]
    NotFounded,
    /// There is a cluster already, and it is another one.
    #[error(
        "this cluster was founded as {0} and cannot be founded again: remove the data \
         directories if you mean to begin anew"
    )]
    #[n(201)]
    AlreadyFounded(#[n(0)] String),
    /// There is no such node.
    #[error("node {0} is not known: start it, so that it joins, and look at the list of nodes")]
    #[n(202)]
    UnknownNode(#[cbor(n(0), with = "crate::codec::id")] NodeId),
    /// The node is in the wrong state for this.
    #[error("node {node} is {state}, which does not permit this: {advice}")]
    #[n(203)]
    NodeNotReady {
        /// The node.
        #[cbor(n(0), with = "crate::codec::id")]
        node: NodeId,
        /// Its state.
        #[n(1)]
        state: NodeState,
        /// What to do.
        #[n(2)]
        advice: String,
    },
    /// The node still has replicas.
    #[error(
        "node {node} still has {replicas} replicas, one of them of shard {shard}: drain it and \
         wait until they have moved"
    )]
    #[n(204)]
    NodeHasReplicas {
        /// The node.
        #[cbor(n(0), with = "crate::codec::id")]
        node: NodeId,
        /// How many.
        #[n(1)]
        replicas: u32,
        /// The first shard that has one there.
        #[cbor(n(2), with = "crate::codec::id")]
        shard: ShardId,
    },
    /// Another node has the address.
    #[error("address {address} belongs to node {node}: give each node its own")]
    #[n(205)]
    AddressInUse {
        /// The address.
        #[n(0)]
        address: String,
        /// The node that has it.
        #[cbor(n(1), with = "crate::codec::id")]
        node: NodeId,
    },
    /// There are as many nodes as there may be.
    #[error("the cluster has {nodes} nodes, and nodes_max is {nodes_max}: raise the limit first")]
    #[n(206)]
    NodesLimit {
        /// How many there are.
        #[n(0)]
        nodes: u32,
        /// The limit.
        #[n(1)]
        nodes_max: u32,
    },
    /// The node's release doesn't fit the cluster's feature level.
    #[error(
        "node {node} speaks feature levels {} to {} and cannot work at level {level}: run a \
         release on it that does", .speaks.oldest, .speaks.newest
    )]
    #[n(207)]
    FeatureLevelUnsupported {
        /// The node.
        #[cbor(n(0), with = "crate::codec::id")]
        node: NodeId,
        /// The level.
        #[n(1)]
        level: FeatureLevel,
        /// What it speaks.
        #[n(2)]
        speaks: FeatureRange,
    },
    /// The feature level never falls.
    #[error("the feature level is {current} and cannot become {asked}: it only ever rises")]
    #[n(208)]
    FeatureLevelFalls {
        /// The level in force.
        #[n(0)]
        current: FeatureLevel,
        /// The level that was asked for.
        #[n(1)]
        asked: FeatureLevel,
    },
    /// The name is taken.
    #[error("topic {name} exists: use it, delete it first, or choose another name")]
    #[n(220)]
    TopicExists {
        /// The name.
        #[n(0)]
        name: String,
        /// The topic that bears it.
        #[cbor(n(1), with = "crate::codec::id")]
        topic: TopicId,
    },
    /// There is no such topic, or it is deleted.
    #[error("topic {topic} does not exist: refresh the metadata; it may have been deleted")]
    #[n(221)]
    UnknownTopic {
        /// The topic.
        #[cbor(n(0), with = "crate::codec::id")]
        topic: TopicId,
    },
    /// The name has the wrong form.
    #[error("topic name {name:?} is invalid: {fault}")]
    #[n(222)]
    InvalidTopicName {
        /// The name, shortened where it is too long.
        #[n(0)]
        name: String,
        /// What is wrong.
        #[n(1)]
        fault: TopicNameFault,
    },
    /// The name differs from another only in `.` and `_`.
    #[error(
        "topic name {name} differs from {other} only in '.' and '_', which metrics cannot tell \
         apart: choose another name"
    )]
    #[n(223)]
    TopicNameCollision {
        /// The name that was asked for.
        #[n(0)]
        name: String,
        /// The topic that it collides with.
        #[n(1)]
        other: String,
    },
    /// There are as many topics as there may be.
    #[error(
        "the cluster has {topics} topics, and topics_max is {topics_max}: delete some (a deleted \
         one counts until it is purged) or raise the limit"
    )]
    #[n(224)]
    TopicsLimit {
        /// How many there are.
        #[n(0)]
        topics: u32,
        /// The limit.
        #[n(1)]
        topics_max: u32,
    },
    /// The topic would have too many partitions.
    #[error(
        "{asked} partitions for one topic are more than partitions_per_topic_max \
         {partitions_max}: ask for fewer or raise the limit"
    )]
    #[n(225)]
    TopicPartitionsLimit {
        /// How many it was to have.
        #[n(0)]
        asked: u32,
        /// The limit.
        #[n(1)]
        partitions_max: u32,
    },
    /// The cluster would have too many partitions.
    #[error(
        "{asked} more partitions, in addition to {partitions}, are more than partitions_max \
         {partitions_max}: ask for fewer, delete topics or raise the limit"
    )]
    #[n(226)]
    PartitionsLimit {
        /// How many more it was to have.
        #[n(0)]
        asked: u32,
        /// How many it has.
        #[n(1)]
        partitions: u32,
        /// The limit.
        #[n(2)]
        partitions_max: u32,
    },
    /// Partitions are never taken away from a topic.
    #[error(
        "topic {topic} has {partitions} partitions and cannot have {asked}: partitions can only \
         be added"
    )]
    #[n(227)]
    PartitionsFall {
        /// The topic.
        #[cbor(n(0), with = "crate::codec::id")]
        topic: TopicId,
        /// How many it has.
        #[n(1)]
        partitions: u32,
        /// How many it was to have.
        #[n(2)]
        asked: u32,
    },
    /// Somebody else changed the settings first.
    #[error(
        "the settings of topic {topic} are at version {current}, not {expected}: somebody else \
         changed them; read them again and decide anew"
    )]
    #[n(228)]
    SettingsChanged {
        /// The topic.
        #[cbor(n(0), with = "crate::codec::id")]
        topic: TopicId,
        /// The version that the command was decided on.
        #[n(1)]
        expected: u64,
        /// The version in force.
        #[n(2)]
        current: u64,
    },
    /// The topic is not deleted, so nothing of it can have been purged.
    #[error("topic {0} is not deleted: delete it before its partitions are purged")]
    #[n(229)]
    TopicNotDeleting(#[cbor(n(0), with = "crate::codec::id")] TopicId),
    /// The topic is a log.
    #[error("topic {0} is not a queue: settings of queues don't apply to it")]
    #[n(230)]
    TopicNotAQueue(#[cbor(n(0), with = "crate::codec::id")] TopicId),
    /// There is no such shard.
    #[error(
        "shard {shard} does not exist: the data shards are 1 to {shard_count}, 0 is the catalog"
    )]
    #[n(240)]
    UnknownShard {
        /// The shard.
        #[cbor(n(0), with = "crate::codec::id")]
        shard: ShardId,
        /// How many data shards there are.
        #[n(1)]
        shard_count: u32,
    },
    /// Somebody else changed the placement first.
    #[error(
        "the placement of shard {shard} is at version {current}, not {expected}: it changed \
         meanwhile; read it again and decide anew"
    )]
    #[n(241)]
    PlacementChanged {
        /// The shard.
        #[cbor(n(0), with = "crate::codec::id")]
        shard: ShardId,
        /// The version that the command was decided on.
        #[n(1)]
        expected: PlacementVersion,
        /// The version in force.
        #[n(2)]
        current: PlacementVersion,
    },
    /// The shard's Raft group doesn't exist yet.
    #[error("shard {0} has not been founded: wait until its first voters are reported")]
    #[n(242)]
    ShardNotFounded(#[cbor(n(0), with = "crate::codec::id")] ShardId),
    /// The report or mark names a replica that the catalog doesn't know there.
    #[error(
        "replica {replica} is not one of shard {shard} that the catalog gave out or still has: it \
         must not vote; stop it and read the placement again"
    )]
    #[n(243)]
    UnknownReplica {
        /// The shard.
        #[cbor(n(0), with = "crate::codec::id")]
        shard: ShardId,
        /// The replica.
        #[cbor(n(1), with = "crate::codec::id")]
        replica: ReplicaId,
    },
    /// No producer ids are left.
    #[error("producer ids are used up: {left} are left, {asked} were asked for")]
    #[n(244)]
    ProducerIdsExhausted {
        /// How many were asked for.
        #[n(0)]
        asked: u32,
        /// How many are left.
        #[n(1)]
        left: u64,
    },
    /// An exchange or a binding.
    #[error("{0}")]
    #[n(260)]
    Exchange(#[n(0)] ExchangeRefusal),
    /// The name is taken.
    #[error("subscription {0} exists: attach to it, delete it first, or choose another name")]
    #[n(267)]
    SubscriptionExists(#[n(0)] String),
    /// There is no such subscription.
    #[error("subscription {0} does not exist: create it, or correct the name")]
    #[n(268)]
    UnknownSubscription(#[n(0)] String),
    /// There are as many subscriptions as there may be.
    #[error("the cluster has {0} durable subscriptions, as many as there may be: delete some")]
    #[n(269)]
    SubscriptionsLimit(#[n(0)] u32),
}
