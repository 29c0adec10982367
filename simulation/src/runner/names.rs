//! What can be chosen on the command line, and what is listed: the only place here that knows the
//! names of profiles, faults, checks and deliberate bugs.

use clap::builder::{PossibleValue, PossibleValuesParser};

/// A name, and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// As on the command line and in reports.
    pub name: &'static str,
    /// A sentence.
    pub about: &'static str,
}

const fn named(name: &'static str, about: &'static str) -> Named {
    Named { name, about }
}

const PROFILES: &[Named] = &[
    named("calm", "no faults: clients only"),
    named("default", "what happens in a data centre: crashes, partitions, slow links"),
    named("nemesis", "every kind of fault that a cluster must survive, often"),
    named("disk", "disks: full, slow, failing, torn, damaged, lost"),
    named("membership", "nodes and replicas come, go and move, under crashes and partitions"),
    named("swarm", "each seed has a random subset of all kinds of faults"),
];

const MUTANTS: &[&str] = &[
    "ack-before-sync",
    "forget-producers-in-snapshot",
    "serve-on-expired-lease",
    "skip-truncation",
    "apply-twice-after-crash",
    "learner-in-quorum",
    "wall-clock-in-apply",
];

/// The profiles.
#[must_use]
pub fn profiles() -> Vec<Named> {
    PROFILES.to_vec()
}

/// The kinds of faults.
#[must_use]
pub fn fault_kinds() -> Vec<Named> {
    Vec::new()
}

/// The checks, each with the sentence that it holds us to.
#[must_use]
pub fn checks() -> Vec<Named> {
    Vec::new()
}

/// The deliberate bugs.
#[must_use]
pub fn mutants() -> Vec<&'static str> {
    MUTANTS.to_vec()
}

/// What a large batch with faults must have seen: without it, the batch proves little.
#[must_use]
pub fn required_states() -> &'static [&'static str] {
    &["replica became leader", "replica opened with state", "snapshot installed"]
}

/// The sentence that a check holds us to.
#[must_use]
pub fn promise(check: &str) -> Option<&'static str> {
    checks().into_iter().find(|named| named.name == check).map(|named| named.about)
}

/// For the command line.
#[must_use]
pub fn profile_parser() -> PossibleValuesParser {
    let values = profiles().into_iter();
    PossibleValuesParser::new(values.map(|p| PossibleValue::new(p.name).help(p.about)))
}

/// For the command line.
#[must_use]
pub fn mutant_parser() -> PossibleValuesParser {
    PossibleValuesParser::new(mutants())
}
