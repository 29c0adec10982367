//! Events in words.

use crate::check::{Deed, Probe};
use crate::history::{Answer, Bound, Call, Outcome, Part};
use crate::trace::{Event, Timed};

/// Letters of what the system says itself (errors, log lines).
const LETTERS: usize = 240;

/// The beginning of a text, on one line.
#[must_use]
pub fn short(text: &str, letters: usize) -> String {
    let mut short: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(letters).collect();
    if text.chars().nth(letters).is_some() {
        short.push('…');
    }
    short
}

/// A time of a run, in seconds.
#[must_use]
pub fn time(ms: u64) -> String {
    format!("{}.{:03} s", ms / 1_000, ms % 1_000)
}

/// An event with its time, on one line.
#[must_use]
pub fn line(timed: &Timed) -> String {
    format!("{:>11}  {}", time(timed.at), event(&timed.event))
}

fn event(event: &Event) -> String {
    match event {
        Event::Message { from, to, bytes, .. } => format!("{from} -> {to}  {bytes} bytes"),
        Event::Probe(probe) => self::probe(probe),
        Event::Fault { number, name, detail } => {
            let number = number.map(|number| format!("#{number} ")).unwrap_or_default();
            format!("fault  {number}{name} {}", short(detail, LETTERS))
        }
        Event::Invoke { op, client, call } => {
            format!("c{}  op {} begins: {}", client.0, op.0, self::call(call))
        }
        Event::Return { op, outcome } => {
            format!("op {} ends: {}", op.0, self::outcome(outcome))
        }
        Event::Log { node, text } => format!("{node}  log: {}", short(text, LETTERS)),
    }
}

fn probe(probe: &Probe) -> String {
    let deed = match &probe.deed {
        Deed::Leads { term } => format!("leads, term {term}"),
        Deed::Applied { index, term, .. } => format!("applied {index} of term {term}"),
        Deed::Installed { next } => format!("installed a snapshot, goes on with entry {next}"),
        Deed::Opened { next } => format!("opened its state, goes on with entry {next}"),
    };
    format!("n{}  shard {} {deed}", probe.node, probe.shard)
}

fn part(part: &Part) -> String {
    format!("{}/{}", part.topic, part.partition)
}

fn bound(binding: &Bound) -> String {
    let Bound { exchange, key, queue } = binding;
    format!("{queue} to {exchange}, key {key}")
}

/// What a client asks.
#[must_use]
pub fn call(call: &Call) -> String {
    match call {
        Call::Produce { at, producer, record, .. } => {
            let kind = if producer.idempotent { "idempotent " } else { "" };
            let (client, number, session) = (record.client, record.number, producer.session);
            format!("{kind}produce c{client}#{number} to {}, session {session}", part(at))
        }
        Call::Fetch { at, from } => format!("fetch {} from {from}", part(at)),
        Call::Earliest { at } => format!("earliest of {}", part(at)),
        Call::Latest { at } => format!("latest of {}", part(at)),
        Call::DeleteRecords { at, before } => format!("delete {} before {before}", part(at)),
        Call::CreateTopic { topic, partitions, settings } => {
            format!("create topic {topic}, {partitions} partitions, {settings:?}")
        }
        Call::AlterTopic { topic, settings } => format!("alter topic {topic}: {settings:?}"),
        Call::DeleteTopic { topic } => format!("delete topic {topic}"),
        Call::DescribeTopic { topic } => format!("describe topic {topic}"),
        Call::AddPartitions { topic, partitions } => {
            format!("partitions of {topic} to {partitions}")
        }
        Call::Send { queue, message, group, delay_ms } => {
            let group = group.map(|group| format!(", group {group}")).unwrap_or_default();
            let delay = delay_ms.map(|ms| format!(", in {ms} ms")).unwrap_or_default();
            format!("send c{}#{} to {queue}{group}{delay}", message.client, message.number)
        }
        Call::Receive { queue, max } => format!("receive {max} of {queue}"),
        Call::Settle { queue, message_id, delivery, action } => {
            format!("{action:?} {message_id} of {queue}, delivery {delivery}")
        }
        Call::Publish { exchange, key, message, through } => {
            let through = through.map(|node| format!(", through n{node}")).unwrap_or_default();
            let (client, number) = (message.client, message.number);
            format!("publish c{client}#{number} to {exchange}, key {key}{through}")
        }
        Call::Bind { binding } => format!("bind {}", bound(binding)),
        Call::Unbind { binding } => format!("unbind {}", bound(binding)),
        Call::StartRedrive { queue } => format!("redrive {queue}"),
        Call::ListRedrives { queue } => format!("redrives of {queue}"),
        Call::Subscribe { reset: None } => "subscribe".to_owned(),
        Call::Subscribe { reset: Some(reset) } => format!("subscribe from {reset:?}"),
        Call::Follow => "follow".to_owned(),
        Call::Unsubscribe { acknowledged } => {
            let one = |(at, offset): &(Part, u64)| format!("{} below {offset}", part(at));
            let all: Vec<String> = acknowledged.iter().map(one).collect();
            format!("unsubscribe, acknowledged: {}", all.join(", "))
        }
        Call::Count { queue } => format!("count {queue}"),
    }
}

/// How it ended.
#[must_use]
pub fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ok(answer) => format!("ok, {}", self::answer(answer)),
        Outcome::Refused(refusal) => {
            format!("refused, {}: {}", refusal.kind, short(&refusal.text, LETTERS))
        }
        Outcome::Unknown(why) => format!("unknown, {}", short(why, LETTERS)),
    }
}

fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Produced { offset: Some(offset) } => format!("at {offset}"),
        Answer::Produced { offset: None } => "a repetition, its place is forgotten".to_owned(),
        Answer::Fetched { records, high_watermark, log_start, next } => {
            let offsets = match (records.first(), records.last()) {
                (Some(first), Some(last)) => {
                    format!("{} records {}..={}", records.len(), first.offset, last.offset)
                }
                _ => "nothing".to_owned(),
            };
            format!("{offsets}, high watermark {high_watermark}, start {log_start}, next {next}")
        }
        Answer::Offset(offset) => format!("{offset}"),
        Answer::LogStart(start) => format!("log start {start}"),
        Answer::Topic { id, partitions, settings } => {
            format!("topic {id}, {partitions} partitions, {settings:?}")
        }
        Answer::Settings(settings) => format!("{settings:?}"),
        Answer::Partitions(partitions) => format!("{partitions} partitions"),
        Answer::Done => "done".to_owned(),
        Answer::Published { queues } => format!("{queues} queues have it"),
        Answer::Redrives { under_way, failed, stranded } => {
            format!("under way: {under_way}, {failed} failed, {stranded} messages stranded")
        }
        Answer::Followed(None) => "nothing".to_owned(),
        Answer::Followed(Some((at, records))) => {
            let offsets: Vec<String> = records.iter().map(|one| one.offset.to_string()).collect();
            format!("{} {}", part(at), offsets.join(", "))
        }
        Answer::Counted(counts) => format!("{counts:?}"),
        Answer::Sent { message_id, duplicate } => {
            format!("{message_id}{}", if *duplicate { ", sent before" } else { "" })
        }
        Answer::Received(deliveries) => {
            let one = |delivery: &crate::history::Delivery| {
                let crate::history::Delivery { message_id, number, .. } = delivery;
                format!("{message_id} ({number})")
            };
            deliveries.iter().map(one).collect::<Vec<_>>().join(", ")
        }
        Answer::Settled { done: true, .. } => "settled".to_owned(),
        Answer::Settled { done: false, .. } => "the lease had ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_lines() {
        let event = Event::Log { node: "n1".to_owned(), text: "a\nb\u{1b}[0m".repeat(200) };
        let line = line(&Timed { at: 61_002, event });
        assert!(line.starts_with("   61.002 s  n1  log: a b [0ma b"), "{line}");
        assert!(!line.contains(char::is_control) && line.ends_with('…'), "{line}");
    }
}
