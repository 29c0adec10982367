//! What can be chosen on the command line, and what is listed: the only place here that knows the
//! names of profiles, faults, checks and deliberate bugs.

use clap::builder::{PossibleValue, PossibleValuesParser};

use crate::bug::Bug;
use crate::check::ALL;
use crate::faults::KINDS;
use crate::profile::Profile;

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

/// The profiles.
#[must_use]
pub fn profiles() -> Vec<Named> {
    Profile::ALL.into_iter().map(|profile| named(profile.name(), profile.about())).collect()
}

/// The kinds of faults.
#[must_use]
pub fn fault_kinds() -> Vec<Named> {
    KINDS.iter().map(|kind| named(kind.name, kind.about)).collect()
}

/// The checks, each with the sentence that it holds us to.
#[must_use]
pub fn checks() -> Vec<Named> {
    ALL.iter().map(|check| named(check.name, check.promise)).collect()
}

/// The deliberate bugs.
#[must_use]
pub fn mutants() -> Vec<&'static str> {
    Bug::all().map(Bug::name).collect()
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
