//! To which node a partition's batches go: to its leader, which then must not pass them on; or,
//! while that isn't known or can't be reached, to any other node, which passes them on.
//!
//! The node changes only while nothing is under way, so that batches can't overtake each other.

use std::sync::Arc;
use std::time::Duration;

use kontiki_proto::v1;
use tokio::time::Instant;
use v1::{ErrorKind, Routing};

use crate::{Client, Error};

/// For how long a node that failed is passed over, where there is another.
const SHUNNED: Duration = Duration::from_secs(5);
/// While a node passes batches on, or a leader has just failed: how old the metadata may be.
const AGE_WITHOUT_LEADER: Duration = Duration::from_secs(1);
/// What was asked as recently as this needn't be asked again after a failure.
const AGE_FRESH: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(crate) struct Router {
    topic: Arc<str>,
    partition: u32,
    current: Option<(Arc<str>, Routing)>,
    /// Another node is to be asked once nothing is under way.
    switching: bool,
    shunned: Option<(Arc<str>, Instant)>,
}

impl Router {
    pub(crate) fn new(topic: Arc<str>, partition: u32) -> Self {
        Self { topic, partition, current: None, switching: false, shunned: None }
    }

    /// Whether the answers that are missing are waited for.
    pub(crate) fn is_switching(&self) -> bool {
        self.switching
    }

    /// The node that is asked, unless it has failed and no other was chosen yet.
    pub(crate) fn asked(&self) -> Option<&Arc<str>> {
        self.current.as_ref().map(|(address, _)| address)
    }

    /// The node that is asked, and what it shall do.
    pub(crate) fn current(&self) -> (Arc<str>, Routing) {
        self.current.clone().expect("chosen before it is used")
    }

    /// Chooses a node. False: something is under way at another one.
    pub(crate) fn choose(&mut self, client: &Client, in_flight: usize) -> bool {
        let cache = client.cache();
        let forwarded = matches!(self.current, Some((_, Routing::Forward)));
        if cache.is_stale(&self.topic)
            || forwarded && cache.is_older(&self.topic, AGE_WITHOUT_LEADER)
        {
            client.refresh_soon(&self.topic);
        }
        let wanted = self.wanted(client);
        self.switching = self.current.as_ref() != Some(&wanted) && in_flight > 0;
        if !self.switching {
            self.current = Some(wanted);
        }
        !self.switching
    }

    /// Takes in that the node that is asked didn't store a batch.
    pub(crate) fn failed(&mut self, client: &Client, error: &Error) {
        let Some((address, routing)) = self.current.clone() else { return };
        let cache = client.cache();
        match error.kind {
            ErrorKind::NotLeader => {
                cache.forget_leader(&self.topic, self.partition, &address);
                if let Some(leader) = &error.leader {
                    cache.learn_leader(&self.topic, self.partition, leader);
                }
            }
            ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Internal => {
                self.shunned = Some((address.clone(), Instant::now() + SHUNNED));
                cache.avoid(&address);
                cache.forget_leader(&self.topic, self.partition, &address);
                if routing == Routing::Forward {
                    self.current = None;
                }
            }
            ErrorKind::Unspecified
            | ErrorKind::Invalid
            | ErrorKind::NotFound
            | ErrorKind::Exists
            | ErrorKind::Denied
            | ErrorKind::Fenced
            | ErrorKind::Conflict
            | ErrorKind::Throttled => {}
        }
    }

    /// Whether another node than the one that is asked is known to lead.
    pub(crate) fn is_replaced(&self, client: &Client) -> bool {
        let leader = client.cache().leader(&self.topic, self.partition);
        let current = self.current.as_ref().map(|(address, _)| address);
        leader.is_some_and(|leader| current.is_some_and(|current| *current != leader))
    }

    /// Whether to ask who leads before going on.
    pub(crate) fn wants_metadata(&self, client: &Client) -> bool {
        let cache = client.cache();
        let unknown = cache.leader(&self.topic, self.partition).is_none();
        unknown && cache.is_older(&self.topic, AGE_FRESH)
    }

    fn wanted(&self, client: &Client) -> (Arc<str>, Routing) {
        let now = Instant::now();
        let shunned = self.shunned.as_ref().filter(|(_, until)| *until > now);
        let is_shunned = |address: &Arc<str>| shunned.is_some_and(|(its, _)| its == address);
        let leader = client.cache().leader(&self.topic, self.partition);
        if let Some(leader) = leader.filter(|leader| !is_shunned(leader)) {
            return (leader, Routing::LeaderOnly);
        }
        // As long as a node passes on, it goes on.
        if let Some((address, Routing::Forward)) = &self.current
            && !is_shunned(address)
        {
            return (address.clone(), Routing::Forward);
        }
        let candidates = client.cache().candidates();
        let other = candidates.iter().find(|address| !is_shunned(address));
        let any = other.or(candidates.first()).expect("there is at least one bootstrap address");
        (any.clone(), Routing::Forward)
    }
}
