//! The promises, one file for each: what must be true of every run, whatever goes wrong in it.
//!
//! A check is a pure function of the [`Evidence`]. It says the sentence that it holds us to, and
//! finds the first place where the sentence isn't true.

mod acknowledged_not_lost;
mod all;
mod attempts_exact;
mod catalog_linearizable;
mod dead_lettered_everywhere;
mod deleted_stay_deleted;
mod follows;
mod liveness;
mod log_matching;
mod no_duplicates;
mod no_phantom;
mod nothing_uncommitted_read;
mod offsets_dense;
mod one_active_consumer;
mod one_leader_per_term;
mod one_record_per_offset;
mod producer_order;
mod published_everywhere;
mod queue_counts;
mod queues;
mod reads_are_linearizable;
mod redriven_once;
mod redrives_end;
mod routed_as_bound;
mod routes;
mod same_entries_applied;
mod same_state_at_same_index;
#[cfg(test)]
mod sample;
mod subscription_complete;
mod subscription_in_order;
mod unknown_resolved;
mod views;
mod watermark_monotonic;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::all::{ALL, first_violation};
use crate::history::{History, Ms, OpId, Part, Seen};

/// What a partition had in the end, as a client reads it after everything is healed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalLog {
    /// The first offset that is there.
    pub log_start: u64,
    /// One after the last.
    pub high_watermark: u64,
    /// Everything between, in the order in which it was read.
    pub records: Vec<Seen>,
}

/// Something that a replica did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// It began to lead.
    Leads {
        /// In this term.
        term: u64,
    },
    /// It applied an entry.
    Applied {
        /// The entry.
        index: u64,
        /// The term in which it was proposed.
        term: u64,
        /// Digest of what the entry says, payloads included.
        entry: u64,
        /// Digest of the replies.
        replies: u64,
    },
    /// It took a snapshot over.
    Installed {
        /// The entry that it applies next; the first is 0.
        next: u64,
    },
    /// It read its state from the disk: its node has started.
    Opened {
        /// The entry that it applies next; the first is 0.
        next: u64,
    },
}

/// Something that a replica did, with its time and place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// When.
    pub at: Ms,
    /// On which node.
    pub node: u32,
    /// Of which shard.
    pub shard: u32,
    /// Which replica; its number is used for one life of one disk.
    pub replica: u64,
    /// What.
    pub deed: Deed,
}

/// One entry of a replica's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its place.
    pub index: u64,
    /// The term in which it was proposed.
    pub term: u64,
    /// Digest of what it says, payloads included.
    pub digest: u64,
}

/// What a replica had on its disk at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// When.
    pub at: Ms,
    /// On which node.
    pub node: u32,
    /// Of which shard.
    pub shard: u32,
    /// Which replica.
    pub replica: u64,
    /// The last entry that it had applied.
    pub applied: u64,
    /// Digest of its whole state, payloads included: equal for equal states, wherever each node
    /// keeps them.
    pub state: u64,
    /// Its log, from the first entry that is there; entries that are applied are committed.
    pub log: Vec<LogEntry>,
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When the last fault was over and everything was repaired.
    pub calm_since: Ms,
    /// When the cluster was whole: every shard led, every replica of it caught up. `None`: not
    /// within the bound.
    pub whole_at: Option<Ms>,
    /// Which bound.
    pub heal_bound_ms: u64,
    /// What wasn't whole, for people.
    pub not_whole: Vec<String>,
    /// Clients that had not finished within `client_bound_ms` after that, with what they waited
    /// for.
    pub unfinished: Vec<String>,
    /// How long clients had.
    pub client_bound_ms: u64,
}

/// Everything that is known of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What clients saw.
    pub history: History,
    /// What clients read in the end, of the partitions of topics that still exist.
    pub logs: BTreeMap<String, BTreeMap<u32, FinalLog>>,
    /// What replicas did, in the order of time.
    pub probes: Vec<Probe>,
    /// Replicas at moments during the run (without their logs), and all of them in the end.
    pub replicas: Vec<Replica>,
    /// How it ended.
    pub end: End,
}

impl Evidence {
    /// The final log of a partition.
    #[must_use]
    pub fn log(&self, part: &Part) -> Option<&FinalLog> {
        self.logs.get(&part.topic)?.get(&part.partition)
    }
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The name of the check.
    pub check: String,
    /// What was found, with offsets, names and times.
    pub text: String,
    /// When it showed, if that is known.
    pub at: Option<Ms>,
    /// The operations concerned.
    pub ops: Vec<OpId>,
    /// The nodes concerned.
    pub nodes: Vec<u32>,
}

/// A check.
pub struct Check {
    /// Its name, as in reports.
    pub name: &'static str,
    /// The sentence that it holds us to.
    pub promise: &'static str,
    /// Finds the first place where it isn't true.
    pub run: fn(&Evidence) -> Result<(), Violation>,
}
