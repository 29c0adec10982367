//! Which queues a message has left as a dead letter: its header `kontiki.dlq.path`.
//!
//! `retry expired 2, jobs rejected 2` says for each queue and reason how often, the latest first,
//! as AMQP's `x-death` does. It tells dead letters that go round by themselves, for ever, from
//! those that a consumer has had in between.

use std::fmt::Write as _;

use kontiki_records::Header;

/// The header's name.
pub(super) const PATH: &str = "kontiki.dlq.path";
/// What is kept of a path. A longer round than this isn't noticed.
const STEPS_MAX: usize = 16;
/// Reasons that need a consumer: a message goes on as often as somebody wants it to.
const OF_CONSUMERS: [&str; 2] = ["rejected", "delivery_limit"];

/// Queues that a message has left, the latest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    queue: String,
    reason: String,
    count: u64,
}

impl Path {
    /// As a message's headers have it; what isn't one is left out.
    pub(crate) fn of(headers: &[Header]) -> Self {
        let header = headers.iter().rev().find(|header| header.name == PATH.as_bytes());
        let text = header.and_then(|header| std::str::from_utf8(header.value.as_deref()?).ok());
        let steps = text.into_iter().flat_map(|text| text.split(", ")).filter_map(|step| {
            let mut words = step.split(' ');
            let (queue, reason) = (words.next()?.to_owned(), words.next()?.to_owned());
            Some(Step { queue, reason, count: words.next()?.parse().ok()? })
        });
        Self(steps.take(STEPS_MAX).collect())
    }

    /// It leaves one more.
    pub(super) fn leave(&mut self, queue: &str, reason: &str) {
        let known = self.0.iter().position(|step| step.queue == queue && step.reason == reason);
        let before = known.map_or(0, |at| self.0.remove(at).count);
        let (queue, reason) = (queue.to_owned(), reason.to_owned());
        self.0.insert(0, Step { queue, reason, count: before.saturating_add(1) });
        self.0.truncate(STEPS_MAX);
    }

    /// Whether it has come from a queue to where it is without any consumer's doing: sent there
    /// again, it would go the same way for ever.
    pub(crate) fn goes_round(&self, queue: &str) -> bool {
        let Some(last) = self.0.iter().position(|step| step.queue == queue) else { return false };
        self.0[..=last].iter().all(|step| !OF_CONSUMERS.contains(&step.reason.as_str()))
    }

    /// As a header.
    pub(super) fn header(&self) -> Header {
        let mut text = String::new();
        for (number, Step { queue, reason, count }) in self.0.iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(text, "{comma}{queue} {reason} {count}").expect("a string takes everything");
        }
        Header::new(PATH, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(steps: &[(&str, &str)]) -> Path {
        let mut path = Path::of(&[]);
        for (queue, reason) in steps {
            // As it is read from the message before.
            path = Path::of(&[path.header()]);
            path.leave(queue, reason);
        }
        path
    }

    #[test]
    fn a_round_without_a_consumer_is_noticed() {
        let expired = path(&[("a", "expired"), ("b", "maxlen")]);
        assert!(expired.goes_round("a"));
        assert!(!expired.goes_round("c"));
        for reason in OF_CONSUMERS {
            assert!(!path(&[("a", reason), ("b", "expired")]).goes_round("a"), "{reason}");
            assert!(!path(&[("a", "expired"), ("b", reason)]).goes_round("a"), "{reason}");
        }
        // What was before that queue doesn't count, nor is it forgotten.
        let later = path(&[("x", "rejected"), ("a", "expired"), ("b", "expired")]);
        assert!(later.goes_round("a"));
        assert!(!later.goes_round("x"));
    }

    #[test]
    fn a_path_counts_and_has_an_end() {
        let steps = [("jobs", "rejected"), ("retry", "expired")].repeat(3);
        let path_of_retries = path(&steps);
        let header = path_of_retries.header();
        assert_eq!(header.value.as_deref(), Some(&b"retry expired 3, jobs rejected 3"[..]));
        assert!(!path_of_retries.goes_round("jobs"));
        let names: Vec<String> = (0..40).map(|number| format!("q{number}")).collect();
        let steps: Vec<_> = names.iter().map(|name| (name.as_str(), "expired")).collect();
        let long = path(&steps);
        assert_eq!(long.0.len(), STEPS_MAX);
        assert!(long.goes_round("q39") && !long.goes_round("q3"));
        let odd = Header::new(PATH, "x, a expired, b expired many, c expired 2".to_owned());
        assert_eq!(Path::of(&[odd]).header().value.as_deref(), Some(&b"c expired 2"[..]));
    }
}
