//! The ring of one consistent-hash exchange: every destination has points on it, and a key belongs
//! to the first point at or after its hash. Another destination takes its points' shares, and
//! nothing else moves.

use std::collections::BTreeSet;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::hash::xxh64;

/// Points for each unit of weight. More would be more even, and larger: with `n` points a share is
/// off by about one part in the root of `n`.
pub(crate) const POINTS_PER_WEIGHT: u64 = 16;

#[derive(Debug, Clone)]
struct Member {
    /// What its points are computed from: the same on every node and in every release.
    identity: u64,
    /// Of all its bindings; the largest counts.
    weights: Vec<u16>,
}

impl Member {
    fn points(&self) -> u64 {
        u64::from(self.weights.iter().copied().max().unwrap_or(0)) * POINTS_PER_WEIGHT
    }

    fn point(&self, index: u64) -> u64 {
        xxh64(&self.identity.to_le_bytes(), index)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Ring {
    /// Points with the number of their destination. Where two destinations have the same point, in
    /// 2^64 chances, the number decides.
    points: BTreeSet<(u64, u32)>,
    members: HashMap<u32, Member, FixedState>,
}

impl Ring {
    pub(crate) fn new(hasher: FixedState) -> Self {
        Self { points: BTreeSet::new(), members: HashMap::with_hasher(hasher) }
    }

    /// Adds a binding of a destination.
    pub(crate) fn insert(&mut self, target: u32, identity: u64, weight: u16) {
        let member = self.members.entry(target);
        let member = member.or_insert_with(|| Member { identity, weights: Vec::new() });
        assert_eq!(member.identity, identity, "a destination keeps its identity");
        let before = member.points();
        member.weights.push(weight);
        for index in before..member.points() {
            self.points.insert((member.point(index), target));
        }
    }

    /// Removes a binding of a destination.
    pub(crate) fn remove(&mut self, target: u32, weight: u16) {
        let member = self.members.get_mut(&target).expect("it was inserted");
        let before = member.points();
        let at = member.weights.iter().position(|other| *other == weight);
        member.weights.swap_remove(at.expect("it was inserted with this weight"));
        for index in member.points()..before {
            self.points.remove(&(member.point(index), target));
        }
        if member.weights.is_empty() {
            self.members.remove(&target);
        }
    }

    /// The destination that a key or a header's value belongs to.
    pub(crate) fn route(&self, value: &[u8]) -> Option<u32> {
        let hash = xxh64(value, 0);
        let next = self.points.range((hash, 0)..).next();
        next.or_else(|| self.points.first()).map(|(_, target)| *target)
    }

    /// Points and members.
    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.points.len(), self.members.len())
    }
}

/// The identity of a queue on every ring.
pub(crate) fn queue_identity(queue: u64) -> u64 {
    let mut bytes = [b'q'; 9];
    bytes[1..].copy_from_slice(&queue.to_le_bytes());
    xxh64(&bytes, 0)
}

/// The identity of a gate in front of an exchange on every ring.
pub(crate) fn gate_identity(gate: u64, exchange: &str) -> u64 {
    let mut bytes = vec![b'g'];
    bytes.extend_from_slice(&gate.to_le_bytes());
    bytes.extend_from_slice(exchange.as_bytes());
    xxh64(&bytes, 0)
}

/// The identity of an exchange on every ring.
pub(crate) fn exchange_identity(name: &str) -> u64 {
    let mut bytes = vec![b'e'];
    bytes.extend_from_slice(name.as_bytes());
    xxh64(&bytes, 0)
}
