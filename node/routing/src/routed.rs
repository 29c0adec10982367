//! Where a message goes, and the memory that finding out needs.

use crate::binding::QueueId;
use crate::headers::Present;
use crate::marks::Marks;
use crate::trie::Walk;

/// The queues of one message. It is kept and used for the next message: after the first few,
/// routing allocates nothing. It grows with the table (4 bytes for each queue and exchange, and 4
/// for each word of the patterns of the largest topic exchange), so keep one for each thread rather
/// than for each client.
///
/// It may be used with any table.
#[derive(Debug, Clone, Default)]
pub struct Routed {
    pub(crate) reached: Reached,
    pub(crate) scratch: Scratch,
}

impl Routed {
    /// Without queues.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The queues that the last message goes to, each once, in no particular order. After an error
    /// there are none.
    #[must_use]
    pub fn queues(&self) -> &[QueueId] {
        &self.reached.queues
    }

    /// Whether the last message goes anywhere. One that went through an alternate exchange was
    /// routed like any other.
    #[must_use]
    pub fn is_routed(&self) -> bool {
        !self.reached.queues.is_empty()
    }
}

/// What was reached so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reached {
    /// Destinations, by number.
    pub(crate) seen: Marks,
    pub(crate) queues: Vec<QueueId>,
    /// Exchanges that were reached and not yet looked into, by number.
    pub(crate) waiting: Vec<u32>,
}

/// What the indexes need while they choose.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scratch {
    pub(crate) walk: Walk,
    pub(crate) present: Present,
    /// The value of the header that is hashed.
    pub(crate) value: Vec<u8>,
}
