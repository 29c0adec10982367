//! Spreads replicas evenly over all nodes.

use std::collections::BTreeMap;

use kontiki_storage::id::{NodeId, ReplicaId, ShardId};

use super::{Move, Spread};
use crate::catalog::Catalog;

/// The shards that may be changed, with the nodes that each is to be on.
type Layout = BTreeMap<ShardId, Vec<NodeId>>;

/// Gives each shard as many replicas as it should have, brings its replicas into different racks,
/// and evens the number of replicas per node, each as far as the nodes permit.
///
/// Shards that are moving, not founded yet, or have lost replicas are left alone: plan again later.
pub fn plan_rebalance(catalog: &Catalog) -> Vec<Move> {
    let Some(cluster) = catalog.cluster() else { return Vec::new() };
    let mut spread = Spread::of(catalog);
    let mut layout: Layout = catalog
        .placements()
        .filter(|at| at.founded && at.target.is_none() && at.lost.is_empty())
        .map(|at| (at.shard, at.voters.iter().copied().map(ReplicaId::node).collect()))
        .collect();
    let wanted = usize::try_from(cluster.replication_factor).expect("at most 9");
    grow(&mut layout, &mut spread, wanted);
    part_racks(&mut layout, &mut spread);
    while even_once(&mut layout, &mut spread) {}

    let mut moves = Vec::new();
    for (shard, nodes) in layout {
        let placement = catalog.placement(shard).expect("the layout was made from it");
        let planned = Move::of(placement, nodes);
        let mut present: Vec<NodeId> =
            placement.voters.iter().copied().map(ReplicaId::node).collect();
        present.sort_unstable();
        if planned.nodes != present {
            moves.push(planned);
        }
    }
    moves
}

fn grow(layout: &mut Layout, spread: &mut Spread, wanted: usize) {
    for nodes in layout.values_mut() {
        while nodes.len() < wanted
            && let Some(node) = spread.best(nodes)
        {
            spread.take(node);
            nodes.push(node);
        }
    }
}

/// Moves replicas out of racks that have more than one of their shard, where that helps.
fn part_racks(layout: &mut Layout, spread: &mut Spread) {
    for nodes in layout.values_mut() {
        for at in 0..nodes.len() {
            let crowded = spread.rack_mates(nodes[at], nodes);
            let mut others = nodes.clone();
            others.remove(at);
            if crowded == 0 {
                continue;
            }
            if let Some(better) = spread.best(nodes)
                && spread.rack_mates(better, &others) < crowded
            {
                spread.give(nodes[at]);
                spread.take(better);
                nodes[at] = better;
            }
        }
    }
}

/// Moves one replica from a node that has at least two more than another to that one. Each such
/// step makes the sum of squares smaller, so there is an end.
fn even_once(layout: &mut Layout, spread: &mut Spread) -> bool {
    let order = spread.by_replicas();
    for from in order.iter().rev().copied() {
        for to in order.iter().copied() {
            if spread.replicas(to) + 2 > spread.replicas(from) {
                break;
            }
            if move_one(layout, spread, from, to) {
                return true;
            }
        }
    }
    false
}

fn move_one(layout: &mut Layout, spread: &mut Spread, from: NodeId, to: NodeId) -> bool {
    for nodes in layout.values_mut() {
        if nodes.contains(&to) {
            continue;
        }
        let Some(at) = nodes.iter().position(|node| *node == from) else { continue };
        let mut others = nodes.clone();
        others.remove(at);
        if spread.rack_mates(to, &others) > spread.rack_mates(from, &others) {
            continue;
        }
        nodes[at] = to;
        spread.give(from);
        spread.take(to);
        return true;
    }
    false
}
