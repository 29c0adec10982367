//! Filters and patterns of bindings, subscriptions and redrives, compiled; and how long they may
//! have a thread.

use kontiki_domain::filter::{FilterText, Language, PatternSyntax};
use kontiki_filter::limits::COST_MAX;
use kontiki_filter::{Filter, FilterError, Scope};
use kontiki_records::Header;
use kontiki_routing::Syntax;

/// Steps (as filters count them) for which a call has the thread to itself: some 1 ms, for a step
/// takes up to 40 ns. Calls of filters come many at a time, and a thread that they hold serves
/// nobody else meanwhile: heartbeats and elections of Raft least of all. One filter may exceed it,
/// by its own limit, [`COST_MAX`]: some 10 ms.
pub(crate) const TURN_STEPS: u64 = COST_MAX / 10;

/// What a call has worked since it last let others have the thread.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    steps: u64,
}

impl Turn {
    /// Counts steps, and lets others have the thread when its turn is over. Answers whether it was.
    pub(crate) async fn worked(&mut self, steps: u64) -> bool {
        self.steps = self.steps.saturating_add(steps);
        let is_over = self.steps >= TURN_STEPS;
        if is_over {
            self.steps = 0;
            tokio::task::yield_now().await;
        }
        is_over
    }

    /// Steps that are left to it.
    pub(crate) fn left(&self) -> u64 {
        TURN_STEPS - self.steps
    }
}

/// Compiles a filter.
pub(crate) fn compile(filter: &FilterText) -> Result<Filter, FilterError> {
    match filter.language {
        Language::Cel => Filter::cel(&filter.text),
        Language::PolicyOnHeaders => Filter::policy(&filter.text, Scope::Attributes),
        Language::PolicyOnBody => Filter::policy(&filter.text, Scope::Body),
    }
}

/// How a pattern is read.
pub(crate) fn syntax(written: PatternSyntax) -> Syntax {
    match written {
        PatternSyntax::Amqp => Syntax::Amqp,
        PatternSyntax::Nats => Syntax::Nats,
    }
}

/// Headers by name; those whose name is no text aren't seen.
pub(crate) struct Named<'a>(pub(crate) &'a [Header]);

impl kontiki_filter::Headers for Named<'_> {
    fn visit<'a>(&'a self, see: &mut dyn FnMut(&'a str, &'a [u8])) {
        for header in self.0 {
            if let Ok(name) = std::str::from_utf8(&header.name) {
                see(name, header.value.as_deref().unwrap_or_default());
            }
        }
    }
}

impl kontiki_routing::Headers for Named<'_> {
    fn each(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        kontiki_filter::Headers::visit(self, &mut |name, value| visit(name, value));
    }
}

/// What comes of it, and how often it lets others have the thread.
#[cfg(test)]
pub(crate) async fn counting_yields<T>(work: impl Future<Output = T>) -> (T, u64) {
    let mut yields = 0;
    let mut work = std::pin::pin!(work);
    let done = std::future::poll_fn(|context| {
        let polled = work.as_mut().poll(context);
        yields += u64::from(polled.is_pending());
        polled
    });
    (done.await, yields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_is_over_when_its_steps_are_spent() {
        let mut turn = Turn::default();
        assert_eq!(counting_yields(turn.worked(TURN_STEPS - 1)).await, (false, 0));
        assert_eq!(turn.left(), 1);
        assert_eq!(counting_yields(turn.worked(1)).await, (true, 1));
        assert_eq!(turn.left(), TURN_STEPS);
        assert_eq!(counting_yields(turn.worked(u64::MAX)).await, (true, 1));
    }
}
