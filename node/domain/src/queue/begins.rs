//! Where rows of a queue begin.
//!
//! What is taken from the front of a range of rows again and again leaves deleted ones there, and
//! whoever looks for the first row passes over all of them until the engine has removed them at
//! last: a million messages that are due at once would be looked for a million times behind up to a
//! million others. So a queue knows, in memory, below what there can be no rows.
//!
//! A bound says where to begin to look and nothing else. Replicas that have read their rows anew
//! begin with none, and find the same.

use std::collections::BTreeMap;

use kontiki_storage::id::Offset;

/// Groups of which something is known: some 40 bytes each. With one more all are forgotten, and
/// found again.
const GROUPS_MAX: usize = 1_024;

/// Nothing has a key below it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bound<K>(K);

impl<K: Copy + Ord> Bound<K> {
    pub(super) fn get(self) -> K {
        self.0
    }

    /// A row was put.
    pub(super) fn put(&mut self, key: K) {
        self.0 = self.0.min(key);
    }

    /// It was looked: there is nothing below this key.
    pub(super) fn begin_at(&mut self, key: K) {
        self.0 = key;
    }
}

/// The bounds of one queue.
#[derive(Debug, Clone, Default)]
pub(super) struct Begins {
    /// Marks of messages that wait here.
    pub waiting: Bound<Offset>,
    pub dues: Bound<(i64, Offset)>,
    pub expiries: Bound<(i64, Offset)>,
    /// Times at which deduplication ids are forgotten.
    pub seen: Bound<i64>,
    ready: BTreeMap<u8, Bound<Offset>>,
    groups: BTreeMap<u64, Bound<Offset>>,
}

impl Begins {
    /// Of what waits out of order, in a class.
    pub(super) fn ready(&self, class: u8) -> Offset {
        self.ready.get(&class).copied().unwrap_or_default().get()
    }

    pub(super) fn put_ready(&mut self, class: u8, offset: Offset) {
        if let Some(known) = self.ready.get_mut(&class) {
            known.put(offset);
        }
    }

    pub(super) fn ready_begins_at(&mut self, class: u8, offset: Offset) {
        self.ready.insert(class, Bound(offset));
    }

    /// Of what waits in a group.
    pub(super) fn group(&self, group: u64) -> Offset {
        self.groups.get(&group).copied().unwrap_or_default().get()
    }

    pub(super) fn put_in_group(&mut self, group: u64, offset: Offset) {
        if let Some(known) = self.groups.get_mut(&group) {
            known.put(offset);
        }
    }

    pub(super) fn group_begins_at(&mut self, group: u64, offset: Offset) {
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&group) {
            self.groups.clear();
        }
        self.groups.insert(group, Bound(offset));
    }
}

/// They are no part of a queue's state.
impl PartialEq for Begins {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Begins {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_put_below_is_found() {
        let mut begins = Begins::default();
        begins.ready_begins_at(3, Offset(10));
        begins.put_ready(3, Offset(12));
        assert_eq!((begins.ready(3), begins.ready(4)), (Offset(10), Offset(0)));
        begins.put_ready(3, Offset(7));
        begins.put_ready(4, Offset(7));
        assert_eq!((begins.ready(3), begins.ready(4)), (Offset(7), Offset(0)));
        begins.dues.begin_at((50, Offset(2)));
        begins.dues.put((40, Offset(9)));
        assert_eq!(begins.dues.get(), (40, Offset(9)));
    }

    #[test]
    fn groups_are_forgotten_rather_than_too_many() {
        let mut begins = Begins::default();
        for group in 0..=GROUPS_MAX as u64 {
            begins.group_begins_at(group, Offset(5));
            begins.group_begins_at(group, Offset(6));
            begins.put_in_group(group, Offset(8));
            assert_eq!(begins.group(group), Offset(6));
        }
        assert_eq!((begins.groups.len(), begins.group(0)), (1, Offset(0)));
    }
}
