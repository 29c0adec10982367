//! The topics that had one name, one after the other, as a model.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::history::linearizable::Model;
use crate::history::{Answer, Call};

type Settings = BTreeMap<String, String>;

/// The model.
pub(super) struct Topics<'a> {
    /// The settings that it looks at: those that somebody chooses.
    pub modelled: BTreeSet<&'a str>,
}

/// What there is under the name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    topic: Option<Topic>,
    /// Ids of earlier topics.
    gone: BTreeSet<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Topic {
    /// Not known while nobody was told.
    id: Option<u64>,
    partitions: u32,
    /// What is known of them: what was chosen, and defaults that were seen.
    settings: Settings,
}

/// What an operation did.
#[derive(Debug, Clone)]
pub(super) enum Did<'a> {
    /// Found out whether there is a topic.
    Sees { there: bool },
    /// Made one; the answer says what it is.
    Creates { partitions: u32, settings: &'a Settings, answer: Option<Seen<'a>> },
    /// Changed settings; the answer has all of them.
    Alters { settings: &'a Settings, answer: Option<&'a Settings> },
    /// Deleted it, or found that another one had at the same time.
    Deletes { maybe_another: bool },
    /// Looked at it.
    Describes(Seen<'a>),
    /// Raised the number of partitions; the answer has the new one.
    Adds { partitions: u32, answer: Option<u32> },
}

/// A topic as an answer shows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    id: u64,
    partitions: u32,
    /// Empty: not shown.
    settings: &'a Settings,
}

impl<'a> Did<'a> {
    /// `answer`: `None` where nobody knows whether it was done. Gives `None` where that tells
    /// nothing of topics.
    pub fn of(
        call: &'a Call,
        answer: Option<&'a Answer>,
        another_deletes: impl Fn() -> bool,
    ) -> Option<Self> {
        let seen = answer.and_then(Seen::of);
        match call {
            Call::CreateTopic { partitions, settings, .. } => {
                Some(Self::Creates { partitions: *partitions, settings, answer: seen })
            }
            Call::AlterTopic { settings, .. } => {
                let all = |answer: &'a Answer| {
                    if let Answer::Settings(all) = answer { Some(all) } else { None }
                };
                Some(Self::Alters { settings, answer: answer.and_then(all) })
            }
            Call::DeleteTopic { .. } => {
                Some(Self::Deletes { maybe_another: answer.is_some() && another_deletes() })
            }
            Call::DescribeTopic { .. } => seen.map(Self::Describes),
            Call::AddPartitions { partitions, .. } => {
                let count = |answer: &Answer| {
                    if let Answer::Partitions(count) = answer { Some(*count) } else { None }
                };
                Some(Self::Adds { partitions: *partitions, answer: answer.and_then(count) })
            }
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
}

impl<'a> Seen<'a> {
    fn of(answer: &'a Answer) -> Option<Self> {
        if let Answer::Topic { id, partitions, settings } = answer {
            return Some(Self { id: *id, partitions: *partitions, settings });
        }
        None
    }
}

impl<'a> Model for Topics<'a> {
    type State = State;
    type Op = Did<'a>;

    fn initial(&self) -> State {
        State::default()
    }

    fn step(&self, state: &State, op: &Did<'a>) -> Option<State> {
        let State { topic, gone } = state;
        let with = |topic: Topic| Some(State { topic: Some(topic), gone: gone.clone() });
        match op {
            Did::Sees { there } => (topic.is_some() == *there).then(|| state.clone()),
            Did::Creates { partitions, settings, answer } => {
                if topic.is_some() {
                    return None;
                }
                // None at all is the same as one.
                let partitions = (*partitions).max(1);
                let made = Topic { id: None, partitions, settings: (*settings).clone() };
                with(match answer {
                    Some(seen) => self.look(made, *seen, gone)?,
                    None => made,
                })
            }
            Did::Alters { settings, answer } => {
                let mut topic = topic.clone()?;
                topic.settings.extend((*settings).clone());
                topic.settings = self.learn(topic.settings, answer.unwrap_or(&Settings::new()))?;
                with(topic)
            }
            Did::Deletes { maybe_another } => match topic {
                Some(topic) => {
                    let gone = gone.iter().copied().chain(topic.id).collect();
                    Some(State { topic: None, gone })
                }
                None => maybe_another.then(|| state.clone()),
            },
            Did::Describes(seen) => with(self.look(topic.clone()?, *seen, gone)?),
            Did::Adds { partitions, answer } => {
                let mut topic = topic.clone()?;
                let fits =
                    topic.partitions <= *partitions && answer.unwrap_or(*partitions) == *partitions;
                topic.partitions = *partitions;
                fits.then_some(topic).and_then(with)
            }
        }
    }

    fn only_looks(&self, op: &Did<'a>) -> bool {
        matches!(op, Did::Sees { .. } | Did::Describes(_))
    }
}

impl Topics<'_> {
    /// The topic, if it can look like this, with what is seen there for the first time.
    fn look(&self, topic: Topic, seen: Seen<'_>, gone: &BTreeSet<u64>) -> Option<Topic> {
        let fits = topic.id.unwrap_or(seen.id) == seen.id
            && topic.partitions == seen.partitions
            && !gone.contains(&seen.id);
        let settings = self.learn(topic.settings, seen.settings)?;
        fits.then_some(Topic { id: Some(seen.id), settings, ..topic })
    }

    /// The settings, if all of them can look like this, with defaults that nobody knew yet.
    fn learn(&self, mut known: Settings, all: &Settings) -> Option<Settings> {
        if all.is_empty() {
            return Some(known);
        }
        for key in &self.modelled {
            match (known.get(*key), all.get(*key)) {
                (Some(known), seen) if Some(known) != seen => return None,
                (None, Some(seen)) => {
                    known.insert((*key).to_owned(), seen.clone());
                }
                (Some(_) | None, _) => {}
            }
        }
        Some(known)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Topic { id, partitions, settings }) = &self.topic else {
            return f.write_str("no topic");
        };
        match id {
            Some(id) => write!(f, "topic {id}")?,
            None => f.write_str("a topic of unknown id")?,
        }
        write!(f, " of {partitions} partitions with {settings:?}")
    }
}
