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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Deed, Probe};
    use crate::history::{Answer, Call, ClientId, OpId, Outcome, Part};
    use crate::trace::Event;

    #[test]
    fn every_kind_of_event_is_read_as_it_was_written() {
        let deed = Deed::Leads { term: u64::MAX };
        let at = Part { topic: "t".to_owned(), partition: 1 };
        let text = || "n1".to_owned();
        let events = [
            Event::Message { from: text().into(), to: text().into(), bytes: 3, crc: 4 },
            Event::Probe(Probe { at: 77, node: 1, shard: 2, replica: 3, deed }),
            Event::Fault { number: Some(3), name: text(), detail: text() },
            Event::Fault { number: None, name: text(), detail: text() },
            Event::Invoke { op: OpId(1), client: ClientId(2), call: Call::Fetch { at, from: 5 } },
            Event::Return { op: OpId(1), outcome: Outcome::Ok(Answer::Done) },
            Event::Return { op: OpId(1), outcome: Outcome::Ok(Answer::Offset(u64::MAX)) },
            Event::Log { node: text(), text: text() },
        ];
        let events: Vec<Timed> = events.map(|event| Timed { at: 77, event }).into();
        let details = Details { shown: events.clone(), events };
        let json = serde_json::to_string(&details).expect("plain data");
        let read: Details = serde_json::from_str(&json).expect("it was written so");
        assert_eq!(read, details);
    }
}
