//! The catalog in memory: every row, plus what is looked up often.
//!
//! Memory is bounded by the limits in the cluster row: about 300 bytes per node and topic and 60
//! per partition, so some 50 MB at the default limits. The rows are the truth; the indexes here
//! are derived from them, at load and with every change, by the same functions.

use std::collections::BTreeMap;

use kontiki_storage::id::{NodeId, PartitionId, ProducerId, ShardId, SubscriptionId, TopicId};
use kontiki_storage::key::Space;
use minicbor::{Decode, Encode};

use super::cluster::{CatalogVersion, Cluster};
use super::exchange::BindingId;
use super::node::Node;
use super::placement::Placement;
use super::routes::{Routes, RoutingChange};
use super::subscription::Subscription;
use super::topic::{PartitionPlacement, Topic, collision_key};
use crate::rejection::Rejection;

/// What the catalog has given out. None of them ever falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Counters {
    #[n(0)]
    pub version: CatalogVersion,
    #[cbor(n(1), with = "crate::codec::id")]
    pub next_topic: TopicId,
    #[cbor(n(2), with = "crate::codec::id")]
    pub next_partition: PartitionId,
    #[cbor(n(3), with = "crate::codec::id")]
    pub next_producer: ProducerId,
    /// The number that the last binding has got; `None` before the first.
    #[n(4)]
    pub last_binding: Option<BindingId>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            version: CatalogVersion(0),
            next_topic: TopicId(1),
            next_partition: PartitionId(1),
            next_producer: ProducerId(1),
            last_binding: None,
        }
    }
}

/// Which partition of which topic a partition id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionRef {
    /// The topic, which may be deleting.
    pub topic: TopicId,
    /// Its number in the topic, from 0; meaningless once the topic is deleting.
    pub index: u32,
    /// The shard that hosts it.
    pub shard: ShardId,
}

/// The catalog's state machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    pub(super) space: Space,
    pub(super) counters: Counters,
    pub(super) cluster: Option<Cluster>,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) placements: BTreeMap<ShardId, Placement>,
    pub(super) topics: BTreeMap<TopicId, Topic>,
    pub(super) subscriptions: BTreeMap<SubscriptionId, Subscription>,
    /// The subscriptions by name.
    pub(super) subscription_names: BTreeMap<String, SubscriptionId>,
    /// The active topics by name.
    names: BTreeMap<String, TopicId>,
    /// The active topics by the form of their name in which `.` and `_` are the same.
    collisions: BTreeMap<String, TopicId>,
    partitions: BTreeMap<PartitionId, PartitionRef>,
    /// How many partitions each shard hosts. A shard without any has no entry.
    hosted: BTreeMap<ShardId, u32>,
    /// Elsewhere, so that this isn't much larger than the other machine that a shard may have.
    pub(super) routes: Box<Routes>,
    /// What the command being applied has changed among them.
    pub(super) rerouted: Vec<RoutingChange>,
    /// Whether the command being applied has changed anything that watchers see.
    pub(super) changed: bool,
}

impl Catalog {
    pub(super) fn empty(space: Space) -> Self {
        Self {
            space,
            counters: Counters::default(),
            cluster: None,
            nodes: BTreeMap::new(),
            placements: BTreeMap::new(),
            topics: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            subscription_names: BTreeMap::new(),
            names: BTreeMap::new(),
            collisions: BTreeMap::new(),
            partitions: BTreeMap::new(),
            hosted: BTreeMap::new(),
            routes: Box::default(),
            rerouted: Vec::new(),
            changed: false,
        }
    }

    /// Which state of which shard this is.
    pub fn space(&self) -> Space {
        self.space
    }

    /// How often the catalog has changed.
    pub fn version(&self) -> CatalogVersion {
        self.counters.version
    }

    /// The producer id that is given out next: all below it, from 1, have been.
    pub fn next_producer(&self) -> ProducerId {
        self.counters.next_producer
    }

    /// The cluster, once it is founded.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// A node, in any state.
    pub fn node(&self, node: NodeId) -> Option<&Node> {
        self.nodes.get(&node)
    }

    /// All nodes, removed ones included, by number.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// A topic, even one that is deleting.
    pub fn topic(&self, topic: TopicId) -> Option<&Topic> {
        self.topics.get(&topic)
    }

    /// The active topic of this name.
    pub fn topic_named(&self, name: &str) -> Option<&Topic> {
        self.names.get(name).and_then(|topic| self.topics.get(topic))
    }

    /// All topics, deleting ones included, by id.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.values()
    }

    /// The topics that were created with this id or a later one, deleting ones included, by id.
    pub fn topics_from(&self, topic: TopicId) -> impl Iterator<Item = &Topic> {
        self.topics.range(topic..).map(|(_, topic)| topic)
    }

    /// The id that the next topic gets.
    pub fn next_topic(&self) -> TopicId {
        self.counters.next_topic
    }

    /// A durable subscription.
    pub fn subscription(&self, subscription: SubscriptionId) -> Option<&Subscription> {
        self.subscriptions.get(&subscription)
    }

    /// The durable subscription of this name.
    pub fn subscription_named(&self, name: &str) -> Option<&Subscription> {
        let id = self.subscription_names.get(name)?;
        self.subscriptions.get(id)
    }

    /// The durable subscriptions with names after `after`, by name.
    pub fn subscriptions_after(&self, after: &str) -> impl Iterator<Item = &Subscription> {
        use std::ops::Bound::{Excluded, Unbounded};
        let names = self.subscription_names.range::<str, _>((Excluded(after), Unbounded));
        names.filter_map(|(_, id)| self.subscriptions.get(id))
    }

    /// The active topics, by name.
    pub fn active_topics(&self) -> impl Iterator<Item = &Topic> {
        self.names.values().filter_map(|topic| self.topics.get(topic))
    }

    /// The active topics with names after `after`, by name: a page of a listing.
    pub fn active_topics_after(&self, after: &str) -> impl Iterator<Item = &Topic> {
        use std::ops::Bound::{Excluded, Unbounded};
        let names = self.names.range::<str, _>((Excluded(after), Unbounded));
        names.filter_map(|(_, topic)| self.topics.get(topic))
    }

    /// Where a partition is, even one that is to be purged.
    pub fn partition(&self, partition: PartitionId) -> Option<PartitionRef> {
        self.partitions.get(&partition).copied()
    }

    /// Exchanges and bindings.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// The placement of a shard.
    pub fn placement(&self, shard: ShardId) -> Option<&Placement> {
        self.placements.get(&shard)
    }

    /// All placements, by shard; the catalog's is the first.
    pub fn placements(&self) -> impl Iterator<Item = &Placement> {
        self.placements.values()
    }

    /// How many partitions a shard hosts, those to be purged included.
    pub fn partitions_on(&self, shard: ShardId) -> u32 {
        self.hosted.get(&shard).copied().unwrap_or(0)
    }

    /// How many partitions there are, those to be purged included.
    pub fn partitions_count(&self) -> u32 {
        u32::try_from(self.partitions.len()).expect("bounded by partitions_max, a u32")
    }

    pub(super) fn founded(&self) -> Result<&Cluster, Rejection> {
        self.cluster.as_ref().ok_or(Rejection::NotFounded)
    }

    pub(super) fn known_node(&self, node: NodeId) -> Result<&Node, Rejection> {
        self.nodes.get(&node).ok_or(Rejection::UnknownNode(node))
    }

    pub(super) fn known_placement(&self, shard: ShardId) -> Result<&Placement, Rejection> {
        let shard_count = self.founded()?.shard_count;
        self.placements.get(&shard).ok_or(Rejection::UnknownShard { shard, shard_count })
    }

    pub(super) fn active_topic(&self, topic: TopicId) -> Result<&Topic, Rejection> {
        let found = self.topics.get(&topic).filter(|row| row.is_active());
        found.ok_or(Rejection::UnknownTopic { topic })
    }

    /// The active topic whose name differs from `name` at most in `.` and `_`.
    pub(super) fn colliding(&self, name: &str) -> Option<&Topic> {
        self.collisions.get(&collision_key(name)).and_then(|topic| self.topics.get(topic))
    }

    /// Takes a topic into the maps and indexes.
    pub(super) fn insert_topic(&mut self, topic: Topic) {
        if topic.is_active() {
            self.names.insert(topic.name.clone(), topic.topic);
            self.collisions.insert(collision_key(&topic.name), topic.topic);
        }
        for (index, PartitionPlacement { partition, shard }) in topic.partitions.iter().enumerate()
        {
            let index = u32::try_from(index).expect("bounded by partitions_per_topic_max, a u32");
            let place = PartitionRef { topic: topic.topic, index, shard: *shard };
            let former = self.partitions.insert(*partition, place);
            assert!(former.is_none(), "partition {partition} belongs to two topics");
            *self.hosted.entry(*shard).or_insert(0) += 1;
        }
        let former = self.topics.insert(topic.topic, topic);
        assert!(former.is_none(), "a topic was inserted over another");
    }

    /// Takes a topic out of the maps and indexes.
    pub(super) fn take_topic(&mut self, topic: TopicId) -> Option<Topic> {
        let topic = self.topics.remove(&topic)?;
        if topic.is_active() {
            self.names.remove(&topic.name);
            self.collisions.remove(&collision_key(&topic.name));
        }
        for PartitionPlacement { partition, shard } in &topic.partitions {
            let former = self.partitions.remove(partition);
            assert!(former.is_some(), "partition {partition} was not indexed");
            let hosted = self.hosted.get_mut(shard).expect("counted when it was inserted");
            *hosted -= 1;
            if *hosted == 0 {
                self.hosted.remove(shard);
            }
        }
        Some(topic)
    }
}
