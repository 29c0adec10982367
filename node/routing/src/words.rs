//! The words of a trie's patterns, by number: a routing key is looked up word by word once, and
//! from then on only numbers are compared.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::slab::Slab;

#[derive(Debug, Clone)]
struct Word {
    text: Box<str>,
    /// How many edges carry it.
    uses: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Words {
    words: Slab<Word>,
    numbers: HashTable<u32>,
    hasher: FixedState,
}

impl Words {
    pub(crate) fn new(hasher: FixedState) -> Self {
        Self { words: Slab::new(), numbers: HashTable::new(), hasher }
    }

    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        self.numbers.find(hash, |id| *self.words.get(*id).text == *text).copied()
    }

    /// The number of a word, which has one more use from now on.
    pub(crate) fn take(&mut self, text: &str) -> u32 {
        if let Some(id) = self.find(text) {
            self.words.get_mut(id).uses += 1;
            return id;
        }
        let id = self.words.insert(Word { text: text.into(), uses: 1 });
        let rehash = |id: &u32| self.hasher.hash_one(&*self.words.get(*id).text);
        self.numbers.insert_unique(self.hasher.hash_one(text), id, rehash);
        id
    }

    /// Gives back one use of a word.
    pub(crate) fn give_back(&mut self, id: u32) {
        let word = self.words.get_mut(id);
        word.uses -= 1;
        if word.uses > 0 {
            return;
        }
        let hash = self.hasher.hash_one(&*word.text);
        let entry = self.numbers.find_entry(hash, |other| *other == id);
        entry.expect("every word is in the table of numbers").remove();
        self.words.remove(id);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        assert_eq!(self.words.len(), self.numbers.len(), "each word has its number");
        self.words.len()
    }
}
