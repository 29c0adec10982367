//! The events that a report and a timeline show.

use serde::{Deserialize, Serialize};

use crate::trace::{Timed, Trace};

/// Events of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// The last ones, of all kinds.
    pub events: Vec<Timed>,
    /// From the beginning: faults, operations of clients, and what replicas did but for applied
    /// entries.
    pub shown: Vec<Timed>,
}

impl Details {
    /// Those of a trace.
    #[must_use]
    pub fn of(trace: &Trace) -> Self {
        Self { events: trace.last(), shown: trace.shown() }
    }
}
