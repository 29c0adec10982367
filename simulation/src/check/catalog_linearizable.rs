//! Topics, as clients see them: as if there were one catalog in one place.

mod topic;

use std::collections::{BTreeMap, BTreeSet};

use self::topic::{Did, Topics};
use super::{Check, Evidence, Violation};
use crate::history::linearizable::{Entry, Stuck, Verdict, check};
use crate::history::{Answer, Call, Op, Outcome};

/// The check.
pub const CATALOG_LINEARIZABLE: Check = Check {
    name: "catalog_linearizable",
    promise: "creating, changing, describing and deleting topics is linearizable, and no id is \
              given out twice",
    run,
};

/// For each topic. A history that needs more is not decided, and is reported: a check that gives up
/// in silence would pass everything. No seed has needed it so far.
const MAX_STATES: usize = 2_000_000;

fn run(evidence: &Evidence) -> Result<(), Violation> {
    let mut by_name: BTreeMap<&str, Vec<&Op>> = BTreeMap::new();
    let mut modelled = BTreeSet::new();
    for op in &evidence.history.ops {
        let Some((topic, settings)) = subject(&op.call) else { continue };
        by_name.entry(topic).or_default().push(op);
        modelled.extend(settings.into_iter().flatten().map(|(key, _)| key.as_str()));
    }
    ids_have_one_name(&by_name)?;
    let model = Topics { modelled };
    for (name, ops) in by_name {
        let (entries, of): (Vec<_>, Vec<_>) =
            ops.iter().filter_map(|op| Some((entry(op, &ops)?, *op))).unzip();
        match check(&model, &entries, MAX_STATES) {
            Verdict::Linearizable => {}
            Verdict::Undecided => {
                let text = format!(
                    "topic {name}: {} operations could not be decided in {MAX_STATES} states",
                    of.len()
                );
                return Err(violation(text, &of));
            }
            Verdict::Broken(Stuck { state, next }) => {
                let next: Vec<&Op> = next.into_iter().map(|place| of[place]).collect();
                let text = format!(
                    "topic {name}: no order of its operations explains the answers. The best one \
                     ends with {state}, where none of these fits: {}",
                    next.iter().map(|op| describe(op)).collect::<Vec<_>>().join("; ")
                );
                return Err(violation(text, &next));
            }
        }
    }
    Ok(())
}

/// The topic that it is about, and the settings that it chooses.
fn subject(call: &Call) -> Option<(&str, Option<&BTreeMap<String, String>>)> {
    match call {
        Call::CreateTopic { topic, settings, .. } | Call::AlterTopic { topic, settings } => {
            Some((topic, Some(settings)))
        }
        Call::DeleteTopic { topic }
        | Call::DescribeTopic { topic }
        | Call::AddPartitions { topic, .. } => Some((topic, None)),
        Call::Produce { .. }
        | Call::Fetch { .. }
        | Call::Earliest { .. }
        | Call::Latest { .. }
        | Call::Send { .. }
        | Call::Receive { .. }
        | Call::Settle { .. }
        | Call::Publish { .. }
        | Call::StartRedrive { .. }
        | Call::ListRedrives { .. }
        | Call::Bind { .. }
        | Call::Unbind { .. }
        | Call::Subscribe { .. }
        | Call::Follow
        | Call::Unsubscribe { .. }
        | Call::Count { .. }
        | Call::DeleteRecords { .. } => None,
    }
}

/// Names are checked one by one, so that this is not seen there.
fn ids_have_one_name(by_name: &BTreeMap<&str, Vec<&Op>>) -> Result<(), Violation> {
    let mut names: BTreeMap<u64, (&str, &Op)> = BTreeMap::new();
    for (name, op) in by_name.iter().flat_map(|(name, ops)| ops.iter().map(|op| (*name, *op))) {
        let Some((_, Answer::Topic { id, .. })) = op.answer() else { continue };
        let (first, there) = *names.entry(*id).or_insert((name, op));
        if first != name {
            let text = format!("topics {first} and {name} have both the id {id}");
            return Err(violation(text, &[there, op]));
        }
    }
    Ok(())
}

/// What the operation says of the topic; `None`: nothing.
fn entry<'a>(op: &'a Op, all: &[&Op]) -> Option<Entry<Did<'a>>> {
    let (returned, answer) = match &op.returned {
        Some((at, Outcome::Ok(answer))) => (Some(*at), Some(answer)),
        Some((at, Outcome::Refused(refusal))) => {
            let creates = matches!(op.call, Call::CreateTopic { .. });
            let there = match (refusal.kind.as_str(), creates) {
                ("EXISTS", true) => true,
                ("NOT_FOUND", false) => false,
                (_, _) => return None,
            };
            let sees = Did::Sees { there };
            return Some(Entry { op: sees, invoked: op.invoked, returned: Some(*at) });
        }
        Some((_, Outcome::Unknown(_))) | None => (None, None),
    };
    let did = Did::of(&op.call, answer, || another_deletes(op, all))?;
    Some(Entry { op: did, invoked: op.invoked, returned })
}

/// Whether another deletion may have taken effect during this one. Both look the topic up before
/// they delete it, and both may then say that it is done.
fn another_deletes(op: &Op, all: &[&Op]) -> bool {
    let end = |op: &Op| op.answer().map_or(u64::MAX, |(at, _)| at);
    all.iter().any(|other| {
        matches!(other.call, Call::DeleteTopic { .. })
            && other.id != op.id
            && other.may_be_done()
            && other.invoked <= end(op)
            && op.invoked <= end(other)
    })
}

fn describe(op: &Op) -> String {
    match &op.returned {
        Some((at, outcome)) => {
            format!("{} ({} to {at} ms) {:?}: {outcome:?}", op.id.0, op.invoked, op.call)
        }
        None => format!("{} ({} ms, no answer) {:?}", op.id.0, op.invoked, op.call),
    }
}

fn violation(text: String, ops: &[&Op]) -> Violation {
    Violation {
        check: CATALOG_LINEARIZABLE.name.to_owned(),
        text,
        at: ops.iter().filter_map(|op| op.returned.as_ref().map(|(at, _)| *at)).min(),
        ops: ops.iter().map(|op| op.id).collect(),
        nodes: Vec::new(),
    }
}

#[cfg(test)]
#[path = "catalog_linearizable_test.rs"]
mod tests;
