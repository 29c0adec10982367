//! How the run of one seed ended, as its process says it: one line of JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::check::Violation;

/// One fault of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// Its number, by which `--drop` leaves it out.
    pub number: usize,
    /// When it begins, simulated milliseconds.
    pub at: u64,
    /// When it is over; equal to `at` where it takes no time.
    pub until: u64,
    /// `crash`, `partition`.
    pub name: String,
    /// What exactly.
    pub detail: String,
}

/// What a seed has decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Nodes at the beginning.
    pub nodes: u32,
    /// Clients.
    pub clients: u32,
    /// The kinds of faults that may happen.
    pub kinds: Vec<String>,
    /// The faults, in the order of their numbers, without those that were dropped.
    pub faults: Vec<PlannedFault>,
}

/// How the run of one seed ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// The seed.
    pub seed: u64,
    /// The profile's name.
    pub profile: String,
    /// The deliberate bug that was armed.
    pub mutant: Option<String>,
    /// What the seed has decided.
    pub plan: Plan,
    /// Of the trace.
    pub hash: u64,
    /// Events in the trace.
    pub events: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Real milliseconds.
    pub real_ms: u64,
    /// Operations of clients: by kind and end, `produce ok`, `fetch unknown`.
    pub operations: BTreeMap<String, u64>,
    /// What happened how often: faults that took effect, and rare states that were seen
    /// (`snapshot installed`, `leader changed`).
    pub seen: BTreeMap<String, u64>,
    /// The first promise that was broken.
    pub violation: Option<Violation>,
    /// The process ended before the run did: a panic with its place, or a signal.
    pub died: Option<String>,
}
