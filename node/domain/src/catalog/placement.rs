//! Where the replicas of a shard are, and where they are going.
//!
//! The catalog decides and remembers; moving is the broker's work, which reports what the Raft
//! group has become. Every replica id that was ever given out stays used: a replica that lost its
//! data comes back under the next incarnation and can never vote twice.

use std::collections::BTreeMap;
use std::fmt;

use kontiki_storage::id::{NodeId, ReplicaId, ShardId};
use minicbor::{Decode, Encode};

/// Counts the changes of one placement; whoever wants to change it names the version that the
/// decision was made on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct PlacementVersion(#[n(0)] pub u64);

impl fmt::Display for PlacementVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The row of a shard's placement.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Placement {
    /// The shard; [`ShardId::CATALOG`] has a placement as well.
    #[cbor(n(0), with = "crate::codec::id")]
    pub shard: ShardId,
    /// Grows with every change.
    #[n(1)]
    pub version: PlacementVersion,
    /// Whether the Raft group has been initialized. Until it has, `voters` is what it is to be
    /// initialized with; from then on it must never be initialized again.
    #[n(2)]
    pub founded: bool,
    /// The voters of the Raft group as last reported, sorted.
    #[cbor(n(3), with = "crate::codec::id")]
    pub voters: Vec<ReplicaId>,
    /// What the voters are to become, sorted; `None` when nothing is under way.
    #[cbor(n(4), with = "crate::codec::id")]
    pub target: Option<Vec<ReplicaId>>,
    /// Replicas among `voters` and `target` whose data is gone, sorted: they must be replaced.
    #[cbor(n(5), with = "crate::codec::id")]
    pub lost: Vec<ReplicaId>,
    /// The highest incarnation given out per node; it never falls.
    #[cbor(n(6), with = "crate::codec::id")]
    pub incarnations: BTreeMap<NodeId, u32>,
}

impl Placement {
    /// A shard that is to be founded with one replica on each of `nodes`.
    pub(crate) fn found(shard: ShardId, nodes: &[NodeId]) -> Self {
        let mut placement = Self {
            shard,
            version: PlacementVersion(1),
            founded: false,
            voters: Vec::new(),
            target: None,
            lost: Vec::new(),
            incarnations: BTreeMap::new(),
        };
        placement.voters = nodes.iter().map(|node| placement.issue(*node)).collect();
        placement.voters.sort_unstable();
        placement
    }

    /// Gives out the next replica id on `node`.
    pub(crate) fn issue(&mut self, node: NodeId) -> ReplicaId {
        let incarnation = self.incarnations.entry(node).or_insert(0);
        *incarnation += 1;
        ReplicaId::new(node, *incarnation)
    }

    /// Whether `replica` was ever given out.
    pub fn issued(&self, replica: ReplicaId) -> bool {
        let highest = self.incarnations.get(&replica.node()).copied().unwrap_or(0);
        (1..=highest).contains(&replica.incarnation())
    }

    /// Every replica that exists or is being built: the voters and the target, each once, sorted.
    pub fn replicas(&self) -> Vec<ReplicaId> {
        let mut replicas = self.voters.clone();
        replicas.extend(self.target.iter().flatten());
        replicas.sort_unstable();
        replicas.dedup();
        replicas
    }

    /// The replica that `node` has or is to get, if any; a lost one doesn't count.
    pub fn replica_on(&self, node: NodeId) -> Option<ReplicaId> {
        let usable = |replica: &ReplicaId| replica.node() == node && !self.lost.contains(replica);
        self.replicas().into_iter().rev().find(usable)
    }

    /// What the placement is heading for: the target, or the voters when nothing is under way.
    pub fn goal(&self) -> &[ReplicaId] {
        self.target.as_deref().unwrap_or(&self.voters)
    }

    /// Closes a change: forgets lost replicas that are no longer part of it, and counts it.
    pub(crate) fn changed(&mut self) {
        let replicas = self.replicas();
        self.lost.retain(|replica| replicas.contains(replica));
        self.lost.sort_unstable();
        self.version.0 += 1;
    }

    pub(crate) fn check(&self) {
        assert!(self.voters.is_sorted(), "shard {}: voters out of order", self.shard);
        assert!(self.goal().is_sorted(), "shard {}: target out of order", self.shard);
        assert!(!self.voters.is_empty(), "shard {}: without voters", self.shard);
        for replica in self.replicas() {
            assert!(
                self.issued(replica),
                "shard {}: replica {replica} was never given out",
                self.shard
            );
        }
        let known = |replica: &ReplicaId| self.replicas().contains(replica);
        assert!(self.lost.iter().all(known), "shard {}: lost a replica it never had", self.shard);
    }
}
