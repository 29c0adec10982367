//! Which events a report of a failure shows: those of the operations concerned, and what happened
//! last on the nodes concerned before it showed.

use std::collections::BTreeSet;

use super::details::Details;
use crate::check::{Deed, Violation};
use crate::history::OpId;
use crate::trace::{Event, Timed};

/// How many events are shown.
pub const SHOWN_MAX: usize = 40;
/// How many of them may be those of operations.
const OF_OPS_MAX: usize = 16;

/// The events to show, in order.
#[must_use]
pub fn concerning<'a>(details: &'a Details, violation: Option<&Violation>) -> Vec<&'a Timed> {
    let all = together(details);
    let until = violation.and_then(|violation| violation.at).unwrap_or(u64::MAX);
    let mut chosen: BTreeSet<usize> = BTreeSet::new();
    if let Some(violation) = violation {
        let of_ops = |(place, timed): (usize, &&Timed)| {
            op_of(&timed.event).is_some_and(|op| violation.ops.contains(&op)).then_some(place)
        };
        chosen.extend(all.iter().enumerate().filter_map(of_ops).take(OF_OPS_MAX));
    }
    let nodes: &[u32] = violation.map_or(&[], |violation| &violation.nodes);
    for (place, timed) in all.iter().enumerate().rev() {
        if chosen.len() == SHOWN_MAX {
            break;
        }
        if timed.at <= until && is_of_interest(&timed.event, nodes) {
            chosen.insert(place);
        }
    }
    chosen.into_iter().map(|place| all[place]).collect()
}

/// What is shown of the whole run until the last events of all kinds begin, and then those.
fn together(details: &Details) -> Vec<&Timed> {
    let begin = details.events.first().map_or(u64::MAX, |timed| timed.at);
    let before = details.shown.iter().filter(|timed| timed.at < begin);
    before.chain(&details.events).collect()
}

fn op_of(event: &Event) -> Option<OpId> {
    match event {
        Event::Invoke { op, .. } | Event::Return { op, .. } => Some(*op),
        Event::Message { .. } | Event::Probe(_) | Event::Fault { .. } | Event::Log { .. } => None,
    }
}

/// Without nodes that are concerned, every node is.
fn is_of_interest(event: &Event, nodes: &[u32]) -> bool {
    match event {
        Event::Fault { .. } => true,
        Event::Probe(probe) => {
            let is_rare = !matches!(probe.deed, Deed::Applied { .. });
            is_rare && (nodes.is_empty() || nodes.contains(&probe.node))
        }
        Event::Log { node, .. } => {
            nodes.is_empty() || nodes.iter().any(|number| *node == format!("n{number}"))
        }
        // Those of the operations concerned are chosen already, and of messages there are too many.
        Event::Message { .. } | Event::Invoke { .. } | Event::Return { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Outcome;

    fn fault(at: u64) -> Timed {
        let (name, detail) = ("crash".to_owned(), "n1".to_owned());
        Timed { at, event: Event::Fault { number: None, name, detail } }
    }

    fn log(at: u64, node: &str) -> Timed {
        Timed { at, event: Event::Log { node: node.to_owned(), text: at.to_string() } }
    }

    fn end(at: u64, op: u64) -> Timed {
        let outcome = Outcome::Unknown("gone".to_owned());
        Timed { at, event: Event::Return { op: OpId(op), outcome } }
    }

    fn violation() -> Violation {
        Violation {
            check: "x".to_owned(),
            text: String::new(),
            at: Some(600),
            ops: vec![OpId(4)],
            nodes: vec![2],
        }
    }

    #[test]
    fn operations_and_nodes_concerned_are_shown() {
        let shown = vec![end(1, 4), end(2, 5), fault(3), fault(500)];
        let events = vec![log(500, "n2"), log(510, "n1"), fault(520), end(700, 4), log(710, "n2")];
        let details = Details { events, shown };
        let chosen: Vec<u64> =
            concerning(&details, Some(&violation())).iter().map(|timed| timed.at).collect();
        assert_eq!(chosen, [1, 3, 500, 520, 700]);
    }

    #[test]
    fn there_are_never_too_many_and_the_last_ones_win() {
        let details = Details { events: (0..500).map(fault).collect(), shown: Vec::new() };
        let chosen = concerning(&details, None);
        assert_eq!(chosen.len(), SHOWN_MAX);
        assert_eq!(chosen.last().map(|timed| timed.at), Some(499));
    }
}
