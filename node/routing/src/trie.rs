//! All patterns of one topic exchange, a node for each word of a pattern.
//!
//! A key is matched by following all patterns at once, word by word: an automaton whose states are
//! the nodes of the trie. A node is looked at once for each word at most, so no pattern can make it
//! exponential: at worst it takes the words of the key times the nodes that they reach.

use std::num::NonZeroU32;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::marks::Marks;
use crate::pattern::{Pattern, Token, words};
use crate::sinks::{Sink, Sinks};
use crate::slab::Slab;
use crate::words::Words;

const ROOT: u32 = 0;

/// How a node is reached from its parent.
#[derive(Debug, Clone, Copy)]
enum Edge {
    Root,
    Word(u32),
    One,
    Any,
}

#[derive(Debug, Clone)]
struct Node {
    parent: u32,
    edge: Edge,
    /// How many words lead on from here.
    branches: u32,
    /// The bits of all words that lead on, and that of `*`. Those that are gone may still be in it
    /// until the last one is.
    leads: u64,
    /// The node behind `*`. The root, number 0, is nobody's child.
    one: Option<NonZeroU32>,
    /// The node behind `#`.
    any: Option<NonZeroU32>,
    /// The bindings whose pattern ends here.
    sinks: Sinks,
}

impl Node {
    fn new(parent: u32, edge: Edge) -> Self {
        Self { parent, edge, branches: 0, leads: 0, one: None, any: None, sinks: Sinks::Empty }
    }

    fn is_bare(&self) -> bool {
        self.sinks.is_empty() && self.branches == 0 && self.one.is_none() && self.any.is_none()
    }
}

/// The bit that says that a `*` leads on from a node.
const ONE: u64 = 1 << 63;

/// The bits of which a node must have one if this word of a key is to lead on from it. It tells
/// nearly all words apart that don't, without a look at anything else.
fn bits(word: Option<u32>) -> u64 {
    ONE | word.map_or(0, |word| 1 << (word % 63))
}

/// What matching needs besides the trie, kept from message to message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Walk {
    words: Vec<Option<u32>>,
    /// The nodes that are reached at the present word, but for those behind a `#`.
    active: Vec<u32>,
    next: Vec<u32>,
    /// The nodes behind a `#`, each with what leads on from it: once reached, they stay reached,
    /// for `#` takes any word.
    lasting: Vec<(u32, u64)>,
    is_lasting: Marks,
}

/// Patterns with what is bound by them.
#[derive(Debug, Clone)]
pub(crate) struct Trie {
    nodes: Slab<Node>,
    words: Words,
    branches: HashMap<(u32, u32), u32, FixedState>,
}

impl Trie {
    pub(crate) fn new(hasher: FixedState) -> Self {
        let mut nodes = Slab::new();
        let root = nodes.insert(Node::new(ROOT, Edge::Root));
        assert_eq!(root, ROOT, "the first node is the root");
        let branches = HashMap::with_hasher(hasher);
        Self { nodes, words: Words::new(hasher), branches }
    }

    /// Adds a sink behind a pattern, and answers its node and its position there.
    pub(crate) fn insert(&mut self, pattern: &Pattern, sink: Sink) -> (u32, u32) {
        let mut at = ROOT;
        for token in pattern.tokens() {
            at = match token {
                Token::Word(word) => self.branch(at, word),
                Token::One => {
                    let child = self.nodes.get(at).one;
                    child.map_or_else(|| self.grow(at, Edge::One), NonZeroU32::get)
                }
                Token::Any => {
                    let child = self.nodes.get(at).any;
                    child.map_or_else(|| self.grow(at, Edge::Any), NonZeroU32::get)
                }
            };
        }
        (at, self.nodes.get_mut(at).sinks.push(sink))
    }

    fn branch(&mut self, at: u32, word: &str) -> u32 {
        if let Some(id) = self.words.find(word)
            && let Some(child) = self.branches.get(&(at, id))
        {
            return *child;
        }
        let id = self.words.take(word);
        self.grow(at, Edge::Word(id))
    }

    fn grow(&mut self, parent: u32, edge: Edge) -> u32 {
        let child = self.nodes.insert(Node::new(parent, edge));
        let link = NonZeroU32::new(child);
        assert!(link.is_some(), "the root is not grown");
        let node = self.nodes.get_mut(parent);
        match edge {
            Edge::Root => {}
            Edge::Word(word) => {
                node.branches += 1;
                node.leads |= bits(Some(word)) & !ONE;
                self.branches.insert((parent, word), child);
            }
            Edge::One => {
                node.one = link;
                node.leads |= ONE;
            }
            Edge::Any => node.any = link,
        }
        child
    }

    /// Removes the sink of `owner` at a position of a node, and answers the owner of the one that
    /// took this position, if any did.
    pub(crate) fn remove(&mut self, at: u32, position: u32, owner: u32) -> Option<u32> {
        let moved = self.nodes.get_mut(at).sinks.remove(position, owner);
        self.prune(at);
        moved
    }

    /// Removes a node that leads nowhere, and its parents while the same is true of them.
    fn prune(&mut self, mut at: u32) {
        while at != ROOT && self.nodes.get(at).is_bare() {
            let Node { parent, edge, .. } = self.nodes.remove(at);
            let node = self.nodes.get_mut(parent);
            match edge {
                Edge::Root => {}
                Edge::Word(word) => {
                    node.branches -= 1;
                    if node.branches == 0 {
                        node.leads &= ONE;
                    }
                    let gone = self.branches.remove(&(parent, word));
                    assert_eq!(gone, Some(at), "the parent led to its child");
                    self.words.give_back(word);
                }
                Edge::One => {
                    node.one = None;
                    node.leads &= !ONE;
                }
                Edge::Any => node.any = None,
            }
            at = parent;
        }
    }

    /// Calls `found` with the sinks of each pattern that matches.
    pub(crate) fn route(&self, key: &str, walk: &mut Walk, mut found: impl FnMut(&[Sink])) {
        let Walk { words: numbers, active, next, lasting, is_lasting } = walk;
        numbers.clear();
        numbers.extend(words(key).map(|word| self.words.find(word)));
        is_lasting.clear(self.nodes.bound());
        lasting.clear();
        active.clear();
        active.push(ROOT);
        self.open(ROOT, lasting, is_lasting);
        for word in numbers.iter() {
            next.clear();
            for node in active.iter() {
                self.step(*node, *word, next);
            }
            let bits = bits(*word);
            for (node, _) in lasting.iter().filter(|(_, leads)| leads & bits != 0) {
                self.step(*node, *word, next);
            }
            for node in next.iter() {
                self.open(*node, lasting, is_lasting);
            }
            std::mem::swap(active, next);
            if active.is_empty() && lasting.is_empty() {
                return;
            }
        }
        for node in active.iter().chain(lasting.iter().map(|(node, _)| node)) {
            let sinks = &self.nodes.get(*node).sinks;
            if !sinks.is_empty() {
                found(sinks.as_slice());
            }
        }
    }

    /// From a node by one word. A node that no `#` leads to directly has one way in and comes up
    /// once for each word, so nothing need be marked.
    fn step(&self, at: u32, word: Option<u32>, next: &mut Vec<u32>) {
        let node = self.nodes.get(at);
        if let Some(word) = word
            && node.leads & bits(Some(word)) & !ONE != 0
            && let Some(child) = self.branches.get(&(at, word))
        {
            next.push(*child);
        }
        next.extend(node.one.map(NonZeroU32::get));
    }

    /// From a node by no word: whatever is behind its `#`.
    fn open(&self, mut at: u32, lasting: &mut Vec<(u32, u64)>, is_lasting: &mut Marks) {
        while let Some(any) = self.nodes.get(at).any {
            at = any.get();
            if !is_lasting.mark(at) {
                return;
            }
            lasting.push((at, self.nodes.get(at).leads));
        }
    }

    /// Nodes but for the root, words, and the branches between them.
    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        (self.nodes.len() - 1, self.words.len(), self.branches.len())
    }
}
