//! Where a publication may have gone, by the bindings that there may have been when it was routed.
//!
//! A binding counts on every node that has applied it. When its call returns, nodes that can't be
//! reached may not have: what they have applied is known from their probes.

use std::collections::BTreeMap;

use super::{Deed, Evidence};
use crate::history::{Bound, Call, Ms, Op, Outcome};
use crate::workload::{Moving, Route, route};

/// The shard of the catalog.
const CATALOG: u32 = 0;

/// Queues that a message went to together.
pub(super) type Queues = Vec<&'static str>;

/// See the module.
pub(super) struct Routes<'e> {
    changes: BTreeMap<&'e Bound, Changes<'e>>,
    /// What each node had applied of the catalog, in the order of time: one more than the index.
    applied: BTreeMap<u32, Vec<(Ms, u64)>>,
    /// What any of them had.
    newest: Vec<(Ms, u64)>,
}

/// What was done to a binding: each once, if at all.
#[derive(Default)]
struct Changes<'e> {
    bind: Option<&'e Op>,
    unbind: Option<&'e Op>,
}

impl<'e> Routes<'e> {
    pub(super) fn of(evidence: &'e Evidence) -> Self {
        let mut changes: BTreeMap<&Bound, Changes<'_>> = BTreeMap::new();
        for op in &evidence.history.ops {
            if let Call::Bind { binding } = &op.call {
                changes.entry(binding).or_default().bind = Some(op);
            }
            if let Call::Unbind { binding } = &op.call {
                changes.entry(binding).or_default().unbind = Some(op);
            }
        }
        let mut applied: BTreeMap<u32, Vec<(Ms, u64)>> = BTreeMap::new();
        let mut newest = Vec::new();
        let mut last = 0;
        for probe in evidence.probes.iter().filter(|probe| probe.shard == CATALOG) {
            let next = match probe.deed {
                Deed::Applied { index, .. } => index + 1,
                Deed::Installed { next } | Deed::Opened { next } => next,
                Deed::Leads { .. } => continue,
            };
            applied.entry(probe.node).or_default().push((probe.at, next));
            if next > last {
                last = next;
                newest.push((probe.at, next));
            }
        }
        Self { changes, applied, newest }
    }

    /// The possible ways of a publication: it went one of them, if it was stored.
    pub(super) fn outcomes(&self, op: &Op) -> Vec<Queues> {
        let Call::Publish { exchange, key, through, .. } = &op.call else { return Vec::new() };
        let Route { all, one, moving } = route(exchange, key);
        let with = |more: &[&'static str]| {
            let mut queues = all.to_vec();
            queues.extend(more);
            queues
        };
        if let Some(Moving { binding, queue, without }) = &moving {
            let (bound, unbound) = self.may_be(binding, op, *through);
            let ways = [bound.then(|| with(&[*queue])), unbound.then(|| with(without))];
            return ways.into_iter().flatten().collect();
        }
        match one {
            [] => vec![with(&[])],
            some => some.iter().map(|queue| with(&[*queue])).collect(),
        }
    }

    /// Whether a binding may have been there, and may not have been, when a message was routed.
    fn may_be(&self, binding: &Bound, op: &Op, through: Option<u32>) -> (bool, bool) {
        let none = Changes::default();
        let Changes { bind, unbind } = self.changes.get(binding).unwrap_or(&none);
        let began = |change: &Option<&Op>| match (change, &op.returned) {
            (None, _) => false,
            (Some(change), _) if !change.may_be_done() => false,
            // What isn't answered may be routed at any time.
            (Some(change), Some((returned, Outcome::Ok(_)))) => change.invoked <= *returned,
            (Some(_), _) => true,
        };
        let is_known = |change: &Option<&Op>| {
            let done = change.and_then(Op::answer).map(|(returned, _)| returned);
            done.is_some_and(|returned| self.knows(through, op.invoked, returned))
        };
        let may_be_unbound = !is_known(bind) || began(unbind);
        let may_be_bound = began(bind) && !(is_known(bind) && is_known(unbind));
        (may_be_bound, may_be_unbound)
    }

    /// Whether a node had applied, before one time, all that any had at another.
    fn knows(&self, node: Option<u32>, before: Ms, at: Ms) -> bool {
        let newest = self.newest.iter().rev().find(|(when, _)| *when <= at);
        let applied = node.and_then(|node| self.applied.get(&node));
        let applied = applied.and_then(|all| all.iter().rev().find(|(when, _)| *when < before));
        match (applied, newest) {
            (Some((_, applied)), Some((_, newest))) => applied >= newest,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Probe;
    use super::super::queues::tests::Sample;
    use super::*;
    use crate::history::Answer;

    /// A node has applied an entry at a time.
    fn apply(evidence: &mut Evidence, node: u32, at: Ms, index: u64) {
        let deed = Deed::Applied { index, term: 1, entry: 0, replies: 0 };
        evidence.probes.push(Probe { at, node, shard: CATALOG, replica: 1, deed });
    }

    fn bound() -> Bound {
        let (exchange, key) = ("by-key".to_owned(), "moving-3".to_owned());
        Bound { exchange, key, queue: "routed-b".to_owned() }
    }

    /// A binding was made from 0 to 5, and taken back from 20 to 25; node 1 applied it at 2 and at
    /// 22. Publications are at 10, 30, 40 and so on.
    fn sample() -> Sample {
        let mut sample = Sample::new();
        sample.op(Call::Bind { binding: bound() }, Answer::Done);
        publish(&mut sample);
        sample.op(Call::Unbind { binding: bound() }, Answer::Done);
        publish(&mut sample);
        apply(&mut sample.0, 1, 2, 7);
        apply(&mut sample.0, 1, 22, 8);
        sample
    }

    fn publish(sample: &mut Sample) {
        sample.publish("by-key", "moving-3", 0, 1);
        let Some(Op { call: Call::Publish { through, .. }, .. }) = sample.0.history.ops.last_mut()
        else {
            unreachable!("it was just added");
        };
        *through = Some(1);
    }

    fn ways(sample: &Sample, op: usize) -> Vec<Queues> {
        Routes::of(&sample.0).outcomes(&sample.0.history.ops[op])
    }

    #[test]
    fn what_is_published_between_the_two_is_led_on_and_nothing_else() {
        let sample = sample();
        assert_eq!(ways(&sample, 1), [["routed-b"]]);
        assert_eq!(ways(&sample, 3), [["spared"]]);
        let before = Op { invoked: 0, ..sample.0.history.ops[1].clone() };
        let either = Routes::of(&sample.0).outcomes(&before);
        assert_eq!(either, [["routed-b"], ["spared"]], "both were under way");
    }

    #[test]
    fn who_was_not_reached_does_not_know() {
        let mut sample = sample();
        for op in &mut sample.0.history.ops {
            if let Call::Publish { through, .. } = &mut op.call {
                *through = Some(2);
            }
        }
        assert_eq!(ways(&sample, 1).len(), 2);
        apply(&mut sample.0, 2, 26, 8);
        assert_eq!(ways(&sample, 1).len(), 2);
        assert_eq!(ways(&sample, 3), [["spared"]]);
    }

    #[test]
    fn what_is_not_answered_may_be_done_at_any_time() {
        let mut sample = sample();
        sample.0.history.ops[2].returned = None;
        assert_eq!(ways(&sample, 1), [["routed-b"]]);
        assert_eq!(ways(&sample, 3).len(), 2);
        sample.0.history.ops[1].returned = None;
        assert_eq!(ways(&sample, 1).len(), 2);
        sample.0.history.ops[0].returned = None;
        assert_eq!(ways(&sample, 3).len(), 2);
    }

    #[test]
    fn one_of_several_is_one_of_them() {
        let mut sample = Sample::new();
        sample.publish("by-hash", "h1", 0, 1);
        sample.publish("by-topic", "a.copy", 0, 3);
        assert_eq!(ways(&sample, 0), [["routed-a"], ["routed-b"]]);
        assert_eq!(ways(&sample, 1), [["routed-a", "routed-b", "routed-c"]]);
    }
}
