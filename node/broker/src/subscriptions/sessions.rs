//! The subscriptions that are open on this node.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use kontiki_domain::filter::{FilterText, Language, PatternSyntax};
use kontiki_proto::node::subscriptions_response;

use crate::error::Error;
use crate::metrics::SubscriptionMetrics;

/// So much of a filter is shown, in bytes.
const FILTER_SHOWN_MAX: usize = 1_024;

/// How many records an open subscription has met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that match; read ahead ones included.
    pub matched: u64,
    /// Those that don't.
    pub unmatched: u64,
    /// Those on which the filter has failed: they don't match either.
    pub failed: u64,
}

/// A subscription that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The node that its client is connected to.
    pub node: u32,
    /// The name of a durable one; empty: it is ephemeral.
    pub name: String,
    /// Over the names of topics.
    pub pattern: String,
    /// How the pattern is written.
    pub syntax: PatternSyntax,
    /// Which records.
    pub filter: Option<FilterText>,
    /// Since when it is open, in milliseconds since 1970.
    pub since_ms: i64,
    /// What it has met since.
    pub counts: Counts,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Sessions {
    state: Mutex<State>,
    metrics: SubscriptionMetrics,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    open: BTreeMap<u64, (Open, Arc<Counters>)>,
}

#[derive(Debug, Default)]
struct Counters {
    matched: AtomicU64,
    unmatched: AtomicU64,
    failed: AtomicU64,
}

/// One that is open, until this is dropped.
#[derive(Debug)]
pub(crate) struct Session {
    sessions: Arc<Sessions>,
    number: u64,
    counters: Arc<Counters>,
}

impl Sessions {
    pub(crate) fn new(metrics: SubscriptionMetrics) -> Self {
        Self { state: Mutex::default(), metrics }
    }

    /// Notes that one is open.
    ///
    /// # Errors
    /// Throttled: there are as many as there may be.
    pub(crate) fn open(
        self: &Arc<Self>,
        mut open: Open,
        limit: usize,
        retry_after_ms: u32,
    ) -> Result<Session, Error> {
        let mut state = self.lock();
        if state.open.len() >= limit {
            return Err(Error::throttled("broker.subscribe.open_max", limit, retry_after_ms));
        }
        if let Some(FilterText { text, .. }) = &mut open.filter
            && text.len() > FILTER_SHOWN_MAX
        {
            text.truncate(text.floor_char_boundary(FILTER_SHOWN_MAX));
            text.push_str(" [...]");
        }
        state.last += 1;
        let number = state.last;
        let counters = Arc::<Counters>::default();
        state.open.insert(number, (open, Arc::clone(&counters)));
        drop(state);
        self.metrics.open.inc();
        Ok(Session { sessions: Arc::clone(self), number, counters })
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Open> {
        let state = self.lock();
        let shown = |(open, counters): &(Open, Arc<Counters>)| Open {
            counts: Counts {
                matched: counters.matched.load(Ordering::Relaxed),
                unmatched: counters.unmatched.load(Ordering::Relaxed),
                failed: counters.failed.load(Ordering::Relaxed),
            },
            ..open.clone()
        };
        state.open.values().map(shown).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

impl Session {
    pub(crate) fn count(&self, counts: Counts) {
        self.counters.matched.fetch_add(counts.matched, Ordering::Relaxed);
        self.counters.unmatched.fetch_add(counts.unmatched, Ordering::Relaxed);
        self.counters.failed.fetch_add(counts.failed, Ordering::Relaxed);
        let metrics = &self.sessions.metrics;
        metrics.matched.inc_by(counts.matched);
        metrics.unmatched.inc_by(counts.unmatched);
        metrics.filter_errors.inc_by(counts.failed);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.sessions.lock().open.remove(&self.number);
        self.sessions.metrics.open.dec();
    }
}

impl From<Open> for subscriptions_response::Subscription {
    fn from(open: Open) -> Self {
        let (language, filter) = match open.filter {
            None => (0, String::new()),
            Some(FilterText { language, text }) => (number(language), text),
        };
        Self {
            name: open.name,
            pattern: open.pattern,
            syntax: u32::from(open.syntax == PatternSyntax::Amqp),
            language,
            filter,
            since_ms: open.since_ms,
            matched: open.counts.matched,
            unmatched: open.counts.unmatched,
            failed: open.counts.failed,
        }
    }
}

impl Open {
    /// What another node has said.
    pub(super) fn of(node: u32, one: subscriptions_response::Subscription) -> Self {
        let language = [Language::Cel, Language::PolicyOnHeaders, Language::PolicyOnBody]
            .into_iter()
            .find(|language| number(*language) == one.language);
        Self {
            node,
            name: one.name,
            pattern: one.pattern,
            syntax: if one.syntax == 1 { PatternSyntax::Amqp } else { PatternSyntax::Nats },
            filter: language.map(|language| FilterText { language, text: one.filter }),
            since_ms: one.since_ms,
            counts: Counts { matched: one.matched, unmatched: one.unmatched, failed: one.failed },
        }
    }
}

/// Between nodes; 0 is no filter.
fn number(language: Language) -> u32 {
    match language {
        Language::Cel => 1,
        Language::PolicyOnHeaders => 2,
        Language::PolicyOnBody => 3,
    }
}
