//! How replicas are spread over the nodes that take any: where the next one should go.

use std::collections::BTreeMap;

use kontiki_storage::id::NodeId;

use crate::catalog::{Catalog, NodeState};

#[derive(Debug, Clone)]
struct Seat {
    rack: Option<String>,
    replicas: usize,
}

/// The active nodes with the number of replicas that each is to have.
#[derive(Debug, Clone)]
pub(in crate::catalog) struct Spread {
    seats: BTreeMap<NodeId, Seat>,
}

impl Spread {
    /// The spread that the placements are heading for.
    pub(in crate::catalog) fn of(catalog: &Catalog) -> Self {
        let active = catalog.nodes().filter(|node| node.state == NodeState::Active);
        let seats = active.map(|node| {
            let rack = node.spec.rack.clone();
            (node.spec.node, Seat { rack, replicas: 0 })
        });
        let mut spread = Self { seats: seats.collect() };
        for replica in catalog.placements().flat_map(|placement| placement.goal()) {
            spread.take(replica.node());
        }
        spread
    }

    /// How many nodes there are.
    pub(in crate::catalog) fn nodes(&self) -> usize {
        self.seats.len()
    }

    /// Whether a node takes replicas.
    pub(super) fn has(&self, node: NodeId) -> bool {
        self.seats.contains_key(&node)
    }

    /// Replicas of a node.
    pub(super) fn replicas(&self, node: NodeId) -> usize {
        self.seats.get(&node).map_or(0, |seat| seat.replicas)
    }

    /// The nodes, those with the fewest replicas first.
    pub(super) fn by_replicas(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.seats.keys().copied().collect();
        nodes.sort_by_key(|node| (self.replicas(*node), *node));
        nodes
    }

    /// Counts one more replica on `node`.
    pub(in crate::catalog) fn take(&mut self, node: NodeId) {
        if let Some(seat) = self.seats.get_mut(&node) {
            seat.replicas += 1;
        }
    }

    /// Counts one replica less on `node`.
    pub(super) fn give(&mut self, node: NodeId) {
        if let Some(seat) = self.seats.get_mut(&node) {
            seat.replicas -= 1;
        }
    }

    /// How many of `others` stand in the same rack as `node`; none when its rack isn't known.
    pub(super) fn rack_mates(&self, node: NodeId, others: &[NodeId]) -> usize {
        let rack = |node: &NodeId| self.seats.get(node).and_then(|seat| seat.rack.as_deref());
        let Some(own) = rack(&node) else { return 0 };
        others.iter().filter(|other| **other != node && rack(other) == Some(own)).count()
    }

    /// The best node for one more replica of a shard that has replicas on `present`: in a rack of
    /// its own if possible, then the one with the fewest replicas.
    pub(in crate::catalog) fn best(&self, present: &[NodeId]) -> Option<NodeId> {
        let free = self.seats.keys().copied().filter(|node| !present.contains(node));
        free.min_by_key(|node| (self.rack_mates(*node, present), self.replicas(*node), *node))
    }
}
