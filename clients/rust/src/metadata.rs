//! What is known of the cluster: nodes, topics, and who leads which partition. It may be old; a
//! node that is asked although it doesn't lead says so.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use kontiki_proto::v1;
use tokio::time::Instant;

use crate::Options;

/// For how long a node that did not answer is asked last.
const AVOIDED: Duration = Duration::from_secs(10);

/// Who leads a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Leader {
    /// 0 while there is none.
    pub(crate) node_id: u32,
    pub(crate) epoch: u64,
}

#[derive(Debug, Clone)]
struct Topic {
    topic_id: u64,
    leaders: Vec<Leader>,
    fetched_at: Instant,
}

#[derive(Debug, Default)]
struct State {
    nodes: HashMap<u32, Arc<str>>,
    topics: HashMap<Arc<str>, Topic>,
    version: u64,
    /// Who answered last: it is asked first.
    preferred: Option<Arc<str>>,
    /// Who did not answer, and until when it is asked last.
    avoided: HashMap<Arc<str>, Instant>,
}

/// The cache; all of a client's tasks share it.
#[derive(Debug)]
pub(crate) struct Metadata {
    bootstrap: Vec<Arc<str>>,
    max_age: Duration,
    topics_max: usize,
    state: RwLock<State>,
}

impl Metadata {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            bootstrap: options.bootstrap.iter().map(|address| Arc::from(&address[..])).collect(),
            max_age: Duration::from_millis(options.metadata_max_age_ms),
            topics_max: options.topics_max,
            state: RwLock::default(),
        }
    }

    /// Addresses to ask, each once: who answered last, the known nodes, the bootstrap addresses.
    pub(crate) fn candidates(&self) -> Vec<Arc<str>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Arc<str>> = state.preferred.iter().cloned().collect();
        let mut nodes: Vec<_> = state.nodes.iter().collect();
        nodes.sort_unstable_by_key(|(id, _)| **id);
        for address in nodes.into_iter().map(|(_, address)| address).chain(&self.bootstrap) {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        if !state.avoided.is_empty() {
            let now = Instant::now();
            all.sort_by_key(|address| state.avoided.get(address).is_some_and(|end| *end > now));
        }
        all
    }

    /// The same; the leader of a topic's only partition comes first, where it is known and answers.
    pub(crate) fn candidates_near(&self, topic: Option<&str>) -> Vec<Arc<str>> {
        let mut all = self.candidates();
        if let Some(leader) = topic.and_then(|topic| self.near(topic)) {
            all.retain(|address| *address != leader);
            all.insert(0, leader);
        }
        all
    }

    /// The leader of a topic's only partition, where it is known and answers.
    pub(crate) fn near(&self, topic: &str) -> Option<Arc<str>> {
        let leader = self.leader(topic, 0)?;
        let now = Instant::now();
        let avoided =
            self.read(|state| state.avoided.get(&leader).is_some_and(|until| *until > now));
        (!avoided).then_some(leader)
    }

    /// It answered.
    pub(crate) fn prefer(&self, address: &Arc<str>) {
        let known = self.read(|state| {
            state.preferred.as_ref() == Some(address) && !state.avoided.contains_key(address)
        });
        if !known {
            self.write(|state| {
                state.avoided.remove(address);
                state.preferred = Some(address.clone());
            });
        }
    }

    /// It didn't answer: others are asked first for a while.
    pub(crate) fn avoid(&self, address: &Arc<str>) {
        self.write(|state| {
            let now = Instant::now();
            state.avoided.retain(|_, end| *end > now);
            state.avoided.insert(address.clone(), now + AVOIDED);
            if state.preferred.as_ref() == Some(address) {
                state.preferred = None;
            }
        });
    }

    /// Takes an answer in, where it isn't older than what is known.
    pub(crate) fn learn(&self, answer: &v1::MetadataResponse) {
        let now = Instant::now();
        self.write(|state| {
            let outdated = answer.version < state.version;
            if !outdated {
                state.version = answer.version;
                let nodes = answer.nodes.iter().filter(|node| !node.address.is_empty());
                state.nodes =
                    nodes.map(|node| (node.node_id, Arc::from(&node.address[..]))).collect();
            }
            for topic in &answer.topics {
                let former = state.topics.get(&topic.topic[..]);
                let expired = |former: &Topic| now.duration_since(former.fetched_at) > self.max_age;
                if outdated && former.is_some_and(|former| !expired(former)) {
                    continue;
                }
                if topic.error.is_some() {
                    state.topics.remove(&topic.topic[..]);
                    continue;
                }
                let merged = merge(former, topic, now);
                if state.topics.len() >= self.topics_max {
                    // They are asked again when they are needed.
                    state.topics.clear();
                }
                state.topics.insert(Arc::from(&topic.topic[..]), merged);
            }
        });
    }

    /// Takes a hint of a node that was asked in vain.
    pub(crate) fn learn_leader(&self, topic: &str, partition: u32, hint: &v1::LeaderHint) {
        if hint.node_id == 0 || hint.address.is_empty() {
            return;
        }
        self.write(|state| {
            state.nodes.insert(hint.node_id, Arc::from(&hint.address[..]));
            let leaders = state.topics.get_mut(topic).map(|topic| &mut topic.leaders);
            if let Some(leader) = leaders.and_then(|all| all.get_mut(partition as usize)) {
                leader.node_id = hint.node_id;
            }
        });
    }

    /// Nobody is known to lead any more: whoever did can't be reached.
    pub(crate) fn forget_leader(&self, topic: &str, partition: u32, address: &str) {
        self.write(|state| {
            let leaders = state.topics.get_mut(topic).map(|topic| &mut topic.leaders);
            if let Some(leader) = leaders.and_then(|all| all.get_mut(partition as usize)) {
                let its = state.nodes.get(&leader.node_id);
                if its.is_some_and(|its| &**its == address) {
                    leader.node_id = 0;
                }
            }
        });
    }

    /// How many partitions a topic has, and since when that is known.
    pub(crate) fn partitions(&self, topic: &str) -> Option<(u32, Instant)> {
        self.read(|state| {
            let topic = state.topics.get(topic)?;
            Some((u32::try_from(topic.leaders.len()).unwrap_or(u32::MAX), topic.fetched_at))
        })
    }

    /// Where the leader of a partition is; none if that isn't known.
    pub(crate) fn leader(&self, topic: &str, partition: u32) -> Option<Arc<str>> {
        self.read(|state| {
            let leader = state.topics.get(topic)?.leaders.get(partition as usize)?;
            state.nodes.get(&leader.node_id).cloned()
        })
    }

    /// Whether what is known of a topic is older than `age`, or nothing is known.
    pub(crate) fn is_older(&self, topic: &str, age: Duration) -> bool {
        self.partitions(topic).is_none_or(|(_, fetched_at)| fetched_at.elapsed() > age)
    }

    /// Whether a topic has to be asked about again.
    pub(crate) fn is_stale(&self, topic: &str) -> bool {
        self.is_older(topic, self.max_age)
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What an answer says of a topic; of a partition whose leader it knows from an older term, the
/// newer one stays.
fn merge(former: Option<&Topic>, answer: &v1::TopicMetadata, now: Instant) -> Topic {
    let former = former.filter(|former| former.topic_id == answer.topic_id);
    let mut leaders = vec![Leader::default(); answer.partitions.len()];
    for info in &answer.partitions {
        let Some(place) = leaders.get_mut(info.partition as usize) else { continue };
        *place = Leader { node_id: info.leader, epoch: info.leader_epoch };
        let known = former.and_then(|former| former.leaders.get(info.partition as usize));
        if let Some(known) = known.filter(|known| known.epoch > place.epoch) {
            *place = *known;
        }
    }
    Topic { topic_id: answer.topic_id, leaders, fetched_at: now }
}

#[cfg(test)]
#[path = "metadata_test.rs"]
mod tests;
