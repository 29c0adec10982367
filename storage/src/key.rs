//! The whole keyspace, on one page. Only this module builds keys.
//!
//! Numbers are big-endian, so that keys sort as their numbers do. A change of this layout needs a
//! new [`VERSION`] and a migration; frozen-bytes tests hold it in place.
//!
//! ```text
//! family Log     [shard u32][kind u8]...
//!   1  vote
//!   2  purged      the last log id that was purged
//!   3  entry       [index u64]
//!
//! family State   [shard u32][generation u32][kind u8]...       a Space is shard and generation
//!   generation 0, one row per shard
//!   0  generation  which generation is current
//!   generation 1 and up, one Space for each state of a shard
//!   1  applied     [] last applied log id, membership, time
//!   2  cluster     []
//!   3  counters    []
//!   4  node        [node u32]
//!   5  placement   [shard u32]
//!   6  topic       [topic u64]
//!   7  exchange    [name]
//!   8  binding     [binding u64]
//!   12 subscription [subscription u64]
//!   16 partition   [partition u64]
//!   17 batch       [partition u64][base offset u64]             refers to a payload
//!   18 producer    [partition u64][producer u64]
//!   20 position    [partition u64][subscription u64]
//!   32 to 46: what is waiting or leased in a queue, see [`queue`]; each [partition u64]...
//!   shard u32::MAX, generation 0: rows of this node alone
//!   64 identity    [] who this node is
//!   65 replica     [shard u32] which replica of a shard is here
//!   66 payload_ref [segment u64][offset u32] the key of the row that refers to it
//!   67 live        [segment u64][shard u32][generation u32] live bytes in it
//! ```

pub mod queue;

use bytes::{BufMut, Bytes, BytesMut};

use crate::engine::KeyRange;
use crate::error::Error;
use crate::id::{
    LogIndex, NodeId, Offset, PartitionId, ProducerId, SegmentId, ShardId, SubscriptionId, TopicId,
};

/// Of this layout; kept in the node's identity.
pub const VERSION: u8 = 1;

/// The generation of a shard's first state.
pub const FIRST_GENERATION: u32 = 1;

const VOTE: u8 = 1;
const PURGED: u8 = 2;
const ENTRY: u8 = 3;

const GENERATION: u8 = 0;
const APPLIED: u8 = 1;
const CLUSTER: u8 = 2;
const COUNTERS: u8 = 3;
const NODE: u8 = 4;
const PLACEMENT: u8 = 5;
const TOPIC: u8 = 6;
const EXCHANGE: u8 = 7;
const BINDING: u8 = 8;
const SUBSCRIPTION: u8 = 12;
const PARTITION: u8 = 16;
const BATCH: u8 = 17;
const PRODUCER: u8 = 18;
const POSITION: u8 = 20;

const IDENTITY: u8 = 64;
const REPLICA: u8 = 65;
const PAYLOAD_REF: u8 = 66;
const LIVE: u8 = 67;

/// Bytes of a space in front of a key.
const SPACE_BYTES: usize = 8;

/// One state of a shard: a snapshot comes in under the next generation and is switched to whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Space {
    /// The shard.
    pub shard: ShardId,
    /// Which of its states.
    pub generation: u32,
}

impl Space {
    /// A shard's first state.
    #[must_use]
    pub fn first(shard: ShardId) -> Self {
        Self { shard, generation: FIRST_GENERATION }
    }
}

fn log_key(shard: ShardId, kind: u8) -> BytesMut {
    let mut key = BytesMut::with_capacity(13);
    key.put_u32(shard.0);
    key.put_u8(kind);
    key
}

fn state_key(space: Space, kind: u8, more: usize) -> BytesMut {
    let mut key = BytesMut::with_capacity(SPACE_BYTES + 1 + more);
    key.put_u32(space.shard.0);
    key.put_u32(space.generation);
    key.put_u8(kind);
    key
}

const OWN: Space = Space { shard: ShardId::NODE, generation: 0 };

/// Raft's vote of a shard.
#[must_use]
pub fn raft_vote(shard: ShardId) -> Bytes {
    log_key(shard, VOTE).freeze()
}

/// The last purged log id of a shard.
#[must_use]
pub fn raft_purged(shard: ShardId) -> Bytes {
    log_key(shard, PURGED).freeze()
}

/// An entry of a shard's log.
#[must_use]
pub fn raft_entry(shard: ShardId, index: u64) -> Bytes {
    let mut key = log_key(shard, ENTRY);
    key.put_u64(index);
    key.freeze()
}

/// Entries from an index up to, not including, another; `u64::MAX` is the end.
#[must_use]
pub fn raft_entries(shard: ShardId, from: u64, to: u64) -> KeyRange {
    KeyRange { start: raft_entry(shard, from), end: raft_entry(shard, to) }
}

/// Everything that Raft has stored of a shard.
#[must_use]
pub fn raft_rows(shard: ShardId) -> KeyRange {
    KeyRange::prefix(&shard.0.to_be_bytes())
}

/// Which index an entry's key names.
#[must_use]
pub fn entry_index(key: &[u8]) -> Option<LogIndex> {
    let index = key.get(5..13)?.try_into().ok()?;
    Some(LogIndex(u64::from_be_bytes(index)))
}

/// Which generation of a shard is current.
#[must_use]
pub fn generation(shard: ShardId) -> Bytes {
    state_key(Space { shard, generation: 0 }, GENERATION, 0).freeze()
}

/// The value of a [`generation`] row.
#[must_use]
pub fn encode_generation(generation: u32) -> Bytes {
    let mut value = BytesMut::with_capacity(5);
    value.put_u8(VERSION);
    value.put_u32(generation);
    value.freeze()
}

/// Reads what [`encode_generation`] wrote.
///
/// # Errors
/// [`Error::Corrupt`].
pub fn decode_generation(value: &[u8]) -> Result<u32, Error> {
    match value {
        [VERSION, number @ ..] if number.len() == 4 => {
            Ok(u32::from_be_bytes(number.try_into().expect("four bytes")))
        }
        _ => Err(Error::corrupt("a generation row", format!("{} bytes", value.len()))),
    }
}

/// What has been applied.
#[must_use]
pub fn applied(space: Space) -> Bytes {
    state_key(space, APPLIED, 0).freeze()
}

/// The cluster's row in the catalog.
#[must_use]
pub fn cluster(space: Space) -> Bytes {
    state_key(space, CLUSTER, 0).freeze()
}

/// What the catalog has given out.
#[must_use]
pub fn counters(space: Space) -> Bytes {
    state_key(space, COUNTERS, 0).freeze()
}

/// A node in the catalog.
#[must_use]
pub fn node(space: Space, node: NodeId) -> Bytes {
    let mut key = state_key(space, NODE, 4);
    key.put_u32(node.0);
    key.freeze()
}

/// All nodes in the catalog.
#[must_use]
pub fn nodes(space: Space) -> KeyRange {
    KeyRange::prefix(&state_key(space, NODE, 0))
}

/// Where a shard is, in the catalog.
#[must_use]
pub fn placement(space: Space, shard: ShardId) -> Bytes {
    let mut key = state_key(space, PLACEMENT, 4);
    key.put_u32(shard.0);
    key.freeze()
}

/// All placements.
#[must_use]
pub fn placements(space: Space) -> KeyRange {
    KeyRange::prefix(&state_key(space, PLACEMENT, 0))
}

/// A topic in the catalog.
#[must_use]
pub fn topic(space: Space, topic: TopicId) -> Bytes {
    let mut key = state_key(space, TOPIC, 8);
    key.put_u64(topic.0);
    key.freeze()
}

/// All topics.
#[must_use]
pub fn topics(space: Space) -> KeyRange {
    KeyRange::prefix(&state_key(space, TOPIC, 0))
}

/// An exchange in the catalog.
#[must_use]
pub fn exchange(space: Space, name: &str) -> Bytes {
    let mut key = state_key(space, EXCHANGE, name.len());
    key.put_slice(name.as_bytes());
    key.freeze()
}

/// All exchanges.
#[must_use]
pub fn exchanges(space: Space) -> KeyRange {
    KeyRange::prefix(&state_key(space, EXCHANGE, 0))
}

/// A binding in the catalog, by its number.
#[must_use]
pub fn binding(space: Space, binding: u64) -> Bytes {
    let mut key = state_key(space, BINDING, 8);
    key.put_u64(binding);
    key.freeze()
}

/// All bindings.
#[must_use]
pub fn bindings(space: Space) -> KeyRange {
    KeyRange::prefix(&state_key(space, BINDING, 0))
}

/// A durable subscription in the catalog.
#[must_use]
pub fn subscription(space: Space, subscription: SubscriptionId) -> Bytes {
    let mut key = state_key(space, SUBSCRIPTION, 8);
    key.put_u64(subscription.0);
    key.freeze()
}

/// All durable subscriptions.
#[must_use]
pub fn subscriptions(space: Space) -> KeyRange {
    KeyRange::prefix(&state_key(space, SUBSCRIPTION, 0))
}

/// The state of a partition.
#[must_use]
pub fn partition(space: Space, partition: PartitionId) -> Bytes {
    let mut key = state_key(space, PARTITION, 8);
    key.put_u64(partition.0);
    key.freeze()
}

/// All partitions of a shard.
#[must_use]
pub fn partitions(space: Space) -> KeyRange {
    KeyRange::prefix(&state_key(space, PARTITION, 0))
}

/// Which partition a [`partition`] key names.
#[must_use]
pub fn partition_of(key: &[u8]) -> Option<PartitionId> {
    let number = key.get(9..17)?.try_into().ok()?;
    Some(PartitionId(u64::from_be_bytes(number)))
}

/// A record batch, by its first offset.
#[must_use]
pub fn batch(space: Space, partition: PartitionId, base_offset: Offset) -> Bytes {
    let mut key = state_key(space, BATCH, 16);
    key.put_u64(partition.0);
    key.put_u64(base_offset.0);
    key.freeze()
}

/// Batches of a partition with first offsets from one up to, not including, another.
#[must_use]
pub fn batches(space: Space, id: PartitionId, from: Offset, to: Offset) -> KeyRange {
    KeyRange { start: batch(space, id, from), end: batch(space, id, to) }
}

/// Which first offset a [`batch`] key names.
#[must_use]
pub fn batch_offset(key: &[u8]) -> Option<Offset> {
    let number = key.get(17..25)?.try_into().ok()?;
    Some(Offset(u64::from_be_bytes(number)))
}

/// What is known of a producer in a partition.
#[must_use]
pub fn producer(space: Space, partition: PartitionId, producer: ProducerId) -> Bytes {
    let mut key = state_key(space, PRODUCER, 16);
    key.put_u64(partition.0);
    key.put_u64(producer.0);
    key.freeze()
}

/// All producers of a partition.
#[must_use]
pub fn producers(space: Space, partition: PartitionId) -> KeyRange {
    let mut key = state_key(space, PRODUCER, 8);
    key.put_u64(partition.0);
    KeyRange::prefix(&key)
}

/// All producers of a shard.
#[must_use]
pub fn all_producers(space: Space) -> KeyRange {
    KeyRange::prefix(&state_key(space, PRODUCER, 0))
}

/// Which partition and producer a [`producer`] key names.
#[must_use]
pub fn producer_of(key: &[u8]) -> Option<(PartitionId, ProducerId)> {
    let producer = key.get(17..25)?.try_into().ok()?;
    Some((partition_of(key)?, ProducerId(u64::from_be_bytes(producer))))
}

/// Whether a row is what a partition remembers of a producer.
#[must_use]
pub fn is_of_a_producer(key: &[u8]) -> bool {
    key.get(SPACE_BYTES) == Some(&PRODUCER)
}

/// How far a durable subscription has come in a partition.
#[must_use]
pub fn position(space: Space, partition: PartitionId, subscription: SubscriptionId) -> Bytes {
    let mut key = state_key(space, POSITION, 16);
    key.put_u64(partition.0);
    key.put_u64(subscription.0);
    key.freeze()
}

/// The positions of all subscriptions in a partition.
#[must_use]
pub fn positions(space: Space, partition: PartitionId) -> KeyRange {
    let mut key = state_key(space, POSITION, 8);
    key.put_u64(partition.0);
    KeyRange::prefix(&key)
}

/// All positions of a shard.
#[must_use]
pub fn all_positions(space: Space) -> KeyRange {
    KeyRange::prefix(&state_key(space, POSITION, 0))
}

/// Which partition and subscription a [`position`] key names.
#[must_use]
pub fn position_of(key: &[u8]) -> Option<(PartitionId, SubscriptionId)> {
    let subscription = key.get(17..25)?.try_into().ok()?;
    Some((partition_of(key)?, SubscriptionId(u64::from_be_bytes(subscription))))
}

/// All rows of a state, as a snapshot copies them.
#[must_use]
pub fn snapshot_ranges(space: Space) -> Vec<KeyRange> {
    vec![space_rows(space)]
}

/// All rows of a state.
#[must_use]
pub fn space_rows(space: Space) -> KeyRange {
    let mut prefix = BytesMut::with_capacity(SPACE_BYTES);
    prefix.put_u32(space.shard.0);
    prefix.put_u32(space.generation);
    KeyRange::prefix(&prefix)
}

/// The rows of a state that may refer to payloads.
#[must_use]
pub fn payload_owners(space: Space) -> KeyRange {
    KeyRange::prefix(&state_key(space, BATCH, 0))
}

/// Everything applied of a shard, of all generations.
#[must_use]
pub fn shard_state(shard: ShardId) -> KeyRange {
    KeyRange::prefix(&shard.0.to_be_bytes())
}

/// The row of this key refers to a payload (or has it inside).
#[must_use]
pub fn owns_payload(key: &[u8]) -> bool {
    key.get(SPACE_BYTES) == Some(&BATCH)
}

/// A key of a state without its space.
///
/// # Panics
/// Where the key is shorter than a space.
#[must_use]
pub fn strip_space(key: &[u8]) -> &[u8] {
    &key[SPACE_BYTES..]
}

/// The key of a state that [`strip_space`] has made shorter, in another space.
#[must_use]
pub fn with_space(space: Space, key: &[u8]) -> Bytes {
    let mut full = BytesMut::with_capacity(SPACE_BYTES + key.len());
    full.put_u32(space.shard.0);
    full.put_u32(space.generation);
    full.put_slice(key);
    full.freeze()
}

/// Which space a key of a state belongs to.
#[must_use]
pub fn space_of(key: &[u8]) -> Option<Space> {
    let shard = u32::from_be_bytes(key.get(..4)?.try_into().ok()?);
    let generation = u32::from_be_bytes(key.get(4..8)?.try_into().ok()?);
    Some(Space { shard: ShardId(shard), generation })
}

/// Who this node is.
#[must_use]
pub fn identity() -> Bytes {
    state_key(OWN, IDENTITY, 0).freeze()
}

/// Which replica of a shard is on this node.
#[must_use]
pub fn replica(shard: ShardId) -> Bytes {
    let mut key = state_key(OWN, REPLICA, 4);
    key.put_u32(shard.0);
    key.freeze()
}

/// All replicas on this node.
#[must_use]
pub fn replicas() -> KeyRange {
    KeyRange::prefix(&state_key(OWN, REPLICA, 0))
}

/// Which shard a [`replica`] key names.
#[must_use]
pub fn replica_shard(key: &[u8]) -> Option<ShardId> {
    let shard = key.get(9..13)?.try_into().ok()?;
    Some(ShardId(u32::from_be_bytes(shard)))
}

/// Which row refers to the payload at a place.
#[must_use]
pub fn payload_ref(segment: SegmentId, offset: u32) -> Bytes {
    let mut key = state_key(OWN, PAYLOAD_REF, 12);
    key.put_u64(segment.0);
    key.put_u32(offset);
    key.freeze()
}

/// All references to payloads of a segment.
#[must_use]
pub fn payload_refs(segment: SegmentId) -> KeyRange {
    let mut key = state_key(OWN, PAYLOAD_REF, 8);
    key.put_u64(segment.0);
    KeyRange::prefix(&key)
}

/// Which segment and offset a [`payload_ref`] key names.
#[must_use]
pub fn payload_ref_of(key: &[u8]) -> Option<(SegmentId, u32)> {
    let segment = u64::from_be_bytes(key.get(9..17)?.try_into().ok()?);
    let offset = u32::from_be_bytes(key.get(17..21)?.try_into().ok()?);
    Some((SegmentId(segment), offset))
}

/// Live bytes of a state in a segment.
#[must_use]
pub fn segment_live(segment: SegmentId, space: Space) -> Bytes {
    let mut key = state_key(OWN, LIVE, 16);
    key.put_u64(segment.0);
    key.put_u32(space.shard.0);
    key.put_u32(space.generation);
    key.freeze()
}

/// All live sums.
#[must_use]
pub fn segments_live() -> KeyRange {
    KeyRange::prefix(&state_key(OWN, LIVE, 0))
}

/// Which segment and state a [`segment_live`] key names.
#[must_use]
pub fn segment_live_of(key: &[u8]) -> Option<(SegmentId, Space)> {
    let segment = u64::from_be_bytes(key.get(9..17)?.try_into().ok()?);
    Some((SegmentId(segment), space_of(key.get(17..25)?)?))
}
