//! Who is attached to which durable subscription: one consumer at a time.
//!
//! The catalog's leader decides, in memory: a consumer's node says again and again that it is still
//! there, and is forgotten `broker.subscribe.attach_ms` after it was heard of last. A leader that
//! is new takes over who says that it is attached, and lets nobody else begin for as long. Two
//! consumers at once, after a node was cut off, cost repetitions and no loss: positions only rise.
//! Each has a generation, so that what it commits late doesn't undo the reset of a later one.
//!
//! Memory: some 100 bytes for each subscription that somebody is attached to.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Code, Error, Kind};
use crate::read::wire::{Attach, Attached, Holding};

/// See the module.
#[derive(Debug)]
pub(crate) struct Attachments {
    state: Mutex<State>,
    kept: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// The term in which this node leads, and until when nobody may begin.
    leads: Option<(u64, Instant)>,
    holders: HashMap<u64, Holder>,
    /// Consumers that have begun, or taken over, in this term.
    begun: u32,
}

#[derive(Debug, Clone, Copy)]
struct Holder {
    session: [u8; 16],
    node: u32,
    heard: Instant,
}

impl Attachments {
    pub(crate) fn new(kept: Duration) -> Self {
        Self { state: Mutex::default(), kept }
    }

    /// This node leads the catalog in a term.
    pub(crate) fn lead(&self, term: u64, now: Instant) {
        drop(self.lock(term, now));
    }

    fn lock(&self, term: u64, now: Instant) -> std::sync::MutexGuard<'_, State> {
        let mut state = self.state.lock().expect("nothing panics under this lock");
        if state.leads.is_none_or(|(known, _)| known != term) {
            let leads = Some((term, now + self.kept));
            *state = State { leads, ..State::default() };
        }
        state
    }

    /// Decides a wish.
    ///
    /// # Errors
    /// Unavailable: this node leads for too short a time to know.
    pub(crate) fn decide(
        &self,
        term: u64,
        attach: Attach,
        now: Instant,
    ) -> Result<Attached, Error> {
        let mut state = self.lock(term, now);
        let begin_at = state.leads.map_or(now, |(_, at)| at);
        let known = state.holders.get(&attach.subscription).copied();
        let known = known.filter(|holder| holder.heard + self.kept > now);
        let other = known.filter(|holder| holder.session != attach.session);
        match (attach.holding, other) {
            (Holding::End, None) => {
                state.holders.remove(&attach.subscription);
                return Ok(Attached::default());
            }
            (Holding::End, Some(_)) => return Ok(Attached::default()),
            (Holding::Begin | Holding::Renew, Some(other)) => {
                return Ok(Attached { other: Some(other.node), generation: None });
            }
            (Holding::Begin, None) if known.is_none() && now < begin_at => {
                return Err(too_early(begin_at.saturating_duration_since(now)));
            }
            (Holding::Begin | Holding::Renew, None) | (Holding::TakeOver, _) => {}
        }
        let Attach { session, node, .. } = attach;
        state.holders.insert(attach.subscription, Holder { session, node, heard: now });
        if state.holders.len().is_power_of_two() {
            let kept = self.kept;
            state.holders.retain(|_, holder| holder.heard + kept > now);
        }
        let begins = attach.holding != Holding::Renew;
        let generation = begins.then(|| {
            state.begun = state.begun.saturating_add(1);
            generation(term, state.begun)
        });
        Ok(Attached { other: None, generation })
    }
}

/// Higher than all of earlier terms, and than those before it in this one.
fn generation(term: u64, begun: u32) -> u64 {
    let term = u32::try_from(term).unwrap_or(u32::MAX);
    u64::from(term) << 32 | u64::from(begun)
}

fn too_early(wait: Duration) -> Error {
    let detail = "the catalog has a new leader, which doesn't know yet who is attached: try again";
    let error = Error::new(Kind::Unavailable, Code::NOT_READY, detail);
    let retry_after_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1);
    Error { retry_after_ms, ..error }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Duration = Duration::from_secs(5);

    fn wish(session: u8, holding: Holding) -> Attach {
        Attach { subscription: 7, session: [session; 16], node: session.into(), holding }
    }

    /// A leader that has led for long enough, and now.
    fn settled() -> (Attachments, Instant) {
        let attachments = Attachments::new(KEPT);
        let begin = Instant::now();
        attachments.lead(1, begin);
        (attachments, begin + KEPT)
    }

    /// The node of another consumer that has the subscription.
    fn other(
        held: &Attachments,
        term: u64,
        attach: Attach,
        now: Instant,
    ) -> Result<Option<u32>, Error> {
        held.decide(term, attach, now).map(|attached| attached.other)
    }

    #[test]
    fn one_at_a_time_until_it_goes_or_is_silent() {
        let (held, now) = settled();
        assert_eq!(other(&held, 1, wish(1, Holding::Begin), now), Ok(None));
        assert_eq!(other(&held, 1, wish(2, Holding::Begin), now), Ok(Some(1)));
        let now = now + KEPT / 2;
        assert_eq!(other(&held, 1, wish(1, Holding::Renew), now), Ok(None));
        let now = now + KEPT / 2;
        assert_eq!(other(&held, 1, wish(2, Holding::Begin), now), Ok(Some(1)));
        assert_eq!(other(&held, 1, wish(2, Holding::End), now), Ok(None));
        assert_eq!(other(&held, 1, wish(2, Holding::Begin), now), Ok(Some(1)), "it wasn't its own");
        assert_eq!(other(&held, 1, wish(1, Holding::End), now), Ok(None));
        assert_eq!(other(&held, 1, wish(2, Holding::Begin), now), Ok(None));
        let now = now + KEPT;
        assert_eq!(other(&held, 1, wish(1, Holding::Begin), now), Ok(None), "2 is silent");
    }

    #[test]
    fn who_takes_over_is_the_one_and_the_other_hears_of_it() {
        let (held, now) = settled();
        assert_eq!(other(&held, 1, wish(1, Holding::Begin), now), Ok(None));
        assert_eq!(other(&held, 1, wish(2, Holding::TakeOver), now), Ok(None));
        assert_eq!(other(&held, 1, wish(1, Holding::Renew), now), Ok(Some(2)));
    }

    #[test]
    fn a_new_leader_waits_for_those_that_are_attached() {
        let (held, now) = settled();
        assert_eq!(other(&held, 1, wish(1, Holding::Begin), now), Ok(None));
        let early = other(&held, 2, wish(2, Holding::Begin), now).expect_err("it can't know");
        assert_eq!((early.kind, early.retry_after_ms), (Kind::Unavailable, 5_000));
        assert_eq!(other(&held, 2, wish(1, Holding::Renew), now), Ok(None));
        assert_eq!(other(&held, 2, wish(2, Holding::Begin), now + KEPT / 2), Ok(Some(1)));
    }

    #[test]
    fn who_begins_later_has_a_higher_generation() {
        let (held, now) = settled();
        let mut last = 0;
        let mut later = |term, session, holding| {
            let attached = held.decide(term, wish(session, holding), now).expect("it is decided");
            let generation = attached.generation.expect("it begins");
            assert!(generation > std::mem::replace(&mut last, generation), "{generation}");
        };
        later(1, 1, Holding::Begin);
        later(1, 2, Holding::TakeOver);
        later(1, 2, Holding::Begin);
        later(2, 3, Holding::TakeOver);
        later(3, 1, Holding::TakeOver);
        let renewed = held.decide(3, wish(1, Holding::Renew), now);
        assert_eq!(renewed, Ok(Attached::default()));
    }
}
