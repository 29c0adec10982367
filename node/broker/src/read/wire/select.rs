//! What subscriptions ask of leaders.

use kontiki_domain::filter::FilterText;
use minicbor::{Decode, Encode};

use super::Failed;

/// Records of partitions of one shard that match a filter.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Select {
    #[n(0)]
    pub(crate) partitions: Vec<SelectPart>,
    /// None: all records match.
    #[n(1)]
    pub(crate) filter: Option<FilterText>,
    /// Batches of so many bytes are looked at, but at least one; and where not all of their records
    /// are wanted, those that are don't take more, but for one.
    #[n(2)]
    pub(crate) max_bytes: u32,
    /// How long to wait for any record to look at.
    #[n(3)]
    pub(crate) wait_ms: u32,
}

/// One partition of a [`Select`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SelectPart {
    #[n(0)]
    pub(crate) partition: u64,
    /// One below the log start stands for the log start.
    #[n(1)]
    pub(crate) offset: u64,
}

/// What was selected of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum SelectedPart {
    #[n(0)]
    Done(#[n(0)] Selected),
    #[n(1)]
    Failed {
        #[n(0)]
        partition: u64,
        #[n(1)]
        failed: Failed,
    },
}

/// See [`SelectedPart`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Selected {
    #[n(0)]
    pub(crate) partition: u64,
    /// Everything below it has been looked at.
    #[n(1)]
    pub(crate) next_offset: u64,
    /// The high watermark.
    #[n(2)]
    pub(crate) end_offset: u64,
    /// The next payloads of the answer, record batches, are its own: for each of them the offsets
    /// of its records. None: those that the batch says.
    #[n(3)]
    pub(crate) batches: Vec<Vec<u64>>,
    /// Records that don't match.
    #[n(4)]
    pub(crate) unmatched: u64,
    /// Records on which the filter has failed: they don't match either.
    #[n(5)]
    pub(crate) failed: u64,
}

/// The positions of one durable subscription.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Positions {
    #[n(0)]
    pub(crate) subscription: u64,
    #[n(1)]
    pub(crate) partitions: Vec<u64>,
}

/// A wish of a consumer of a durable subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Attach {
    #[n(0)]
    pub(crate) subscription: u64,
    /// Chosen by the consumer's node at random.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(crate) session: [u8; 16],
    /// The consumer's node.
    #[n(2)]
    pub(crate) node: u32,
    #[n(3)]
    pub(crate) holding: Holding,
}

/// What it wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Holding {
    /// To be the one, if there is no other.
    #[n(0)]
    Begin,
    /// To be the one, whoever is.
    #[n(1)]
    TakeOver,
    /// To go on.
    #[n(2)]
    Renew,
    /// To go.
    #[n(3)]
    End,
}

/// What has become of a wish.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Attached {
    /// The node of another consumer that has the subscription; `None`: the asker has it.
    #[n(0)]
    pub(crate) other: Option<u32>,
    /// Of one that has just begun, or taken over: higher than those of all consumers before it.
    /// Earlier releases say none.
    #[n(1)]
    pub(crate) generation: Option<u64>,
}
