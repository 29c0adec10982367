//! The report of a failure: what a person needs to understand it, and one command to see it again.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::describe;
use super::details::Details;
use super::last;
use super::outcome::Finished;

/// A failure.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Failure {
    /// How the run ended, with the faults that are left.
    pub finished: Finished,
    /// The sentence that was broken; empty where nobody knows it.
    pub promise: String,
    /// The command that runs it again.
    pub replay: String,
    /// How many faults there were when it was found.
    pub found_faults: usize,
    /// How many runs it took to leave faults out.
    pub trials: usize,
    /// No fault that is left can be left out.
    pub is_minimal: bool,
    /// It did not fail again when it was run once more.
    pub is_unsteady: bool,
    /// Another one failed in the same way, and was looked at closely.
    pub is_repetition: bool,
    /// Where more is written.
    pub written: Vec<PathBuf>,
    /// Events.
    #[serde(skip)]
    pub details: Option<Details>,
}

impl Finished {
    /// In which way it failed, if it did: the check, or the place of the panic. Two runs with the
    /// same bug most likely fail in the same way.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        if let Some(violation) = &self.violation {
            return Some(violation.check.clone());
        }
        let died = self.died.as_ref()?;
        let panic = died.lines().find_map(|line| line.split_once("panicked at "));
        Some(match panic {
            Some((_, place)) => format!("panic at {}", place.trim_end_matches(':')),
            None => died.lines().next().unwrap_or_default().to_owned(),
        })
    }
}

/// Lines that don't begin the report begin so.
const INDENT: &str = "           ";

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let finished = &self.finished;
        let way = finished.failure().unwrap_or_default();
        write!(f, "FAILED     seed {}, profile {}", finished.seed, finished.profile)?;
        if let Some(mutant) = &finished.mutant {
            write!(f, ", with the deliberate bug {mutant}")?;
        }
        field(f, "broken", &way)?;
        if self.is_repetition {
            field(f, "", "as another seed above, so it was not looked at closely")?;
            return field(f, "replay", &self.replay);
        }
        if !self.promise.is_empty() {
            field(f, "promise", &self.promise)?;
        }
        match (&finished.violation, &finished.died) {
            (Some(violation), _) => {
                field(f, "found", &violation.text)?;
                if let Some(at) = violation.at {
                    field(f, "at", &describe::time(at))?;
                }
            }
            (None, died) => field(f, "found", died.as_deref().unwrap_or_default())?,
        }
        self.faults(f)?;
        self.last_events(f)?;
        if self.is_unsteady {
            field(f, "unsteady", "run once more, it did not fail in this way: its process is not")?;
            field(f, "", "deterministic, or the machine was too slow for the time limit")?;
        }
        field(f, "replay", &self.replay)?;
        for path in &self.written {
            field(f, "written", &path.display().to_string())?;
        }
        Ok(())
    }
}

impl Failure {
    fn faults(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = &self.finished.plan.faults;
        let how_many = match (faults.len(), self.found_faults) {
            (0, 0) => "none".to_owned(),
            (0, all) => format!("none of {all} is needed"),
            (left, all) if self.trials == 0 => format!("{left} of {all}"),
            (left, all) if self.is_minimal => format!("{left} of {all} are enough, no fewer are"),
            (left, all) => format!("{left} of {all} are enough, perhaps fewer"),
        };
        let trials = match self.trials {
            0 => String::new(),
            trials => format!(" ({trials} runs to find that out)"),
        };
        field(f, "faults", &format!("{how_many}{trials}"))?;
        for fault in faults {
            let (from, until) = (describe::time(fault.at), describe::time(fault.until));
            let (number, name, detail) = (fault.number, &fault.name, &fault.detail);
            let detail = describe::short(detail, 120);
            write!(f, "\n{INDENT}#{number:<3} {from:>10} .. {until:>10}  {name}: {detail}")?;
        }
        Ok(())
    }

    fn last_events(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(details) = &self.details else { return Ok(()) };
        let violation = self.finished.violation.as_ref();
        let events = last::concerning(details, violation);
        if events.is_empty() {
            return Ok(());
        }
        let nodes: Vec<String> = violation
            .map(|violation| violation.nodes.iter().map(|node| format!("n{node}")).collect())
            .unwrap_or_default();
        let whose = if nodes.is_empty() { "all nodes".to_owned() } else { nodes.join(", ") };
        field(f, "events", &format!("the last ones of {whose}"))?;
        for event in events {
            write!(f, "\n{INDENT}{}", describe::line(event))?;
        }
        Ok(())
    }
}

fn field(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    let mut lines = text.lines();
    write!(f, "\n  {name:<9}{}", lines.next().unwrap_or_default())?;
    lines.try_for_each(|line| write!(f, "\n{INDENT}{line}"))
}

#[cfg(test)]
#[path = "failure_test.rs"]
mod tests;
