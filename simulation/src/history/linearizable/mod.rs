//! Is there one order of the operations that explains every answer? The search of Wing and Gong
//! with Lowe's memory, for any model.
//!
//! An operation takes effect at one moment between its invocation and its return. One whose
//! outcome isn't known takes effect at any moment after its invocation, or never.

pub mod log;
pub mod register;

use std::collections::HashSet;
use std::hash::Hash;
use std::rc::Rc;

use super::Ms;

/// What is modelled, as if everything happened one after the other.
pub trait Model {
    /// What there is between two operations.
    type State: Clone + Eq + Hash;
    /// An operation with its answer, if there was one.
    type Op;

    /// What there is at first.
    fn initial(&self) -> Self::State;

    /// What there is after the operation. `None`: here it can't have had its answer.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;

    /// Whether the operation only looks, whatever there is: leaving it out never makes another
    /// one impossible. Such a one is done as soon as it fits and changes nothing, which makes the
    /// search much shorter.
    fn only_looks(&self, _op: &Self::Op) -> bool {
        false
    }
}

/// An operation with its times.
#[derive(Debug, Clone)]
pub struct Entry<O> {
    /// What.
    pub op: O,
    /// When it began.
    pub invoked: Ms,
    /// When it had surely taken effect. `None`: it may take effect at any later time, or never.
    pub returned: Option<Ms>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<S> {
    /// There is such an order.
    Linearizable,
    /// There is none.
    Broken(Stuck<S>),
    /// There were more states than the limit.
    Undecided,
}

/// How far the best order came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck<S> {
    /// What there was then.
    pub state: S,
    /// Which of the entries could have come next by their times; none could by its answer.
    pub next: Vec<usize>,
}

/// Searches for an order. What happens within one millisecond has no order: only what returned in
/// an earlier millisecond comes before. Gives up after `limit` different pairs of a state and the
/// operations that are done.
pub fn check<M: Model>(model: &M, entries: &[Entry<M::Op>], limit: usize) -> Verdict<M::State> {
    let mut by_time: Vec<usize> = (0..entries.len()).collect();
    by_time.sort_by_key(|place| entries[*place].invoked);
    let search = Search { model, entries, by_time };
    let done = vec![0; entries.len().div_ceil(64)];
    let first = Rc::new(Node { state: model.initial(), done, certain: 0 });
    let (mut seen, mut stack) = (HashSet::from([Rc::clone(&first)]), vec![Rc::clone(&first)]);
    let mut best = first;
    while let Some(node) = stack.pop() {
        let candidates = search.candidates(&node);
        if candidates.iter().all(|place| entries[*place].returned.is_none()) {
            return Verdict::Linearizable;
        }
        if node.certain > best.certain {
            best = Rc::clone(&node);
        }
        // The last one that is pushed is looked at first.
        for next in search.following(&node, &candidates).into_iter().rev() {
            let next = Rc::new(next);
            if seen.insert(Rc::clone(&next)) {
                stack.push(next);
            }
        }
        if seen.len() > limit {
            return Verdict::Undecided;
        }
    }
    Verdict::Broken(Stuck { next: search.candidates(&best), state: best.state.clone() })
}

/// A beginning of an order: what is done, and what there is then.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Node<S> {
    state: S,
    /// A bit for each entry.
    done: Vec<u64>,
    /// How many of those have returned.
    certain: usize,
}

impl<S: Clone> Node<S> {
    fn has(&self, place: usize) -> bool {
        self.done[place / 64] >> (place % 64) & 1 == 1
    }

    fn with(&self, place: usize, certain: bool, state: S) -> Self {
        let mut done = self.done.clone();
        done[place / 64] |= 1 << (place % 64);
        Self { state, done, certain: self.certain + usize::from(certain) }
    }
}

struct Search<'a, M: Model> {
    model: &'a M,
    entries: &'a [Entry<M::Op>],
    /// Places of the entries, in the order of invocation.
    by_time: Vec<usize>,
}

impl<M: Model> Search<'_, M> {
    /// What may come next: what began before anything else that is to be done has returned. Those
    /// that must be done soon come first, those that may be left out come last.
    fn candidates(&self, node: &Node<M::State>) -> Vec<usize> {
        let (mut found, mut bound) = (Vec::new(), Ms::MAX);
        for place in &self.by_time {
            let entry = &self.entries[*place];
            if entry.invoked > bound {
                break;
            }
            if !node.has(*place) {
                bound = bound.min(entry.returned.unwrap_or(Ms::MAX));
                found.push(*place);
            }
        }
        found.retain(|place| self.entries[*place].invoked <= bound);
        found.sort_by_key(|place| self.entries[*place].returned.unwrap_or(Ms::MAX));
        found
    }

    fn following(&self, node: &Node<M::State>, candidates: &[usize]) -> Vec<Node<M::State>> {
        let mut found = Vec::new();
        for place in candidates {
            let entry = &self.entries[*place];
            let Some(state) = self.model.step(&node.state, &entry.op) else { continue };
            let (same, certain) = (state == node.state, entry.returned.is_some());
            if same && !certain {
                // It may as well be left out.
                continue;
            }
            let next = node.with(*place, certain, state);
            if same && self.model.only_looks(&entry.op) {
                return vec![next];
            }
            found.push(next);
        }
        found
    }
}

#[cfg(test)]
#[path = "mod_test.rs"]
mod tests;
