//! The partitions of one open subscription: which there are, and where it is in each.
//!
//! Memory: some 200 bytes for each partition, of which there are at most
//! `broker.subscribe.partitions_max`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kontiki_domain::catalog::{Catalog, CatalogVersion, Topic};
use kontiki_routing::Pattern;
use kontiki_storage::id::{PartitionId, ShardId, TopicId};

use super::PositionAt;
use super::commit::ByShard;

/// One partition.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) topic: Arc<str>,
    pub(super) number: u32,
    pub(super) shard: ShardId,
    /// What is asked for next.
    pub(super) next: u64,
    /// Everything below it has been delivered, or doesn't match.
    pub(super) delivered: u64,
    /// The offset after the last record that was delivered: up to there, the client has a say.
    last_record: u64,
    /// Everything below it the client has acknowledged.
    acknowledged: u64,
    committed: u64,
    /// Its leader has refused it: it is not asked for until the next look at the catalog.
    pub(super) refused: bool,
}

impl Part {
    pub(super) fn position(&self) -> PositionAt {
        let (topic, partition) = (Arc::clone(&self.topic), self.number);
        PositionAt { topic, partition, offset: self.delivered }
    }

    /// How far a durable subscription has come.
    fn settled(&self) -> u64 {
        if self.acknowledged >= self.last_record { self.delivered } else { self.acknowledged }
    }
}

/// What a look at the catalog has found.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) joined: ByShard<()>,
    pub(super) left: Vec<PartitionId>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Parts {
    pattern: Pattern,
    /// Topics that match, and how many of their partitions are known.
    topics: BTreeMap<TopicId, usize>,
    /// Topics below this id have been looked at.
    seen: TopicId,
    /// The catalog that was looked at last.
    version: CatalogVersion,
    pub(super) all: BTreeMap<PartitionId, Part>,
    numbers: BTreeMap<(Arc<str>, u32), PartitionId>,
    /// Those whose position has moved since the client was told.
    moved: BTreeSet<PartitionId>,
    /// Those whose position has moved since it was committed.
    uncommitted: BTreeSet<PartitionId>,
}

impl Parts {
    pub(super) fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            topics: BTreeMap::new(),
            seen: TopicId(0),
            version: CatalogVersion(0),
            all: BTreeMap::new(),
            numbers: BTreeMap::new(),
            moved: BTreeSet::new(),
            uncommitted: BTreeSet::new(),
        }
    }

    /// Whether a copy of the catalog, which is made anew after damage, hasn't come as far yet as it
    /// was. Topics that it lacks are not deleted.
    pub(super) fn is_ahead_of(&self, catalog: &Catalog) -> bool {
        catalog.version() < self.version
    }

    /// Takes over what the catalog says, unless [it has said more before](Self::is_ahead_of). New
    /// partitions begin at their log start, unless [`begin`](Self::begin) says something else.
    /// Topics that were looked at before are not matched again.
    pub(super) fn look(&mut self, catalog: &Catalog) -> Change {
        let mut change = Change::default();
        if self.is_ahead_of(catalog) {
            return change;
        }
        self.version = catalog.version();
        let gone: Vec<TopicId> = (self.topics.keys().copied())
            .filter(|id| !catalog.topic(*id).is_some_and(Topic::is_active))
            .collect();
        if !gone.is_empty() {
            self.topics.retain(|id, _| !gone.contains(id));
            let is_there = |id: &PartitionId| {
                let place = catalog.partition(*id);
                place.is_some_and(|place| self.topics.contains_key(&place.topic))
            };
            let left = self.all.keys().copied().filter(|id| !is_there(id));
            change.left = left.collect();
        }
        for id in &change.left {
            self.remove(*id);
        }
        let known: Vec<TopicId> = self.topics.keys().copied().collect();
        let known = known.into_iter().filter_map(|id| catalog.topic(id));
        let fresh = catalog.topics_from(self.seen).filter(|topic| {
            topic.is_active() && topic.queue.is_none() && self.pattern.matches(&topic.name)
        });
        let matching: Vec<&Topic> = known.chain(fresh).collect();
        for topic in matching {
            let before = self.topics.insert(topic.topic, topic.partitions.len()).unwrap_or(0);
            let name: Arc<str> = topic.name.as_str().into();
            for (number, place) in (0..).zip(&topic.partitions).skip(before) {
                change.joined.entry(place.shard).or_default().push((place.partition, ()));
                self.insert(place.partition, Arc::clone(&name), number, place.shard);
            }
        }
        self.seen = catalog.next_topic();
        self.all.values_mut().for_each(|part| part.refused = false);
        change
    }

    fn insert(&mut self, id: PartitionId, topic: Arc<str>, number: u32, shard: ShardId) {
        self.numbers.insert((Arc::clone(&topic), number), id);
        let part = Part {
            topic,
            number,
            shard,
            next: 0,
            delivered: 0,
            last_record: 0,
            acknowledged: 0,
            committed: 0,
            refused: false,
        };
        self.all.insert(id, part);
        self.moved.insert(id);
    }

    fn remove(&mut self, id: PartitionId) {
        if let Some(part) = self.all.remove(&id) {
            let name = (part.topic, part.number);
            // Another topic may bear the name by now.
            if self.numbers.get(&name) == Some(&id) {
                self.numbers.remove(&name);
            }
        }
        self.moved.remove(&id);
        self.uncommitted.remove(&id);
    }

    /// A partition begins at this offset.
    pub(super) fn begin(&mut self, id: PartitionId, offset: u64) {
        if let Some(part) = self.all.get_mut(&id) {
            part.next = offset;
            part.delivered = offset;
            part.last_record = offset;
            part.acknowledged = offset;
            part.committed = offset;
        }
    }

    /// The log ends before the position, which is that of another topic of the same name: it goes
    /// on at the end.
    pub(super) fn go_back(&mut self, id: PartitionId, end: u64) {
        let Some(part) = self.all.get_mut(&id) else { return };
        part.next = end;
        part.delivered = part.delivered.min(end);
        part.last_record = part.last_record.min(end);
        part.acknowledged = part.acknowledged.min(end);
        self.moved.insert(id);
    }

    /// The partition of this name and number.
    pub(super) fn named(&self, position: &PositionAt) -> Option<PartitionId> {
        self.numbers.get(&(Arc::clone(&position.topic), position.partition)).copied()
    }

    /// Everything below an offset has been delivered, or doesn't match; the last record that was
    /// delivered is the one before `last_record`, if any was.
    pub(super) fn deliver(&mut self, id: PartitionId, offset: u64, last_record: Option<u64>) {
        let Some(part) = self.all.get_mut(&id) else { return };
        part.delivered = part.delivered.max(offset);
        self.uncommitted.insert(id);
        match last_record {
            Some(next) => {
                part.last_record = next;
                self.moved.remove(&id);
            }
            None => {
                self.moved.insert(id);
            }
        }
    }

    /// The client has everything below a position, as far as that was delivered: what is beyond is
    /// of another topic that bore the name, or was delivered by another node and comes again.
    pub(super) fn acknowledge(&mut self, position: &PositionAt) {
        let Some(id) = self.named(position) else { return };
        let Some(part) = self.all.get_mut(&id) else { return };
        let offset = position.offset.min(part.delivered);
        if offset > part.acknowledged {
            part.acknowledged = offset;
            self.uncommitted.insert(id);
        }
    }

    /// Positions that the client hasn't been told, at most so many.
    pub(super) fn take_moved(&mut self, max: usize) -> Vec<PositionAt> {
        let some: Vec<PartitionId> = self.moved.iter().take(max).copied().collect();
        let mut positions = Vec::with_capacity(some.len());
        for id in some {
            self.moved.remove(&id);
            positions.extend(self.all.get(&id).map(Part::position));
        }
        positions
    }

    /// Positions to be committed.
    pub(super) fn take_uncommitted(&mut self) -> ByShard<u64> {
        let mut positions = ByShard::new();
        for id in std::mem::take(&mut self.uncommitted) {
            let Some(part) = self.all.get_mut(&id) else { continue };
            let settled = part.settled();
            if settled > part.committed {
                part.committed = settled;
                positions.entry(part.shard).or_default().push((id, settled));
            }
        }
        positions
    }

    /// They could not be committed.
    pub(super) fn put_back(&mut self, positions: &ByShard<u64>) {
        for (id, _) in positions.values().flatten() {
            if let Some(part) = self.all.get_mut(id) {
                part.committed = 0;
                self.uncommitted.insert(*id);
            }
        }
    }
}
