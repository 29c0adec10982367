//! Changes that are written at once.

use bytes::Bytes;

use crate::engine::{Family, KeyRange};
use crate::payload::PayloadLocation;

/// One change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Sets a row.
    Put {
        /// Where.
        family: Family,
        /// Its key.
        key: Bytes,
        /// Its value.
        value: Bytes,
    },
    /// Removes a row.
    Delete {
        /// Where.
        family: Family,
        /// Its key.
        key: Bytes,
    },
    /// Removes all rows of a range.
    DeleteRange {
        /// Where.
        family: Family,
        /// Which keys.
        range: KeyRange,
    },
}

/// A change of who refers to a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The row of this key refers to the payload from now on.
    Acquire(PayloadLocation, Bytes),
    /// Nothing refers to it any more.
    Release(PayloadLocation),
}

/// Changes in the order in which they were added: the last one of a key wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteBatch {
    ops: Vec<Op>,
    references: Vec<Reference>,
    bytes: usize,
}

impl WriteBatch {
    /// No changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a row.
    pub fn put(&mut self, family: Family, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        self.bytes += key.len() + value.len();
        self.ops.push(Op::Put { family, key, value });
    }

    /// Removes a row.
    pub fn delete(&mut self, family: Family, key: impl Into<Bytes>) {
        let key = key.into();
        self.bytes += key.len();
        self.ops.push(Op::Delete { family, key });
    }

    /// Removes all rows of a range.
    pub fn delete_range(&mut self, family: Family, range: KeyRange) {
        self.bytes += range.start.len() + range.end.len();
        self.ops.push(Op::DeleteRange { family, range });
    }

    /// Notes that the row of `owner` refers to a payload from now on.
    pub fn acquire(&mut self, location: PayloadLocation, owner: impl Into<Bytes>) {
        self.references.push(Reference::Acquire(location, owner.into()));
    }

    /// Notes that nothing refers to a payload any more.
    pub fn release(&mut self, location: PayloadLocation) {
        self.references.push(Reference::Release(location));
    }

    /// Adds the changes of another batch after these.
    pub fn append(&mut self, other: Self) {
        self.bytes += other.bytes;
        if self.ops.is_empty() {
            self.ops = other.ops;
        } else {
            self.ops.extend(other.ops);
        }
        self.references.extend(other.references);
    }

    /// Nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.references.is_empty()
    }

    /// Bytes of keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The changes of rows, in order.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The changes of rows, in order.
    #[must_use]
    pub fn into_ops(self) -> Vec<Op> {
        self.ops
    }

    /// The changes of who refers to which payload, in order.
    #[must_use]
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// Takes the changes of references out: they are turned into rows.
    pub fn take_references(&mut self) -> Vec<Reference> {
        std::mem::take(&mut self.references)
    }
}
