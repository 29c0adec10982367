//! Deliberate bugs of queues, and of what leads to and from them, for the simulation to find: it
//! proves that its checks can fail.
//! Compiled with the feature `mutants` only, which no server has; and none is there before it is
//! armed. All replicas have the same bug, so that only what clients see can show it.

/// A deliberate bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Delayed messages are delivered at once.
    DeliverEarly,
    /// Now and then, a message that is acknowledged is delivered again.
    AcknowledgedComesBack,
    /// A message is for others before its lease has ended.
    LeaseEndsEarly,
    /// Deduplication ids are not looked at.
    ForgetDeduplication,
    /// A FIFO group goes on while a message of it is leased.
    GroupsOutOfOrder,
    /// What has had all of its attempts is dropped, and not moved to the dead-letter queue.
    DropExhausted,
    /// A queue takes more messages than it may have.
    IgnoreLength,
    /// Now and then, an acknowledgement is not counted.
    Miscount,
    /// What is given back because nobody got it counts as an attempt.
    ReturnCounts,
    /// A published message goes to one of its queues only, and is confirmed.
    PublishToOne,
    /// Bindings that are taken back still lead on.
    KeepsUnbound,
    /// Now and then, a message that is redriven is dropped.
    RedriveDrops,
    /// A queue with a single active consumer serves all of them.
    ManyActive,
    /// Now and then, a subscription leaves records out.
    SubscriptionSkips,
}

/// Whether this process has the bug.
#[cfg(not(feature = "mutants"))]
#[must_use]
pub const fn is(_: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use self::armed::{arm, is};

#[cfg(feature = "mutants")]
impl Mutant {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::DeliverEarly,
        Self::AcknowledgedComesBack,
        Self::LeaseEndsEarly,
        Self::ForgetDeduplication,
        Self::GroupsOutOfOrder,
        Self::DropExhausted,
        Self::IgnoreLength,
        Self::Miscount,
        Self::ReturnCounts,
        Self::PublishToOne,
        Self::KeepsUnbound,
        Self::RedriveDrops,
        Self::ManyActive,
        Self::SubscriptionSkips,
    ];

    /// Its name on a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DeliverEarly => "queue-deliver-early",
            Self::AcknowledgedComesBack => "queue-acknowledged-comes-back",
            Self::LeaseEndsEarly => "queue-lease-ends-early",
            Self::ForgetDeduplication => "queue-forget-deduplication",
            Self::GroupsOutOfOrder => "queue-groups-out-of-order",
            Self::DropExhausted => "queue-drop-exhausted",
            Self::IgnoreLength => "queue-ignore-length",
            Self::Miscount => "queue-miscount",
            Self::ReturnCounts => "queue-return-counts",
            Self::PublishToOne => "exchange-publish-to-one",
            Self::KeepsUnbound => "exchange-keeps-unbound",
            Self::RedriveDrops => "queue-redrive-drops",
            Self::ManyActive => "queue-many-active",
            Self::SubscriptionSkips => "subscription-skips",
        }
    }
}

#[cfg(feature = "mutants")]
mod armed {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Mutant;

    /// One more than the mutant's number; 0: none.
    static ARMED: AtomicU8 = AtomicU8::new(0);

    /// From now on, this process has a bug.
    pub fn arm(mutant: Mutant) {
        ARMED.store(mutant as u8 + 1, Ordering::Relaxed);
    }

    /// Whether this process has the bug.
    #[must_use]
    pub fn is(mutant: Mutant) -> bool {
        ARMED.load(Ordering::Relaxed) == mutant as u8 + 1
    }
}
